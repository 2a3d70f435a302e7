//! A look at many schemas: what each has and lacks, and what stands in the way. Nothing is
//! changed.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{self, Fleet, Found, History, LookError};
use super::plan::{Finding, Plan, PlanOptions};
use super::script;
use super::set::MigrationSet;
use crate::name::SchemaName;
use crate::pg::{Database, Lane, Spare};

/// What was found in many schemas, and what there is to do in each.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The schemas and their histories.
    pub fleet: Fleet,
    /// The plan for each of the fleet's histories.
    pub plans: Vec<Plan>,
}

/// The state of one schema, ordered as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing is pending; at this version, or at none.
    UpToDate(Option<i64>),
    /// So many files are pending; at this version, or at none.
    Behind {
        /// The newest version in the history.
        version: Option<i64>,
        /// How many files are pending.
        pending: usize,
    },
    /// Its history and the files disagree.
    Disagrees(Vec<Finding>),
    /// There is no such schema.
    NoSchema,
    /// It is being deleted.
    BeingDeleted,
    /// Its history cannot be read.
    Unreadable(String),
}

/// A finding and the schemas that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The finding.
    pub finding: Finding,
    /// In the order in which they were looked at.
    pub schemas: Vec<SchemaName>,
}

impl Survey {
    /// Besides the first, connections over which the histories of a large fleet are read.
    pub(crate) const HELPERS: usize = 3;

    /// The same for a run, whose workers need theirs anyway: as many as `--jobs` is by default.
    const RUN_HELPERS: usize = 4;

    /// Looks at `schemas` and plans what to do for each.
    pub async fn take(
        database: &Database,
        migrations: &MigrationSet,
        schemas: &[SchemaName],
        options: PlanOptions,
    ) -> Result<Self, LookError> {
        let mut lane = Lane::new(database, "tenantctl look", usize::MAX);
        let survey = Self::take_over(&mut lane, &mut [], migrations, schemas, options).await?;
        lane.close().await;
        Ok(survey)
    }

    /// Looks at `schemas` for a run, over its spare connection and, where there are many, over
    /// those of at most `jobs` workers.
    pub(crate) async fn take_for_run(
        spare: &Spare,
        lane: &mut Lane,
        migrations: &MigrationSet,
        schemas: &[SchemaName],
        options: PlanOptions,
        jobs: usize,
    ) -> Result<Self, LookError> {
        let session = script::session(lane.serve(0).await?.server_version());
        let helper = |number| spare.worker(number).with_session(session.clone());
        let mut helpers: Vec<Lane> = (0..jobs.min(Self::RUN_HELPERS)).map(helper).collect();
        let mut survey = Self::take_over(lane, &mut helpers, migrations, schemas, options).await;
        spare.keep(helpers);
        if let Ok(survey) = &mut survey
            && spare.helpers() == 0
        {
            survey.fleet.read_by.clear();
        }
        survey
    }

    /// Looks at `schemas` over a connection and, where there are many, over others, which stay open
    /// as it does.
    pub(crate) async fn take_over(
        lane: &mut Lane,
        others: &mut [Lane],
        migrations: &MigrationSet,
        schemas: &[SchemaName],
        options: PlanOptions,
    ) -> Result<Self, LookError> {
        let fleet = history::read_over(lane, others, schemas).await?;
        let plan = |history: &History| Plan::new(migrations.folder(), history, options);
        let plans = fleet.histories.iter().map(plan).collect();
        Ok(Self { fleet, plans })
    }

    /// Returns each schema with its state, in the order in which they were asked for.
    pub fn states(&self) -> impl Iterator<Item = (&SchemaName, State)> {
        self.fleet.schemas.iter().map(|(schema, found)| (schema, self.state(found)))
    }

    fn state(&self, found: &Found) -> State {
        match found {
            Found::NoSchema => State::NoSchema,
            Found::BeingDeleted => State::BeingDeleted,
            Found::Locked => State::Unreadable(history::locked()),
            Found::Unreadable(why) => State::Unreadable(why.clone()),
            Found::History(index) => {
                let (plan, version) = (&self.plans[*index], self.fleet.histories[*index].version());
                match (plan.refused, plan.pending.len()) {
                    (true, _) => State::Disagrees(plan.findings.clone()),
                    (false, 0) => State::UpToDate(version),
                    (false, pending) => State::Behind { version, pending },
                }
            }
        }
    }

