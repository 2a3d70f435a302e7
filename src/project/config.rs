//! What `tenantctl.toml` says. Its defaults are what holds without one.

use std::{
    fmt, fs, io,
    num::NonZeroUsize,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de};

use super::Timeout;
use crate::{migration::scaffold::Numbering, name::SchemaName};

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub migrations: MigrationsConfig,
    pub registry: RegistryConfig,
    pub database: DatabaseConfig,
    pub migrate: MigrateConfig,
    pub seeds: SeedsConfig,
    pub hooks: HooksConfig,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MigrationsConfig {
    /// The folder that holds `shared` and `tenant`, as seen from the configuration.
    pub dir: PathBuf,
    pub numbering: Numbering,
}

/// Where the tenants are listed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    pub shared_schema: SchemaName,
    #[serde(deserialize_with = "identifier")]
    pub tenants: String,
    #[serde(deserialize_with = "identifier")]
    pub domains: String,
    pub columns: RegistryColumns,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryColumns {
    #[serde(deserialize_with = "identifier")]
    pub id: String,
    #[serde(deserialize_with = "identifier")]
    pub schema_name: String,
    /// What people call the tenant.
    #[serde(deserialize_with = "identifier")]
    pub name: String,
    #[serde(deserialize_with = "identifier")]
    pub tenant_id: String,
    #[serde(deserialize_with = "identifier")]
    pub domain: String,
    #[serde(deserialize_with = "identifier")]
    pub is_primary: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Schemas that tenants read after their own and the shared one.
    pub extra_search_path: Vec<SchemaName>,
}

/// Defaults for the flags of `migrate-schemas`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MigrateConfig {
    pub jobs: Option<NonZeroUsize>,
    pub lock_timeout: Option<Timeout>,
    pub statement_timeout: Option<Timeout>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeedsConfig {
    /// The folder that holds `tenant`, as seen from the configuration.
    pub dir: PathBuf,
}

/// Programs that are run when something happens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HooksConfig {
    pub pre_migrate: Program,
    pub post_migrate: Program,
    pub post_create: Program,
    pub pre_delete: Program,
    /// How long each may take.
    pub timeout: Timeout,
}

/// A program and its arguments; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program(pub Vec<String>);

impl<'de> Deserialize<'de> for Program {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl<'de> de::Visitor<'de> for Words {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a program, or a list of it and its arguments")
            }

            fn visit_str<E: de::Error>(self, program: &str) -> Result<Self::Value, E> {
                Ok(vec![program.to_owned()])
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(list))
            }
        }

        let words = deserializer.deserialize_any(Words)?;
        if words.first().is_some_and(String::is_empty) || words.iter().any(|it| it.contains('\0')) {
            let message = "a program has a name, and no word contains NUL";
            return Err(de::Error::custom(message));
        }
        Ok(Self(words))
    }
}

/// Why a configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("there is no configuration `{}`", file.display())]
    Missing { file: PathBuf },
    #[error("configuration `{}` could not be read", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("`{}:{line}:{column}`: {message}", file.display())]
    Invalid { file: PathBuf, line: usize, column: usize, message: String },
}

impl Config {
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let owned = || file.to_owned();
        let text = fs::read_to_string(file).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ConfigError::Missing { file: owned() },
            _ => ConfigError::Unreadable { file: owned(), source },
        })?;
        Self::parse(&text).map_err(|error| {
            let (line, column) = position(&text, error.span());
            ConfigError::Invalid {
                file: owned(),
                line,
                column,
                message: error.message().replace('\n', ", "),
            }
        })
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

/// Returns line and column of a place in a text, counted from 1.
fn position(text: &str, span: Option<Range<usize>>) -> (usize, usize) {
    let offset = span.map_or(0, |span| span.start);
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Takes what Postgres takes for the name of a table or a column.
fn identifier<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.is_empty() || name.len() > 63 || name.contains('\0') {
        let message = "a table's or column's name has 1 to 63 bytes, none of them NUL";
        return Err(de::Error::custom(message));
    }
    Ok(name)
}

impl Default for MigrationsConfig {
    fn default() -> Self {
        Self { dir: "migrations".into(), numbering: Numbering::default() }
    }
}

impl Default for SeedsConfig {
    fn default() -> Self {
        Self { dir: "seeds".into() }
    }
}

