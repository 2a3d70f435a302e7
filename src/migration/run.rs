//! One run: a few workers, each with a connection, take schemas from a queue; one schema's failure
//! is its own, and what is busy is tried again.

mod durable;

use std::cell::{Cell, LazyCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use self::durable::Unflushed;
use super::executor::{Executor, Mode, Outcome, Stop};
use super::history::{self, Fleet, Found, History, LookError};
use super::holders::Watch;
use super::interrupt::Urgency;
use super::plan::Plan;
use super::queue::{Creation, Planned, Queue, Task, Trial, Trials};
use super::script::{self, Registration};
use super::worker::{self, Verdict, Worker};
use crate::event::{Blockage, Cause, Event, Failure, Wave};
use crate::name::SchemaName;
use crate::pg::{ConnectError, Incomplete, Session};

/// A backend is replaced after it has migrated so many schemas: what it learnt of ten tables in
/// each would otherwise grow to hundreds of megabytes.
const SCHEMAS_PER_CONNECTION: usize = 500;

/// After the second interrupt: how long the server has to end what runs there, and how long all of
/// leaving may take.
const TERMINATE_WITHIN: Duration = Duration::from_millis(1300);
const LEAVE_WITHIN: Duration = Duration::from_millis(1900);

/// How long the answer to who holds what is waited for when nobody needs it any more.
const END_LOOKING_WITHIN: Duration = Duration::from_millis(100);

/// Failures of so many kinds are kept whole.
const MOST_KINDS: usize = 100;

/// How often one schema's history is read again before its run is given up.
const MOST_LOOKS: u32 = 5;

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
    last_contact: Cell<Instant>,
    reconnecting: Cell<bool>,
    failures: RefCell<Vec<Rc<Failure>>>,
    under_way: RefCell<HashMap<usize, Task>>,
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

/// A wave with what is said of it.
struct Announced {
    number: usize,
    of: usize,
    is_canary: bool,
    schemas: Vec<SchemaName>,
}

impl Announced {
    fn wave(&self) -> Wave<'_> {
        let Self { number, of, is_canary, ref schemas } = *self;
        Wave { number, of, is_canary, schemas }
    }
}

impl<'a> Run<'a> {
    /// Carries out one wave after the other.
    async fn waves(&self, tasks: Vec<Task>) {
        let lost = self.lost_canaries();
        let waves = self.executor.options.waves.split(tasks, |task| &task.schema);
        if lost > 0 && !waves.first().is_some_and(|wave| wave.is_canary) {
            self.stop(Stop::Canary { not_done: lost, of: lost });
        }
        let of = waves.len();
        for (index, wave) in waves.into_iter().enumerate() {
            let is_canary = wave.is_canary;
            // What is not started is told at the end.
            if self.queue.is_stopped() || self.executor.interrupt.urgency() >= Urgency::Soon {
                self.queue.add(wave.items);
                continue;
            }
            let schemas = match of {
                1 => Vec::new(),
                _ => wave.items.iter().map(|task| task.schema.clone()).collect(),
            };
            let announced = Announced { number: index + 1, of, is_canary, schemas };
            if index > 0 && !self.pause(&announced).await {
                self.queue.add(wave.items);
                continue;
            }
            if of > 1 {
                self.executor.observer.observe(&Event::Wave(announced.wave()));
            }
            let (done, all) = (self.done(), wave.items.len());
            self.wave(wave.items).await;
            if is_canary {
                let of = all + lost;
                let not_done = of - (self.done() - done);
                if not_done > 0 {
                    self.stop(Stop::Canary { not_done, of });
                }
            }
        }
    }

