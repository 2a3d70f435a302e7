//! The one connection of a run besides its workers'.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::connect::Database;
use super::lane::{Lane, Session};

/// A connection that has read so many histories is replaced: each leaves a table and an index in
/// the backend's caches, about 15 kB.
const READS_PER_CONNECTION: usize = 4000;

/// What this connection is called in `pg_stat_activity`.
const NAME: &str = "tenantctl";

/// How long a worker's connection may take to answer before it is closed and not taken over.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// How long a place that was given up is left to others.
const REST: Duration = Duration::from_secs(5);

/// The one connection of a run besides its workers'.
///
/// A run with `--jobs N` has N connections that work, and this one for everything else: looking at
/// the histories, looking at the server, watching what the workers wait for, cancelling what they
/// do. Whoever needs it takes it, asks, and gives it back ([`Spare::lane`]); nobody holds it while
/// waiting for anything but an answer. So a run never has more than N + 1 connections, whatever it
/// does.
///
/// Where even one worker finds no free place, this connection gives up its own
/// ([`Spare::make_room`]), and the run goes on without it for a while.
///
/// Those that help it to look at a large fleet are the workers' already. Once all is looked at, it
/// becomes one itself, as it knows what it has read (`give_to_worker`); it is opened anew when next
/// needed, unless a worker that has done leaves its own first (`take_back`).
#[derive(Debug)]
pub struct Spare {
    database: Database,
    lane: Mutex<Lane>,
    rests_until: Cell<Option<Instant>>,
    name: String,
    helpers: RefCell<Vec<Lane>>,
}

impl Spare {
    /// Returns the spare connection to `database`, which is opened when first needed.
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
            lane: Mutex::new(unopened(database)),
            rests_until: Cell::new(None),
            name: format!("tenantctl {:08x} ", fastrand::u32(..)),
            helpers: RefCell::default(),
        }
    }

    /// Returns what the workers' connections are called in `pg_stat_activity`, but for their numbers.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns worker `number`'s connection, from 0, which is open if it has helped to look.
    pub(crate) fn worker(&self, number: usize) -> Lane {
        let name = format!("{}{number}", self.name);
        let mut helpers = self.helpers.borrow_mut();
        match helpers.iter().position(|it| it.application_name() == name) {
            Some(index) => helpers.swap_remove(index),
            None => Lane::new(&self.database, &name, READS_PER_CONNECTION),
        }
    }

    /// Keeps connections that have helped to look, for the workers.
    pub(crate) fn keep(&self, helpers: Vec<Lane>) {
        self.helpers.borrow_mut().extend(helpers.into_iter().filter(Lane::is_open));
    }

    /// Returns how many of them are open.
    pub(crate) fn helpers(&self) -> usize {
        self.helpers.borrow().len()
    }

    /// Makes this connection, if it has read histories, that of the first of so many workers that has
    /// none, with what their sessions have.
    pub(crate) async fn give_to_worker(&self, workers: usize, session: &Session) {
        let has_one = |name: &String| {
            self.helpers.borrow().iter().any(|helper| helper.application_name() == name)
        };
        let names = (0..workers).map(|number| format!("{}{number}", self.name));
        let Some(name) = names.into_iter().find(|name| !has_one(name)) else {
            return;
        };
        let mut lane = self.lane.lock().await;
        if lane.has_served() && lane.turn_into(&name, session.clone()).await {
            let given = std::mem::replace(&mut *lane, unopened(&self.database));
            self.keep(vec![given]);
        }
    }

    /// Takes a worker's connection over where this one is not open, and closes it otherwise.
    pub(crate) async fn take_back(&self, mut lane: Lane) {
        if let Ok(mut own) = self.lane.try_lock()
            && !own.is_open()
            && !self.is_resting()
        {
            let turned = lane.turn_into(NAME, Session::default());
            if tokio::time::timeout(ANSWER_WITHIN, turned).await.unwrap_or_default() {
                *own = lane.replaced_after(READS_PER_CONNECTION);
                return;
            }
        }
        lane.close().await;
    }

    /// Closes those that no worker has taken.
    pub(crate) async fn close_helpers(&self) {
        for mut helper in self.helpers.take() {
            helper.close().await;
        }
    }

    /// Returns the connection once nobody else uses it.
    pub async fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().await
    }

    /// Closes the connection; it is opened again when next needed.
    pub async fn close(&self) {
        self.close_helpers().await;
        self.lane.lock().await.close().await;
    }

    /// Gives this connection's place to a worker that found none.
    pub async fn make_room(&self) {
        self.rests_until.set(Some(Instant::now() + REST));
        self.close().await;
    }

    /// Whether the place was given up a moment ago: what is not needed had better not be asked.
    pub fn is_resting(&self) -> bool {
        self.rests_until.get().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until the server has ended the sessions of a name ([`Lane::wait_until_gone`]).
    pub async fn wait_until_gone(&self, name: &str) {
        if !self.is_resting() {
            self.lane().await.wait_until_gone(name).await;
        }
    }
}

/// Returns a connection that can be told from one to a pooler once it is open.
fn unopened(database: &Database) -> Lane {
    Lane::new(database, NAME, READS_PER_CONNECTION).with_session(Session::default())
}
