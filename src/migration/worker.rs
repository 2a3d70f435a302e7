//! One worker: sends one schema's script over its own connection, and says what came of it.

mod judging;
mod together;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::beyond;
use super::executor::{Executor, Mode};
use super::history::{self, Fleet, LookError};
use super::no_transaction;
use super::queue::{Task, Trial};
use super::refused::Refused;
use super::script::{Creating, Script, ScriptOptions, Subject};
use super::watch::{Noticed, Watch};
use crate::event::{Blockage, BlockageKind, Cause, Failure, Holder, Site};
use crate::name::SchemaName;
use crate::pg::{ConnectError, Connection, Incomplete, Lane};

/// Most attempts wait no longer than this for a lock, as everything that comes after us waits
/// behind us for as long.
const SHORT_WAIT: Duration = Duration::from_millis(200);

/// A connection that was idle for longer may have been ended by the server meanwhile.
const IDLE: Duration = Duration::from_millis(10);

/// What came of one attempt.
pub(super) enum Verdict {
    /// So many of the plan's files were applied and recorded, and it may be that nothing is left.
    /// `has_waited` is whether the commit waited for the disk, `is_proven` whether the plan can
    /// change nothing but tables of its schema wherever these are the schema's own.
    Applied { files: usize, is_last: bool, has_waited: bool, is_proven: bool },
    /// The schema is as it was, and will be again however often it is tried.
    Failed(Box<Failure>),
    /// The schema is as it was; somebody is using it.
    Blocked(Box<Blockage>),
    /// The schema is as it was; its history is not what the plan was made from.
    HistoryChanged,
    /// The connection went away before the answer came.
    Lost(ConnectError),
    /// The connection went away in the middle of a file that runs in no transaction and must not
    /// be run again by itself, unless all of it had happened.
    LostMidway(ConnectError, Box<Failure>),
    /// There was no connection, and nothing was tried.
    NoConnection(ConnectError),
}

impl Verdict {
    /// Returns that somebody is in the way, and that nothing was left behind.
    pub(super) fn blocked(site: Option<Site>, kind: BlockageKind, holders: Vec<Holder>) -> Self {
        Self::Blocked(Box::new(Blockage::new(site, kind, holders)))
    }

    /// Whether the server was not there.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::LostMidway(..) | Self::NoConnection(_))
    }
}

/// A worker and its connection.
pub(super) struct Worker<'a> {
    executor: Executor<'a>,
    lane: Lane,
    number: usize,
    name: String,
    last_used: Instant,
    /// How long the last schema took.
    pace: Duration,
}

impl<'a> Worker<'a> {
    pub(super) fn new(executor: Executor<'a>, lane: Lane, number: usize, name: String) -> Self {
        Self { executor, lane, number, name, last_used: Instant::now(), pace: Duration::MAX }
    }

    /// Opens the connection, or sees whether it is open still. Where that does not succeed, the first
    /// attempt says so.
    pub(super) async fn connect(&mut self) {
        self.lane.check().await;
        let _ = self.lane.serve(0).await;
        self.last_used = Instant::now();
    }

    /// Returns the worker's number, from 0.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Whether the connection is known to lead straight to the server, and not to a pooler.
    pub(super) fn is_direct(&self) -> bool {
        self.lane.is_direct()
    }

    /// Returns since when the connection has been open.
    pub(super) fn open_since(&self) -> Option<Instant> {
        self.lane.open_since()
    }

    /// Whether the connection is replaced before this task.
    pub(super) fn is_about_to_leave(&self, next: &Task) -> bool {
        self.lane.is_due(next.planned.weight)
    }

    /// Commits something that waits for the disk, and with it for all that was committed before.
    pub(super) async fn flush(&mut self) -> Result<(), Incomplete> {
        let flushed = match self.lane.serve(0).await {
            Ok(connection) => flush(connection).await,
            Err(error) => return Err(Incomplete::Lost(error)),
        };
        if let Err(Incomplete::Lost(_)) = &flushed {
            self.lane.abandon();
        }
        flushed
    }

    /// Leaves the connection to the run, which may have use for it.
    pub(super) async fn leave(self) {
        self.executor.spare.take_back(self.lane).await;
    }

    /// Carries out the first part of a task's plan: every file up to the first that cannot run in
    /// a transaction, or that one alone.
    pub(super) async fn attempt(
        &mut self,
        task: &Task,
        watch: &Watch,
        is_trial: bool,
        waits_for_disk: bool,
    ) -> Verdict {
        self.check().await;
        if self.is_about_to_leave(task) {
            self.leave_place().await;
        }
        let begun = Instant::now();
        let verdict = self.attempt_part(task, watch, is_trial, waits_for_disk).await;
        self.last_used = Instant::now();
        self.pace = begun.elapsed();
        verdict
    }

    /// Sees whether a connection that was idle is open still.
    async fn check(&mut self) {
        if self.last_used.elapsed() > IDLE {
            self.lane.check().await;
        }
    }

