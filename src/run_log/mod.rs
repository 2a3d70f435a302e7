//! The run log: who changed what, when, from which version and with which result, in a schema of
//! its own that the first command which changes something makes.
//!
//! A command that is about to change something says so with [`RunLog::begin`], notes what became of
//! each schema with [`RunLog::note`], and ends with [`RunLog::end`]. Whoever emits events need not
//! note them: [`RunLog::listening`] is an [`Observer`] that does, writes them down as they come, and
//! passes them on. A run whose end is not recorded was killed, or lost its database.
//!
//! What cannot be recorded does not stop the work.

mod reading;
mod tables;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use tokio::time::Instant;

use self::tables::Patience;
use crate::event::{Event, Holder, Observer};
use crate::name::SchemaName;
use crate::pg::{ConnectError, Connection, Database, Incomplete, Spare, SqlError, literal};

pub use reading::{Failed, Query, Record, RunRecord, entries, failed_in_last_run, runs};

/// A run that is about to change something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRun {
    /// The command, such as `migrate-schemas`.
    pub command: String,
    /// Its command line as a person would type it again, without passwords.
    pub command_line: String,
    /// Who runs it on this machine, where that is known.
    pub os_user: Option<String>,
    /// This machine's name, where that is known.
    pub host: Option<String>,
}

/// What became of one schema in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What was to be done is done.
    Done,
    /// It is not done, and will not be by itself.
    Failed,
    /// Somebody was using it.
    Busy,
    /// It was not tried.
    NotAttempted,
}

impl Outcome {
    /// Returns the word for it, in the log and elsewhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Busy => "busy",
            Self::NotAttempted => "not attempted",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Done, Self::Failed, Self::Busy, Self::NotAttempted];
        all.into_iter().find(|it| it.word() == word)
    }
}

/// What is noted of one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The schema, as it was called before.
    pub schema: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Its version before, and after; equal where nothing was applied, `None` where there is none.
    pub versions: Option<(Option<i64>, Option<i64>)>,
    /// What was done, or why not, in a line: ``applied V7 `add_orders` ``.
    pub what: String,
}

impl Entry {
    /// Returns an entry for something that is done and has nothing to do with versions.
    pub fn done(schema: &SchemaName, what: impl Into<String>) -> Self {
        let (schema, what) = (schema.to_string(), what.into());
        Self { schema, outcome: Outcome::Done, versions: None, what }
    }
}

/// Why something was not recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunLogError {
    /// No connection, or it was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The schema could not be made: the role may not.
    #[error("{0}")]
    NotMade(SqlError),
    /// The log's tables were locked for as long as is waited for them.
    #[error("somebody has locked the tables in schema `tenantctl`")]
    Locked,
    /// The server refused: the role may not use what is there.
    #[error("{0}")]
    Sql(SqlError),
}

impl From<Incomplete> for RunLogError {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Sql(error) if error.is_lock_not_available() => Self::Locked,
            Incomplete::Sql(error) => Self::Sql(error),
            Incomplete::Lost(error) => Self::Connect(error),
        }
    }
}

/// For how long what was committed without waiting for the disk may be lost by a crash: three times
/// `wal_writer_delay`, which is at most 10 s (Postgres documentation, "Asynchronous Commit").
const MAY_BE_LOST_FOR: Duration = Duration::from_secs(30);

/// Entries that are written by one statement.
const ENTRIES_PER_STATEMENT: usize = 500;

/// One run's place in the log. Clones write to the same place; the default writes nowhere.
#[derive(Debug, Clone, Default)]
pub struct RunLog(Option<Rc<Place>>);

#[derive(Debug)]
struct Place {
    database: Database,
    run: i64,
    /// What is not known to be written, the oldest first.
    noted: RefCell<VecDeque<(Instant, Entry)>>,
    /// How many of the noted were sent without an answer yet: all of them are written, or none.
    in_doubt: Cell<usize>,
    written: Cell<usize>,
    /// The last of the written, in their order, and when that was: a crash of the server may take them
    /// again, as nothing waited for the disk.
    recent: RefCell<VecDeque<(Instant, (Instant, Entry))>>,
    /// When the connection was opened over which the last were written.
    over: Cell<Option<Instant>>,
}

impl Place {
    fn new(database: Database, run: i64) -> Self {
        let (noted, in_doubt, written, recent, over) = Default::default();
        Self { database, run, noted, in_doubt, written, recent, over }
    }

    /// Writes what was noted, each entry once, and with the last of them `end`.
    async fn write(
        &self,
        connection: &mut Connection,
        patience: Patience,
        end: Option<String>,
    ) -> Result<(), Incomplete> {
        let is_another = self.over.get().is_some_and(|opened| opened != connection.opened());
        if is_another || self.in_doubt.get() > 0 {
            self.reconcile(tables::count_entries(connection, self.run).await?);
        }
        self.over.set(Some(connection.opened()));
        loop {
            let left = self.noted.borrow().len();
            let part = left.min(ENTRIES_PER_STATEMENT);
            let end = end.as_deref().filter(|_| part == left);
            let entries = (part > 0)
                .then(|| tables::insertion(self.run, self.noted.borrow().iter().take(part)));
            let statements: Vec<&str> = entries.as_deref().into_iter().chain(end).collect();
            if statements.is_empty() {
                return Ok(());
            }
            self.in_doubt.set(part);
            match tables::write(connection, &statements.join("; "), patience).await {
                Ok(_) => self.confirm(),
                Err(error) => {
                    if let Incomplete::Sql(_) = error {
                        self.in_doubt.set(0);
                    }
                    return Err(error);
                }
            }
            if end.is_some() {
                return Ok(());
            }
        }
    }

