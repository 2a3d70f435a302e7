//! One run: a few workers, each with a connection, take schemas from a queue; one schema's failure
//! is its own, and what is busy is tried again.

mod again;
mod durable;
mod leaving;
mod sorting;
mod telling;
mod together;
mod wave;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use tokio::time::Instant;

use self::again::After;
use self::durable::Unflushed;
use super::executor::{Executor, Outcome, Stop};
use super::history::Fleet;
use super::interrupt::Urgency;
use super::queue::{Queue, Task, Trial, Trials};
use super::script::{self, Registration};
use super::watch::Watch;
use super::worker::{Verdict, Worker};
use crate::event::{Cause, Event, Failure};
use crate::name::SchemaName;
use crate::pg::Session;

/// A backend is replaced after schemas of so much weight ([`Planned::weight`]): what it learns of
/// every table would otherwise grow to hundreds of megabytes.
const WEIGHT_PER_CONNECTION: usize = 16_000;

/// One run's state, shared by its workers.
struct Run<'a> {
    executor: Executor<'a>,
    /// What the workers' sessions have from their start.
    session: Option<Session>,
    name: String,
    queue: Queue,
    watch: Watch,
    outcome: RefCell<Outcome>,
    workers: Cell<usize>,
    /// The worker whose connection opened first, and when. It leaves after the others: it can tell of
    /// what all of them have committed.
    first: Cell<Option<(Instant, usize)>>,
    last_contact: Cell<Instant>,
    reconnecting: Cell<bool>,
    failures: RefCell<Vec<(SchemaName, Rc<Failure>)>>,
    /// What each worker has begun and has not told of.
    under_way: RefCell<HashMap<usize, Vec<Task>>>,
    trials: RefCell<HashMap<Vec<usize>, Rc<Cell<Trial>>>>,
    unflushed: Unflushed,
}

/// Carries out what there is to do for `fleet`; the schemas in `register` are created.
pub(super) async fn carry_out(
    executor: Executor<'_>,
    fleet: Fleet,
    register: HashMap<SchemaName, Vec<Registration>>,
) -> Outcome {
    // The connection is open: it is what looked.
    let session = match executor.spare.lane().await.serve(0).await {
        Ok(connection) => Some(script::session(connection.server_version())),
        Err(_) => None,
    };
    let run = Run::new(executor, session);
    let tasks = run.tasks(fleet, register);
    executor.observer.observe(&Event::Begun { schemas: tasks.len() });
    run.waves(tasks).await;
    if executor.interrupt.urgency() == Urgency::Now {
        run.abandon().await;
    }
    run.finish()
}

impl<'a> Run<'a> {
    fn new(executor: Executor<'a>, session: Option<Session>) -> Self {
        Self {
            executor,
            session,
            name: executor.spare.name().to_owned(),
            queue: Queue::default(),
            watch: Watch::default(),
            outcome: RefCell::default(),
            workers: Cell::new(0),
            first: Cell::new(None),
            last_contact: Cell::new(Instant::now()),
            reconnecting: Cell::new(false),
            failures: RefCell::default(),
            under_way: RefCell::default(),
            trials: RefCell::default(),
            unflushed: Unflushed::default(),
        }
    }

