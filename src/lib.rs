//! Schema-per-tenant Postgres: one database, one schema per tenant, one shared schema.
//!
//! The program `tenantctl` is a thin layer over this library. Each module uses only those listed
//! above it:
//!
//! - [`name`]: names checked once, when they are made;
//! - [`pg`]: Postgres itself: connecting, quoting, readable errors, the private server;
//! - [`run_log`]: who changed what, when and with which result;
//! - [`migration`]: files, history, plan, apply: what each schema has and lacks;
//! - [`structure`]: what one schema is made of, as the statements that make it again;
//! - [`project`]: the folder with the configuration and the migrations;
//! - [`tenant`]: the registry of tenants and domains, and what is done to a tenant;
//! - [`resolve`]: for apps: from a hostname to its tenant and its schema.
//!
//! [`event`] is what happens during a run, for whoever is told of it: the library prints nothing.
//! It knows neither the terminal nor clap; build it without them by `default-features = false`.
//!
//! What `tenantctl migrate-schemas --tenants` does, from another program:
//!
//! ```no_run
//! use tenantctl::event::Silent;
//! use tenantctl::migration::sql::{Context, Folder};
//! use tenantctl::migration::{ExecuteOptions, Interrupt, MigrationFolder, MigrationSet, PlanOptions};
//! use tenantctl::pg::{Database, Source};
//! use tenantctl::tenant::{Migrate, Registry, Selection};
//!
//! # async fn migrate() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = MigrationFolder::read("migrations/tenant".as_ref())?;
//! let migrations = MigrationSet::new(folder, Context::new(Folder::Tenant, "public"));
//! let migrate = Migrate {
//!     database: &Database::from_url("postgres://localhost/app", Source::Given)?,
//!     registry: &Registry::default(),
//!     selection: &Selection { tenants: true, ..Selection::default() },
//!     shared: None,
//!     tenants: Some(&migrations),
//!     plan: PlanOptions::default(),
//! };
//! // Looks, and refuses what can be refused before anything is done.
//! let mut prepared = migrate.prepare().await?;
//! let options = ExecuteOptions::default();
//! let migrated = migrate.run(&mut prepared, &options, &Silent, &Interrupt::default()).await?;
//! prepared.close().await;
//! assert!(migrated.is_complete());
//! # Ok(())
//! # }
//! ```

pub mod event;
pub mod migration;
pub mod name;
pub mod pg;
pub mod project;
pub mod resolve;
pub mod run_log;
pub mod structure;
pub mod tenant;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
