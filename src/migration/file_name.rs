//! What a migration's file name says: `V7__add_orders.sql`.

use std::fmt;

use refinery_core::{error::Kind as RefineryError, parse_migration_name};

/// refinery's expression allows the prefix `|` as well, and then panics.
const PREFIXES: [char; 2] = ['V', 'U'];

/// What kind of file it is: refinery has the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `V…`: applied in the order of their versions.
    Versioned,
    /// `U…`: applied whenever they are not in the history yet.
    Unversioned,
    /// No migration at all, but data for a tenant, which no history records. Its version is its
    /// place among those that are run.
    Seed,
}

/// Why a version cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionRule {
    #[error("is greater than {}", i64::MAX)]
    TooLarge,
    #[error("is not a whole number")]
    NotWhole,
    #[error("is not written in the digits 0 to 9")]
    ForeignDigits,
}

/// The parts of a migration's file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileName {
    pub(crate) kind: Kind,
    pub(crate) version: i64,
    pub(crate) name: String,
}

/// Why refinery would pass over a file that looks like a migration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NameProblem {
    Misnamed { suggestion: Option<String> },
    Version { version: String, rule: VersionRule },
    Rust,
}

impl FileName {
    /// Returns the migration that a file of this name is; none if it is something else, such as a
    /// `README.md`.
    pub(crate) fn parse(file_name: &str) -> Result<Option<Self>, NameProblem> {
        let Some((stem, extension)) = file_name.rsplit_once('.') else {
            return Ok(None);
        };
        match extension {
            "sql" => parse_stem(stem).map(Some),
            "rs" => match parse_stem(stem) {
                Err(NameProblem::Misnamed { .. }) => Ok(None),
                _ => Err(NameProblem::Rust),
            },
            _ if extension.eq_ignore_ascii_case("sql") => Err(misnamed(stem)),
            _ => Ok(None),
        }
    }
}

/// Lets refinery read a stem, and sees to it that it read all of it.
fn parse_stem(stem: &str) -> Result<FileName, NameProblem> {
    if !stem.starts_with(PREFIXES) {
        return Err(misnamed(stem));
    }
    let Some((version, name)) = stem.split_once("__") else {
        return Err(misnamed(stem));
    };
    match parse_migration_name(stem) {
        Ok((prefix, version, read)) if read == name => {
            Ok(FileName { kind: kind(&prefix), version, name: read })
        }
        Err(error) if matches!(error.kind(), RefineryError::InvalidVersion) => {
            Err(version_problem(&version[1..]))
        }
        _ => Err(misnamed(stem)),
    }
}

/// refinery does not export the type of its prefix, only what it prints.
fn kind(prefix: &impl fmt::Display) -> Kind {
    match prefix.to_string().as_str() {
        "U" => Kind::Unversioned,
        _ => Kind::Versioned,
    }
}

fn version_problem(version: &str) -> NameProblem {
    let rule = if version.contains('.') {
        VersionRule::NotWhole
    } else if version.is_ascii() {
        VersionRule::TooLarge
    } else {
        VersionRule::ForeignDigits
    };
    let version = version.to_owned();
    NameProblem::Version { version, rule }
}

fn misnamed(stem: &str) -> NameProblem {
    let suggestion = suggestion(stem);
    NameProblem::Misnamed { suggestion }
}

/// Returns what a file was probably meant to be called: `v1-add orders`, `0001_add_orders`.
fn suggestion(stem: &str) -> Option<String> {
    let rest = stem.strip_prefix(['V', 'v', 'U', 'u']).unwrap_or(stem);
    let prefix = if stem.starts_with(['U', 'u']) { 'U' } else { 'V' };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (version, name) = rest.split_at(end);
    let is_fraction = name.starts_with('.') && name[1..].starts_with(|c: char| c.is_ascii_digit());
    let suggested = format!("{prefix}{version}__{}", word(name.trim_start_matches('_')));

    let is_read = !is_fraction && is_read(&suggested);
    is_read.then(|| format!("{suggested}.sql"))
}

