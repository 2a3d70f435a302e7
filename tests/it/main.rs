//! Tests of the real program on a real Postgres.

mod cli;
mod core;
mod server;
mod support;
