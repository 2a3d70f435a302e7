//! Carries plans out on a fleet: what is done, how, and what became of every schema.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use super::history::Fleet;
use super::interrupt::Interrupt;
use super::plan::PlanOptions;
use super::run;
use super::script::Registration;
use super::set::MigrationSet;
use super::waves::Waves;
use crate::event::{Blockage, Cause, Event, Failure, Observer};
use crate::name::SchemaName;
use crate::pg::{ConnectError, Database, Spare, identifier};
use crate::structure::Template;

/// What is done with each plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Apply it.
    #[default]
    Apply,
    /// Apply it and roll it back.
    Rehearse,
    /// Record it without running it: refinery's `Target::Fake`.
    Baseline,
    /// Apply it to a schema that is being created.
    Create,
    /// Register a schema that is there, as it is.
    Adopt,
    /// Run every file, whatever the history, and record nothing.
    Seed,
}

/// How plans are carried out.
#[derive(Debug, Clone)]
pub struct ExecuteOptions {
    /// What is done with each plan.
    pub mode: Mode,
    /// How many schemas are worked on at once; at least 1.
    pub jobs: usize,
    /// The longest a transaction waits for its locks in all; for ever when `None`. Most waits are
    /// shorter.
    pub lock_timeout: Option<Duration>,
    /// The longest a statement runs; for ever when `None`.
    pub statement_timeout: Option<Duration>,
    /// How often a busy schema is tried again once nothing else is left to do.
    pub retries: u32,
    /// How long a server may be out of reach before the run gives up.
    pub reconnect_for: Duration,
    /// Start no further schema after so many have failed.
    pub max_failures: Option<usize>,
    /// Send each statement in a message of its own.
    pub one_by_one: bool,
    /// The schemas behind the tenant's own in the search path.
    pub path: Vec<String>,
    /// In which waves.
    pub waves: Waves,
}

impl ExecuteOptions {
    /// Whether `relation`, as Postgres writes it (`public.users`), is of a schema behind the
    /// tenant's own in the search path, where a name that is not qualified may be found.
    pub(super) fn may_find(&self, relation: &str) -> bool {
        self.path.iter().any(|schema| {
            [schema.clone(), identifier(schema)]
                .iter()
                .any(|it| relation.strip_prefix(it).is_some_and(|rest| rest.starts_with('.')))
        })
    }
}

impl Default for ExecuteOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Apply,
            jobs: 4,
            lock_timeout: Some(Duration::from_secs(2)),
            statement_timeout: None,
            retries: 10,
            reconnect_for: Duration::from_secs(30),
            max_failures: Some(100),
            one_by_one: false,
            path: vec!["public".into()],
            waves: Waves::default(),
        }
    }
}

/// Why no further schema was started.
#[derive(Debug, Clone)]
pub enum Stop {
    /// As many failed as were allowed to; what was under way then may have failed as well.
    Budget {
        /// How many were.
        most: usize,
    },
    /// Some of the canaries were not done.
    Canary {
        /// How many were not.
        not_done: usize,
        /// How many canaries there were.
        of: usize,
    },
    /// The first schema's migrations changed what is not that schema's, and the others' would have
    /// done the same.
    Beyond,
    /// The server did not understand a file, and would not in any other schema.
    Syntax,
    /// The server has run out of something.
    OutOfResources,
    /// A person asked to stop.
    Interrupted,
    /// The server is out of reach.
    Unreachable(ConnectError),
}

/// What became of every schema that was behind. The counts add up to the number given.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Schemas that were migrated (or rehearsed, or baselined).
    pub applied: usize,
    /// Of those, the ones whose rehearsal ended before a file that runs in no transaction, by its
    /// name, such as ``V2 `index` ``.
    pub rehearsed_up_to: BTreeMap<String, Vec<SchemaName>>,
    /// Schemas that had nothing pending.
    pub up_to_date: usize,
    /// Schemas that were deleted or renamed since the run began.
    pub gone: Vec<SchemaName>,
    /// Schemas that were to be created, and that somebody else has just created.
    pub made_by_others: Vec<SchemaName>,
    /// Schemas that were not migrated, and why; they are as they were before.
    pub failed: Vec<(SchemaName, Rc<Failure>)>,
    /// Schemas that somebody was using all the time.
    pub busy: Vec<(SchemaName, Rc<Blockage>)>,
    /// Schemas that were not tried.
    pub not_attempted: Vec<SchemaName>,
    /// Why not every schema was tried, if so.
    pub stop: Option<Stop>,
}

