//! A second connection looks at what the workers wait for, while the waiting lasts: who is in the way,
//! and for how long it has been so. It lends itself to the run's observer now and then.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::holders::{self, Waiting};
use crate::event::{Holder, Observer, Silent};
use crate::pg::{Incomplete, Lane, Spare};

/// How often an observer may write down what it has noticed.
const WRITE_DOWN_EVERY: Duration = Duration::from_millis(100);

/// When it may again after it could not: who waits for a lock is to be looked at meanwhile.
const WRITE_DOWN_AGAIN: Duration = Duration::from_secs(1);

/// A connection that answers no sooner is given up: others may need the place that it has.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Looks are so far apart at least, and at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(60);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// A wait for a single lock is ended by the server's own `lock_timeout`, unless a file has set another.
const LEFT_TO_THE_SERVER: Duration = Duration::from_millis(250);

/// What was cancelled may come to know of it so much later.
const CANCELLED_WITHIN: Duration = Duration::from_secs(1);

/// Looks at what the workers of one run wait for.
#[derive(Debug, Default)]
pub(super) struct Watch {
    sent: RefCell<HashMap<usize, Sent>>,
    /// When a worker was cancelled that had waited for too long.
    cancelled: RefCell<HashMap<usize, Instant>>,
    ended: Notify,
}

/// What a worker has sent, and waits for the answer to.
#[derive(Debug)]
struct Sent {
    at: Instant,
    /// How long one transaction may wait for locks in all.
    allowed: Option<Duration>,
    waited: Waited,
    holders: Vec<Holder>,
}

/// How long a transaction has waited for locks, as far as was seen.
#[derive(Debug)]
struct Waited {
    transaction: String,
    /// The lock that it waits for, and for how long it has.
    present: Option<(String, Duration)>,
    /// How long it has waited for others before, at most.
    before: Duration,
    looked: Instant,
}

/// What was noticed while a worker waited for its answer.
pub(super) struct Noticed {
    pub(super) holders: Vec<Holder>,
    /// It was cancelled, as it had waited for too long.
    pub(super) is_cancelled: bool,
}

/// Does `work` on a connection whose name is `run` and a 0, and returns with its result who was last
/// seen in its way.
pub(crate) async fn watched<T>(
    spare: &Spare,
    run: &str,
    work: impl Future<Output = T>,
) -> (T, Vec<Holder>) {
    let watch = Watch::default();
    watch.begin(0, None);
    let result = {
        let looking = watch.run(spare, run, &Silent);
        tokio::pin!(looking, work);
        tokio::select! {
            result = &mut work => result,
            () = &mut looking => work.await,
        }
    };
    (result, watch.end(0).holders)
}

impl Watch {
    /// Notes that worker `number` has sent something, of which each transaction may wait so long for
    /// locks in all.
    pub(super) fn begin(&self, number: usize, allowed: Option<Duration>) {
        let at = Instant::now();
        let sent = Sent { at, allowed, waited: Waited::since(at), holders: Vec::new() };
        self.sent.borrow_mut().insert(number, sent);
    }

    /// Notes that worker `number` has its answer, and returns what was noticed meanwhile.
    pub(super) fn end(&self, number: usize) -> Noticed {
        let sent = self.sent.borrow_mut().remove(&number);
        let cancelled = self.cancelled.borrow().get(&number).copied();
        Noticed {
            holders: sent.map(|it| it.holders).unwrap_or_default(),
            is_cancelled: cancelled.is_some_and(|it| it.elapsed() < CANCELLED_WITHIN),
        }
    }

    /// Looks again and again until it is told that the work has ended.
    ///
    /// A worker that waits is looked at before the shortest lock timeout is over; one that has
    /// been busy for longer is more likely working than waiting, and is looked at less often.
    pub(super) async fn run(&self, spare: &Spare, run: &str, observer: &dyn Observer) {
        let mut write_down_at = Instant::now() + WRITE_DOWN_EVERY;
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.pause()) => {}
                () = self.ended.notified() => return,
            }
            if spare.is_resting() {
                continue;
            }
            let mut lane = spare.lane().await;
            let turn = self.turn(&mut lane, run, observer, &mut write_down_at);
            if !tokio::time::timeout(ANSWER_WITHIN, turn).await.unwrap_or_default() {
                lane.abandon();
                drop(lane);
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    () = self.ended.notified() => return,
                }
            }
        }
    }

    /// Looks once where somebody may wait, and lets the observer write. Returns whether the
    /// connection answers; where it does not, the run goes on without us.
    async fn turn(
        &self,
        lane: &mut Lane,
        run: &str,
        observer: &dyn Observer,
        write_down_at: &mut Instant,
    ) -> bool {
        // Connected beforehand: the shortest wait is over soon.
        if lane.serve(0).await.is_err() {
            return false;
        }
        if Instant::now() >= *write_down_at {
            let written = write_down(lane, observer).await;
            let pause = if written.is_ok() { WRITE_DOWN_EVERY } else { WRITE_DOWN_AGAIN };
            *write_down_at = Instant::now() + pause;
            if matches!(written, Err(Incomplete::Lost(_))) {
                return false;
            }
        }
        let nobody_waits = self.oldest() < Some(Duration::from_millis(50));
        nobody_waits || self.look(lane, run).await.is_some()
    }

    /// Ends the looking, once what is being asked is answered.
    pub(super) fn end_looking(&self) {
        self.ended.notify_one();
    }

    fn oldest(&self) -> Option<Duration> {
        self.sent.borrow().values().map(|it| it.at.elapsed()).max()
    }

    fn pause(&self) -> Duration {
        let sent = self.sent.borrow();
        let waiting = sent.values().filter(|it| it.waited.present.is_some());
        if let Some(allowed) = waiting.filter_map(|it| it.allowed).min() {
            return (allowed / 20).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        }
        match sent.values().map(|it| it.at.elapsed()).max() {
            Some(age) if age > Duration::from_secs(1) => LONGEST_PAUSE,
            _ => SHORTEST_PAUSE,
        }
    }

    /// Returns `None` when the connection does not answer; the run goes on without us.
    async fn look(&self, lane: &mut Lane, run: &str) -> Option<()> {
        let connection = lane.serve(0).await.ok()?;
        let found = holders::of_waiting(connection, run).await.ok()?;
        for (number, transaction) in self.note(found, Instant::now()) {
            self.cancelled.borrow_mut().insert(number, Instant::now());
            holders::cancel(connection, &transaction).await.ok()?;
        }
        Some(())
    }

    /// Notes who waits, and returns the workers that have done so for too long, with their transactions.
    fn note(
        &self,
        mut found: HashMap<usize, (Waiting, Vec<Holder>)>,
        now: Instant,
    ) -> Vec<(usize, String)> {
        let mut too_long = Vec::new();
        for (number, sent) in self.sent.borrow_mut().iter_mut() {
            let (waiting, holders) = found.remove(number).unzip();
            if let Some(holders) = holders {
                sent.holders = holders;
            }
            sent.waited.add(waiting, now);
            if sent.waited.is_longer_than(sent.allowed) {
                too_long.push((*number, sent.waited.transaction.clone()));
            }
        }
        too_long
    }
}

