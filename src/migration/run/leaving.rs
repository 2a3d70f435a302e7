//! After the second interrupt: what is under way is cancelled on the server, and looked up.

use std::time::Duration;

use tokio::time::Instant;

use super::super::executor::Mode;
use super::super::history::{self, Found, History};
use super::super::queue::Task;
use super::super::worker;
use super::Run;
use crate::event::{Cause, Failure};
use crate::name::SchemaName;
use crate::pg::Incomplete;

/// How long the server has to end what runs there, and how long all of
/// leaving may take.
const TERMINATE_WITHIN: Duration = Duration::from_millis(1300);
const LEAVE_WITHIN: Duration = Duration::from_millis(1900);

impl Run<'_> {
    /// Cancels on the server what is still running for this run, and looks up what became of it.
    pub(super) async fn abandon(&self) {
        let mut tasks: Vec<Task> = self.under_way.take().into_values().flatten().collect();
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
                    match task.is_unread {
                        true => self.up_to_date(&task),
                        false => self.applied(&task, Duration::ZERO),
                    }
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
    pub(super) fn is_done(&self, task: &Task, history: &History) -> bool {
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
}
