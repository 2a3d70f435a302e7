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
    /// Applied, but the file has changed since, or another one has its version.
    Divergent {
        /// Index of the file in the folder.
        file: usize,
        /// The name in the history.
        name: String,
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
            return Self { findings: broken, refused: true, ..Self::default() };
        }
        let mut files: Vec<Migration> =
            folder.files().iter().map(MigrationFile::to_refinery).collect();
        let mut applied = translate(folder, history);
        let mut findings = Vec::new();
        // refinery stops at the first finding. Each is noted and settled in memory, and refinery
        // asked again, until it has nothing more to say.
        loop {
            match decide(&files, &applied, options.to) {
                Ok(versions) => {
                    return Self::from_decision(folder, &versions, findings, options);
                }
                Err(objection) => {
                    findings.push(settle(folder, &mut files, &mut applied, objection));
                }
            }
        }
    }

    fn from_decision(
        folder: &MigrationFolder,
        versions: &BTreeSet<i64>,
        findings: Vec<Finding>,
        options: PlanOptions,
    ) -> Self {
        let pending = folder.files().iter().enumerate();
        let pending = pending.filter(|(_, file)| versions.contains(&file.version)).map(|(i, _)| i);
        let pending: Vec<usize> = pending.collect();
        let refused = findings.iter().any(|finding| match finding {
            Finding::Divergent { .. } => !options.allow_divergent,
            Finding::Missing { .. } | Finding::OutOfOrder { .. } => !options.allow_missing,
            Finding::Broken { .. } => true,
        });
        Self { pending, findings, refused }
    }

    /// Leaves out the first file that `is_end` and all that come after it, and returns that file.
    pub(super) fn end_before(&mut self, is_end: impl Fn(usize) -> bool) -> Option<usize> {
        let position = self.pending.iter().position(|&file| is_end(file))?;
        self.pending.drain(position..).next()
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
    let runner =
        Runner::new(files).set_grouped(true).set_target(to.map_or(Target::Latest, Target::Version));
    match runner.run(&mut Memory(applied)) {
        Ok(report) => Ok(report.applied_migrations().iter().map(Migration::version).collect()),
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
        folder.files().iter().position(|file| file.version == version).expect("refinery found it")
    };
    match objection {
        Objection::Divergent(row) => {
            let file = index(row.version());
            let same = applied.iter_mut().find(|it| it.version() == row.version());
            *same.expect("refinery found it") = as_applied(&folder.files()[file]);
            Finding::Divergent { file, name: row.name().to_owned() }
        }
        Objection::Missing(row) => {
            let finding = Finding::Missing { version: row.version(), name: row.name().to_owned() };
            files.push(row);
            files.sort();
            finding
        }
        Objection::OutOfOrder(file) => {
            files.retain(|it| it.version() != file.version());
            let newest = applied.last().map_or(0, Migration::version);
            Finding::OutOfOrder { file: index(file.version()), newest }
        }
    }
}

fn as_applied(file: &MigrationFile) -> Migration {
    let (version, name) = (file.version, file.name.clone());
    Migration::applied(version, name, OffsetDateTime::UNIX_EPOCH, file.checksum_wide)
}

