//! The registry of tenants and domains, and what is done to a tenant.

mod migrate;
mod registry;
mod run_sql;
mod selection;
pub mod user;

pub use migrate::{FileFinding, Migrate, MigrateError, Migrated, Prepared};
pub use registry::{Names, Registry, RegistryError};
pub use run_sql::{Answer, Refusal, RunSqlError, SqlText};
pub use selection::{Selection, SelectionError};
