//! Waves: a few schemas first, and the others only once those are done; so many at a time, with a
//! pause between.

use std::str::FromStr;
use std::time::Duration;

use crate::name::SchemaName;

/// A number of schemas, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    /// So many.
    Number(usize),
    /// So many of a hundred.
    Percent(f64),
}

/// A text that is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is neither a number above 0 nor a share such as `2%`")]
pub struct ShareError {
    /// What was given.
    pub given: String,
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let wrong = || ShareError { given: given.to_owned() };
        let share = match given.strip_suffix('%') {
            Some(percent) => Self::Percent(percent.parse().map_err(|_| wrong())?),
            None => Self::Number(given.parse().map_err(|_| wrong())?),
        };
        match share {
            Self::Number(0) => Err(wrong()),
            Self::Percent(percent) if !(percent > 0.0 && percent <= 100.0) => Err(wrong()),
            share => Ok(share),
        }
    }
}

impl Share {
    /// Returns the number it stands for among `total`, rounded down; at least 1.
    pub fn at_most(self, total: usize) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => ((total as f64 * percent / 100.0).floor() as usize).max(1),
        }
    }

    /// Returns the number it stands for among `total`, rounded up; at least 1.
    pub fn at_least(self, total: usize) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => ((total as f64 * percent / 100.0).ceil() as usize).max(1),
        }
    }
}

/// The schemas that come before all others.
#[derive(Debug, Clone, PartialEq)]
pub enum Canaries {
    /// The first of those that are behind.
    First(Share),
    /// These, if they are behind.
    Named(Vec<SchemaName>),
}

/// In which waves schemas are migrated; all in one unless something is said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Waves {
    /// These are the first wave; no others are started if one of them is not done.
    pub canaries: Option<Canaries>,
    /// The most in one wave, of those that are left after the canaries.
    pub size: Option<Share>,
    /// How long nothing is done between two waves.
    pub pause: Duration,
}

/// One wave of whatever is done with a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wave<T> {
    pub(crate) is_canary: bool,
    pub(crate) items: Vec<T>,
}

impl Waves {
    /// Returns the named canaries that are not among `schemas`.
    pub fn strangers<'a>(&self, schemas: impl Iterator<Item = &'a SchemaName>) -> Vec<SchemaName> {
        let Some(Canaries::Named(names)) = &self.canaries else {
            return Vec::new();
        };
        let known: std::collections::HashSet<_> = schemas.collect();
        names.iter().filter(|name| !known.contains(name)).cloned().collect()
    }

    /// Whether this schema is a canary by its name.
    pub(super) fn names(&self, schema: &SchemaName) -> bool {
        matches!(&self.canaries, Some(Canaries::Named(names)) if names.contains(schema))
    }

    /// Returns the schemas that are behind, wave by wave: the number of each, and whether it is the
    /// canaries'.
    pub fn of_schemas(&self, behind: Vec<SchemaName>) -> Vec<(bool, Vec<SchemaName>)> {
        let waves = self.split(behind, |schema| schema);
        waves.into_iter().map(|wave| (wave.is_canary, wave.items)).collect()
    }

    /// Sorts what is to be done into waves, none of them empty; the order is kept within each.
    pub(crate) fn split<T>(&self, items: Vec<T>, name: impl Fn(&T) -> &SchemaName) -> Vec<Wave<T>> {
        let (canaries, others) = match &self.canaries {
            None => (Vec::new(), items),
            Some(Canaries::Named(_)) => items.into_iter().partition(|it| self.names(name(it))),
            Some(Canaries::First(share)) => {
                let mut canaries = items;
                let number = share.at_least(canaries.len()).min(canaries.len());
                let others = canaries.split_off(number);
                (canaries, others)
            }
        };
        let size = self.size.map_or(usize::MAX, |size| size.at_least(others.len()));
        let mut waves = vec![Wave { is_canary: true, items: canaries }];
        let mut others = others.into_iter().peekable();
        while others.peek().is_some() {
            let items = others.by_ref().take(size).collect();
            waves.push(Wave { is_canary: false, items });
        }
        waves.retain(|wave| !wave.items.is_empty());
        waves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(waves: &Waves, count: usize) -> Vec<(bool, String)> {
        let names: Vec<SchemaName> =
            (1..=count).map(|number| SchemaName::registered(&format!("t{number}"))).collect();
        let joined = |names: Vec<SchemaName>| {
            names.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(" ")
        };
        let waves = waves.of_schemas(names);
        waves.into_iter().map(|(is_canary, names)| (is_canary, joined(names))).collect()
    }

    fn first(share: &str) -> Option<Canaries> {
        Some(Canaries::First(share.parse().unwrap()))
    }

    #[test]
    fn everything_is_one_wave_unless_something_is_said() {
        assert_eq!(split(&Waves::default(), 2), [(false, "t1 t2".into())]);
        assert_eq!(split(&Waves::default(), 0), []);
    }

    #[test]
    fn canaries_come_first_and_the_others_in_batches() {
        let waves =
            Waves { canaries: first("2"), size: Some(Share::Number(3)), ..Waves::default() };
        let expected = [(true, "t1 t2".into()), (false, "t3 t4 t5".into()), (false, "t6".into())];
        assert_eq!(split(&waves, 6), expected);
        assert_eq!(split(&waves, 1), [(true, "t1".into())]);
    }

    #[test]
    fn a_share_is_rounded_up_and_at_least_one() {
        let waves = Waves { canaries: first("1%"), ..Waves::default() };
        assert_eq!(split(&waves, 3), [(true, "t1".into()), (false, "t2 t3".into())]);
        let waves = Waves { size: "50%".parse().ok(), ..Waves::default() };
        assert_eq!(split(&waves, 3), [(false, "t1 t2".into()), (false, "t3".into())]);
    }

    #[test]
    fn named_canaries_are_those_that_are_behind() {
        let names = ["t3", "t9"].map(SchemaName::registered).to_vec();
        let waves = Waves { canaries: Some(Canaries::Named(names)), ..Waves::default() };
        assert_eq!(split(&waves, 3), [(true, "t3".into()), (false, "t1 t2".into())]);
        let known = ["t1", "t3"].map(SchemaName::registered);
        assert_eq!(waves.strangers(known.iter()), [SchemaName::registered("t9")]);
    }

    #[test]
    fn a_share_is_a_number_or_a_percentage() {
        assert_eq!("3".parse(), Ok(Share::Number(3)));
        assert_eq!("2%".parse::<Share>().unwrap().at_most(200), 4);
        assert_eq!("2%".parse::<Share>().unwrap().at_most(10), 1);
        for given in ["0", "0%", "-1", "101%", "x", "", "%", "nan%"] {
            assert!(given.parse::<Share>().is_err(), "{given}");
        }
    }
}
