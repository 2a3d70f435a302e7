//! Schema-per-tenant Postgres: one database, one schema per tenant, one shared schema.
//!
//! The program `tenantctl` is a thin layer over this library. Each module uses only those listed
//! above it:
//!
//! - [`name`]: names checked once, when they are made;
//! - [`pg`]: Postgres itself: connecting, quoting, locks, readable errors, the private server;
//! - [`migration`]: files, history, plan, apply: what each schema has and lacks;
//! - [`project`]: the folder with the configuration and the migrations;
//! - [`tenant`]: the registry of tenants and domains, and what is done to a tenant;
//! - [`resolve`]: for apps: from a hostname to its tenant and its schema.

pub mod event;
pub mod migration;
pub mod name;
pub mod pg;
pub mod project;
pub mod resolve;
pub mod tenant;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
