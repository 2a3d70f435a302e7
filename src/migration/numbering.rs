//! How a project numbers its migrations.

use serde::Deserialize;
use time::{OffsetDateTime, UtcOffset};

/// How versions are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbering {
    /// One more than the newest: V1, V2, V3.
    #[default]
    Sequence,
    /// The time in UTC: V20260131120000.
    Timestamp,
}

impl Numbering {
    /// Returns the version that follows a folder's newest; none after the greatest of all.
    ///
    /// Where versions are timestamps already, a sequence goes on with them.
    pub(crate) fn version_after(self, newest: Option<i64>, now: OffsetDateTime) -> Option<i64> {
        let next = newest.unwrap_or(0).checked_add(1)?;
        match self {
            Numbering::Sequence if !newest.is_some_and(is_timestamp) => Some(next),
            _ => Some(next.max(timestamp(now))),
        }
    }
}

fn is_timestamp(version: i64) -> bool {
    (10_i64.pow(13)..10_i64.pow(14)).contains(&version)
}

fn timestamp(now: OffsetDateTime) -> i64 {
    let now = now.to_offset(UtcOffset::UTC);
    let date = [now.month() as u8, now.day()];
    let time = [now.hour(), now.minute(), now.second()];
    let two_digits = date.iter().chain(&time).map(|it| i64::from(*it));
    two_digits.fold(i64::from(now.year()), |all, it| all * 100 + it)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-31 14:05:09 +2);
    const THEN: i64 = 20_260_131_120_509;

    #[test]
    fn the_next_version_is_greater_than_all() {
        use Numbering::*;
        for (newest, numbering, next) in [
            (None, Sequence, Some(1)),
            (Some(0), Sequence, Some(1)),
            (Some(7), Sequence, Some(8)),
            (None, Timestamp, Some(THEN)),
            (Some(7), Timestamp, Some(THEN)),
            (Some(20_250_101_000_000), Sequence, Some(THEN)),
            (Some(THEN), Timestamp, Some(THEN + 1)),
            (Some(THEN + 5), Sequence, Some(THEN + 6)),
            (Some(i64::MAX - 1), Timestamp, Some(i64::MAX)),
            (Some(i64::MAX), Sequence, None),
            (Some(i64::MAX), Timestamp, None),
        ] {
            assert_eq!(numbering.version_after(newest, NOW), next, "{newest:?} {numbering:?}");
        }
    }
}
