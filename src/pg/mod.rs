//! Postgres: connecting, quoting, readable SQL errors, and the project's private server.
//!
//! Everything is sent by the simple query protocol, and nothing depends on session state, so that
//! every verb works through a transaction pooler.

mod client;
mod connect;
mod connection;
mod environment;
mod error;
mod lane;
mod quote;
mod scope;
pub mod server;
mod spare;

pub(crate) use client::Said;
pub use client::{ClientError, ClientProgram, Needed};
pub use connect::{Database, Source, UrlError};
pub use connection::{Connection, Incomplete, Row, Rows};
pub use environment::Variable;
pub use error::{ConnectError, Place, SqlError, SqlErrorFields};
pub use lane::Lane;
pub(crate) use lane::Session;
pub use quote::{array, identifier, literal, qualified, search_path};
pub use scope::{BEING_DELETED, Scope, ScopeError, Scoped};
pub use spare::Spare;