impl Default for HooksConfig {
    fn default() -> Self {
        let none = Program::default;
        Self {
            pre_migrate: none(),
            post_migrate: none(),
            post_create: none(),
            pre_delete: none(),
            timeout: Timeout::Off,
        }
    }
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            shared_schema: SchemaName::registered("public"),
            tenants: "tenants".into(),
            domains: "domains".into(),
            columns: RegistryColumns::default(),
        }
    }
}

impl Default for RegistryColumns {
    fn default() -> Self {
        Self {
            id: "id".into(),
            schema_name: "schema_name".into(),
            name: "name".into(),
            tenant_id: "tenant_id".into(),
            domain: "domain".into(),
            is_primary: "is_primary".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_read() {
        let config = Config::parse(
            r#"
            migrations = { dir = "db", numbering = "timestamp" }
            database.extra_search_path = ["extensions"]
            migrate = { jobs = 8, lock_timeout = "500ms", statement_timeout = "off" }
            seeds.dir = "data"
            hooks = { pre_migrate = "./backup", post_create = ["./welcome", "--mail"], timeout = "5m" }
            [registry]
            shared_schema = "Shared"
            tenants = "customers_client"
            domains = "customers_domain"
            columns = { id = "pk", tenant_id = "client_id" }
            "#,
        )
        .unwrap();
        assert_eq!(config.migrations.dir, Path::new("db"));
        assert_eq!(config.migrations.numbering, Numbering::Timestamp);
        assert_eq!(config.database.extra_search_path[0].as_str(), "extensions");
        assert_eq!(config.migrate.jobs.unwrap().get(), 8);
        assert_eq!(config.migrate.statement_timeout, Some(Timeout::Off));
        assert_eq!(config.seeds.dir, Path::new("data"));
        assert_eq!(config.hooks.pre_migrate.0, ["./backup"]);
        assert_eq!(config.hooks.post_create.0, ["./welcome", "--mail"]);
        assert!(config.hooks.post_migrate.0.is_empty());
        assert_eq!(config.registry.shared_schema.as_str(), "Shared");
        assert_eq!(config.registry.tenants, "customers_client");
        assert_eq!(config.registry.columns.tenant_id, "client_id");
        assert_eq!(config.registry.columns.domain, "domain");
    }

    #[test]
    fn nothing_means_the_defaults() {
        for text in ["", "\u{feff}# bom", "[registry]\r\n[migrations]\r\n"] {
            assert_eq!(Config::parse(text).unwrap(), Config::default());
        }
    }

    #[test]
    fn an_error_says_where_and_what() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tenantctl.toml");
        for (text, error) in [
            ("\n[migrations]\ndri = 1", "3:1`: unknown field `dri`, expected `dir` or `numbering`"),
            (
                "x = 1",
                "1:1`: unknown field `x`, expected one of `migrations`, `registry`, `database`, `migrate`, \
                 `seeds`, `hooks`",
            ),
            ("[registry]\ntenants = 7", "2:11`: invalid type: integer `7`, expected a string"),
            (
                "[registry]\nshared_schema = 'pg_x'",
                "2:17`: schema name `pg_x` begins with `pg_`, which Postgres reserves for itself",
            ),
            (
                "[registry.columns]\nid = ''",
                "2:6`: a table's or column's name has 1 to 63 bytes, none of them NUL",
            ),
            ("[migrate]\njobs = 0", "2:8`: invalid value: integer `0`, expected a nonzero usize"),
            (
                "[migrate]\nlock_timeout = '0'",
                "2:16`: `0` is less than a millisecond; no limit is spelled `off`",
            ),
            (
                "[migrations]\nnumbering = 'x'",
                "2:13`: unknown variant `x`, expected `sequence` or `timestamp`",
            ),
            (
                "[hooks]\npre_migrate = 7",
                "2:15`: invalid type: integer `7`, expected a program, or a list of it and its arguments",
            ),
            ("[hooks]\npre_migrate = ['']", "2:15`: a program has a name"),
            ("'ü' = = 1", "1:7`: extra `=`, expected nothing"),
            ("[", "1:2`: "),
        ] {
            fs::write(&file, text).unwrap();
            let found = Config::read(&file).unwrap_err().to_string();
            assert!(found.contains(error), "{text:?}: {found}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.toml");
        assert!(matches!(Config::read(&file), Err(ConfigError::Missing { .. })));
        fs::write(&file, b"\xff").unwrap();
        assert!(matches!(Config::read(&file), Err(ConfigError::Unreadable { .. })));
    }
}