    /// Returns the findings that forbid to go on, each with the schemas that have it.
    pub fn disagreements(&self) -> Vec<Disagreement> {
        let mut schemas: BTreeMap<&Finding, Vec<SchemaName>> = BTreeMap::new();
        for (schema, found) in &self.fleet.schemas {
            let Found::History(index) = found else {
                continue;
            };
            let plan = &self.plans[*index];
            for finding in plan.findings.iter().filter(|_| plan.refused) {
                schemas.entry(finding).or_default().push(schema.clone());
            }
        }
        let disagreement =
            |(finding, schemas): (&Finding, _)| Disagreement { finding: finding.clone(), schemas };
        schemas.into_iter().map(disagreement).collect()
    }

    /// Returns the indexes of the files that are pending in at least one schema.
    pub fn pending_files(&self) -> BTreeSet<usize> {
        let plans = self.plans_in_use();
        plans.iter().flat_map(|&index| self.plans[index].pending.iter().copied()).collect()
    }

    /// Returns the schemas that are behind, by distinct history.
    pub fn behind(&self) -> BTreeMap<usize, Vec<SchemaName>> {
        let mut behind: BTreeMap<usize, Vec<SchemaName>> = BTreeMap::new();
        for (schema, found) in &self.fleet.schemas {
            if let Found::History(index) = found
                && !self.plans[*index].pending.is_empty()
            {
                behind.entry(*index).or_default().push(schema.clone());
            }
        }
        behind
    }

    /// Returns the schemas that are behind, in the order in which they were asked for.
    pub fn behind_in_order(&self) -> impl Iterator<Item = &SchemaName> {
        let is_behind = |state: &State| matches!(state, State::Behind { .. });
        self.states().filter(move |(_, state)| is_behind(state)).map(|(schema, _)| schema)
    }

    /// Adds other schemas.
    pub(crate) fn extend(&mut self, other: Self) {
        let histories = other.fleet.histories.into_iter().zip(other.plans);
        let indexes: Vec<usize> = histories
            .map(|(history, plan)| {
                let known = self.fleet.histories.iter().position(|it| *it == history);
                known.unwrap_or_else(|| {
                    self.fleet.histories.push(history);
                    self.plans.push(plan);
                    self.plans.len() - 1
                })
            })
            .collect();
        let moved = other.fleet.schemas.into_iter().map(|(schema, found)| match found {
            Found::History(index) => (schema, Found::History(indexes[index])),
            other => (schema, other),
        });
        self.fleet.schemas.extend(moved);
    }

    /// Returns the schemas that are not there.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &SchemaName> {
        let missing = self.fleet.schemas.iter().filter(|(_, found)| *found == Found::NoSchema);
        missing.map(|(schema, _)| schema)
    }

    /// Whether every schema that is to stay is there and has nothing pending.
    pub fn is_clean(&self) -> bool {
        self.states().all(|(_, state)| matches!(state, State::UpToDate(_) | State::BeingDeleted))
    }

    /// Leaves out the schemas that are being deleted, but those in `named`, and returns them.
    pub(crate) fn leave_out_being_deleted(&mut self, named: &[String]) -> Vec<SchemaName> {
        let is_left_out = |(schema, found): &(SchemaName, Found)| {
            *found == Found::BeingDeleted && !named.iter().any(|it| it == schema.as_str())
        };
        let schemas = std::mem::take(&mut self.fleet.schemas);
        let (out, stay): (Vec<_>, Vec<_>) = schemas.into_iter().partition(is_left_out);
        self.fleet.schemas = stay;
        out.into_iter().map(|(schema, _)| schema).collect()
    }

    fn plans_in_use(&self) -> BTreeSet<usize> {
        let index = |found: &Found| match found {
            Found::History(index) => Some(*index),
            _ => None,
        };
        self.fleet.schemas.iter().filter_map(|(_, found)| index(found)).collect()
    }
}
