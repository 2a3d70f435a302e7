//! One wave after the other, each with workers of its own.

use std::time::Duration;

use futures_util::future::join_all;

use super::super::executor::Stop;
use super::super::interrupt::Urgency;
use super::super::queue::Task;
use super::super::worker::Worker;
use super::Run;
use crate::event::{Event, Wave};
use crate::name::SchemaName;

/// How long the answer to who holds what is waited for when nobody needs it any more.
const END_LOOKING_WITHIN: Duration = Duration::from_millis(100);

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

impl Run<'_> {
    /// Carries out one wave after the other.
    pub(super) async fn waves(&self, tasks: Vec<Task>) {
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
        self.first.set(None);
        self.allow_not_waiting(number);
        self.queue.add(tasks);
        if let Some(session) = self.workers_session() {
            self.executor.spare.give_to_worker(workers, session).await;
        }
        let workers: Vec<Worker> = (0..workers).map(|number| self.worker(number)).collect();
        self.executor.spare.close_helpers().await;
        let work = async {
            join_all(workers.into_iter().enumerate().map(|(number, it)| self.work(number, it)))
                .await;
            self.watch.end_looking();
        };
        let is_answered = {
            let looking = self.watch.run(self.executor.spare, &self.name, self.executor.observer);
            tokio::pin!(looking);
            tokio::select! {
                () = work => {}
                () = &mut looking => return,
            }
            // What it asks is answered in a moment, or never.
            tokio::time::timeout(END_LOOKING_WITHIN, looking).await.is_ok()
        };
        // Who asked has let go of the connection by now.
        if !is_answered {
            self.executor.spare.lane().await.abandon();
        }
    }

    fn done(&self) -> usize {
        self.outcome.borrow().done()
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
}
