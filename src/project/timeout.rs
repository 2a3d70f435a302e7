//! How long something may take: `500ms`, `5s`, or `off`.

use std::{fmt, str::FromStr, time::Duration};

use serde::Deserialize;

/// A time limit that Postgres can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Timeout {
    Off,
    After(Duration),
}

/// Why a text is no time limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeoutError {
    #[error("`{given}` is not a length of time such as `500ms`, `5s` or `off`")]
    Unreadable { given: String },
    /// Postgres would take it for "no limit".
    #[error("`{given}` is less than a millisecond; no limit is spelled `off`")]
    TooShort { given: String },
    #[error("`{given}` is more than the {} days that Postgres can count", MAX.as_secs() / 86_400)]
    TooLong { given: String },
}

/// Postgres counts milliseconds in an `int4`.
const MAX: Duration = Duration::from_millis(i32::MAX as u64);

impl Timeout {
    /// Returns the milliseconds as Postgres' settings want them, where 0 is no limit.
    pub fn as_millis(self) -> u64 {
        match self {
            Timeout::Off => 0,
            Timeout::After(duration) => duration.as_millis() as u64,
        }
    }
}

impl FromStr for Timeout {
    type Err = TimeoutError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let owned = || given.to_owned();
        if given == "off" {
            return Ok(Timeout::Off);
        }
        if given == "0" {
            return Err(TimeoutError::TooShort { given: owned() });
        }
        match humantime::parse_duration(given) {
            Err(_) => Err(TimeoutError::Unreadable { given: owned() }),
            Ok(it) if it.as_millis() == 0 => Err(TimeoutError::TooShort { given: owned() }),
            Ok(it) if it > MAX => Err(TimeoutError::TooLong { given: owned() }),
            Ok(it) => Ok(Timeout::After(it)),
        }
    }
}

impl TryFrom<String> for Timeout {
    type Error = TimeoutError;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timeout::Off => f.write_str("off"),
            Timeout::After(duration) => humantime::format_duration(*duration).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_one_that_postgres_can_keep() {
        for (given, millis) in [("500ms", 500), ("5s", 5_000), ("1m 30s", 90_000), ("off", 0)] {
            let timeout: Timeout = given.parse().unwrap();
            assert_eq!(timeout.as_millis(), millis);
            assert_eq!(timeout.to_string(), given);
        }
    }

    #[test]
    fn every_refusal_states_its_rule() {
        for (given, rule) in [
            ("abc", "`abc` is not a length of time such as `500ms`, `5s` or `off`"),
            ("-5s", "is not a length of time"),
            ("", "is not a length of time"),
            ("5", "is not a length of time"),
            ("99999999999999999999s", "is not a length of time"),
            ("0", "is less than a millisecond"),
            ("0s", "is less than a millisecond"),
            ("10us", "is less than a millisecond; no limit is spelled `off`"),
            ("99999h", "is more than the 24 days that Postgres can count"),
        ] {
            let error = given.parse::<Timeout>().unwrap_err().to_string();
            assert!(error.contains(rule), "{given}: {error}");
        }
    }
}
