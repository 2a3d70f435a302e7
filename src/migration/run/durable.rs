//! Commits that do not wait for the disk, and what is told of them.
//!
//! A commit that waits for the disk vouches for every earlier one (Postgres documentation,
//! "Asynchronous Commit": their order is kept). So most transactions of a run do not wait, and one of
//! them does every now and then. A schema is told of as migrated once its commit is vouched for, not
//! before: after a crash of the server it may be as it was.
//!
//! A connection that has been open all the while has seen no crash, as that ends every session. Only
//! over such a one a commit vouches for others; what is left is looked up. Behind a pooler a
//! connection says nothing of the server's sessions, and every commit waits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::executor::Mode;
use super::super::history::{Found, LookError};
use super::super::interrupt::Urgency;
use super::super::queue::Task;
use super::super::worker::Worker;
use super::Run;
use crate::name::SchemaName;
use crate::pg::Incomplete;

/// How often a commit waits for the disk.
const EVERY: Duration = Duration::from_millis(50);

/// A run of fewer schemas has nothing to gain.
const FEW: usize = 8;

/// What has been committed and is not vouched for.
#[derive(Default)]
pub(super) struct Unflushed {
    is_allowed: Cell<bool>,
    last_flush: Cell<Option<Instant>>,
    committed: RefCell<Vec<Committed>>,
}

/// A schema whose commit was answered.
struct Committed {
    task: Task,
    elapsed: Duration,
    at: Instant,
}

impl Unflushed {
    fn is_empty(&self) -> bool {
        self.committed.borrow().is_empty()
    }

    /// Takes those that were answered from `since` on, and by `until`.
    fn take(&self, since: Option<Instant>, until: Instant) -> Vec<Committed> {
        let is_meant = |it: &Committed| since.is_none_or(|since| it.at >= since) && it.at <= until;
        let (meant, others) = self.committed.take().into_iter().partition(is_meant);
        self.committed.replace(others);
        meant
    }

    /// Returns the schemas that were answered by `until`.
    fn schemas(&self, until: Instant) -> Vec<SchemaName> {
        let committed = self.committed.borrow();
        committed.iter().filter(|it| it.at <= until).map(|it| it.task.schema.clone()).collect()
    }

    /// Takes all of them.
    pub(super) fn take_all(&self) -> Vec<Task> {
        self.committed.take().into_iter().map(|it| it.task).collect()
    }
}

impl<'a> Run<'a> {
    /// Notes whether commits of a wave of so many tasks may go without waiting.
    pub(super) fn allow_not_waiting(&self, tasks: usize) {
        let is_known = matches!(self.executor.options.mode, Mode::Apply | Mode::Create);
        self.unflushed.is_allowed.set(is_known && tasks >= FEW);
    }

    /// Whether commits may go without waiting, over connections that lead straight to the server.
    pub(super) fn may_not_wait(&self) -> bool {
        self.unflushed.is_allowed.get()
    }

    /// Returns whether the next commit over a worker's connection is to wait for the disk.
    pub(super) fn waits_for_disk(&self, worker: &Worker<'_>, is_trial: bool) -> bool {
        let last = self.unflushed.last_flush.get();
        let is_due = last.is_none_or(|last| last.elapsed() >= EVERY);
        if is_trial || is_due || !self.may_not_wait() || !worker.is_direct() {
            self.unflushed.last_flush.set(Some(Instant::now()));
            return true;
        }
        false
    }

    /// Tells of a schema whose commit was answered, or keeps it until another one vouches for it.
    /// `waited_since` is when a commit that waited for the disk was sent.
    pub(super) fn committed(
        &self,
        worker: &Worker<'_>,
        task: &Task,
        elapsed: Duration,
        waited_since: Option<Instant>,
    ) {
        match waited_since {
            Some(sent) => {
                self.vouch(worker, sent);
                self.applied(task, elapsed);
            }
            None => {
                let (task, at) = (task.clone(), Instant::now());
                self.unflushed.committed.borrow_mut().push(Committed { task, elapsed, at });
            }
        }
    }

    /// Tells of the schemas that a commit vouches for which was sent then, and waited for the disk.
    fn vouch(&self, worker: &Worker<'_>, sent: Instant) {
        if let Some(since) = worker.open_since().filter(|_| worker.is_direct()) {
            for it in self.unflushed.take(Some(since), sent) {
                self.applied(&it.task, it.elapsed);
            }
        }
    }