impl Outcome {
    /// Returns how many schemas this speaks of.
    pub fn total(&self) -> usize {
        self.done() + self.failed.len() + self.busy.len() + self.not_attempted.len()
    }

    /// Returns how many schemas were rehearsed up to a file that runs in no transaction.
    pub fn ended_early(&self) -> usize {
        self.rehearsed_up_to.values().map(Vec::len).sum()
    }

    /// Adds what became of other schemas.
    pub fn extend(&mut self, other: Self) {
        self.applied += other.applied;
        self.up_to_date += other.up_to_date;
        for (migration, schemas) in other.rehearsed_up_to {
            self.rehearsed_up_to.entry(migration).or_default().extend(schemas);
        }
        self.gone.extend(other.gone);
        self.made_by_others.extend(other.made_by_others);
        self.failed.extend(other.failed);
        self.busy.extend(other.busy);
        self.not_attempted.extend(other.not_attempted);
        self.stop = self.stop.take().or(other.stop);
    }

    /// Returns how many schemas are where they should be, or are no more.
    pub fn done(&self) -> usize {
        self.applied + self.up_to_date + self.made_by_others.len() + self.gone.len()
    }

    /// Whether there is no schema of which that is not so.
    pub fn is_complete(&self) -> bool {
        self.total() == self.done() && self.stop.is_none()
    }

    /// Returns the schemas that are not where they should be.
    pub(crate) fn not_done(&self) -> impl Iterator<Item = &SchemaName> {
        let failed = self.failed.iter().map(|(schema, _)| schema);
        let busy = self.busy.iter().map(|(schema, _)| schema);
        failed.chain(busy).chain(&self.not_attempted)
    }

    /// Tells of those schemas that are gone, and should be there, as failed.
    pub(crate) fn miss(
        &mut self,
        observer: &dyn Observer,
        is_missed: impl Fn(&SchemaName) -> bool,
    ) {
        let failure = Rc::new(Failure::from(Cause::NoSchema));
        for schema in self.gone.extract_if(.., |schema| is_missed(schema)) {
            let event = Event::Failed { schema: &schema, version: None, failure: &failure };
            observer.observe(&event);
            self.failed.push((schema, failure.clone()));
        }
    }
}

/// Carries plans out on one database.
#[derive(Clone, Copy)]
pub struct Executor<'a> {
    /// The database.
    pub database: &'a Database,
    /// The one connection besides the workers'.
    pub spare: &'a Spare,
    /// The migrations.
    pub migrations: &'a MigrationSet,
    /// What else is run in a schema that is created, in the end.
    pub seeds: Option<&'a MigrationSet>,
    /// What a schema that is created is made from instead of by the migrations.
    pub template: Option<&'a Template>,
    /// How plans are made.
    pub plan: PlanOptions,
    /// How they are carried out.
    pub options: &'a ExecuteOptions,
    /// Who is told of it.
    pub observer: &'a dyn Observer,
    /// Whether to go on.
    pub interrupt: &'a Interrupt,
}

impl Executor<'_> {
    /// Migrates the schemas of `fleet` that are behind. A plan that is refused is a failure of its
    /// schema; who wants to touch nothing in that case asks the plans beforehand.
    pub async fn run(&self, fleet: Fleet) -> Outcome {
        run::carry_out(*self, fleet, HashMap::new()).await
    }

    /// Creates the schemas of `fleet`, each with every migration and, at the end, the rows that
    /// register it. A schema that is there is taken for one whose creation was interrupted.
    pub async fn create(
        &self,
        fleet: Fleet,
        register: HashMap<SchemaName, Vec<Registration>>,
    ) -> Outcome {
        run::carry_out(*self, fleet, register).await
    }
}
