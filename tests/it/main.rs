//! Tests of the real program on a real Postgres.

mod cli;
mod docs;
mod server;
mod support;
