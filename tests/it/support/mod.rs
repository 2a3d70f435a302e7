//! What the tests stand on: one Postgres for the run, and for each test a project with a database.

pub(crate) mod cluster;
mod own_server;
pub(crate) mod pgbouncer;
mod program;
mod project;
pub(crate) mod proxy;
mod quick_password;
mod redact;
pub(crate) mod terminal;
mod waiting;

pub(crate) use own_server::OwnServer;
pub(crate) use program::Program;
#[allow(unused_imports, reason = "for the tests of commands")]
pub(crate) use project::Project;
pub(crate) use waiting::{Blocker, eventually};