/// Whether refinery reads all of a stem.
pub(crate) fn is_read(stem: &str) -> bool {
    let Some((_, name)) = stem.split_once("__") else {
        return false;
    };
    stem.starts_with(PREFIXES) && parse_migration_name(stem).is_ok_and(|(_, _, read)| read == name)
}

/// Returns a text as one word, of which a migration's name must consist.
pub(crate) fn word(text: &str) -> String {
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("_")
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Versioned => "V",
            Kind::Unversioned => "U",
            Kind::Seed => "seed ",
        })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, version, name } = self;
        write!(f, "{kind}{version}__{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refinerys_names_are_read() {
        for (file_name, kind, version, name) in [
            ("V1__a.sql", Kind::Versioned, 1, "a"),
            ("V03__a.sql", Kind::Versioned, 3, "a"),
            ("V0__a.sql", Kind::Versioned, 0, "a"),
            ("U2__add_Orders2.sql", Kind::Unversioned, 2, "add_Orders2"),
            ("V1___a.sql", Kind::Versioned, 1, "_a"),
            ("V1__bücher.sql", Kind::Versioned, 1, "bücher"),
            ("V1__bu\u{308}cher.sql", Kind::Versioned, 1, "bu\u{308}cher"),
            ("V9223372036854775807__a.sql", Kind::Versioned, i64::MAX, "a"),
        ] {
            let read = FileName::parse(file_name).unwrap().unwrap();
            assert_eq!((read.kind, read.version, read.name.as_str()), (kind, version, name));
        }
    }

    #[test]
    fn what_does_not_end_like_a_migration_is_none() {
        for file_name in
            ["README.md", "V1__a", "V1__a.sql~", "V1__a.sql.orig", "mod.rs", "v1__a.rs", "sql"]
        {
            assert_eq!(FileName::parse(file_name), Ok(None), "{file_name}");
        }
    }

    #[test]
    fn a_misnamed_file_gets_a_suggestion() {
        for (file_name, suggestion) in [
            ("v1__a.sql", Some("V1__a.sql")),
            ("V1__a-b.sql", Some("V1__a_b.sql")),
            ("V1__add orders!.sql", Some("V1__add_orders.sql")),
            ("V1_a.sql", Some("V1__a.sql")),
            ("V1__a.SQL", Some("V1__a.sql")),
            ("V1 - a.sql", Some("V1__a.sql")),
            ("u7__a.sql", Some("U7__a.sql")),
            ("0001_initial.sql", Some("V0001__initial.sql")),
            ("|1__a.sql", None),
            ("v1.1__a.sql", None),
            ("create_users.sql", None),
            ("V1__.sql", None),
            ("V1.sql", None),
            ("V__a.sql", None),
            ("V-1__a.sql", None),
            (".sql", None),
        ] {
            let suggestion = suggestion.map(str::to_owned);
            let expected = Err(NameProblem::Misnamed { suggestion });
            assert_eq!(FileName::parse(file_name), expected, "{file_name}");
        }
    }

    #[test]
    fn a_version_must_fit() {
        for (file_name, version, rule) in [
            ("V9223372036854775808__a.sql", "9223372036854775808", VersionRule::TooLarge),
            ("V1.1__a.sql", "1.1", VersionRule::NotWhole),
            ("V١__a.sql", "١", VersionRule::ForeignDigits),
        ] {
            let version = version.to_owned();
            let expected = Err(NameProblem::Version { version, rule });
            assert_eq!(FileName::parse(file_name), expected);
        }
    }

    #[test]
    fn a_migration_in_rust_is_told_apart() {
        for file_name in ["V1__a.rs", "V1.1__a.rs"] {
            assert_eq!(FileName::parse(file_name), Err(NameProblem::Rust));
        }
    }
}