    async fn wave(&self, tasks: Vec<Task>) {
        let number = tasks.len();
        let workers = self.executor.options.jobs.clamp(1, number.max(1));
        self.workers.set(workers);
        self.allow_not_waiting(number);
        self.queue.add(tasks);
        let workers: Vec<Worker> = (0..workers).map(|number| self.worker(number)).collect();
        self.executor.spare.close_helpers().await;
        let work = async {
            join_all(workers.into_iter().enumerate().map(|(number, it)| self.work(number, it)))
                .await;
            self.watch.end_looking();
        };
        let looking = self.watch.run(self.executor.spare, &self.name, self.executor.observer);
        tokio::pin!(looking);
        tokio::select! {
            () = work => {}
            () = &mut looking => return,
        }
        // What it asks is answered in a moment, or never.
        if tokio::time::timeout(END_LOOKING_WITHIN, looking).await.is_err() {
            self.executor.spare.lane().await.abandon();
        }
    }

    fn done(&self) -> usize {
        let outcome = self.outcome.borrow();
        outcome.applied + outcome.up_to_date
    }

    /// Returns how many of the canaries that were named could not even be started.
    fn lost_canaries(&self) -> usize {
        let waves = &self.executor.options.waves;
        self.outcome.borrow().failed.iter().filter(|(schema, _)| waves.names(schema)).count()
    }

