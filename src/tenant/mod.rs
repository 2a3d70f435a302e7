//! The registry of tenants and domains, and what is done to a tenant.

mod column;
mod listing;
mod migrate;
mod registry;
mod selection;

pub use column::{Column, columns};
pub use listing::{Tenant, Tenants, Value, list_tenants};
pub use migrate::{FileFinding, Migrate, MigrateError, Migrated, Prepared};
pub use registry::{Names, Registry, RegistryError};
pub use selection::{Selection, SelectionError};
