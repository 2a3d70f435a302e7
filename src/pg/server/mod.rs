//! The project's private Postgres server, for development and tests.
