//! How work on many schemas is carried out, on the command line.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::context::Context;
use super::error::CommandError;
use super::globals::limit;
use crate::migration::{ExecuteOptions, Mode, Share, Waves};
use crate::project::Timeout;

/// How
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "How")]
pub(crate) struct ExecutionArgs {
    #[command(flatten)]
    pace: PaceArgs,

    /// The longest a transaction waits for its locks, and so the longest it makes others wait; most
    /// attempts wait 200 ms [default: 2s]
    ///
    /// Autovacuum yields only to who has waited `deadlock_timeout` (1 s by default): with less
    /// than that, a table that is being vacuumed stays busy. `off` waits for ever.
    #[arg(long, value_name = "TIME")]
    lock_timeout: Option<Timeout>,

    /// The longest a statement runs [default: off]
    #[arg(long, value_name = "TIME")]
    statement_timeout: Option<Timeout>,

    /// How often a busy schema is tried again once nothing else is left to do
    #[arg(long, value_name = "N", default_value_t = 10)]
    retries: u32,

    /// How long a server that went away is waited for
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = limit)]
    reconnect_for: Duration,

    /// Send each statement in a message of its own, in the same transaction
    #[arg(long)]
    one_by_one: bool,
}

/// How many at once, and when to stop.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "How")]
pub(crate) struct PaceArgs {
    /// How many schemas to work on at once [default: 4]
    #[arg(long, short, value_name = "N", value_parser = jobs)]
    jobs: Option<NonZeroUsize>,

    /// Start no further schema after so many have failed, a number or a share such as `2%`
    /// [default: 100]
    #[arg(long, value_name = "N|P%")]
    max_failures: Option<Share>,

    /// Start no further schema after one has failed
    #[arg(long)]
    fail_fast: bool,
}

fn jobs(given: &str) -> Result<NonZeroUsize, String> {
    given.parse().map_err(|_| "it is not a number above 0".into())
}

/// Returns the version that `7` or `V7` names.
pub(crate) fn version(given: &str) -> Result<i64, String> {
    let digits = given.strip_prefix('V').unwrap_or(given);
    digits.parse().map_err(|_| "it is not a version such as `7`".into())
}

impl PaceArgs {
    /// Returns how many schemas to work on at once: by the flag, then the configuration, then the
    /// default.
    pub(crate) fn jobs(&self, context: &mut Context) -> Result<usize, CommandError> {
        let jobs = self.jobs.or(context.project()?.config.migrate.jobs);
        Ok(jobs.map_or(ExecuteOptions::default().jobs, NonZeroUsize::get))
    }

    /// Returns the number of failures of `total` schemas after which to stop.
    pub(crate) fn max_failures(&self, total: usize) -> usize {
        let budget = self.max_failures.unwrap_or(Share::Number(100));
        if self.fail_fast { 1 } else { budget.at_most(total) }
    }

    /// Returns what both say, or the flag that both give.
    pub(crate) fn and(&self, other: &Self) -> Result<Self, &'static str> {
        if self.jobs.is_some() && other.jobs.is_some() {
            return Err("--jobs");
        }
        if self.max_failures.is_some() && other.max_failures.is_some() {
            return Err("--max-failures");
        }
        Ok(Self {
            jobs: self.jobs.or(other.jobs),
            max_failures: self.max_failures.or(other.max_failures),
            fail_fast: self.fail_fast || other.fail_fast,
        })
    }
}

impl ExecutionArgs {
    /// Returns the options, from the flags, then the configuration, then the defaults, for a run
    /// over `total` schemas.
    pub(crate) fn options(
        &self,
        context: &mut Context,
        mode: Mode,
        total: usize,
    ) -> Result<ExecuteOptions, CommandError> {
        let (path, jobs) = (context.path()?, self.jobs(context)?);
        let config = &context.project()?.config.migrate;
        let default = ExecuteOptions::default();
        let limit = |flag: Option<Timeout>, config: Option<Timeout>, default| match flag.or(config)
        {
            Some(Timeout::Off) => None,
            Some(Timeout::After(duration)) => Some(duration),
            None => default,
        };
        Ok(ExecuteOptions {
            mode,
            jobs,
            lock_timeout: limit(self.lock_timeout, config.lock_timeout, default.lock_timeout),
            statement_timeout: limit(
                self.statement_timeout,
                config.statement_timeout,
                default.statement_timeout,
            ),
            retries: self.retries,
            reconnect_for: self.reconnect_for,
            max_failures: Some(self.pace.max_failures(total)),
            one_by_one: self.one_by_one,
            path,
            waves: Waves::default(),
        })
    }

    /// Returns how many schemas are worked on at once.
    pub(crate) fn jobs(&self, context: &mut Context) -> Result<usize, CommandError> {
        self.pace.jobs(context)
    }
}
