//! Tests of the real program on a real Postgres.

mod cli;
mod resolve;
mod server;
mod support;
