//! Which schema is next: the fresh ones in their order, and between them those that were busy,
//! each after a pause of its own.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::history::History;
use super::interrupt::{Interrupt, Urgency};
use super::plan::Plan;
use super::script::Registration;
use crate::event::Blockage;
use crate::name::SchemaName;

/// Pauses grow from about this long, doubling with every attempt.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Among so many at the front a worker prefers a schema whose history its connection has read: the
/// backend need not learn the table anew.
const NEAR: usize = 32;

/// Several schemas are taken at once only while every worker has so many such turns left.
const TURNS_LEFT: usize = 4;

/// A history and what is to be done for every schema that has it.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) history: History,
    pub(super) plan: Plan,
    /// The file with which a rehearsal ends, as it runs in no transaction.
    pub(super) not_rehearsed: Option<usize>,
    /// Shared by all plans of the same files.
    pub(super) trial: Rc<Cell<Trial>>,
    /// How much a backend learns by it (`MigrationSet::weight`).
    pub(super) weight: usize,
}

impl Planned {
    /// Whether there is nothing to do, and nothing that could not be rehearsed.
    pub(super) fn is_empty(&self) -> bool {
        self.plan.pending.is_empty() && self.not_rehearsed.is_none()
    }
}

/// Whether a plan has been tried on one schema, with a look at what it did beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// Not yet: the next schema with this plan is the first.
    Due,
    /// A worker is trying it on one schema, and the others wait.
    UnderWay,
    /// It stays within its schema, or need not.
    Passed,
    /// It changes tables of its schema and nothing else, wherever these are the schema's own.
    Proven,
    /// It does not, and is not started again.
    Refused,
}

/// Trials that a worker has taken upon itself. What has not come to an end is due again.
pub(super) struct Trials<'a> {
    queue: &'a Queue,
    trials: Vec<Rc<Cell<Trial>>>,
}

impl Trials<'_> {
    /// Whether the worker is trying a plan.
    pub(super) fn are_under_way(&self) -> bool {
        self.trials.iter().any(|it| it.get() == Trial::UnderWay)
    }

    /// Takes on what is left of the plan, which is another one.
    pub(super) fn take(&mut self, planned: &Planned) {
        if planned.trial.get() == Trial::Due {
            planned.trial.set(Trial::UnderWay);
            self.trials.push(planned.trial.clone());
        }
    }

    /// Ends them in this way.
    pub(super) fn end(&mut self, trial: Trial) {
        for it in self.trials.drain(..).filter(|it| it.get() == Trial::UnderWay) {
            it.set(trial);
        }
        self.queue.changed.notify_waiters();
    }
}

impl Drop for Trials<'_> {
    fn drop(&mut self) {
        self.end(Trial::Due);
    }
}

/// A schema that is being created.
#[derive(Debug, Clone)]
pub(super) struct Creation {
    /// The schema is still to be made.
    pub(super) is_new: bool,
    /// The schema may be there although it is not half made: it is to be adopted, or the answer to
    /// our own COMMIT was lost.
    pub(super) may_be_there: bool,
    /// What registers it, in the end.
    pub(super) register: Rc<[Registration]>,
}

/// A schema that is behind.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) schema: SchemaName,
    pub(super) planned: Rc<Planned>,
    /// Set while the schema is being created.
    pub(super) creation: Option<Creation>,
    /// The version that the schema had when the run came to it.
    pub(super) from: Option<i64>,
    /// How often it was found busy.
    pub(super) attempts: u32,
    /// How often it was found busy when nothing else was left to do: these count.
    pub(super) counted: u32,
    /// How often its history was read again.
    pub(super) looks: u32,
    /// Whether its history could not be read yet: its plan is none.
    pub(super) is_unread: bool,
    /// What was in the way the last time.
    pub(super) blockage: Option<Rc<Blockage>>,
    /// What has been applied so far in this run, as it is to be shown.
    pub(super) applied: Vec<String>,
    /// The worker whose connection has read its history, where that matters.
    pub(super) read_by: Option<usize>,
}

impl Task {
    pub(super) fn new(schema: SchemaName, planned: Rc<Planned>) -> Self {
        let (attempts, counted, looks) = (0, 0, 0);
        Self {
            from: planned.history.version(),
            schema,
            planned,
            creation: None,
            attempts,
            counted,
            looks,
            is_unread: false,
            blockage: None,
            applied: Vec::new(),
            read_by: None,
        }
    }

    /// Returns that of a schema whose history somebody has locked.
    pub(super) fn unread(schema: SchemaName) -> Self {
        let planned = Planned {
            history: History::default(),
            plan: Plan::default(),
            not_rehearsed: None,
            trial: Rc::new(Cell::new(Trial::Passed)),
            weight: 0,
        };
        Self { is_unread: true, ..Self::new(schema, Rc::new(planned)) }
    }

    /// Whether nothing but its plan is to be carried out, for the first time in this run.
    pub(super) fn is_untried(&self) -> bool {
        self.creation.is_none() && !self.is_unread && self.attempts == 0 && self.looks == 0
    }

