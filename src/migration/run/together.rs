//! Several schemas by one message, where each takes but a moment.

use tokio::time::Instant;

use super::super::queue::Task;
use super::super::worker::{Verdict, Worker};
use super::Run;
use super::again::After;

impl Run<'_> {
    /// Tries several tasks of one plan by one message. Returns the one that is to be tried by itself,
    /// where one was refused; what comes after it goes back into the queue.
    pub(super) async fn attend_together(
        &self,
        worker: &mut Worker<'_>,
        mut tasks: Vec<Task>,
    ) -> Option<Task> {
        let number = worker.number();
        self.begin(number, tasks.clone());
        let begun = Instant::now();
        let waits = self.waits_for_disk(worker, false);
        let (done, verdict) = worker.attempt_together(&tasks, &self.watch, waits).await;
        if !verdict.as_ref().is_some_and(Verdict::is_lost) {
            self.contact();
        }
        let left = tasks.split_off(done);
        let elapsed = begun.elapsed() / u32::try_from(done.max(1)).expect("a few");
        let has_waited = waits && left.is_empty();
        for task in tasks {
            self.committed(worker, &task, elapsed, has_waited.then_some(begun));
        }
        self.begin(number, left.clone());
        let mut left = left.into_iter();
        let refused = match verdict {
            Some(Verdict::Lost(error)) => {
                self.say_reconnecting(&error);
                while let Some(task) = left.next() {
                    let after = After::Lost(error.clone(), None);
                    let next = self.look_again(worker, task, after, begun).await;
                    self.begin(number, left.as_slice());
                    next.into_iter().for_each(|task| self.queue.give_back(task));
                }
                None
            }
            Some(Verdict::Blocked(blockage)) => {
                let task = left.next().expect("it is in the way of one");
                self.block(task, (*blockage).into());
                None
            }
            Some(Verdict::Failed(failure)) => {
                let task = left.next().expect("it is one's failure");
                let version = task.planned.history.version();
                self.fail(task.schema, version, *failure);
                None
            }
            // It is tried by itself, and so is what could not be sent.
            _ => left.next(),
        };
        left.rev().for_each(|task| self.queue.give_back(task));
        refused
    }
}
