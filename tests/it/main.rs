//! Tests of the real program on a real Postgres.

mod cli;
mod deaths;
mod interrupts;
mod locks;
mod no_transaction;
mod pooler;
mod server;
mod support;
mod two_at_once;
