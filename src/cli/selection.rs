//! Which schemas, on the command line: the same everywhere that many can be meant.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::error::CommandError;
use super::report::Report;
use super::text::{printable, shell_word};
use crate::tenant::Selection;

/// Which schemas
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which schemas")]
pub(crate) struct SelectionArgs {
    /// The shared schema
    #[arg(long)]
    shared: bool,

    /// Every tenant's schema; with `--schema`, `--match` or `--schemas-from`, only those
    #[arg(long)]
    tenants: bool,

    /// The shared schema, then the tenants' as with `--tenants`
    #[arg(long)]
    all: bool,

    /// This tenant's schema; may be given more than once
    #[arg(long, value_name = "NAME")]
    schema: Vec<String>,

    /// Tenants whose schema matches a pattern of `*` and `?`; may be given more than once
    #[arg(long = "match", value_name = "GLOB")]
    matching: Vec<String>,

    /// But none that matches this; may be given more than once
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Tenants for which this SQL condition on the registry's columns holds, such as `on_trial`
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,

    /// Tenants named in a file, one schema a line; `-` is stdin
    #[arg(long, value_name = "FILE")]
    schemas_from: Option<PathBuf>,
}

impl SelectionArgs {
    /// The names of these flags, for those that stand instead of them.
    pub(crate) const NAMES: [&str; 8] =
        ["shared", "tenants", "all", "schema", "matching", "exclude", "condition", "schemas_from"];

    /// Returns these flags as they are typed again, such as ` --match='eha-*'`; ` --all` where none
    /// selects.
    pub(crate) fn typed(&self) -> String {
        let alone = [("shared", self.shared), ("tenants", self.tenants), ("all", self.all)];
        let alone = alone.into_iter().filter(|(_, is_given)| *is_given);
        let alone = alone.map(|(name, _)| format!(" --{name}"));
        let from = self.schemas_from.as_ref().map(|path| path.display().to_string());
        let with_values = [
            ("schema", self.schema.clone()),
            ("match", self.matching.clone()),
            ("where", self.condition.iter().cloned().collect()),
            ("schemas-from", from.into_iter().collect()),
            ("exclude", self.exclude.clone()),
        ];
        let with_values = with_values.into_iter().flat_map(|(name, values)| {
            values.into_iter().map(move |value| format!(" --{name}={}", shell_word(&value)))
        });
        let flags: String = alone.chain(with_values).collect();
        let selects = flags.split_once(" --exclude=").map_or(flags.as_str(), |(before, _)| before);
        if selects.is_empty() { format!(" --all{flags}") } else { flags }
    }

    /// Returns the selection, which must be one: nothing is ever meant by saying nothing.
    pub(crate) fn required(&self) -> Result<Selection, CommandError> {
        let selection = self.selection()?;
        if !selection.shared && !selection.wants_tenants() && self.schemas_from.is_none() {
            return Err(CommandError::NoSelection);
        }
        Ok(selection)
    }

    /// Returns the selection, or everything where none was made.
    pub(crate) fn or_all(&self) -> Result<Selection, CommandError> {
        match self.required() {
            Err(CommandError::NoSelection) => {
                let excluding = self.exclude.clone();
                Ok(Selection { shared: true, tenants: true, excluding, ..Selection::default() })
            }
            other => other,
        }
    }

    /// Returns the one schema that was named, if it is all that was selected.
    pub(crate) fn single(&self) -> Option<&str> {
        match self.schema.as_slice() {
            [name] if !self.shared && !self.tenants && !self.all => Some(name),
            _ => None,
        }
    }

    /// Whether stdin is read for names.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.schemas_from.as_deref() == Some(Path::new("-"))
    }

    /// Returns what both select together, or the flag that only one of them may give.
    pub(crate) fn and(&self, other: &Self) -> Result<Self, &'static str> {
        if self.condition.is_some() && other.condition.is_some() {
            return Err("--where");
        }
        if self.schemas_from.is_some() && other.schemas_from.is_some() {
            return Err("--schemas-from");
        }
        let both = |these: &[String], those: &[String]| [these, those].concat();
        Ok(Self {
            shared: self.shared || other.shared,
            tenants: self.tenants || other.tenants,
            all: self.all || other.all,
            schema: both(&self.schema, &other.schema),
            matching: both(&self.matching, &other.matching),
            exclude: both(&self.exclude, &other.exclude),
            condition: self.condition.clone().or(other.condition.clone()),
            schemas_from: self.schemas_from.clone().or(other.schemas_from.clone()),
        })
    }

    fn selection(&self) -> Result<Selection, CommandError> {
        let mut names = self.schema.clone();
        if let Some(path) = &self.schemas_from {
            names.extend(names_in(path)?);
        }
        // A file that names nobody means nobody, and not everybody.
        let is_nobody = self.schemas_from.is_some() && names.is_empty() && self.matching.is_empty();
        Ok(Selection {
            shared: self.shared || self.all,
            tenants: (self.tenants || self.all) && !is_nobody,
            names,
            matching: self.matching.clone(),
            excluding: self.exclude.clone(),
            condition: self.condition.clone().filter(|_| !is_nobody),
            order: Vec::new(),
        })
    }
}

/// Says so where patterns were given and no tenant is meant: more likely than not one is mistyped.
pub(crate) fn warn_of_nobody(report: &Report, selection: &Selection, tenants: usize) {
    if tenants == 0 && !selection.matching.is_empty() {
        let patterns: Vec<String> =
            selection.matching.iter().map(|it| format!("`{}`", printable(it))).collect();
        report.warn(format!("no tenant is meant by {}", patterns.join(", ")));
    }
}

fn names_in(path: &Path) -> Result<Vec<String>, CommandError> {
    let text = read_text(path)?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

/// Returns what a file says, or stdin for `-`.
pub(crate) fn read_text(path: &Path) -> Result<String, CommandError> {
    let read = || {
        if path != Path::new("-") {
            return std::fs::read_to_string(path);
        }
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    };
    read().map_err(|source| CommandError::File { path: path.to_owned(), source })
}
