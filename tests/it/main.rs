//! Tests of the real program on a real Postgres.

mod cli;
mod core;
mod resolve;
mod server;
mod support;
