//! Several schemas by one message, where each takes but a moment.

use std::time::Duration;

use tokio::time::Instant;

use super::super::queue::Task;
use super::super::refused::Refused;
use super::super::script::{Script, ScriptOptions, Subject};
use super::super::watch::Watch;
use super::{Seen, Verdict, Worker};
use crate::pg::Incomplete;

/// So many schemas travel in one message where each takes less than [`QUICK`]. Whoever is asked to stop
/// finishes them all.
const TOGETHER: usize = 4;

/// The longest that one of them may have taken before.
const QUICK: Duration = Duration::from_millis(50);

impl Worker<'_> {
    /// Returns how many tasks like this one are worth one message: several, where schemas take but a
    /// moment. Then the way to the server and back is a good part of it.
    pub(in super::super) fn at_once(&self, task: &Task) -> usize {
        let is_quick = self.pace < QUICK && task.is_untried() && task.is_proven();
        let has_room = !self.lane.is_due(task.planned.weight * TOGETHER);
        if is_quick && has_room && self.is_direct() { TOGETHER } else { 1 }
    }

    /// Carries out tasks of one plan by one message, a transaction each: returns how many were done,
    /// and what came of the next, where that is known. After it, none was tried; where the answer was
    /// lost, any may have been done.
    ///
    /// The last commit waits for the disk, if any is to.
    pub(in super::super) async fn attempt_together(
        &mut self,
        tasks: &[Task],
        watch: &Watch,
        waits_for_disk: bool,
    ) -> (usize, Option<Verdict>) {
        self.check().await;
        let planned = &tasks[0].planned;
        let files = &planned.plan.pending;
        if self.own_tables(&tasks[0], files).is_none() {
            return (0, None);
        }
        let connection = match self.lane.serve(planned.weight * tasks.len()).await {
            Ok(connection) => connection,
            Err(error) => return (0, Some(Verdict::NoConnection(error))),
        };
        let server_version = connection.server_version();
        // It may have been opened a moment ago, over another way.
        if !self.is_direct() {
            return (0, None);
        }
        let script = |(index, task): (usize, &Task)| {
            let waits_for_disk = waits_for_disk && index + 1 == tasks.len();
            let options =
                ScriptOptions { waits_for_disk, ..self.script_options(task, server_version) };
            let (schema, history) = (&task.schema, &task.planned.history);
            let migrations = self.executor.migrations;
            let subject = Subject { schema, history, migrations, files, creation: None };
            Script::brief(subject, &options, true)
        };
        let scripts: Vec<Script> = tasks.iter().enumerate().map(script).collect();
        let (begun, sent) = (Instant::now(), Script::message_of_all(&scripts));
        watch.begin(self.number, self.patience(&tasks[0]));
        let answer = self.send_message(&sent.text).await;
        let seen = Seen { noticed: watch.end(self.number), elapsed: begun.elapsed() };
        self.last_used = Instant::now();
        self.pace = begun.elapsed() / u32::try_from(tasks.len()).expect("a few");
        match answer {
            Ok(()) => (tasks.len(), None),
            Err((Incomplete::Lost(error), _)) => (0, Some(self.lost(error))),
            Err((Incomplete::Sql(error), complete)) => {
                let all =
                    Script { steps: scripts.iter().flat_map(|it| it.steps.clone()).collect() };
                let refused = Refused::find(&all, &sent, complete, error);
                let done = done_of(&scripts, complete);
                if refused.is_passing() {
                    return (done, Some(self.judge(&tasks[done], refused, seen).await));
                }
                // By itself it is told what is wrong with it, if anything is.
                let lost = self.roll_back().await.err().map(Verdict::Lost);
                (done, lost)
            }
        }
    }
}

/// Returns how many of the scripts are complete when so many of their statements are.
fn done_of(scripts: &[Script], complete: usize) -> usize {
    let mut statements = 0;
    let is_complete = |script: &&Script| {
        statements += script.steps.len();
        statements <= complete
    };
    scripts.iter().take_while(is_complete).count()
}

#[cfg(test)]
mod tests {
    use super::super::super::script::{Origin, Step};
    use super::*;

    #[test]
    fn a_script_is_complete_when_its_last_statement_is() {
        let step = || Step { sql: String::new(), origin: Origin::End, alone: false };
        let script = |statements| Script { steps: (0..statements).map(|_| step()).collect() };
        let scripts = [script(2), script(3)];
        assert_eq!([0, 1, 2, 4, 5].map(|complete| done_of(&scripts, complete)), [0, 0, 1, 1, 2]);
    }
}
