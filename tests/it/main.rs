//! Tests of the real program on a real Postgres.

mod server;
mod support;