    fn trial(&self) -> Trial {
        self.planned.trial.get()
    }

    /// Whether its plan can change nothing but tables of its schema, wherever these are its own.
    pub(super) fn is_proven(&self) -> bool {
        self.trial() == Trial::Proven
    }

    /// Whether nobody is trying its plan, and nobody found that it must not be.
    pub(super) fn may_start(&self) -> bool {
        matches!(self.trial(), Trial::Due | Trial::Passed | Trial::Proven)
    }
}

/// The tasks that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    fresh: RefCell<VecDeque<Task>>,
    deferred: RefCell<Vec<(Instant, Task)>>,
    stopped: Cell<bool>,
    /// Told when what nobody could take may be taken now.
    changed: Notify,
}

impl Queue {
    /// Adds tasks behind those that wait.
    pub(super) fn add(&self, tasks: impl IntoIterator<Item = Task>) {
        self.fresh.borrow_mut().extend(tasks);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Starts no further task.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
        self.changed.notify_waiters();
    }

    /// Whether nothing is left that has not been tried.
    pub(super) fn is_fresh_empty(&self) -> bool {
        self.fresh.borrow().iter().all(|task| task.trial() == Trial::Refused)
    }

    /// Whether something was busy, and is to be tried again.
    pub(super) fn has_deferred(&self) -> bool {
        !self.deferred.borrow().is_empty()
    }

    /// Puts a task back at the front: it was not tried.
    pub(super) fn give_back(&self, task: Task) {
        self.fresh.borrow_mut().push_front(task);
        self.changed.notify_waiters();
    }

    /// Wakes whoever waits for a change.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until something has changed.
    pub(super) async fn changes(&self) {
        self.changed.notified().await;
    }

    /// Whether [`Self::next`] has a task, or waits for one.
    pub(super) fn has_tasks(&self) -> bool {
        let may_start = || self.fresh.borrow().iter().any(Task::may_start);
        !self.is_stopped() && (may_start() || self.soonest().is_some() || self.is_held_up())
    }

    /// Puts a busy task at the back of the line, to be tried after a pause of random length
    /// ("full jitter"), so that those who wait for the same lock do not come back together.
    pub(super) fn defer(&self, task: Task) {
        let longest = SHORTEST_PAUSE * 2u32.saturating_pow(task.attempts.min(8));
        let pause = longest.min(LONGEST_PAUSE).mul_f64(fastrand::f64());
        self.deferred.borrow_mut().push((Instant::now() + pause, task));
    }

    /// Returns the next task for a worker when one is due, and its plan's trial if it is the first,
    /// or `None` when there is nothing left to start.
    pub(super) async fn next(
        &self,
        worker: usize,
        interrupt: &Interrupt,
    ) -> Option<(Task, Trials<'_>)> {
        loop {
            if self.is_stopped() || interrupt.urgency() >= Urgency::Soon {
                return None;
            }
            if let Some(task) = self.due(worker) {
                let mut trials = Trials { queue: self, trials: Vec::new() };
                trials.take(&task.planned);
                return Some((task, trials));
            }
            let soonest = self.soonest();
            if soonest.is_none() && !self.is_held_up() {
                return None;
            }
            tokio::select! {
                () = tokio::time::sleep_until(soonest.unwrap_or_else(Instant::now)),
                    if soonest.is_some() => {}
                () = self.changed.notified() => {}
                () = interrupt.wait_for(Urgency::Soon) => {}
            }
        }
    }

    fn due(&self, worker: usize) -> Option<Task> {
        let mut deferred = self.deferred.borrow_mut();
        let now = Instant::now();
        let is_due = |(due, task): &(Instant, Task)| *due <= now && task.may_start();
        if let Some(index) = deferred.iter().position(is_due) {
            return Some(deferred.swap_remove(index).1);
        }
        let mut fresh = self.fresh.borrow_mut();
        let known = known(&fresh, worker, Task::may_start);
        let index = known.or_else(|| fresh.iter().position(Task::may_start))?;
        fresh.remove(index)
    }

    /// Takes up to `most` others for which there is the same to do as for `first`, and which nobody has
    /// tried; fewer where not many are left, so that no worker has nothing to do meanwhile.
    pub(super) fn more(
        &self,
        worker: usize,
        workers: usize,
        first: &Task,
        most: usize,
    ) -> Vec<Task> {
        let mut fresh = self.fresh.borrow_mut();
        let most = most.min(fresh.len() / (TURNS_LEFT * workers.max(1)));
        let is_like = |task: &Task| Rc::ptr_eq(&task.planned, &first.planned) && task.is_untried();
        let next = |_| {
            let front = || fresh.front().filter(|task| is_like(task)).map(|_| 0);
            let index = known(&fresh, worker, is_like).or_else(front)?;
            fresh.remove(index)
        };
        (0..most).map_while(next).collect()
    }

