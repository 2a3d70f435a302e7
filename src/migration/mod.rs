//! Migrations: files, statements, history, plan and apply.

pub mod sql;
