//! The registry of tenants and domains, and what is done to a tenant.

mod change;
mod clone;
mod column;
mod create;
mod delete;
mod details;
pub mod doctor;
mod domain;
mod domain_sql;
mod dropping;
mod listing;
mod migrate;
mod naming;
mod registry;
mod rename;
mod run_sql;
mod seed;
mod selection;
mod update;
pub mod user;

pub use change::ChangeError;
pub use clone::{CloneError, CloneTenant, Cloned, Mask};
pub use column::{Column, columns};
pub use create::{CreateTenants, NewTenant, Obstacle, PreparedTenants, check_value};
pub use delete::{DeleteError, DeleteTenant, Doomed};
pub use details::{Contents, TenantDetails, tenant_details};
pub use domain::{ChangeDomains, DeletedDomain, Domain, DomainError, NewPrimary, list_domains};
pub use listing::{Tenant, Tenants, Value, list_tenants, tenant_of_host};
pub(crate) use listing::{question_about_host, read as read_tenants};
pub use migrate::{FileFinding, Migrate, MigrateError, Migrated, Prepared};
pub use registry::{Names, Registry, RegistryError, SortKey};
pub use rename::{RenameError, RenameTenant, Renamed};
pub use run_sql::{Answer, Refusal, RunSqlError, SqlText};
pub use seed::{PreparedSeeds, RunSeeds};
pub use selection::{Selection, SelectionError};
pub use update::{Changed, UpdateError, UpdateTenant};
