//! Tests of the real program on a real Postgres.

mod cli;
mod core;
mod docs;
mod resolve;
mod server;
mod support;
