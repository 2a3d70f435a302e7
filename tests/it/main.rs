//! Tests of the real program on a real Postgres.

mod cli;
mod resolve;
mod docs;
mod server;
mod support;
