//! The registry of tenants and domains, and what is done to a tenant.

mod column;
mod create;
mod migrate;
mod registry;
mod selection;

pub use column::{Column, columns};
pub use create::{CreateTenants, NewTenant, Obstacle, PreparedTenants, check_value};
pub use migrate::{FileFinding, Migrate, MigrateError, Migrated, Prepared};
pub use registry::{Names, Registry, RegistryError};
pub use selection::{Selection, SelectionError};
