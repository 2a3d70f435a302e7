//! The name of a Postgres schema.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest name Postgres keeps: `NAMEDATALEN - 1`. It cuts longer ones in silence.
const MAX_BYTES: usize = 63;

/// The schema in which tenantctl keeps its own records, and which therefore is nobody's.
pub const OWN_SCHEMA: &str = "tenantctl";

/// A schema's name, exactly as Postgres stores it.
///
/// It is compared byte for byte and may hold anything an identifier may: hyphens, upper case,
/// keywords, quotes. Quote it wherever it becomes SQL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SchemaName(Arc<str>);

/// Why a name cannot be a schema's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaNameError {
    #[error("a schema name cannot be empty")]
    Empty,
    #[error("a schema name cannot be blank")]
    Blank,
    #[error("schema name `{}` contains a NUL character", name.escape_default())]
    Nul { name: String },
    #[error("schema name `{}` contains a control character", name.escape_default())]
    ControlCharacter { name: String, character: char },
    #[error("schema name `{name}` begins or ends with white space")]
    OuterSpace { name: String },
    #[error("schema name `{name}` is {bytes} bytes long, and Postgres keeps {MAX_BYTES}")]
    TooLong { name: String, bytes: usize },
    #[error("schema name `{name}` begins with `pg_`, which Postgres reserves for itself")]
    SystemPrefix { name: String },
    #[error("schema name `{name}` has a meaning of its own to Postgres")]
    System { name: String },
    #[error("`{name}` is the shared schema, not a tenant's")]
    Shared { name: String },
    #[error("schema `{name}` holds tenantctl's own records")]
    Own { name: String },
}

impl SchemaNameError {
    /// Whether a schema of this name is Postgres' own, the shared one or ours.
    pub fn is_reserved(&self) -> bool {
        matches!(
            self,
            Self::SystemPrefix { .. }
                | Self::System { .. }
                | Self::Shared { .. }
                | Self::Own { .. }
        )
    }
}

impl SchemaName {
    /// Returns the name of a tenant's schema, which can be neither the shared schema nor ours.
    pub fn tenant(name: &str, shared: &str) -> Result<Self, SchemaNameError> {
        let name: Self = name.parse()?;
        match name.as_str() {
            it if it == shared => Err(SchemaNameError::Shared { name: it.into() }),
            OWN_SCHEMA => Err(SchemaNameError::Own { name: OWN_SCHEMA.into() }),
            _ => Ok(name),
        }
    }

    /// Returns the name that a registry row or a catalog holds, as it is and unchecked: what
    /// stands there may be older than our rules and must still be named in reports.
    pub fn registered(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SchemaName {
    type Err = SchemaNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        check(name)?;
        Ok(Self(name.into()))
    }
}

fn check(name: &str) -> Result<(), SchemaNameError> {
    use SchemaNameError::*;

    let owned = || name.to_owned();
    if name.is_empty() {
        return Err(Empty);
    }
    if name.trim().is_empty() {
        return Err(Blank);
    }
    match name.chars().find(|character| character.is_control()) {
        Some('\0') => return Err(Nul { name: owned() }),
        Some(character) => {
            return Err(ControlCharacter { name: owned(), character });
        }
        None => {}
    }
    if name.trim() != name {
        return Err(OuterSpace { name: owned() });
    }
    if name.len() > MAX_BYTES {
        return Err(TooLong { name: owned(), bytes: name.len() });
    }
    // Postgres compares these exactly: `PG_x` and `Information_Schema` are names like any other.
    if name.starts_with("pg_") {
        return Err(SystemPrefix { name: owned() });
    }
    if matches!(name, "information_schema" | "$user") {
        return Err(System { name: owned() });
    }
    Ok(())
}

impl TryFrom<String> for SchemaName {
    type Error = SchemaNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<SchemaName> for String {
    fn from(name: SchemaName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl AsRef<str> for SchemaName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgres_can_quote_is_a_name() {
        let longest = "a".repeat(63);
        for name in [
            "acme",
            "eha-meetup",
            "1acme",
            "1234",
            "Acme",
            "select",
            "null",
            "Tenant 1",
            "bücher",
            "o'brien; drop schema x",
            r#"x", "y"#,
            "a,b",
            "-x",
            "--all",
            "PG_x",
            "pgx",
            "public",
            &longest,
        ] {
            assert_eq!(name.parse::<SchemaName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn every_refusal_states_its_rule() {
        let (too_long, wide) = ("a".repeat(64), "é".repeat(40));
        for (name, rule) in [
            ("", "a schema name cannot be empty"),
            (" \t", "a schema name cannot be blank"),
            ("a\0b", r"contains a NUL character"),
            ("a\x1b[31m", r"`a\u{1b}[31m` contains a control character"),
            ("a\n", r"`a\n` contains a control character"),
            (" acme", "begins or ends with white space"),
            ("acme\u{a0}", "begins or ends with white space"),
            (&too_long, "is 64 bytes long, and Postgres keeps 63"),
            (&wide, "is 80 bytes long, and Postgres keeps 63"),
            ("pg_x", "begins with `pg_`"),
            ("information_schema", "has a meaning of its own"),
            ("$user", "has a meaning of its own"),
        ] {
            let error = name.parse::<SchemaName>().unwrap_err().to_string();
            assert!(error.contains(rule), "{name:?}: {error}");
        }
    }

    #[test]
    fn the_shared_schema_and_our_own_are_no_tenants() {
        let tenant = |name| SchemaName::tenant(name, "shared").map(String::from);
        assert_eq!(tenant("public").unwrap(), "public");
        assert_eq!(
            tenant("shared").unwrap_err().to_string(),
            "`shared` is the shared schema, not a tenant's"
        );
        assert!(matches!(tenant("tenantctl"), Err(SchemaNameError::Own { .. })));
        assert!(matches!(tenant(""), Err(SchemaNameError::Empty)));
    }

    #[test]
    fn a_registered_name_is_taken_as_it_is() {
        assert_eq!(SchemaName::registered(" pg_x\n").as_str(), " pg_x\n");
    }
}
