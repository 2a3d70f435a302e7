//! What to do for a schema, decided by refinery from its history and the folder.
//!
//! refinery's [`Runner`] runs against a driver in memory, which answers with the history that was
//! read and carries nothing out. The plan is what refinery would have applied. It is pure: no
//! server is asked, and schemas with equal histories share one plan.

use std::collections::BTreeSet;
use std::convert::Infallible;

use refinery_core::error::Kind;
use refinery_core::traits::sync::{Query, Transaction};
use refinery_core::{Migrate, Migration, Runner, Target};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::history::{Applied, History};
use super::{MigrationFile, MigrationFolder, Width};

/// What the person who runs this decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Stop at this version; the newest otherwise.
    pub to: Option<i64>,
    /// Go on although an applied file has changed since.
    pub allow_divergent: bool,
    /// Go on although an applied file is gone, or a file is out of order (which is then skipped,
    /// as refinery does).
    pub allow_missing: bool,
}

/// What stands between a history and its folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Applied, but the file has changed since.
    Divergent {
        /// Index of the file in the folder.
        file: usize,
    },
    /// Applied, but there is no such file.
    Missing {
        /// The version in the history.
        version: i64,
        /// The name in the history.
        name: String,
    },
    /// A file older than the newest in the history, and not in it.
    OutOfOrder {
        /// Index of the file in the folder.
        file: usize,
        /// The newest version in the history.
        newest: i64,
    },
    /// A file whose version does not fit the history table, whose versions are `int4`.
    TooWide {
        /// Index of the file in the folder.
        file: usize,
    },
    /// A row of the history that refinery cannot read.
    Broken {
        /// The row's version.
        version: i64,
        /// The column and what it holds.
        what: String,
    },
}

/// What to do for every schema that has a certain history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Indexes of the files to apply, in their order.
    pub pending: Vec<usize>,
    /// What is wrong with the history, allowed or not.
    pub findings: Vec<Finding>,
    /// Whether a finding forbids to go on.
    pub refused: bool,
}

impl Plan {
    /// Returns the plan for `history`.
    pub fn new(folder: &MigrationFolder, history: &History, options: PlanOptions) -> Self {
        let broken = broken_rows(&history.rows);
        if !broken.is_empty() {
            return Self {
                findings: broken,
                refused: true,
                ..Self::default()
            };
        }
        let mut files: Vec<Migration> = folder
            .files()
            .iter()
            .map(MigrationFile::to_refinery)
            .collect();
        let mut applied = translate(folder, history);
        let mut findings = Vec::new();
        // refinery stops at the first finding. Each is noted and settled in memory, and refinery
        // asked again, until it has nothing more to say.
        loop {
            match decide(&files, &applied, options.to) {
                Ok(versions) => {
                    return Self::from_decision(folder, history, &versions, findings, options);
                }
                Err(objection) => {
                    findings.push(settle(folder, &mut files, &mut applied, objection));
                }
            }
        }
    }

    fn from_decision(
        folder: &MigrationFolder,
        history: &History,
        versions: &BTreeSet<i64>,
        mut findings: Vec<Finding>,
        options: PlanOptions,
    ) -> Self {
        let pending = folder.files().iter().enumerate();
        let pending = pending
            .filter(|(_, file)| versions.contains(&file.version))
            .map(|(i, _)| i);
        let pending: Vec<usize> = pending.collect();
        if history.width == Some(Width::Int4) {
            let files = pending
                .iter()
                .filter(|&&file| folder.files()[file].checksum_narrow.is_none());
            findings.extend(files.map(|&file| Finding::TooWide { file }));
        }
        let refused = findings.iter().any(|finding| match finding {
            Finding::Divergent { .. } => !options.allow_divergent,
            Finding::Missing { .. } | Finding::OutOfOrder { .. } => !options.allow_missing,
            Finding::Broken { .. } | Finding::TooWide { .. } => true,
        });
        Self {
            pending,
            findings,
            refused,
        }
    }

    /// Whether there is nothing to do and nothing to say.
    pub fn is_clean(&self) -> bool {
        self.pending.is_empty() && self.findings.is_empty()
    }
}

/// A driver that answers with a history and carries nothing out.
struct Memory<'a>(&'a [Migration]);

