//! How work on many schemas is carried out, on the command line.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::context::Context;
use super::error::CommandError;
use super::globals::limit;
use crate::migration::{ExecuteOptions, Mode};
use crate::project::Timeout;

/// How
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "How")]
pub(crate) struct ExecutionArgs {
    #[command(flatten)]
    pace: PaceArgs,

    /// The longest a statement waits for a lock, and so the longest it makes others wait; most
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
    max_failures: Option<Budget>,

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

/// How many may fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Budget {
    Number(usize),
    Percent(f64),
}

impl std::str::FromStr for Budget {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{given}` is neither a number above 0 nor a share such as `2%`");
        let budget = match given.strip_suffix('%') {
            Some(percent) => Self::Percent(percent.parse().map_err(|_| wrong())?),
            None => Self::Number(given.parse().map_err(|_| wrong())?),
        };
        match budget {
            Self::Number(0) => Err(wrong()),
            Self::Percent(percent) if !(percent > 0.0 && percent <= 100.0) => Err(wrong()),
            budget => Ok(budget),
        }
    }
}

impl Budget {
    /// Returns the number of failures of `total` schemas after which to stop; at least 1.
    fn of(self, total: usize) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => ((total as f64 * percent / 100.0).floor() as usize).max(1),
        }
    }
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
        let budget = self.max_failures.unwrap_or(Budget::Number(100));
        if self.fail_fast { 1 } else { budget.of(total) }
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
        let path = context.path()?;
        let jobs = self.pace.jobs(context)?;
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_budget_is_a_number_or_a_share() {
        assert_eq!("3".parse(), Ok(Budget::Number(3)));
        assert_eq!("2%".parse::<Budget>().unwrap().of(200), 4);
        assert_eq!("2%".parse::<Budget>().unwrap().of(10), 1);
    }

    #[test]
    fn a_budget_of_nothing_is_refused() {
        for given in ["0", "0%", "-1", "101%", "x", "", "%"] {
            assert!(given.parse::<Budget>().is_err(), "{given}");
        }
    }
}
