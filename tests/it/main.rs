//! Tests of the real program on a real Postgres.

mod cli;
mod server;
mod support;
