//! The registry of tenants and domains, and what is done to a tenant.

mod registry;

pub use registry::{Names, Registry, RegistryError};
