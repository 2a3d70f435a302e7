//! Names, checked once, when they are made.

mod hostname;
mod schema_name;

pub use hostname::{Hostname, HostnameError, HostnameRule};
pub use schema_name::{OWN_SCHEMA, SchemaName, SchemaNameError};
