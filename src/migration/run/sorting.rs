//! What there is to do for each schema, by its history.

use std::cell::{Cell, LazyCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::super::executor::Mode;
use super::super::history::{self, Fleet, Found, History};
use super::super::plan::Plan;
use super::super::queue::{Creation, Planned, Task, Trial};
use super::super::script::Registration;
use super::Run;
use crate::event::Cause;
use crate::name::SchemaName;

/// What a schema that needs no work is.
pub(super) enum Sorted {
    UpToDate,
    /// Its history cannot be read for now.
    Locked(SchemaName),
    Failed(SchemaName, Box<Cause>),
}

impl Sorted {
    fn failed(schema: SchemaName, cause: Cause) -> Self {
        Self::Failed(schema, Box::new(cause))
    }
}

impl Run<'_> {
    /// Sorts the fleet into what is to be done and what is not.
    pub(super) fn tasks(
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
                Err(Sorted::Locked(schema)) => tasks.push(Task::unread(schema)),
                Err(Sorted::Failed(schema, cause)) => self.fail(schema, None, (*cause).into()),
            }
        }
        tasks
    }

    pub(super) fn plan(&self, history: History) -> Planned {
        let migrations = self.executor.migrations;
        let mode = self.executor.options.mode;
        let mut plan = match mode {
            // What its migrations make is there already, or will be told by a baseline.
            Mode::Adopt => Plan::default(),
            Mode::Seed => Plan {
                pending: (0..migrations.folder().files().len()).collect(),
                ..Plan::default()
            },
            _ => Plan::new(migrations.folder(), &history, self.executor.plan),
        };
        let not_rehearsed = match mode {
            Mode::Rehearse => plan.end_before(|file| migrations.cannot_be_rehearsed(file)),
            _ => None,
        };
        let trial = self.trial(&plan.pending);
        let weight = migrations.weight(&plan.pending);
        Planned { history, plan, not_rehearsed, trial, weight }
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

    pub(super) fn next_task(
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
            Found::Locked if creation.is_some() => {
                Err(Sorted::failed(schema, Cause::Unreadable(history::locked())))
            }
            Found::Locked => Err(Sorted::Locked(schema)),
            Found::Unreadable(why) => Err(Sorted::failed(schema, Cause::Unreadable(why))),
            Found::History(index) => {
                let planned = planned(index);
                if planned.plan.refused {
                    let why = self.executor.migrations.refusal(&planned.plan);
                    Err(Sorted::failed(schema, Cause::Unreadable(why)))
                } else if planned.is_empty() && creation.is_none() {
                    Err(Sorted::UpToDate)
                } else {
                    Ok(Task { creation, ..Task::new(schema, planned) })
                }
            }
        }
    }
}