    /// Does nothing for as long as it was asked for; returns whether to go on. No connection is
    /// open meanwhile, and so nothing is locked.
    async fn pause(&self, next: &Announced) -> bool {
        let pause = self.executor.options.waves.pause;
        if pause.is_zero() {
            return true;
        }
        self.executor.spare.close().await;
        self.executor.observer.observe(&Event::Pausing { pause, next: next.wave() });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.executor.interrupt.wait_for(Urgency::Soon) => return false,
        }
        self.contact();
        true
    }

    fn new(executor: Executor<'a>, session: Option<Session>) -> Self {
        Self {
            executor,
            session,
            name: executor.spare.name().to_owned(),
            queue: Queue::default(),
            watch: Watch::default(),
            outcome: RefCell::default(),
            workers: Cell::new(0),
            last_contact: Cell::new(Instant::now()),
            reconnecting: Cell::new(false),
            failures: RefCell::default(),
            under_way: RefCell::default(),
            trials: RefCell::default(),
            unflushed: Unflushed::default(),
        }
    }

    /// Sorts the fleet into what is to be done and what is not.
    fn tasks(
        &self,
        fleet: Fleet,
        mut register: HashMap<SchemaName, Vec<Registration>>,
    ) -> Vec<Task> {
        // Only what some schema has: a plan for none at all would have every file parsed.
        let plan = |history| LazyCell::new(move || Rc::new(self.plan(history)));
        let planned: Vec<_> = fleet.histories.into_iter().map(plan).collect();
        let mut tasks = Vec::new();
        // One worker has nobody to leave a schema to, and keeps to the order.
        let several = self.executor.options.jobs > 1;
        for (schema, found) in fleet.schemas {
            let read_by = fleet.read_by.get(&schema).copied().filter(|_| several);
            let creation = register.remove(&schema).map(|rows| Creation {
                is_new: found == Found::NoSchema,
                may_be_there: self.executor.options.mode == Mode::Adopt,
                register: rows.into(),
            });
            match self.next_task(schema, found, creation, |index| Rc::clone(&planned[index])) {
                Ok(task) => tasks.push(Task { read_by, ..task }),
                Err(Sorted::UpToDate) => self.outcome.borrow_mut().up_to_date += 1,
                Err(Sorted::Failed(schema, cause)) => self.fail(schema, None, (*cause).into()),
            }
        }
        tasks
    }

    fn plan(&self, history: History) -> Planned {
        let folder = self.executor.migrations.folder();
        let plan = match self.executor.options.mode {
            // What its migrations make is there already, or will be told by a baseline.
            Mode::Adopt => Plan::default(),
            Mode::Seed => Plan { pending: (0..folder.files().len()).collect(), ..Plan::default() },
            _ => Plan::new(folder, &history, self.executor.plan),
        };
        let trial = self.trial(&plan.pending);
        Planned { history, plan, trial }
    }

    /// Returns the one trial of all plans of the same files.
    fn trial(&self, files: &[usize]) -> Rc<Cell<Trial>> {
        let mut trials = self.trials.borrow_mut();
        if let Some(known) = trials.get(files) {
            return known.clone();
        }
        let migrations = self.executor.migrations;
        let is_run = !matches!(self.executor.options.mode, Mode::Baseline | Mode::Adopt);
        let mut together = files.split(|file| migrations.is_no_transaction(*file));
        let is_due = is_run
            && migrations.is_confined()
            && together.any(|files| !files.is_empty() && !migrations.may_leave(files));
        let trial = Rc::new(Cell::new(if is_due { Trial::Due } else { Trial::Passed }));
        trials.insert(files.to_vec(), trial.clone());
        trial
    }

    fn next_task(
        &self,
        schema: SchemaName,
        found: Found,
        creation: Option<Creation>,
        planned: impl FnOnce(usize) -> Rc<Planned>,
    ) -> Result<Task, Sorted> {
        match found {
            Found::NoSchema if creation.is_some() => {
                let planned = Rc::new(self.plan(History::default()));
                Ok(Task { creation, ..Task::new(schema, planned) })
            }
            Found::NoSchema => Err(Sorted::failed(schema, Cause::NoSchema)),
            Found::BeingDeleted => Err(Sorted::failed(schema, Cause::BeingDeleted)),
            Found::Unreadable(why) => Err(Sorted::failed(schema, Cause::Unreadable(why))),
            Found::History(index) => {
                let planned = planned(index);
                if planned.plan.refused {
                    let why = "it does not agree with the migration files".to_owned();
                    Err(Sorted::failed(schema, Cause::Unreadable(why)))
                } else if planned.plan.pending.is_empty() && creation.is_none() {
                    Err(Sorted::UpToDate)
                } else {
                    Ok(Task { creation, ..Task::new(schema, planned) })
                }
            }
        }
    }

    fn worker(&self, number: usize) -> Worker<'a> {
        let name = format!("{}{number}", self.name);
        let lane = self.executor.spare.worker(number).replaced_after(SCHEMAS_PER_CONNECTION);
        let lane = match self.session.clone().filter(|_| self.may_not_wait()) {
            Some(session) => lane.with_session(session),
            None => lane,
        };
        Worker::new(self.executor, lane, number, name)
    }

    async fn connect(&self, worker: &mut Worker<'_>) {
        tokio::select! {
            () = worker.connect() => {}
            () = self.executor.interrupt.wait_for(Urgency::Now) => {}
        }
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
        worker.close().await;
    }

    async fn take_tasks(&self, number: usize, worker: &mut Worker<'_>) {
        loop {
            let mut goes_on = true;
            while goes_on
                && let Some((task, mut trials)) =
                    self.queue.next(number, self.executor.interrupt).await
            {
                self.under_way.borrow_mut().insert(number, task.clone());
                self.vouch_before_leaving(worker).await;
                goes_on = self.attend(worker, task, &mut trials).await;
                self.under_way.borrow_mut().remove(&number);
            }
            if !goes_on || !self.settle(worker).await {
                return;
            }
        }
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
            let verdict = worker.attempt(&task, &self.watch, is_trial, waits).await;
            if !verdict.is_lost() {
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
                Verdict::Failed(failure) => {
                    self.end_trials(&task, &failure.cause, trials);
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
                        self.executor.spare.make_room().await;
                    }
                    if !self.may_reconnect(&error).await {
                        self.queue.give_back(task);
                        return false;
                    }
                    continue;
                }
            };
            match self.look_again(worker, task, after, begun).await {
                Some(next) if is_trial || next.may_start() => task = next,
                // Its plan is another by now, which is being tried on another schema.
                Some(next) => {
                    self.queue.give_back(next);
                    return true;
                }
                None => return !self.queue.is_stopped(),
            }
            trials.take(&task.planned);
        }
    }

    /// Ends a plan's trial on a schema that failed: most failures say nothing of the others.
    fn end_trials(&self, task: &Task, cause: &Cause, trials: &mut Trials<'_>) {
        let is_plain = |touched: &str| {
            let files = &task.planned.plan.pending;
            touched.split(", ").any(|name| self.executor.migrations.says(files, name))
        };
        match cause {
            // A name that is not qualified may be found in other schemas.
            Cause::Outside { touched } if !is_plain(touched) => trials.end(Trial::Due),
            Cause::Beyond { .. } | Cause::Outside { .. } if trials.are_under_way() => {
                self.outcome.borrow_mut().stop.get_or_insert(Stop::Beyond);
                trials.end(Trial::Refused);
            }
            // What can be rehearsed was, and stayed within the schema.
            Cause::NotRehearsed { .. } => trials.end(Trial::Passed),
            _ => trials.end(Trial::Due),
        }
    }

    /// Reads a schema's history again and returns what is left to do for it, if anything.
    async fn look_again(
        &self,
        worker: &mut Worker<'_>,
        mut task: Task,
        after: After,
        begun: Instant,
    ) -> Option<Task> {
        let (found, mut histories) = self.look(worker, &task, &after).await?;
        let planned = |index: usize| Rc::new(self.plan(std::mem::take(&mut histories[index])));
        let creation = task.creation.clone().map(|creation| Creation {
            is_new: found == Found::NoSchema,
            may_be_there: creation.may_be_there || matches!(after, After::Lost(..)),
            ..creation
        });
        if matches!(after, After::Changed) && creation.as_ref().is_some_and(|it| !it.is_new) {
            self.fail(task.schema, None, Cause::SchemaExists.into());
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
                let Task { attempts, counted, applied, from, .. } = task;
                Some(Task { looks, attempts, counted, applied, from, ..next })
            }
            Ok(_) => {
                self.fail(task.schema, task.from, after.into_failure());
                None
            }
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
    ) -> Option<(Found, Vec<History>)> {
        loop {
            match worker.look(std::slice::from_ref(&task.schema)).await {
                Ok(mut fleet) => {
                    self.contact();
                    let (_, found) = fleet.schemas.pop().expect("one was asked for");
                    return Some((found, fleet.histories));
                }
                Err(LookError::Sql(error)) => {
                    self.fail(task.schema.clone(), task.from, Cause::Sql(error).into());
                    return None;
                }
                Err(LookError::Connect(error)) => {
                    if error.is_too_many_clients() {
                        self.executor.spare.make_room().await;
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

    fn contact(&self) {
        self.last_contact.set(Instant::now());
        self.reconnecting.set(false);
    }

    fn say_reconnecting(&self, error: &ConnectError) {
        if !self.reconnecting.replace(true) {
            let reason = error.to_string();
            self.executor.observer.observe(&Event::Reconnecting { reason: &reason });
        }
    }

    /// Waits a moment, or gives the run up when the server has been out of reach for too long.
    async fn may_reconnect(&self, error: &ConnectError) -> bool {
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

    fn stop(&self, reason: Stop) {
        self.queue.stop();
        self.outcome.borrow_mut().stop.get_or_insert(reason);
    }

    fn applied(&self, task: &Task, elapsed: Duration) {
        self.outcome.borrow_mut().applied += 1;
        let (schema, migrations) = (&task.schema, self.labels(task));
        self.executor.observer.observe(&Event::Applied {
            schema,
            migrations: &migrations,
            from: task.from,
            to: self.last_version(task),
            elapsed,
        });
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

    fn up_to_date(&self, task: &Task) {
        self.outcome.borrow_mut().up_to_date += 1;
        self.executor.observer.observe(&Event::UpToDate { schema: &task.schema });
    }

    /// `version` is the one that the schema stays at, where it is known.
    fn fail(&self, schema: SchemaName, version: Option<i64>, failure: Failure) {
        let event = Event::Failed { schema: &schema, version, failure: &failure };
        self.executor.observer.observe(&event);
        let failure = self.intern(failure);
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
    fn intern(&self, failure: Failure) -> Rc<Failure> {
        let mut failures = self.failures.borrow_mut();
        if let Some(known) = failures.iter().find(|known| known.is_same_as(&failure)) {
            return known.clone();
        }
        // Beyond so many different ones there is nothing to share, and looking costs. What was shown
        // of them is not kept.
        if failures.len() >= MOST_KINDS {
            return Rc::new(failure.without_excerpt());
        }
        let failure = Rc::new(failure);
        failures.push(failure.clone());
        failure
    }

    /// Puts a busy schema at the back of the line, or gives it up.
    fn block(&self, mut task: Task, mut blockage: Rc<Blockage>) {
        // A short wait may be over before anybody has looked at who is in the way.
        if let Some(before) = &task.blockage
            && blockage.holders.is_empty()
        {
            Rc::make_mut(&mut blockage).holders = before.holders.clone();
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

    /// Cancels on the server what is still running for this run, and looks up what became of it.
    async fn abandon(&self) {
        let mut tasks: Vec<Task> = self.under_way.take().into_values().collect();
        tasks.extend(self.unflushed.take_all());
        let begun = Instant::now();
        let _ = tokio::time::timeout_at(begun + TERMINATE_WITHIN, self.terminate()).await;
        let names: Vec<SchemaName> = tasks.iter().map(|task| task.schema.clone()).collect();
        let look = async {
            let mut lane = self.executor.spare.lane().await;
            if let Ok(connection) = lane.serve(0).await {
                let _ = worker::flush(connection).await;
            }
            history::read_over(&mut lane, &mut [], &names).await
        };
        let fleet = tokio::time::timeout_at(begun + LEAVE_WITHIN, look).await;
        let fleet = fleet.ok().and_then(Result::ok).unwrap_or_default();
        for (index, task) in tasks.into_iter().enumerate() {
            let cause = match fleet.schemas.get(index).map(|(_, found)| found) {
                Some(Found::History(it)) if self.is_done(&task, &fleet.histories[*it]) => {
                    self.applied(&task, Duration::ZERO);
                    continue;
                }
                // No history tells whether a seed's COMMIT came before that.
                Some(_) if self.executor.options.mode == Mode::Seed => Cause::Unanswered,
                Some(_) => Cause::Interrupted,
                None => Cause::Unknown,
            };
            let failure = Failure { left_behind: self.may_be_left_behind(&task), ..cause.into() };
            self.fail(task.schema, task.from, failure);
        }
    }

    /// Whether everything had happened when the work was cancelled.
    fn is_done(&self, task: &Task, history: &History) -> bool {
        // A schema that is created in several transactions is registered in the last.
        let may_lack_its_row = task.creation.is_some() && self.alone(task).next().is_some();
        self.plan(history.clone()).plan.pending.is_empty() && !may_lack_its_row
    }

    fn may_be_left_behind(&self, task: &Task) -> Vec<String> {
        let what = |label| format!("whatever {label}, which runs in no transaction, had done");
        self.alone(task).map(what).collect()
    }

    /// Returns the labels of a task's files that run in no transaction.
    fn alone(&self, task: &Task) -> impl Iterator<Item = String> {
        let migrations = self.executor.migrations;
        let pending = task.planned.plan.pending.iter();
        pending
            .filter(|&&file| migrations.is_no_transaction(file))
            .map(|&file| migrations.label(file))
    }

    /// Ends this run's backends and waits until they are gone.
    async fn terminate(&self) -> Result<(), Incomplete> {
        let mut lane = self.executor.spare.lane().await;
        let connection = lane.serve(0).await.map_err(Incomplete::Lost)?;
        connection.end_backends(&self.name).await
    }

    fn finish(self) -> Outcome {
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

/// What a schema that needs no work is.
enum Sorted {
    UpToDate,
    Failed(SchemaName, Box<Cause>),
}

impl Sorted {
    fn failed(schema: SchemaName, cause: Cause) -> Self {
        Self::Failed(schema, Box::new(cause))
    }
}

/// Why a history is read again.
enum After {
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