    fn confirm(&self) {
        let confirmed = self.in_doubt.take();
        let now = Instant::now();
        let mut recent = self.recent.borrow_mut();
        recent.extend(self.noted.borrow_mut().drain(..confirmed).map(|entry| (now, entry)));
        while recent.front().is_some_and(|(at, _)| at.elapsed() > MAY_BE_LOST_FOR) {
            recent.pop_front();
        }
        self.written.set(self.written.get() + confirmed);
    }

    /// Finds out from how many entries are `there` what became of those in doubt, and takes back what
    /// a crash has lost, which are the last.
    fn reconcile(&self, there: usize) {
        let written = self.written.get();
        if there > written {
            return self.confirm();
        }
        self.in_doubt.set(0);
        self.written.set(there);
        let mut recent = self.recent.borrow_mut();
        let kept = recent.len().saturating_sub(written - there);
        let mut noted = self.noted.borrow_mut();
        for (_, entry) in recent.drain(kept..).rev() {
            noted.push_front(entry);
        }
    }
}

impl RunLog {
    /// Records that a run begins, over a connection that is there already, and makes the log's tables
    /// where there are none.
    ///
    /// # Errors
    ///
    /// [`RunLogError`] when it could not be recorded, which is no reason not to go on.
    pub async fn begin(
        connection: &mut Connection,
        database: &Database,
        run: &NewRun,
    ) -> Result<Self, RunLogError> {
        tables::make(connection).await?;
        let id = tables::insert_run(connection, run).await?;
        Ok(Self(Some(Rc::new(Place::new(database.clone(), id)))))
    }

    /// Notes what became of a schema; it is written by [`RunLog::end`] at the latest.
    pub fn note(&self, entry: Entry) {
        if let Some(place) = &self.0 {
            place.noted.borrow_mut().push_back((Instant::now(), entry));
        }
    }

    /// Notes schemas that were not tried.
    pub fn note_not_attempted<'a>(&self, schemas: impl IntoIterator<Item = &'a SchemaName>) {
        for schema in schemas {
            self.note(Entry {
                schema: schema.to_string(),
                outcome: Outcome::NotAttempted,
                versions: None,
                what: String::new(),
            });
        }
    }

    /// Writes what was noted, and that the run ended with this exit status, over a connection that the
    /// run has left, where there is one. It is closed then.
    ///
    /// # Errors
    ///
    /// [`RunLogError`]; the run then looks as one that was killed.
    pub async fn end(&self, exit_status: u8, spare: Option<Spare>) -> Result<(), RunLogError> {
        let Some(place) = &self.0 else { return Ok(()) };
        let spare = spare.unwrap_or_else(|| Spare::new(&place.database));
        let mut lane = spare.lane().await;
        lane.check().await;
        let connection = lane.serve(0).await?;
        let end = tables::ending(place.run, exit_status);
        place.write(connection, Patience::Long, Some(end)).await?;
        drop(lane);
        spare.close().await;
        Ok(())
    }

    /// Returns an observer that notes what happens, and passes it on.
    pub fn listening<'a>(&'a self, verb: &'a str, next: &'a dyn Observer) -> Listening<'a> {
        Listening { log: self, verb, next }
    }
}

/// Notes what happens to schemas, and passes it on.
#[derive(Clone, Copy)]
pub struct Listening<'a> {
    log: &'a RunLog,
    verb: &'a str,
    next: &'a dyn Observer,
}

impl Observer for Listening<'_> {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Applied { schema, migrations, from, to, .. } => {
                let what = match migrations.is_empty() {
                    true => self.verb.to_owned(),
                    false => format!("{} {}", self.verb, migrations.join(", ")),
                };
                self.note(schema, Outcome::Done, (*from, *to), what);
            }
            Event::Failed { schema, version, failure } => {
                let what = match &failure.site {
                    Some(site) => format!("{}: {}", site.migration, failure.cause),
                    None => failure.cause.to_string(),
                };
                self.note(schema, Outcome::Failed, (*version, *version), what);
            }
            Event::Busy { schema, version, blockage } => {
                let holders = blockage.holders.iter();
                let holder = |it: &Holder| match &it.prepared {
                    Some(name) => format!("prepared transaction {}", literal(name)),
                    None => format!("pid {} ({})", it.pid, it.application_name),
                };
                let holders: Vec<String> = holders.map(holder).collect();
                let what = match holders.is_empty() {
                    true => "in use".to_owned(),
                    false => format!("in use by {}", holders.join(", ")),
                };
                self.note(schema, Outcome::Busy, (*version, *version), what);
            }
            _ => {}
        }
        self.next.observe(event);
    }

    fn write_down<'a>(
        &'a self,
        connection: &'a mut Connection,
    ) -> LocalBoxFuture<'a, Result<(), Incomplete>> {
        let write = async {
            if let Some(place) = &self.log.0 {
                place.write(connection, Patience::Short, None).await?;
            }
            Ok(())
        };
        write.boxed_local()
    }
}

impl Listening<'_> {
    fn note(
        &self,
        schema: &SchemaName,
        outcome: Outcome,
        versions: (Option<i64>, Option<i64>),
        what: String,
    ) {
        let (schema, versions) = (schema.to_string(), Some(versions));
        self.log.note(Entry { schema, outcome, versions, what });
    }
}

/// Returns a literal, or NULL.
fn optional(value: Option<&str>) -> String {
    value.map_or_else(|| "null".into(), literal)
}