    /// Closes the connection, and waits until its place is free for the next.
    async fn leave_place(&mut self) {
        self.lane.close().await;
        self.executor.spare.wait_until_gone(&self.name).await;
    }

    /// Reads schemas' histories again.
    pub(super) async fn look(&mut self, schemas: &[SchemaName]) -> Result<Fleet, LookError> {
        history::read_over(&mut self.lane, &mut [], schemas).await
    }

    async fn attempt_part(
        &mut self,
        task: &Task,
        watch: &Watch,
        is_trial: bool,
        waits_for_disk: bool,
    ) -> Verdict {
        let pending = &task.planned.plan.pending;
        let migrations = self.executor.migrations;
        let together = self.together(task).len();
        if together == 0 && !pending.is_empty() {
            return self.attempt_alone(task, pending[0], watch).await;
        }
        let is_last = together == pending.len();
        let files = &pending[..together];
        let tables = self.own_tables(task, files);
        let connection = match self.lane.serve(task.planned.weight).await {
            Ok(connection) => connection,
            Err(error) => return Verdict::NoConnection(error),
        };
        let server_version = connection.server_version();
        let (used_up, is_proven) = match is_trial {
            true => {
                match connection.ask(&beyond::question(&tables.clone().unwrap_or_default())).await {
                    Ok(rows) => (rows.rows[0].flag(0), rows.rows[0].flag(1) && tables.is_some()),
                    Err(Incomplete::Lost(error)) => return self.lost(error),
                    Err(Incomplete::Sql(error)) => {
                        return Verdict::Failed(Box::new(Cause::Sql(error).into()));
                    }
                }
            }
            false => (false, task.planned.trial.get() == Trial::Proven),
        };
        let options = ScriptOptions { waits_for_disk, ..self.script_options(task, server_version) };
        let subject = Subject {
            schema: &task.schema,
            history: &task.planned.history,
            migrations,
            files,
            creation: task.creation.as_ref().map(|it| Creating {
                is_new: it.is_new,
                may_be_there: it.may_be_there,
                register: is_last.then_some(&*it.register),
                seeds: self.executor.seeds,
                template: self.executor.template,
            }),
        };
        let applied =
            Verdict::Applied { files: together, is_last, has_waited: waits_for_disk, is_proven };
        if tables.is_some() && is_proven {
            let script = Script::brief(subject, &options, self.lane.is_direct());
            match self.carry_out(task, &script, watch).await {
                Ok(()) => return applied,
                Err((Sent::Refused(refused), seen)) if refused.is_passing() => {
                    return self.judge(task, *refused, seen).await;
                }
                // The whole transaction says what is wrong, if anything is.
                Err((Sent::Refused(_), _)) => {
                    if let Err(error) = self.roll_back().await {
                        return Verdict::Lost(error);
                    }
                }
                Err((Sent::Lost(error), _)) => return self.lost(error),
            }
        }
        let script = match self.executor.options.mode {
            Mode::Baseline => Script::baseline(subject, &options),
            Mode::Seed => Script::seed(subject, &options, is_trial.then_some(used_up)),
            Mode::Apply | Mode::Rehearse | Mode::Create | Mode::Adopt if is_trial => {
                Script::trial(subject, &options, used_up)
            }
            Mode::Apply | Mode::Rehearse | Mode::Create | Mode::Adopt => {
                Script::apply(subject, &options)
            }
        };
        match self.carry_out(task, &script, watch).await {
            Ok(()) => applied,
            Err((Sent::Refused(refused), seen)) => self.judge(task, *refused, seen).await,
            Err((Sent::Lost(error), _)) => self.lost(error),
        }
    }

