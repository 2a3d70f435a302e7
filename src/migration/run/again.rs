//! A schema's history is read again: somebody else had been there, or an answer was lost.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::executor::Stop;
use super::super::history::{self, Found, History, LookError};
use super::super::interrupt::Urgency;
use super::super::queue::{Creation, Planned, Task};
use super::super::watch::Noticed;
use super::super::worker::Worker;
use super::Run;
use super::sorting::Sorted;
use crate::event::{Blockage, BlockageKind, Cause, Event, Failure, Holder};
use crate::name::SchemaName;
use crate::pg::ConnectError;

/// How often one schema's history is read again before its run is given up.
const MOST_LOOKS: u32 = 5;

/// So many histories are read ahead at first, and twice as many each time until the most.
const FIRST_AHEAD: usize = 32;
const MOST_AHEAD: usize = 512;

/// Why a history is read again.
pub(super) enum After {
    /// One part of the plan was applied, and another is left.
    Applied,
    /// Somebody else had been there.
    Changed,
    /// The answer was lost; and what it means where the work must not be done twice.
    Lost(ConnectError, Option<Box<Failure>>),
}

impl After {
    fn forbids_another_try(&self) -> bool {
        matches!(self, Self::Lost(_, Some(_)))
    }

    fn into_failure(self) -> Failure {
        match self {
            Self::Lost(_, Some(failure)) => *failure,
            Self::Lost(error, None) => Cause::Lost(error).into(),
            Self::Applied | Self::Changed => Cause::Unsettled.into(),
        }
    }
}

