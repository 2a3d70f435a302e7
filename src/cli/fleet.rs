//! Something that is done in many schemas, a few at a time: what goes wrong in one is its own, and
//! the counts add up.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use futures_util::future::join_all;
use serde_json::json;

use super::error::{connect_hint, printable_lines};
use super::exit_code::ExitCode;
use super::report::Report;
use super::text::{count, few, grouped, printable, shell_word, stopped_early};
use crate::migration::{Interrupt, Urgency};
use crate::name::SchemaName;
use crate::pg::ConnectError;

/// So many names are told where nobody asked for more.
const SHOWN: usize = 5;

/// How it is done.
pub(crate) struct Fleet<'a> {
    /// How many schemas are worked on at once.
    pub(crate) jobs: usize,
    /// No further schema is started after so many have failed.
    pub(crate) max_failures: usize,
    pub(crate) interrupt: &'a Interrupt,
}

/// What came of one schema.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It was done, or it failed, as the status says.
    Ended(ExitCode),
    /// There was no connection, and nothing was tried.
    NoConnection(ConnectError),
}

/// Why no further schema was started.
#[derive(Debug)]
pub(crate) enum Stop {
    /// As many failed as were allowed to; what was under way then may have failed as well.
    Budget {
        /// How many were.
        most: usize,
    },
    /// A person asked to stop.
    Interrupted,
    /// The server is out of reach.
    Unreachable(ConnectError),
}

/// What came of all of them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: usize,
    /// With the status of each, ordered by name.
    pub(crate) failed: Vec<(SchemaName, ExitCode)>,
    pub(crate) not_attempted: Vec<SchemaName>,
    /// Why not all were attempted, if so.
    pub(crate) stop: Option<Stop>,
}

/// What the workers share.
struct State<'a> {
    fleet: &'a Fleet<'a>,
    left: RefCell<VecDeque<SchemaName>>,
    tally: RefCell<Tally>,
    workers: Cell<usize>,
}

impl Fleet<'_> {
    /// Does `work` in each schema, of which it is told the number of the worker, from 0, and the
    /// schema's name.
    pub(crate) async fn run(
        &self,
        schemas: Vec<SchemaName>,
        work: impl AsyncFn(usize, &SchemaName) -> Verdict,
    ) -> Tally {
        let workers = self.jobs.clamp(1, schemas.len().max(1));
        let state = State {
            fleet: self,
            left: RefCell::new(schemas.into()),
            tally: RefCell::default(),
            workers: Cell::new(workers),
        };
        join_all((0..workers).map(|number| state.work(number, &work))).await;
        state.finish()
    }
}

impl State<'_> {
    async fn work(&self, number: usize, work: &impl AsyncFn(usize, &SchemaName) -> Verdict) {
        while let Some(schema) = self.next() {
            match work(number, &schema).await {
                Verdict::Ended(ExitCode::Done | ExitCode::Child(0)) => {
                    self.tally.borrow_mut().done += 1;
                }
                Verdict::Ended(status) => self.fail(schema, status),
                Verdict::NoConnection(error) => {
                    self.left.borrow_mut().push_front(schema);
                    // With fewer at once there may be room.
                    let is_one_of_many = self.workers.get() > 1;
                    if !(error.is_too_many_clients() && is_one_of_many) {
                        self.stop(Stop::Unreachable(error));
                    }
                    break;
                }
            }
        }
        self.workers.set(self.workers.get() - 1);
    }

    fn next(&self) -> Option<SchemaName> {
        let is_stopped = self.tally.borrow().stop.is_some();
        let is_interrupted = self.fleet.interrupt.urgency() >= Urgency::Soon;
        if is_stopped || is_interrupted {
            return None;
        }
        self.left.borrow_mut().pop_front()
    }

    fn fail(&self, schema: SchemaName, status: ExitCode) {
        let mut tally = self.tally.borrow_mut();
        tally.failed.push((schema, status));
        let most = self.fleet.max_failures;
        if tally.failed.len() >= most {
            tally.stop.get_or_insert(Stop::Budget { most });
        }
    }

    fn stop(&self, reason: Stop) {
        self.tally.borrow_mut().stop.get_or_insert(reason);
    }

    fn finish(self) -> Tally {
        let mut tally = self.tally.into_inner();
        tally.not_attempted = self.left.into_inner().into();
        tally.failed.sort_by(|(a, _), (b, _)| a.cmp(b));
        let is_left = !tally.not_attempted.is_empty() || !tally.failed.is_empty();
        if self.fleet.interrupt.urgency() >= Urgency::Soon && is_left {
            tally.stop = Some(Stop::Interrupted);
        } else if tally.not_attempted.is_empty() {
            // The last failure that was allowed was the last schema.
            tally.stop = None;
        }
        tally
    }
}