    /// Returns the tables that the files change, where they are known to change nothing else, and
    /// all there is to do is to apply them.
    fn own_tables(&self, task: &Task, files: &[usize]) -> Option<BTreeSet<&'a str>> {
        let options = self.executor.options;
        let is_plain = matches!(options.mode, Mode::Apply | Mode::Rehearse)
            && !options.one_by_one
            && files.len() == task.planned.plan.pending.len()
            && task.planned.history.width.is_some();
        let migrations = self.executor.migrations;
        is_plain.then(|| migrations.own_tables(files)).flatten()
    }

    /// Returns the files that run in one transaction: those up to the first that cannot.
    fn together<'b>(&self, task: &'b Task) -> &'b [usize] {
        let pending = &task.planned.plan.pending;
        if self.executor.options.mode == Mode::Baseline {
            return pending;
        }
        let runs_alone = |file: &usize| self.executor.migrations.is_no_transaction(*file);
        &pending[..pending.iter().position(runs_alone).unwrap_or(pending.len())]
    }

    async fn attempt_alone(&mut self, task: &Task, file: usize, watch: &Watch) -> Verdict {
        // The connection's place is taken by the file's session.
        self.leave_place().await;
        let mut options = self.script_options(task, 0);
        // Nothing is rolled back here, and no audit could: a name that the schema lacks must not be
        // found in the shared one.
        if self.executor.migrations.is_confined() && !self.executor.migrations.may_leave(&[file]) {
            options.path.clear();
        }
        // Each statement is a transaction.
        watch.begin(self.number, None);
        let mut verdict = no_transaction::attempt(&self.executor, options, task, file).await;
        let Noticed { holders, .. } = watch.end(self.number);
        if let Verdict::Blocked(blockage) = &mut verdict
            && blockage.holders.is_empty()
        {
            blockage.holders = holders;
        }
        verdict
    }

    fn script_options(&self, task: &Task, server_version: u32) -> ScriptOptions {
        let options = self.executor.options;
        ScriptOptions {
            lock_timeout: self.patience(task),
            statement_timeout: options.statement_timeout,
            path: options.path.clone(),
            rehearse: options.mode == Mode::Rehearse,
            application_name: self.name.clone(),
            server_version,
            waits_for_disk: true,
            is_shared: !self.lane.is_direct(),
        }
    }

    /// Returns how long this attempt may wait for a lock, and for all of its locks.
    fn patience(&self, task: &Task) -> Option<Duration> {
        self.executor.options.lock_timeout.map(|longest| wait(longest, task.attempts))
    }

    /// Sends a task's script while somebody watches what it waits for.
    async fn carry_out(
        &mut self,
        task: &Task,
        script: &Script,
        watch: &Watch,
    ) -> Result<(), (Sent, Seen)> {
        let begun = Instant::now();
        watch.begin(self.number, self.patience(task));
        let sent = self.send(script).await;
        let noticed = watch.end(self.number);
        sent.map_err(|sent| (sent, Seen { noticed, elapsed: begun.elapsed() }))
    }

    async fn send(&mut self, script: &Script) -> Result<(), Sent> {
        for message in script.messages(self.executor.options.one_by_one) {
            if let Err((incomplete, complete)) = self.send_message(&message.text).await {
                return Err(match incomplete {
                    Incomplete::Lost(error) => Sent::Lost(error),
                    Incomplete::Sql(error) => {
                        Sent::Refused(Box::new(Refused::find(script, &message, complete, error)))
                    }
                });
            }
        }
        Ok(())
    }

    async fn send_message(&mut self, text: &str) -> Result<(), (Incomplete, usize)> {
        let connection = self.lane.serve(0).await.map_err(|it| (Incomplete::Lost(it), 0))?;
        connection.send(text.to_owned()).await.map(drop)
    }

    fn lost(&mut self, error: ConnectError) -> Verdict {
        self.lane.abandon();
        match self.executor.options.mode {
            // No history tells whether it was committed, and it is not to happen twice.
            Mode::Seed => Verdict::LostMidway(error, Box::new(Cause::Unanswered.into())),
            _ => Verdict::Lost(error),
        }
    }

    async fn roll_back(&mut self) -> Result<(), ConnectError> {
        if self.lane.serve(0).await?.roll_back().await.is_err() {
            // The server rolls back by itself when the connection ends.
            self.lane.abandon();
        }
        Ok(())
    }
}

/// Commits something, whatever the role's `synchronous_commit` says of waiting: as it does for any
/// other client's commit. A message in the log of changes is the least that is written.
pub(super) async fn flush(connection: &mut Connection) -> Result<(), Incomplete> {
    let message = "begin isolation level read committed, read write; \
         select pg_catalog.set_config('statement_timeout', '10s', true), \
           pg_catalog.pg_logical_emit_message(true, 'tenantctl', ''); commit";
    match connection.send(message.into()).await {
        Ok(_) => Ok(()),
        Err((Incomplete::Sql(error), _)) => {
            connection.roll_back().await?;
            Err(Incomplete::Sql(error))
        }
        Err((lost, _)) => Err(lost),
    }
}

/// What was noticed while a script ran.
struct Seen {
    noticed: Noticed,
    elapsed: Duration,
}

enum Sent {
    Refused(Box<Refused>),
    Lost(ConnectError),
}

/// Returns how long to wait for a lock in this attempt: briefly, and every third time as long as
/// allowed, since Postgres cancels autovacuum only for who has waited `deadlock_timeout` (1 s).
fn wait(longest: Duration, attempts: u32) -> Duration {
    if attempts % 3 == 2 { longest } else { longest.min(SHORT_WAIT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_third_wait_is_long_enough_to_make_autovacuum_yield() {
        let waits: Vec<_> = (0..4).map(|attempt| wait(Duration::from_secs(2), attempt)).collect();
        let (short, long) = (SHORT_WAIT, Duration::from_secs(2));
        assert_eq!(waits, [short, short, long, short]);
    }

    #[test]
    fn no_wait_is_longer_than_allowed() {
        let longest = Duration::from_millis(50);
        assert!((0..9).all(|attempt| wait(longest, attempt) == longest));
    }
}