    /// Lets a worker vouch for what it has seen, as its connection is about to be replaced.
    pub(super) async fn vouch_before_leaving(&self, worker: &mut Worker<'_>, next: &Task) {
        if worker.is_about_to_leave(next) {
            self.flush(worker).await;
        }
    }

    /// Lets a worker vouch for what it has seen where nothing is left but what is in use: the next
    /// commit may be long in coming.
    pub(super) async fn vouch_before_waiting(&self, worker: &mut Worker<'_>) {
        if self.queue.is_fresh_empty() && self.queue.has_deferred() {
            self.flush(worker).await;
        }
    }

    async fn flush(&self, worker: &mut Worker<'_>) {
        let sent = Instant::now();
        if !self.unflushed.is_empty() && worker.flush().await.is_ok() {
            self.vouch(worker, sent);
        }
    }

    /// Tells of everything that has been committed by now, once it is sure. Returns whether there is
    /// something to do again: the server has lost it in a crash, or another worker has given it back.
    ///
    /// The first worker waits for the others. What they may not vouch for is left to it.
    pub(super) async fn settle(&self, number: usize, worker: &mut Worker<'_>) -> bool {
        if self.is_first(number) && self.others_have_left_work(number).await {
            return true;
        }
        while !self.unflushed.is_empty() {
            if self.is_left_to_another(number) && self.first_is_waiting() {
                return false;
            }
            let sent = Instant::now();
            match worker.flush().await {
                Ok(()) => {
                    self.vouch(worker, sent);
                    if self.is_left_to_another(number) {
                        return false;
                    }
                    return self.look_up(worker, sent).await;
                }
                Err(Incomplete::Lost(error)) if self.may_reconnect(&error).await => {}
                // What could not be asked about is told of at the end.
                Err(Incomplete::Lost(_)) => return false,
                // A role that may not: what is there reaches the disk within a second by itself.
                Err(Incomplete::Sql(_)) => {
                    return self.look_up(worker, sent).await;
                }
            }
        }
        false
    }

    fn is_first(&self, number: usize) -> bool {
        self.first.get().is_some_and(|(_, first)| first == number)
    }

    /// Whether what a worker may not vouch for is for the first one to tell of.
    fn is_left_to_another(&self, number: usize) -> bool {
        self.first.get().is_some_and(|(_, first)| first != number)
    }

    /// Whether the first worker is about to settle, as soon as all others have left.
    fn first_is_waiting(&self) -> bool {
        let first = self.first.get();
        first.is_some_and(|(_, first)| !self.under_way.borrow().contains_key(&first))
    }

    /// Waits until the other workers have left, or until there is work again; returns whether there is.
    /// Where the server has no place for another's connection, the wait is over as well.
    async fn others_have_left_work(&self, number: usize) -> bool {
        let waits = || self.is_first(number) && !self.executor.spare.is_resting();
        while self.workers.get() > 1 && waits() {
            if self.queue.has_tasks() && self.executor.interrupt.urgency() < Urgency::Soon {
                return true;
            }
            self.queue.changes().await;
        }
        false
    }

    /// Looks up what became of commits that nobody vouches for. What is there now has been flushed.
    async fn look_up(&self, worker: &mut Worker<'_>, until: Instant) -> bool {
        let names = self.unflushed.schemas(until);
        if names.is_empty() {
            return false;
        }
        let fleet = loop {
            match worker.look(&names).await {
                Ok(fleet) => break fleet,
                Err(LookError::Connect(error)) if self.may_reconnect(&error).await => {}
                Err(_) => return false,
            }
        };
        let found: HashMap<_, _> = fleet.schemas.into_iter().collect();
        let mut is_to_be_done_again = false;
        // Only now, so that an interrupt meanwhile finds them where they are.
        for it in self.unflushed.take(None, until) {
            match found.get(&it.task.schema) {
                Some(Found::History(index)) if self.is_done(&it.task, &fleet.histories[*index]) => {
                    self.applied(&it.task, it.elapsed);
                }
                _ => {
                    self.queue.give_back(it.task);
                    is_to_be_done_again = true;
                }
            }
        }
        is_to_be_done_again
    }
}
