//! Migrations: files, statements, history, plan and apply.
