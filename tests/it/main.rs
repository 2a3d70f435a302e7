//! Tests of the real program on a real Postgres.

mod beyond;
mod cli;
mod connections;
mod core;
mod deaths;
mod docs;
mod dry_run;
mod hooks;
mod interrupts;
mod locks;
mod no_transaction;
mod own_tables;
mod pooler;
mod resolve;
mod server;
mod support;
mod together;
mod two_at_once;
mod waves;