    /// Returns the first `most` that nobody has tried and for which there is the same to do as for
    /// `first`; they stay where they are.
    pub(super) fn upcoming(&self, first: &Planned, most: usize) -> Vec<SchemaName> {
        let fresh = self.fresh.borrow();
        let is_like = |task: &&Task| std::ptr::eq(&*task.planned, first) && task.is_untried();
        fresh.iter().filter(is_like).take(most).map(|task| task.schema.clone()).collect()
    }

    /// Takes those of `schemas` that nobody has taken.
    pub(super) fn take(&self, schemas: &HashSet<SchemaName>) -> Vec<Task> {
        let mut fresh = self.fresh.borrow_mut();
        let is_meant = |task: &Task| schemas.contains(&task.schema) && task.is_untried();
        let (taken, left): (VecDeque<_>, _) = fresh.drain(..).partition(is_meant);
        *fresh = left;
        Vec::from(taken)
    }

    fn soonest(&self) -> Option<Instant> {
        let deferred = self.deferred.borrow();
        deferred.iter().filter(|(_, task)| task.may_start()).map(|(due, _)| *due).min()
    }

    /// Whether a task waits for the trial of its plan.
    fn is_held_up(&self) -> bool {
        let waits = |task: &Task| task.trial() == Trial::UnderWay;
        self.fresh.borrow().iter().any(waits)
            || self.deferred.borrow().iter().any(|(_, task)| waits(task))
    }

    /// Takes what was never tried, and what was tried and found busy.
    pub(super) fn drain(&self) -> (Vec<Task>, Vec<Task>) {
        let fresh = self.fresh.take().into_iter().collect();
        let deferred = self.deferred.take().into_iter().map(|(_, task)| task).collect();
        (fresh, deferred)
    }
}

/// Returns where near the front there is one whose history the worker's connection has read.
fn known(fresh: &VecDeque<Task>, worker: usize, is_meant: impl Fn(&Task) -> bool) -> Option<usize> {
    let is_known = |task: &Task| task.read_by == Some(worker) && is_meant(task);
    fresh.iter().take(NEAR).position(is_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of five connections each has read every fifth schema; the last works on none.
    fn queue(schemas: usize, read_by: impl Fn(usize) -> Option<usize>) -> Queue {
        let trial = Rc::new(Cell::new(Trial::Passed));
        let (history, plan) = (History::default(), Plan::default());
        let planned = Rc::new(Planned { history, plan, not_rehearsed: None, trial, weight: 0 });
        let queue = Queue::default();
        let name = |index| format!("t{index:04}").parse().expect("a name");
        let task =
            |index| Task { read_by: read_by(index), ..Task::new(name(index), planned.clone()) };
        queue.add((0..schemas).map(task));
        queue
    }

    fn every_fifth(index: usize) -> Option<usize> {
        Some(index % 5).filter(|worker| *worker < 4)
    }

    #[test]
    fn a_worker_prefers_what_its_connection_has_read() {
        let (queue, mut own) = (queue(1000, every_fifth), 0);
        for turn in 0..1000 {
            let task = queue.due(turn % 4).expect("one is left");
            own += usize::from(task.read_by == Some(turn % 4));
        }
        assert!(own >= 700, "{own}");
    }

    #[test]
    fn what_is_at_the_front_is_passed_by_for_a_while_only() {
        let queue = queue(1000, every_fifth);
        let first = queue.fresh.borrow()[0].schema.clone();
        let taken: Vec<SchemaName> =
            std::iter::from_fn(|| queue.due(1).map(|task| task.schema)).collect();
        assert_eq!(taken.len(), 1000);
        let at = taken.iter().position(|it| *it == first).expect("it was taken");
        assert!((1..=2 * NEAR).contains(&at), "{at}");
    }

    #[test]
    fn several_are_taken_for_one_plan_while_many_are_left() {
        let queue = queue(40, |_| None);
        let another = Rc::new(Planned {
            history: History::default(),
            plan: Plan::default(),
            not_rehearsed: None,
            trial: Rc::new(Cell::new(Trial::Passed)),
            weight: 0,
        });
        queue.fresh.borrow_mut()[3].planned = another;
        let taken = |workers| {
            let first = queue.due(0).expect("one is left");
            let others = queue.more(0, workers, &first, 3);
            let all = std::iter::once(&first).chain(&others);
            all.map(|task| task.schema.as_str()[3..].parse().unwrap()).collect::<Vec<usize>>()
        };
        assert_eq!(taken(1), [0, 1, 2]);
        assert_eq!(taken(1), [3]);
        assert_eq!(taken(2), [4, 5, 6, 7]);
        assert_eq!(taken(4), [8, 9]);
        assert_eq!(taken(9), [10]);
    }

    #[test]
    fn without_such_a_connection_the_order_is_kept() {
        let queue = queue(100, |_| None);
        let taken: Vec<SchemaName> =
            std::iter::from_fn(|| queue.due(0).map(|task| task.schema)).collect();
        assert!(taken.is_sorted() && taken.len() == 100);
    }
}
