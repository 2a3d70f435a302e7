//! Options that every command takes.

use std::path::PathBuf;
use std::time::Duration;

use super::report::{Format, Report};
use crate::project::{Timeout, TimeoutError};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Globals {
    /// The database, as `postgres://user:password@host:port/database`
    ///
    /// Without it: `DATABASE_URL` from the environment, then from `.env`; then libpq's `PGHOST`,
    /// `PGDATABASE` and the like; then the project's private server, if one was started.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    pub(crate) database_url: Option<String>,

    /// The configuration, instead of `tenantctl.toml` here or, within a git repository, above
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) config: Option<PathBuf>,

    /// How long a connection may take to open; otherwise what the database's URL says with
    /// `connect_timeout`, or 10s
    #[arg(long, global = true, value_name = "TIME", value_parser = limit, help_heading = "Everywhere")]
    pub(crate) connect_timeout: Option<Duration>,

    /// How answers are written
    #[arg(long, global = true, value_enum, default_value = "text", help_heading = "Everywhere")]
    pub(crate) format: Format,

    /// Whether to use colour
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        value_name = "WHEN",
        help_heading = "Everywhere"
    )]
    color: Color,

    /// Say nothing on the way; answers, warnings and errors are written all the same
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    quiet: bool,

    /// Say more: every schema, every name
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// Reads a length of time that has to end.
pub(super) fn limit(given: &str) -> Result<Duration, String> {
    match given.parse::<Timeout>() {
        Ok(Timeout::After(duration)) => Ok(duration),
        Ok(Timeout::Off) => Err("there has to be a limit".into()),
        // What it says of `off` holds elsewhere.
        Err(TimeoutError::TooShort { .. }) => Err("it is less than a millisecond".into()),
        Err(TimeoutError::Unreadable { .. }) => {
            Err("it is not a length of time such as `500ms` or `5s`".into())
        }
        Err(error) => Err(error.to_string()),
    }
}

impl Globals {
    pub(crate) fn report(&self) -> Report {
        match self.color {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        Report { format: self.format, quiet: self.quiet, verbose: self.verbose }
    }
}
