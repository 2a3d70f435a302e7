//! What it means for a schema that a statement of its script was refused.

use std::collections::HashMap;

use super::super::history::HISTORY_TABLE;
use super::super::holders;
use super::super::queue::Task;
use super::super::refused::Refused;
use super::super::script::{self, Origin};
use super::super::set::MigrationSet;
use super::super::watch::Noticed;
use super::{Seen, Verdict, Worker};
use crate::event::{BlockageKind, Cause, Failure, Holder, Site};
use crate::pg::{Connection, Row};

impl Worker<'_> {
    /// Rolls back, and says what a refused statement means.
    pub(super) async fn judge(&mut self, task: &Task, refused: Refused, seen: Seen) -> Verdict {
        if let Err(error) = self.roll_back().await {
            return Verdict::Lost(error);
        }
        match refused.refusal() {
            Some("no-schema") if refused.step.origin == Origin::Audit => {
                Verdict::Failed(Box::new(Cause::DroppedItself.into()))
            }
            Some("own-history") => {
                let files = &task.planned.plan.pending;
                let site = self.executor.migrations.mention(files, HISTORY_TABLE);
                Verdict::Failed(Box::new(Failure { site, ..Cause::OwnHistory.into() }))
            }
            Some("no-schema") => Verdict::Failed(Box::new(Cause::NoSchema.into())),
            Some("history-changed" | "schema-exists") => Verdict::HistoryChanged,
            Some("locked") => self.locked(task).await,
            Some(other) if other.starts_with("beyond:") => {
                let objects = other.trim_start_matches("beyond:").to_owned();
                let site = self.beyond_site(task, &objects);
                let cause = Cause::Beyond { objects };
                Verdict::Failed(Box::new(Failure { site, ..cause.into() }))
            }
            Some(other) => {
                let found = other.strip_prefix("outside:").unwrap_or(other);
                let touched = script::touched(found, &self.dropped(found).await);
                let files = &task.planned.plan.pending;
                let seeds = task.creation.as_ref().and(self.executor.seeds);
                let site = match seeds {
                    None => self.executor.migrations.mention(files, &touched),
                    Some(seeds) => {
                        mention_of_either(self.executor.migrations, files, seeds, &touched)
                    }
                };
                let cause = Cause::Outside { touched };
                Verdict::Failed(Box::new(Failure { site, ..cause.into() }))
            }
            None => self.judge_sql(task, refused, seen),
        }
    }

    /// Returns the names of those relations that the audit found gone, and that are back now.
    async fn dropped(&mut self, found: &str) -> HashMap<u32, String> {
        let Some(question) = script::dropped(found) else {
            return HashMap::new();
        };
        let rows = match self.lane.serve(0).await {
            Ok(connection) => connection.ask(&question).await.unwrap_or_default().rows,
            Err(_) => return HashMap::new(),
        };
        let name = |row: &Row| Some((row.text(0).parse().ok()?, row.text(1).to_owned()));
        rows.iter().filter_map(name).collect()
    }

    /// Returns where a plan's files speak of the first of some objects, `function public.f()`.
    fn beyond_site(&self, task: &Task, objects: &str) -> Option<Site> {
        let first = objects.split(", ").next()?;
        let name = first.rsplit(' ').next()?;
        let name = name.split('(').next()?.replace('"', "");
        self.executor.migrations.mention(&task.planned.plan.pending, &name)
    }

    async fn locked(&mut self, task: &Task) -> Verdict {
        let holders = match self.lane.serve(0).await {
            Ok(connection) => holders_of(connection, task).await,
            Err(error) => return Verdict::Lost(error),
        };
        Verdict::blocked(None, BlockageKind::SchemaLock, holders)
    }

    fn judge_sql(&self, task: &Task, refused: Refused, seen: Seen) -> Verdict {
        let site = refused.site(self.executor);
        let Refused { step, error, .. } = refused;
        let Noticed { holders, is_cancelled } = seen.noticed;
        let timeout = self.executor.options.statement_timeout;
        if error.is_lock_not_available() {
            return Verdict::blocked(site, BlockageKind::Lock(error), holders);
        }
        if error.is_conflict() {
            return Verdict::blocked(site, BlockageKind::Conflict(error), holders);
        }
        if error.is("57014") && is_cancelled {
            return Verdict::blocked(site, BlockageKind::Locks, holders);
        }
        let cause = match (error.code.as_str(), step.origin) {
            // The history table was made, or dropped, by somebody else meanwhile.
            ("42P01" | "3F000", Origin::Guard) | ("42P07" | "23505", Origin::HistoryTable) => {
                return Verdict::HistoryChanged;
            }
            ("42P06", Origin::CreateSchema) => return Verdict::HistoryChanged,
            ("23505", Origin::Register(index)) => {
                let what = task.creation.as_ref().map(|it| it.register[index].what.clone());
                Cause::Taken { what: what.unwrap_or_default() }
            }
            ("57014", _) => Cause::cancelled(error, timeout, seen.elapsed),
            _ => Cause::Sql(error),
        };
        Verdict::Failed(Box::new(Failure { site, cause, left_behind: Vec::new() }))
    }
}

/// Returns where migrations and seeds speak of a relation, where it is plain which of them it was.
fn mention_of_either(
    migrations: &MigrationSet,
    files: &[usize],
    seeds: &MigrationSet,
    touched: &str,
) -> Option<Site> {
    let all: Vec<usize> = (0..seeds.folder().files().len()).collect();
    let mut mentions = migrations.mentions(files, touched);
    mentions.extend(seeds.mentions(&all, touched));
    mentions.pop().filter(|_| mentions.is_empty())
}

async fn holders_of(connection: &mut Connection, task: &Task) -> Vec<Holder> {
    holders::of_schema_lock(connection, &task.schema).await.unwrap_or_default()
}
