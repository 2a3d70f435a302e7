//! Postgres: connecting, quoting, locks, readable SQL errors, and the project's private server.

pub mod server;
