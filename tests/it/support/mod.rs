//! What the tests stand on: one Postgres for the run, and for each test a project with a database.

pub(crate) mod cluster;
mod project;
mod redact;
mod terminal;
mod waiting;

#[allow(unused_imports, reason = "for the tests of commands")]
pub(crate) use project::Project;
pub(crate) use waiting::eventually;
