//! The registry of tenants and domains, and what is done to a tenant.

mod change;
mod clone;
mod column;
mod create;
mod domain;
mod domain_sql;
mod listing;
mod migrate;
mod registry;
mod run_sql;
mod seed;
mod selection;
pub mod user;

pub use change::ChangeError;
pub use clone::{CloneError, CloneTenant, Cloned, Mask};
pub use column::{Column, columns};
pub use create::{CreateTenants, NewTenant, Obstacle, PreparedTenants, check_value};
pub use domain::{
    DeletedDomain, Domain, DomainError, NewPrimary, create_domain, delete_domain, list_domains,
    set_primary_domain,
};
pub use listing::{Tenant, Tenants, Value, list_tenants, tenant_of_host};
pub(crate) use listing::{question_about_host, read as read_tenants};
pub use migrate::{FileFinding, Migrate, MigrateError, Migrated, Prepared};
pub use registry::{Names, Registry, RegistryError, SortKey};
pub use run_sql::{Answer, Refusal, RunSqlError, SqlText};
pub use seed::{PreparedSeeds, RunSeeds};
pub use selection::{Selection, SelectionError};