impl Transaction for Memory<'_> {
    type Error = Infallible;

    fn execute<'a, T: Iterator<Item = &'a str>>(
        &mut self,
        queries: T,
    ) -> Result<usize, Infallible> {
        Ok(queries.count())
    }
}

impl Query<Vec<Migration>> for Memory<'_> {
    fn query(&mut self, _: &str) -> Result<Vec<Migration>, Infallible> {
        Ok(self.0.to_vec())
    }
}

impl Migrate for Memory<'_> {}

/// Returns the versions that refinery would apply, or what it objects to.
fn decide(
    files: &[Migration],
    applied: &[Migration],
    to: Option<i64>,
) -> Result<BTreeSet<i64>, Objection> {
    let runner = Runner::new(files)
        .set_grouped(true)
        .set_target(to.map_or(Target::Latest, Target::Version));
    match runner.run(&mut Memory(applied)) {
        Ok(report) => Ok(report
            .applied_migrations()
            .iter()
            .map(Migration::version)
            .collect()),
        Err(error) => Err(match error.kind() {
            Kind::DivergentVersion(applied, _) => Objection::Divergent(applied.clone()),
            // refinery says "missing" of both; only what was applied has a time.
            Kind::MissingVersion(it) if it.applied_on().is_some() => Objection::Missing(it.clone()),
            Kind::MissingVersion(it) => Objection::OutOfOrder(it.clone()),
            other => unreachable!("the folder was checked and the driver cannot fail: {other}"),
        }),
    }
}

enum Objection {
    Divergent(Migration),
    Missing(Migration),
    OutOfOrder(Migration),
}

/// Makes refinery's objection go away in memory, as if the finding were not there.
fn settle(
    folder: &MigrationFolder,
    files: &mut Vec<Migration>,
    applied: &mut [Migration],
    objection: Objection,
) -> Finding {
    let index = |version| {
        folder
            .files()
            .iter()
            .position(|file| file.version == version)
            .expect("refinery found it")
    };
    match objection {
        Objection::Divergent(row) => {
            let file = index(row.version());
            let same = applied.iter_mut().find(|it| it.version() == row.version());
            *same.expect("refinery found it") = as_applied(&folder.files()[file]);
            Finding::Divergent { file }
        }
        Objection::Missing(row) => {
            let finding = Finding::Missing {
                version: row.version(),
                name: row.name().to_owned(),
            };
            files.push(row);
            files.sort();
            finding
        }
        Objection::OutOfOrder(file) => {
            files.retain(|it| it.version() != file.version());
            let newest = applied.last().map_or(0, Migration::version);
            Finding::OutOfOrder {
                file: index(file.version()),
                newest,
            }
        }
    }
}

fn as_applied(file: &MigrationFile) -> Migration {
    let (version, name) = (file.version, file.name.clone());
    Migration::applied(
        version,
        name,
        OffsetDateTime::UNIX_EPOCH,
        file.checksum_wide,
    )
}

/// Returns the history as refinery's wide build would have read it: a stored checksum that is
/// this file's, in the history's own width, becomes the file's wide one.
fn translate(folder: &MigrationFolder, history: &History) -> Vec<Migration> {
    let width = history.width.unwrap_or(Width::Int8);
    let translated = history.rows.iter().map(|row| {
        let stored = row.checksum.parse().expect("broken rows were sorted out");
        let file = folder
            .files()
            .iter()
            .find(|file| file.version == row.version);
        match file {
            Some(file) if file.name == row.name && file.recognises(width, stored) => {
                as_applied(file)
            }
            _ => {
                let name = row.name.clone();
                Migration::applied(row.version, name, OffsetDateTime::UNIX_EPOCH, stored)
            }
        }
    });
    translated.collect()
}

/// Returns the rows on which refinery would panic.
fn broken_rows(rows: &[Applied]) -> Vec<Finding> {
    let broken = rows.iter().filter_map(|row| {
        let what = if row.checksum.parse::<u64>().is_err() {
            format!("its checksum is `{}`", row.checksum)
        } else if OffsetDateTime::parse(&row.applied_on, &Rfc3339).is_err() {
            format!("its time is `{}`", row.applied_on)
        } else {
            return None;
        };
        Some(Finding::Broken {
            version: row.version,
            what,
        })
    });
    broken.collect()
}