/// Returns the history as refinery's wide build would have read it: a stored checksum that is
/// this file's, in the history's own width, becomes the file's wide one.
fn translate(folder: &MigrationFolder, history: &History) -> Vec<Migration> {
    let width = history.width.unwrap_or(Width::Int8);
    let translated = history.rows.iter().map(|row| {
        let stored = row.checksum.parse().expect("broken rows were sorted out");
        let file = folder.files().iter().find(|file| file.version == row.version);
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
        Some(Finding::Broken { version: row.version, what })
    });
    broken.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2023-05-01T10:11:12.5+02:00";

    /// Returns a folder of files, each with its name and its SQL.
    fn folder(files: &[(&str, &str)]) -> MigrationFolder {
        let folder = tempfile::tempdir().unwrap();
        for (name, sql) in files {
            std::fs::write(folder.path().join(name), sql).unwrap();
        }
        MigrationFolder::read(folder.path()).unwrap()
    }

    /// Returns the history of a schema to which these files of a folder were applied.
    fn history(width: Width, folder: &MigrationFolder, versions: &[i64]) -> History {
        let row = |version: &i64| {
            let file = folder.get(*version).unwrap();
            Applied {
                version: *version,
                name: file.name.clone(),
                applied_on: TIME.into(),
                checksum: file.checksum(width).unwrap().to_string(),
            }
        };
        History {
            width: Some(width),
            digest: String::new(),
            rows: versions.iter().map(row).collect(),
        }
    }

    fn three() -> MigrationFolder {
        folder(&[
            ("V1__a.sql", "select 1;"),
            ("V2__b.sql", "select 2;"),
            ("V3__c.sql", "select 3;"),
        ])
    }

    fn plan(folder: &MigrationFolder, history: &History) -> Plan {
        Plan::new(folder, history, PlanOptions::default())
    }

    #[test]
    fn what_is_newer_than_the_history_is_pending() {
        let folder = three();
        for width in [Width::Int4, Width::Int8] {
            for (applied, pending) in
                [(&[][..], &[0, 1, 2][..]), (&[1], &[1, 2]), (&[1, 2, 3], &[])]
            {
                let plan = plan(&folder, &history(width, &folder, applied));
                assert_eq!(plan.pending, pending);
                assert!(plan.findings.is_empty() && !plan.refused);
            }
        }
        assert_eq!(plan(&folder, &History::default()).pending, [0, 1, 2]);
    }

    #[test]
    fn a_version_stops_the_plan() {
        let folder = three();
        for (to, pending) in [(1, &[][..]), (2, &[1]), (3, &[1, 2])] {
            let options = PlanOptions { to: Some(to), ..PlanOptions::default() };
            let plan = Plan::new(&folder, &history(Width::Int4, &folder, &[1]), options);
            assert_eq!(plan.pending, pending, "to {to}");
        }
    }

    #[test]
    fn a_changed_file_is_divergent() {
        let (before, now) = (
            three(),
            folder(&[
                ("V1__a.sql", "select 1;"),
                ("V2__b.sql", "select 'changed';"),
                ("V3__c.sql", "select 3;"),
            ]),
        );
        let history = history(Width::Int4, &before, &[1, 2]);
        let strict = plan(&now, &history);
        assert_eq!(strict.findings, [Finding::Divergent { file: 1, name: "b".into() }]);
        assert!(strict.refused);
        let allowed = PlanOptions { allow_divergent: true, ..PlanOptions::default() };
        let plan = Plan::new(&now, &history, allowed);
        assert!(!plan.refused);
        assert_eq!(plan.pending, [2]);
    }

    #[test]
    fn a_renamed_file_is_divergent() {
        let before = folder(&[("V1__a.sql", "select 1;")]);
        let now = folder(&[("V1__b.sql", "select 1;")]);
        let plan = plan(&now, &history(Width::Int8, &before, &[1]));
        assert_eq!(plan.findings, [Finding::Divergent { file: 0, name: "a".into() }]);
    }

    #[test]
    fn a_row_without_a_file_is_missing() {
        let before = three();
        let now = folder(&[("V1__a.sql", "select 1;"), ("V4__d.sql", "select 4;")]);
        let history = history(Width::Int4, &before, &[1, 2, 3]);
        let missing = |version, name: &str| Finding::Missing { version, name: name.into() };
        let strict = plan(&now, &history);
        assert_eq!(strict.findings, [missing(2, "b"), missing(3, "c")]);
        assert!(strict.refused);
        let allowed = PlanOptions { allow_missing: true, ..PlanOptions::default() };
        let plan = Plan::new(&now, &history, allowed);
        assert_eq!((plan.pending.as_slice(), plan.refused), (&[1][..], false));
    }

    #[test]
    fn a_file_below_the_newest_applied_is_out_of_order() {
        let folder = three();
        let history = history(Width::Int4, &folder, &[1, 3]);
        let strict = plan(&folder, &history);
        assert_eq!(strict.findings, [Finding::OutOfOrder { file: 1, newest: 3 }]);
        assert!(strict.refused && strict.pending.is_empty());
    }

    #[test]
    fn a_u_migration_may_be_out_of_order() {
        let folder = folder(&[
            ("V1__a.sql", "select 1;"),
            ("U2__b.sql", "select 2;"),
            ("V3__c.sql", "select 3;"),
        ]);
        let plan = plan(&folder, &history(Width::Int4, &folder, &[1, 3]));
        assert_eq!((plan.pending.as_slice(), plan.refused), (&[1][..], false));
    }

    #[test]
    fn line_ends_and_a_byte_order_mark_make_no_other_file() {
        let lf = folder(&[("V1__a.sql", "select 1;\nselect 2;\n")]);
        let crlf = folder(&[("V1__a.sql", "\u{feff}select 1;\r\nselect 2;\r\n")]);
        assert!(plan(&crlf, &history(Width::Int4, &lf, &[1])).is_clean());
        // As a refinery on Windows stored it.
        let sql = "select 1;\r\nselect 2;\r\n";
        let stored = super::super::checksum::checksum(Width::Int4, "a", 1, sql).unwrap();
        let mut history = history(Width::Int4, &lf, &[1]);
        history.rows[0].checksum = stored.to_string();
        assert!(plan(&lf, &history).is_clean());
    }

    #[test]
    fn a_narrow_history_makes_room_for_a_timestamp() {
        let folder = folder(&[("V1__a.sql", "select 1;"), ("V20260101120000__b.sql", "select 2;")]);
        let narrow = plan(&folder, &history(Width::Int4, &folder, &[1]));
        assert_eq!((narrow.pending.as_slice(), narrow.refused), (&[1][..], false));
        let wide = plan(&folder, &history(Width::Int8, &folder, &[1]));
        assert_eq!((wide.pending.as_slice(), wide.refused), (&[1][..], false));
    }

    #[test]
    fn a_row_on_which_refinery_would_panic_is_a_finding() {
        let folder = three();
        for (checksum, applied_on, what) in [
            ("x", TIME, "its checksum is `x`"),
            ("", TIME, "its checksum is ``"),
            ("-1", TIME, "its checksum is `-1`"),
            ("1", "yesterday", "its time is `yesterday`"),
            ("1", "", "its time is ``"),
        ] {
            let mut history = history(Width::Int4, &folder, &[1]);
            history.rows[0].checksum = checksum.into();
            history.rows[0].applied_on = applied_on.into();
            let plan = plan(&folder, &history);
            let what = what.into();
            assert_eq!(plan.findings, [Finding::Broken { version: 1, what }]);
            assert!(plan.refused);
        }
    }

    #[test]
    fn any_offset_is_a_time() {
        let folder = three();
        for time in [
            "2023-05-01T10:11:12Z",
            "2023-05-01T10:11:12.123456789+02:00",
            "2023-05-01T10:11:12-11:30",
        ] {
            let mut history = history(Width::Int8, &folder, &[1, 2, 3]);
            history.rows[1].applied_on = time.into();
            assert!(plan(&folder, &history).is_clean(), "{time}");
        }
    }
}