impl Tally {
    /// Returns the status of the whole: the highest of any schema's, unless somebody interrupted.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let of_stop = match &self.stop {
            Some(Stop::Interrupted) => return ExitCode::Interrupted,
            Some(Stop::Unreachable(_)) => ExitCode::Unreachable,
            _ => ExitCode::Done,
        };
        let statuses = self.failed.iter().map(|(_, status)| *status);
        statuses.chain([of_stop]).max_by_key(|it| it.number()).expect("there is one")
    }

    /// Says how it ended. The `shared` schema is selected otherwise than by its name.
    pub(crate) fn answer(&self, report: &Report, shared: &SchemaName) -> ExitCode {
        let code = self.exit_code();
        self.explain(report);
        match code {
            _ if report.is_json() => {}
            ExitCode::Done => report.say(self.summary()),
            _ => report.always(self.summary()),
        }
        for schema in &self.not_attempted {
            report.object("not_attempted", json!({ "schema": schema }));
        }
        report.object(
            "summary",
            json!({
                "done": self.done,
                "failed": self.failed.len(),
                "not_attempted": self.not_attempted.len(),
                "exit_status": code.number(),
            }),
        );
        if let Some(hint) = self.hint(shared) {
            report.hint(hint);
        }
        code
    }

    fn explain(&self, report: &Report) {
        match &self.stop {
            Some(Stop::Interrupted) => report.error("interrupted"),
            Some(Stop::Budget { most }) => report.error(stopped_early(*most, self.failed.len())),
            Some(Stop::Unreachable(error)) => {
                report.error(printable_lines(&error.to_string()));
                connect_hint(error).into_iter().for_each(|hint| report.hint(hint));
            }
            None => {}
        }
        let most = if report.verbose { usize::MAX } else { SHOWN };
        if !self.failed.is_empty() {
            let name = |(schema, status): &(SchemaName, ExitCode)| {
                format!("{} ({})", printable(schema.as_str()), status.number())
            };
            let names = few(self.failed.iter().map(name), most);
            report.always(format!("failed, with the status of each: {names}"));
        }
        if !self.not_attempted.is_empty() {
            report.always(format!("not attempted: {}", few(self.not_attempted.iter(), most)));
        }
    }

    /// Returns `3 schemas done, 1 failed, 2 not attempted`.
    fn summary(&self) -> String {
        let parts = [
            (self.done, "done"),
            (self.failed.len(), "failed"),
            (self.not_attempted.len(), "not attempted"),
        ];
        let mut said: Vec<String> = Vec::new();
        for (number, what) in parts.into_iter().filter(|(number, _)| *number > 0) {
            said.push(match said.is_empty() {
                true => format!("{} {what}", count(number, "schema")),
                false => format!("{} {what}", grouped(number)),
            });
        }
        match said.is_empty() {
            true => format!("{}: there is nothing to do", count(0, "schema")),
            false => said.join(", "),
        }
    }

    /// Returns how to go on with what is left, and with nothing else.
    fn hint(&self, shared: &SchemaName) -> Option<String> {
        let failed = self.failed.iter().map(|(schema, _)| schema);
        let left: Vec<&SchemaName> = failed.chain(&self.not_attempted).collect();
        match left.len() {
            0 => None,
            1..=SHOWN => {
                let flag = |it: &&SchemaName| match *it == shared {
                    true => "--shared".to_owned(),
                    false => format!("--schema={}", shell_word(it.as_str())),
                };
                let flags: Vec<String> = left.iter().map(flag).collect();
                Some(format!("to run it where it is not done, say `{}`", flags.join(" ")))
            }
            _ => Some(
                "`--verbose` and `--format json` name them all; to run it where it is not done, \
                 give their names with `--schemas-from FILE`"
                    .into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<SchemaName> {
        names.iter().map(|name| SchemaName::registered(name)).collect()
    }

    /// Runs work that ends in each schema with the status that its name is.
    async fn ended(schemas: &[&str], max_failures: usize) -> Tally {
        let interrupt = Interrupt::default();
        let fleet = Fleet { jobs: 1, max_failures, interrupt: &interrupt };
        let status = async |_, schema: &SchemaName| {
            Verdict::Ended(ExitCode::Child(schema.as_str().parse().unwrap()))
        };
        fleet.run(names(schemas), status).await
    }

    #[tokio::test]
    async fn the_status_is_the_highest_of_all() {
        let tally = ended(&["0", "3", "143", "1"], 100).await;
        assert_eq!((tally.done, tally.failed.len()), (1, 3));
        assert_eq!(tally.exit_code().number(), 143);
        assert_eq!(ended(&["0", "0"], 100).await.exit_code().number(), 0);
        assert_eq!(ended(&[], 100).await.exit_code().number(), 0);
    }

    #[tokio::test]
    async fn the_budget_ends_it_and_the_counts_add_up() {
        let tally = ended(&["1", "0", "2", "0", "0"], 2).await;
        assert_eq!(tally.summary(), "1 schema done, 2 failed, 2 not attempted");
        assert!(matches!(tally.stop, Some(Stop::Budget { most: 2 })));
        // The last schema of all is not one too many.
        assert!(ended(&["0", "1"], 1).await.stop.is_none());
    }

    #[tokio::test]
    async fn an_interrupt_starts_no_other() {
        let interrupt = Interrupt::default();
        let fleet = Fleet { jobs: 2, max_failures: 100, interrupt: &interrupt };
        let work = async |_, _: &SchemaName| {
            interrupt.raise();
            Verdict::Ended(ExitCode::Done)
        };
        let tally = fleet.run(names(&["a", "b", "c"]), work).await;
        assert_eq!(tally.not_attempted, names(&["b", "c"]));
        assert_eq!(tally.exit_code(), ExitCode::Interrupted);
    }
}
