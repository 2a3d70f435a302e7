//! Which schema is next: the fresh ones in their order, and between them those that were busy,
//! each after a pause of its own.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

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

/// A history and what is to be done for every schema that has it.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) history: History,
    pub(super) plan: Plan,
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
    /// What was in the way the last time.
    pub(super) blockage: Option<Rc<Blockage>>,
    /// What has been applied so far in this run, as it is to be shown.
    pub(super) applied: Vec<String>,
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
            blockage: None,
            applied: Vec::new(),
        }
    }
}

/// The tasks that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    fresh: RefCell<VecDeque<Task>>,
    deferred: RefCell<Vec<(Instant, Task)>>,
    stopped: Cell<bool>,
}

impl Queue {
    pub(super) fn new(tasks: impl IntoIterator<Item = Task>) -> Self {
        Self { fresh: RefCell::new(tasks.into_iter().collect()), ..Self::default() }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Starts no further task.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
    }

    /// Whether nothing is left that has not been tried.
    pub(super) fn is_fresh_empty(&self) -> bool {
        self.fresh.borrow().is_empty()
    }

    /// Puts a task back at the front: it was not tried.
    pub(super) fn give_back(&self, task: Task) {
        self.fresh.borrow_mut().push_front(task);
    }

    /// Puts a busy task at the back of the line, to be tried after a pause of random length
    /// ("full jitter"), so that those who wait for the same lock do not come back together.
    pub(super) fn defer(&self, task: Task) {
        let longest = SHORTEST_PAUSE * 2u32.saturating_pow(task.attempts.min(8));
        let pause = longest.min(LONGEST_PAUSE).mul_f64(fastrand::f64());
        self.deferred.borrow_mut().push((Instant::now() + pause, task));
    }

    /// Returns the next task when one is due, or `None` when there is nothing left to start.
    pub(super) async fn next(&self, interrupt: &Interrupt) -> Option<Task> {
        loop {
            if self.is_stopped() || interrupt.urgency() >= Urgency::Soon {
                return None;
            }
            if let Some(task) = self.due() {
                return Some(task);
            }
            let soonest = self.deferred.borrow().iter().map(|(due, _)| *due).min()?;
            tokio::select! {
                () = tokio::time::sleep_until(soonest) => {}
                () = interrupt.wait_for(Urgency::Soon) => {}
            }
        }
    }

    fn due(&self) -> Option<Task> {
        let mut deferred = self.deferred.borrow_mut();
        let now = Instant::now();
        if let Some(index) = deferred.iter().position(|(due, _)| *due <= now) {
            return Some(deferred.swap_remove(index).1);
        }
        self.fresh.borrow_mut().pop_front()
    }

    /// Takes what was never tried, and what was tried and found busy.
    pub(super) fn drain(&self) -> (Vec<Task>, Vec<Task>) {
        let fresh = self.fresh.take().into_iter().collect();
        let deferred = self.deferred.take().into_iter().map(|(_, task)| task).collect();
        (fresh, deferred)
    }
}
