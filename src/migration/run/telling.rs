//! What came of each schema: told as it happens, and kept for the end.

use std::rc::Rc;
use std::time::Duration;

use super::super::executor::{Mode, Outcome, Stop};
use super::super::interrupt::Urgency;
use super::super::queue::Task;
use super::Run;
use crate::event::{Blockage, Cause, Event, Failure};
use crate::name::SchemaName;

/// Failures of so many kinds are kept whole.
const MOST_KINDS: usize = 100;

impl Run<'_> {
    pub(super) fn stop(&self, reason: Stop) {
        self.queue.stop();
        self.outcome.borrow_mut().stop.get_or_insert(reason);
    }

    pub(super) fn applied(&self, task: &Task, elapsed: Duration) {
        let (schema, migrations) = (&task.schema, self.labels(task));
        let label = |file| self.executor.migrations.label(file);
        let not_rehearsed = task.planned.not_rehearsed.map(label);
        self.note_applied(schema, not_rehearsed.as_deref());
        self.executor.observer.observe(&Event::Applied {
            schema,
            migrations: &migrations,
            not_rehearsed: not_rehearsed.as_deref(),
            from: task.from,
            to: self.last_version(task),
            elapsed,
        });
    }

    fn note_applied(&self, schema: &SchemaName, not_rehearsed: Option<&str>) {
        let mut outcome = self.outcome.borrow_mut();
        outcome.applied += 1;
        if let Some(migration) = not_rehearsed {
            let schemas = outcome.rehearsed_up_to.entry(migration.to_owned()).or_default();
            schemas.push(schema.clone());
        }
    }

    fn last_version(&self, task: &Task) -> Option<i64> {
        if self.executor.options.mode == Mode::Seed {
            return task.from;
        }
        let last = task.planned.plan.pending.last();
        let version = |&file: &usize| self.executor.migrations.file(file).version;
        last.map(version).or(task.planned.history.version())
    }

    fn labels(&self, task: &Task) -> Vec<String> {
        let plan = &task.planned.plan;
        let pending = plan.pending.iter().map(|&file| self.executor.migrations.label(file));
        let seeds = task.creation.as_ref().and(self.executor.seeds).into_iter();
        let seeds = seeds.flat_map(|it| (0..it.folder().files().len()).map(|file| it.label(file)));
        task.applied.iter().cloned().chain(pending).chain(seeds).collect()
    }

    pub(super) fn up_to_date(&self, task: &Task) {
        self.outcome.borrow_mut().up_to_date += 1;
        self.executor.observer.observe(&Event::UpToDate { schema: &task.schema });
    }

    /// Whether a schema that was there at first is no more, which is no failure of its migrations.
    pub(super) fn is_gone(&self, task: &Task, cause: &Cause) -> bool {
        let is_gone = matches!(cause, Cause::NoSchema | Cause::BeingDeleted);
        is_gone && task.creation.is_none() && self.executor.options.mode == Mode::Apply
    }

    pub(super) fn gone(&self, schema: SchemaName) {
        self.executor.observer.observe(&Event::Gone { schema: &schema });
        self.outcome.borrow_mut().gone.push(schema);
    }

    /// `version` is the one that the schema stays at, where it is known.
    pub(super) fn fail(&self, schema: SchemaName, version: Option<i64>, failure: Failure) {
        let event = Event::Failed { schema: &schema, version, failure: &failure };
        self.executor.observer.observe(&event);
        let failure = self.intern(&schema, failure);
        if matches!(&failure.cause, Cause::Sql(error) if error.is_out_of_resources()) {
            self.stop(Stop::OutOfResources);
        }
        self.outcome.borrow_mut().failed.push((schema, failure));
        let failed = self.outcome.borrow().failed.len();
        if let Some(most) = self.executor.options.max_failures.filter(|most| failed >= *most) {
            self.stop(Stop::Budget { most });
        }
    }

    /// Returns the one copy of a failure that many schemas share.
    fn intern(&self, schema: &SchemaName, failure: Failure) -> Rc<Failure> {
        let mut failures = self.failures.borrow_mut();
        let is_known = |(of, known): &&(_, Rc<Failure>)| failure.is_same_as(schema, (of, known));
        if let Some((_, known)) = failures.iter().find(is_known) {
            return known.clone();
        }
        // Beyond so many different ones there is nothing to share, and looking costs. What was shown
        // of them is not kept.
        if failures.len() >= MOST_KINDS {
            return Rc::new(failure.without_excerpt());
        }
        let failure = Rc::new(failure);
        failures.push((schema.clone(), failure.clone()));
        failure
    }

    /// Puts a busy schema at the back of the line, or gives it up.
    pub(super) fn block(&self, mut task: Task, mut blockage: Rc<Blockage>) {
        if let Some(before) = &task.blockage {
            // A short wait may be over before anybody has looked at who is in the way.
            if blockage.holders.is_empty() {
                Rc::make_mut(&mut blockage).holders = before.holders.clone();
            }
            // It has not come as far as before.
            if blockage.site.is_none() {
                Rc::make_mut(&mut blockage).left_behind = before.left_behind.clone();
            }
        }
        let counts = self.queue.is_fresh_empty();
        task.attempts += 1;
        task.counted += u32::from(counts);
        let (schema, attempts) = (&task.schema, task.attempts);
        if task.counted > self.executor.options.retries {
            let version = task.planned.history.version();
            self.executor.observer.observe(&Event::Busy { schema, version, blockage: &blockage });
            self.outcome.borrow_mut().busy.push((task.schema, blockage));
            return;
        }
        self.executor.observer.observe(&Event::Deferred { schema, blockage: &blockage, attempts });
        task.blockage = Some(blockage);
        self.queue.defer(task);
    }

    pub(super) fn finish(self) -> Outcome {
        for task in self.unflushed.take_all() {
            self.fail(task.schema, task.from, Cause::Unknown.into());
        }
        let mut outcome = self.outcome.take();
        let (fresh, deferred) = self.queue.drain();
        outcome.not_attempted.extend(fresh.into_iter().map(|task| task.schema));
        for task in deferred {
            match task.blockage {
                Some(blockage) => {
                    let version = task.planned.history.version();
                    let (schema, blockage) = (task.schema, blockage);
                    let event = Event::Busy { schema: &schema, version, blockage: &blockage };
                    self.executor.observer.observe(&event);
                    outcome.busy.push((schema, blockage));
                }
                None => outcome.not_attempted.push(task.schema),
            }
        }
        outcome.failed.sort_by(|(a, _), (b, _)| a.cmp(b));
        let is_left = outcome.total() > outcome.applied + outcome.up_to_date;
        if self.executor.interrupt.urgency() >= Urgency::Soon && is_left {
            outcome.stop = Some(Stop::Interrupted);
        } else if outcome.not_attempted.is_empty()
            && !matches!(outcome.stop, Some(Stop::Unreachable(_)))
        {
            // The last failure that was allowed was the last schema.
            outcome.stop = None;
        }
        outcome
    }
}