impl Run<'_> {
    /// Gives up the spare connection's place, and that of a worker that only waits for the others.
    pub(super) async fn make_room(&self) {
        self.executor.spare.make_room().await;
        self.queue.wake();
    }

    /// Reads a schema's history again and returns what is left to do for it, if anything.
    pub(super) async fn look_again(
        &self,
        worker: &mut Worker<'_>,
        mut task: Task,
        after: After,
        begun: Instant,
    ) -> Option<Task> {
        let (found, mut histories, holders) = self.look(worker, &task, &after).await?;
        let planned = |index: usize| Rc::new(self.plan(std::mem::take(&mut histories[index])));
        let creation = task.creation.clone().map(|creation| Creation {
            is_new: found == Found::NoSchema,
            may_be_there: creation.may_be_there || matches!(after, After::Lost(..)),
            ..creation
        });
        if matches!(after, After::Changed) && creation.as_ref().is_some_and(|it| !it.is_new) {
            self.outcome.borrow_mut().made_by_others.push(task.schema);
            return None;
        }
        match self.next_task(task.schema.clone(), found, creation, planned) {
            Err(Sorted::UpToDate) => {
                match after {
                    // The COMMIT whose answer was lost had happened.
                    After::Lost(..) => self.committed(worker, &task, begun.elapsed(), None),
                    After::Applied | After::Changed => self.up_to_date(&task),
                }
                None
            }
            // Whether its COMMIT had happened is not known.
            Err(Sorted::Locked(schema)) if matches!(after, After::Lost(..)) => {
                self.fail(schema, task.from, Cause::Unreadable(history::locked()).into());
                None
            }
            Err(Sorted::Locked(_)) => {
                task.is_unread = true;
                let kind = BlockageKind::HistoryLock;
                self.block(task, Rc::new(Blockage::new(None, kind, holders)));
                None
            }
            Err(Sorted::Failed(schema, cause)) if self.is_gone(&task, &cause) => {
                self.gone(schema);
                None
            }
            Err(Sorted::Failed(schema, cause)) => {
                self.fail(schema, task.from, (*cause).into());
                None
            }
            Ok(_) if after.forbids_another_try() => {
                self.fail(task.schema, task.from, after.into_failure());
                None
            }
            Ok(next) if task.looks < MOST_LOOKS => {
                if let After::Lost(..) = after {
                    task.applied.extend(self.done_before(&task, &next));
                }
                let looks = task.looks + u32::from(!matches!(after, After::Applied));
                let from = if task.is_unread { next.from } else { task.from };
                let Task { attempts, counted, applied, .. } = task;
                Some(Task { looks, attempts, counted, applied, from, ..next })
            }
            Ok(_) => {
                self.fail(task.schema, task.from, after.into_failure());
                None
            }
        }
    }

    /// Reads the next histories as well, after one that somebody else has brought up to date: another
    /// run is at work on the same schemas, or was. For as long as all of them are up to date, more.
    pub(super) async fn look_ahead(&self, worker: &mut Worker<'_>, planned: &Planned) {
        let mut most = FIRST_AHEAD;
        while !self.queue.is_stopped() && self.executor.interrupt.urgency() < Urgency::Soon {
            let schemas = self.queue.upcoming(planned, most);
            // Where one cannot be read now, its turn comes.
            let Ok(fleet) = worker.look(&schemas).await else {
                return;
            };
            self.contact();
            let is_done = |history: &History| {
                let planned = self.plan(history.clone());
                planned.is_empty() && !planned.plan.refused
            };
            let done: Vec<bool> = fleet.histories.iter().map(is_done).collect();
            let is_done = |(_, found): &&(SchemaName, Found)| match found {
                Found::History(index) => done[*index],
                _ => false,
            };
            let done =
                fleet.schemas.iter().filter(is_done).map(|(schema, _)| schema.clone()).collect();
            for task in self.queue.take(&done) {
                self.up_to_date(&task);
            }
            if done.len() < most {
                return;
            }
            most = MOST_AHEAD.min(most * 2);
        }
    }

    /// Returns what of `task` is no longer to be done: its COMMIT had happened.
    fn done_before(&self, task: &Task, next: &Task) -> Vec<String> {
        let left = &next.planned.plan.pending;
        let pending = task.planned.plan.pending.iter();
        pending
            .filter(|file| !left.contains(file))
            .map(|&file| self.executor.migrations.label(file))
            .collect()
    }

    async fn look(
        &self,
        worker: &mut Worker<'_>,
        task: &Task,
        after: &After,
    ) -> Option<(Found, Vec<History>, Vec<Holder>)> {
        loop {
            // It does nothing but read one history.
            self.watch.begin(worker.number(), None);
            let looked = worker.look(std::slice::from_ref(&task.schema)).await;
            let Noticed { holders, .. } = self.watch.end(worker.number());
            match looked {
                Ok(mut fleet) => {
                    self.contact();
                    let (_, found) = fleet.schemas.pop().expect("one was asked for");
                    return Some((found, fleet.histories, holders));
                }
                Err(LookError::Sql(error)) => {
                    self.fail(task.schema.clone(), task.from, Cause::Sql(error).into());
                    return None;
                }
                Err(LookError::Connect(error)) => {
                    if error.is_too_many_clients() {
                        self.make_room().await;
                    }
                    if !self.may_reconnect(&error).await {
                        match after {
                            After::Lost(..) => {
                                self.fail(task.schema.clone(), task.from, Cause::Unknown.into());
                            }
                            After::Applied | After::Changed => self.queue.give_back(task.clone()),
                        }
                        return None;
                    }
                }
            }
        }
    }

    pub(super) fn contact(&self) {
        self.last_contact.set(Instant::now());
        self.reconnecting.set(false);
    }

    pub(super) fn say_reconnecting(&self, error: &ConnectError) {
        if !self.reconnecting.replace(true) {
            let reason = error.to_string();
            self.executor.observer.observe(&Event::Reconnecting { reason: &reason });
        }
    }

    /// Waits a moment, or gives the run up when the server has been out of reach for too long.
    pub(super) async fn may_reconnect(&self, error: &ConnectError) -> bool {
        if self.queue.is_stopped() || self.executor.interrupt.urgency() >= Urgency::Soon {
            return false;
        }
        if !error.may_pass()
            || self.last_contact.get().elapsed() > self.executor.options.reconnect_for
        {
            self.stop(Stop::Unreachable(error.clone()));
            return false;
        }
        self.say_reconnecting(error);
        tokio::time::sleep(Duration::from_millis(250)).await;
        true
    }
}
