//! For apps that embed the library: which tenant a hostname leads to, and transactions in that
//! tenant's schema.
//!
//! [`TenantResolver`] needs nothing but an sqlx pool. With the feature `tower` there is a
//! `TenantLayer`, and with `axum` the [`Tenant`](crate::tenant::Tenant) is an extractor:
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, extract::State, http::StatusCode, routing::get};
//! use tenantctl::resolve::{TenantLayer, TenantResolver};
//! use tenantctl::tenant::{Names, Tenant};
//!
//! async fn notes(
//!     tenant: Tenant,
//!     State(resolver): State<TenantResolver>,
//! ) -> Result<String, StatusCode> {
//!     let unavailable = |_| StatusCode::SERVICE_UNAVAILABLE;
//!     let mut transaction = resolver.scope(&tenant.schema).await.map_err(unavailable)?;
//!     let count: i64 = sqlx::query_scalar("select count(*) from notes")
//!         .fetch_one(&mut *transaction)
//!         .await
//!         .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
//!     Ok(format!("{} has {count} notes", tenant.schema))
//! }
//!
//! fn app(pool: sqlx::PgPool) -> Router {
//!     let resolver = TenantResolver::new(pool, Names::default());
//!     Router::new()
//!         .route("/notes", get(notes))
//!         .layer(TenantLayer::new(resolver.clone()))
//!         .with_state(resolver)
//! }
//! ```

mod cache;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "tower")]
mod layer;
mod resolver;

#[cfg(feature = "tower")]
pub use layer::{TenantLayer, TenantService};
pub use resolver::{ResolveError, TenantResolver};