    fn worker(&self, number: usize) -> Worker<'a> {
        let name = format!("{}{number}", self.name);
        let lane = self.executor.spare.worker(number).replaced_after(WEIGHT_PER_CONNECTION);
        let lane = match self.workers_session() {
            Some(session) => lane.with_session(session.clone()),
            None => lane,
        };
        Worker::new(self.executor, lane, number, name)
    }

    /// Returns what the workers' sessions have from their start, where that is of use.
    fn workers_session(&self) -> Option<&Session> {
        self.session.as_ref().filter(|_| self.may_not_wait())
    }

    async fn connect(&self, worker: &mut Worker<'_>) {
        tokio::select! {
            () = worker.connect() => {}
            () = self.executor.interrupt.wait_for(Urgency::Now) => {}
        }
        let opened = worker.open_since().map(|since| (since, worker.number()));
        self.first.set(self.first.get().into_iter().chain(opened).min());
        self.queue.wake();
    }

    /// One worker: takes tasks until there are none.
    async fn work(&self, number: usize, mut worker: Worker<'a>) {
        self.connect(&mut worker).await;
        tokio::select! {
            () = self.take_tasks(number, &mut worker) => {}
            // What is under way is cancelled on the server, and looked up, in `abandon`.
            () = self.executor.interrupt.wait_for(Urgency::Now) => return,
        }
        self.workers.set(self.workers.get() - 1);
        self.first.set(self.first.get().filter(|(_, first)| *first != number));
        self.queue.wake();
        worker.leave().await;
    }

    async fn take_tasks(&self, number: usize, worker: &mut Worker<'_>) {
        loop {
            let mut goes_on = true;
            while goes_on && let Some((task, mut trials)) = self.next(number, worker).await {
                let most = worker.at_once(&task);
                let others = self.queue.more(number, self.workers.get(), &task, most - 1);
                let task = match others.is_empty() {
                    true => Some(task),
                    false => {
                        let tasks = std::iter::once(task).chain(others).collect();
                        self.attend_together(worker, tasks).await
                    }
                };
                if let Some(task) = task {
                    self.begin(number, [task.clone()]);
                    self.vouch_before_leaving(worker, &task).await;
                    goes_on = self.attend(worker, task, &mut trials).await;
                }
                self.begin(number, []);
            }
            if !goes_on || !self.settle(number, worker).await {
                return;
            }
        }
    }

    async fn next(&self, number: usize, worker: &mut Worker<'_>) -> Option<(Task, Trials<'_>)> {
        self.vouch_before_waiting(worker).await;
        self.queue.next(number, self.executor.interrupt).await
    }

    /// Notes what a worker has begun: these tasks, and no others any more.
    fn begin(&self, number: usize, tasks: impl Into<Vec<Task>>) {
        let (tasks, mut under_way) = (tasks.into(), self.under_way.borrow_mut());
        match tasks.is_empty() {
            true => under_way.remove(&number),
            false => under_way.insert(number, tasks),
        };
    }

    /// Tries one task, and looks and tries again for as long as that makes progress. Returns
    /// whether this worker is to take another.
    async fn attend(
        &self,
        worker: &mut Worker<'_>,
        mut task: Task,
        trials: &mut Trials<'_>,
    ) -> bool {
        let begun = Instant::now();
        loop {
            let is_trial = trials.are_under_way();
            let (waits, sent) = (self.waits_for_disk(worker, is_trial), Instant::now());
            let verdict = match task.is_unread {
                true => Verdict::HistoryChanged,
                false => worker.attempt(&task, &self.watch, is_trial, waits).await,
            };
            if !verdict.is_lost() && !task.is_unread {
                self.contact();
            }
            let after = match verdict {
                Verdict::Applied { is_last: true, has_waited, is_proven, .. } => {
                    self.committed(worker, &task, begun.elapsed(), has_waited.then_some(sent));
                    trials.end(if is_proven { Trial::Proven } else { Trial::Passed });
                    return true;
                }
                Verdict::Applied { files, .. } => {
                    let done = task.planned.plan.pending.iter().take(files);
                    task.applied.extend(done.map(|&file| self.executor.migrations.label(file)));
                    After::Applied
                }
                Verdict::Failed(failure) if self.is_gone(&task, &failure.cause) => {
                    self.gone(task.schema);
                    return true;
                }
                Verdict::Failed(failure) => {
                    self.end_trials(&task, &failure, trials);
                    let version = task.planned.history.version();
                    self.fail(task.schema, version, *failure);
                    return true;
                }
                Verdict::Blocked(blockage) => {
                    self.block(task, Rc::new(*blockage));
                    return true;
                }
                Verdict::HistoryChanged => After::Changed,
                Verdict::Lost(error) => {
                    self.say_reconnecting(&error);
                    After::Lost(error, None)
                }
                Verdict::LostMidway(error, failure) => {
                    self.say_reconnecting(&error);
                    After::Lost(error, Some(failure))
                }
                Verdict::NoConnection(error) => {
                    if error.is_too_many_clients() && self.workers.get() > 1 {
                        self.queue.give_back(task);
                        return false;
                    }
                    if error.is_too_many_clients() {
                        self.make_room().await;
                    }
                    if !self.may_reconnect(&error).await {
                        self.queue.give_back(task);
                        return false;
                    }
                    continue;
                }
            };
            let others_were_there = matches!(after, After::Changed) && task.is_untried();
            let planned = Rc::clone(&task.planned);
            match self.look_again(worker, task, after, begun).await {
                Some(next) if is_trial || next.may_start() => task = next,
                // Its plan is another by now, which is being tried on another schema.
                Some(next) => {
                    self.queue.give_back(next);
                    return true;
                }
                None => {
                    if others_were_there {
                        // It has been told of.
                        self.begin(worker.number(), []);
                        self.look_ahead(worker, &planned).await;
                    }
                    return !self.queue.is_stopped();
                }
            }
            trials.take(&task.planned);
        }
    }

    /// Ends a plan's trial on a schema that failed: most failures say nothing of the others.
    fn end_trials(&self, task: &Task, failure: &Failure, trials: &mut Trials<'_>) {
        // A name that is not qualified may be found in other schemas.
        let is_of_this_schema_alone = |touched: &str| {
            let files = &task.planned.plan.pending;
            touched.split(", ").all(|name| {
                self.executor.options.may_find(name) && !self.executor.migrations.says(files, name)
            })
        };
        match &failure.cause {
            Cause::Outside { touched } if is_of_this_schema_alone(touched) => {
                trials.end(Trial::Due);
            }
            Cause::Beyond { .. }
            | Cause::Outside { .. }
            | Cause::OwnHistory
            | Cause::DroppedItself
                if trials.are_under_way() =>
            {
                self.outcome.borrow_mut().stop.get_or_insert(Stop::Beyond);
                trials.end(Trial::Refused);
            }
            // What is made of strings while it runs has no position.
            Cause::Sql(error)
                if error.is("42601")
                    && error.position.is_some()
                    && failure.site.is_some()
                    && trials.are_under_way() =>
            {
                self.outcome.borrow_mut().stop.get_or_insert(Stop::Syntax);
                trials.end(Trial::Refused);
            }
            _ => trials.end(Trial::Due),
        }
    }
}
