//! The registry of tenants and domains, and what is done to a tenant.

mod column;
mod migrate;
mod registry;
mod selection;

pub use column::{Column, columns};
pub use migrate::{FileFinding, Migrate, MigrateError, Migrated, Prepared};
pub use registry::{Names, Registry, RegistryError};
pub use selection::{Selection, SelectionError};