impl Waited {
    fn since(begun: Instant) -> Self {
        let (transaction, before) = (String::new(), Duration::ZERO);
        Self { transaction, present: None, before, looked: begun }
    }

    /// Adds what was seen just now.
    fn add(&mut self, waiting: Option<Waiting>, now: Instant) {
        if let Some(waiting) = &waiting
            && waiting.transaction != self.transaction
        {
            *self = Self { transaction: waiting.transaction.clone(), ..Self::since(self.looked) };
        }
        let since_look = now.saturating_duration_since(self.looked);
        self.looked = now;
        self.present = match (self.present.take(), waiting) {
            (Some((lock, waited)), Some(waiting)) if lock == waiting.lock => {
                Some((lock, waiting.since.unwrap_or(waited + since_look)))
            }
            (previous, waiting) => {
                let present =
                    waiting.map(|it| (it.lock, it.since.unwrap_or_default().min(since_look)));
                if let Some((_, waited)) = previous {
                    // It ended somewhere in between.
                    let present = present.as_ref().map_or(Duration::ZERO, |(_, since)| *since);
                    self.before += waited + (since_look - present);
                }
                present
            }
        };
    }

    /// Whether it waits, and has done so for longer than it may.
    fn is_longer_than(&self, allowed: Option<Duration>) -> bool {
        let (Some(allowed), Some((_, present))) = (allowed, &self.present) else {
            return false;
        };
        match self.before.is_zero() {
            true => *present >= allowed + LEFT_TO_THE_SERVER,
            false => self.before + *present >= allowed,
        }
    }
}

async fn write_down(lane: &mut Lane, observer: &dyn Observer) -> Result<(), Incomplete> {
    let connection = lane.serve(0).await.map_err(Incomplete::Lost)?;
    observer.write_down(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Option<Duration> = Some(Duration::from_secs(2));

    /// Looks every 100 ms at a worker that waits for these locks, each for so many looks.
    fn cancelled_at(
        transaction: impl Fn(usize) -> String,
        waits: &[(&str, usize)],
    ) -> Option<usize> {
        let watch = Watch::default();
        watch.begin(0, ALLOWED);
        let (begun, pause) = (Instant::now(), Duration::from_millis(100));
        let locks = waits.iter().flat_map(|(lock, looks)| {
            (0..*looks).map(|look| (*lock, pause * u32::try_from(look).unwrap()))
        });
        let mut looks = 0;
        for (lock, since) in locks {
            looks += 1;
            let waiting = Waiting {
                transaction: transaction(looks),
                lock: lock.to_owned(),
                since: Some(since),
            };
            let found = HashMap::from([(0, (waiting, Vec::new()))]);
            let found = if lock.is_empty() { HashMap::new() } else { found };
            let now = begun + pause * u32::try_from(looks).unwrap();
            if !watch.note(found, now).is_empty() {
                return Some(looks);
            }
        }
        None
    }

    #[test]
    fn one_wait_is_left_to_the_server() {
        assert_eq!(cancelled_at(|_| "1".into(), &[("a", 21)]), None);
        assert_eq!(cancelled_at(|_| "1".into(), &[("a", 30)]), Some(24));
    }

    #[test]
    fn several_waits_are_added_up() {
        let waits = [("a", 10), ("", 50), ("b", 5), ("c", 10)];
        assert_eq!(cancelled_at(|_| "1".into(), &waits), Some(71));
    }

    #[test]
    fn each_transaction_may_wait_as_long() {
        let waits = [("a", 15), ("b", 15)];
        let transaction = |look| if look <= 15 { "1".into() } else { "2".into() };
        assert_eq!(cancelled_at(transaction, &waits), None);
    }
}
