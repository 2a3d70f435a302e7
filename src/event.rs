//! What the library says while it works, and what it has to say at the end: plain data. Who
//! speaks, and how, is the caller's to decide.

use std::time::Duration;

use futures_util::future::{self, FutureExt as _, LocalBoxFuture};

use crate::name::SchemaName;
use crate::pg::{ConnectError, Connection, Incomplete, SqlError};

/// Something that happened on the way.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// Work begins on so many schemas.
    Begun {
        /// The schemas that are behind.
        schemas: usize,
    },
    /// The first wave of several begins, or the next one.
    Wave(Wave<'a>),
    /// Nothing is done until the next wave begins.
    Pausing {
        /// For how long.
        pause: Duration,
        /// Before which of the waves.
        next: Wave<'a>,
    },
    /// A schema was migrated (or, in a rehearsal, could be).
    Applied {
        /// The schema.
        schema: &'a SchemaName,
        /// The migrations, such as ``V2 `add_orders` ``.
        migrations: &'a [String],
        /// The migration with which a rehearsal ended, as it runs in no transaction.
        not_rehearsed: Option<&'a str>,
        /// Its version before; `None` where nothing had been applied.
        from: Option<i64>,
        /// Its version now.
        to: Option<i64>,
        /// How long it took.
        elapsed: Duration,
    },
    /// A schema was found to be up to date when its turn came: another run had been there.
    UpToDate {
        /// The schema.
        schema: &'a SchemaName,
    },
    /// Since the run began, a schema was deleted or renamed.
    Gone {
        /// The name it had.
        schema: &'a SchemaName,
    },
    /// A schema could not be migrated.
    Failed {
        /// The schema.
        schema: &'a SchemaName,
        /// The version that it stays at, where it is known.
        version: Option<i64>,
        /// Why.
        failure: &'a Failure,
    },
    /// A schema is busy and will be tried again.
    Deferred {
        /// The schema.
        schema: &'a SchemaName,
        /// What is in the way.
        blockage: &'a Blockage,
        /// How often it has been tried.
        attempts: u32,
    },
    /// A schema is busy and will not be tried again.
    Busy {
        /// The schema.
        schema: &'a SchemaName,
        /// The version that it stays at.
        version: Option<i64>,
        /// What is in the way.
        blockage: &'a Blockage,
    },
    /// Part of a schema that is being deleted is gone.
    Dropping {
        /// The schema.
        schema: &'a SchemaName,
        /// How many of its objects are left.
        left: usize,
    },
    /// A connection was lost; it is being opened again.
    Reconnecting {
        /// Why it was lost.
        reason: &'a str,
    },
    /// A long piece of work on one schema comes to its next step.
    Step {
        /// What is done, such as ``rows of `notes` ``.
        what: &'a str,
        /// From 1.
        number: usize,
        /// How many steps there are.
        of: usize,
    },
    /// Something that a person should know although the work goes on.
    Warning(String),
}

/// Schemas that are migrated together before any other is started.
#[derive(Debug, Clone, Copy)]
pub struct Wave<'a> {
    /// From 1.
    pub number: usize,
    /// How many waves there are.
    pub of: usize,
    /// Whether no others are started unless all of these are done.
    pub is_canary: bool,
    /// In the order in which they are started.
    pub schemas: &'a [SchemaName],
}

/// Listens to events.
pub trait Observer {
    /// Takes notice of `event`.
    fn observe(&self, event: &Event<'_>);

    /// Writes down what it has taken notice of, over the run's spare connection, which is wanted
    /// for other things: what takes longer than a moment is to be given up. Called several times
    /// a second while a run is at work, and not at its end. What is returned may be dropped half-way.
    ///
    /// # Errors
    ///
    /// [`Incomplete`]; the run goes on, and calls again.
    fn write_down<'a>(
        &'a self,
        _connection: &'a mut Connection,
    ) -> LocalBoxFuture<'a, Result<(), Incomplete>> {
        future::ready(Ok(())).boxed_local()
    }
}

/// An observer that does not listen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _: &Event<'_>) {}
}

/// A place in a migration file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    /// The migration, such as ``V2 `add_orders` ``.
    pub migration: String,
    /// The file, as a path that can be opened from here.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters, where it is known.
    pub column: Option<usize>,
    /// The line with a caret under the column, ready to print; empty where it was not kept.
    pub excerpt: String,
}

/// Why a schema was not migrated. Many schemas share one failure.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Where in which file, if it was one of the files' statements.
    pub site: Option<Site>,
    /// What went wrong.
    pub cause: Cause,
    /// What was left behind, in plain words: of a file that does not run in a transaction.
    pub left_behind: Vec<String>,
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { site: None, cause, left_behind: Vec::new() }
    }
}

impl Failure {
    /// Returns it without the lines of the file around its place.
    pub(crate) fn without_excerpt(self) -> Self {
        let site = self.site.map(|site| Site { excerpt: String::new(), ..site });
        Self { site, ..self }
    }

    /// Whether two failures, of these schemas, are one and the same thing going wrong in both;
    /// details, such as the row that failed, may differ, and so may the schema's name.
    pub fn is_same_as(&self, schema: &SchemaName, (of, other): (&SchemaName, &Self)) -> bool {
        let (text, other_text) = (self.cause.to_string(), other.cause.to_string());
        let nameless = |text: &str, name: &SchemaName| text.replace(name.as_str(), "\0");
        self.site == other.site
            && self.left_behind == other.left_behind
            && (text == other_text || nameless(&text, schema) == nameless(&other_text, of))
    }
}

/// What went wrong with one schema.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Cause {
    /// The server refused a statement.
    #[error("{0}")]
    Sql(SqlError),
    /// A person or another program cancelled the statement.
    #[error("the statement was cancelled by somebody on the server: {0}")]
    Cancelled(SqlError),
    /// The statement ran longer than the statement timeout.
    #[error("the statement ran longer than the statement timeout")]
    TimedOut(SqlError),
    /// The migration touched these relations outside its schema.
    #[error("it reached outside the schema and touched {touched}")]
    Outside {
        /// `schema.relation`, separated by commas.
        touched: String,
    },
    /// The migration created, changed or dropped these outside its schema.
    #[error("it changed what is not the schema's: {objects}")]
    Beyond {
        /// `function public.f()`, separated by commas.
        objects: String,
    },
    /// The migration changed the history of its schema.
    #[error("it changed or dropped `refinery_schema_history`, which says what was applied")]
    OwnHistory,
    /// There is no such schema.
    #[error("there is no such schema")]
    NoSchema,
    /// The schema is being deleted.
    #[error("it is being deleted")]
    BeingDeleted,
    /// The schema was no longer there when its migrations had run; it is there again.
    #[error("its migrations dropped or renamed the schema itself; it was rolled back")]
    DroppedItself,
    /// There is such a schema already.
    #[error("it exists: somebody else has just created it")]
    SchemaExists,
    /// A row that registers the schema belongs to somebody else.
    #[error("{what} is taken")]
    Taken {
        /// Which: ``domain `acme.example.com` ``.
        what: String,
    },
    /// A file that cannot run in a transaction needs a session of its own, and there is a pooler
    /// in between.
    #[error("a file that cannot run in a transaction needs a direct connection, not a pooler's")]
    Pooled,
    /// The history table cannot be read.
    #[error("its history cannot be used: {0}")]
    Unreadable(String),
    /// The connection was lost again and again in this schema.
    #[error("{0}")]
    Lost(ConnectError),
    /// The connection was lost, and the server did not come back to be asked.
    #[error(
        "the connection was lost while it was being migrated; whether that was done is not known"
    )]
    Unknown,
    /// The connection ended before the answer came, and no history tells what became of it.
    #[error(
        "the connection ended before the server had answered; whether it was done is not known"
    )]
    Unanswered,
    /// A person did not want to wait for it.
    #[error("it was cancelled by the second interrupt")]
    Interrupted,
    /// The history kept changing between looking and acting.
    #[error("its history kept changing while it was being migrated")]
    Unsettled,
    /// A concurrent index was left invalid.
    #[error("index `{index}` was left invalid")]
    InvalidIndex {
        /// The index.
        index: String,
    },
}

impl Cause {
    /// Returns why a statement was cancelled after so long (SQLSTATE 57014), where `limit` is what is
    /// allowed. A file may have set a limit of its own.
    pub(crate) fn cancelled(error: SqlError, limit: Option<Duration>, after: Duration) -> Self {
        match limit.is_some_and(|it| after >= it) {
            true => Self::TimedOut(error),
            false if error.message.contains("statement timeout") => Self::Sql(error),
            false => Self::Cancelled(error),
        }
    }

    /// Returns the server's error, where there is one.
    pub fn sql(&self) -> Option<&SqlError> {
        match self {
            Self::Sql(error) | Self::Cancelled(error) | Self::TimedOut(error) => Some(error),
            _ => None,
        }
    }
}

/// What is in the way of a busy schema.
#[derive(Debug, Clone)]
pub struct Blockage {
    /// Where in which file, if it was one of the files' statements.
    pub site: Option<Site>,
    /// What was tried.
    pub kind: BlockageKind,
    /// Who holds it, as seen while waiting; empty when it was not seen.
    pub holders: Vec<Holder>,
    /// What it left behind all the same, in words: outside a transaction, such as an invalid index.
    pub left_behind: Vec<String>,
}

impl Blockage {
    /// Returns that somebody is in the way, and that nothing was left behind.
    pub(crate) fn new(site: Option<Site>, kind: BlockageKind, holders: Vec<Holder>) -> Self {
        Self { site, kind, holders, left_behind: Vec::new() }
    }
}

/// The kind of a [`Blockage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockageKind {
    /// Another run, or somebody else, holds the schema's advisory lock.
    SchemaLock,
    /// Somebody has locked the schema's history table.
    HistoryLock,
    /// A statement did not get a lock in time.
    Lock(SqlError),
    /// Each of its statements might have got its lock in time, and all together waited for too long.
    Locks,
    /// A race was lost: a deadlock, a serialization failure, a shared catalog row.
    Conflict(SqlError),
}

/// Who holds a lock somebody waits for: a session (Postgres documentation, `pg_stat_activity`), or a
/// prepared transaction, which no session holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The backend's process id; 0 for a prepared transaction.
    pub pid: i64,
    /// What the client calls itself, or the kind of a process of the server's own.
    pub application_name: String,
    /// The client's address; `local` for a socket. Empty, as are `state` and `query`, where the role may
    /// not look at another's session, and for a prepared transaction.
    pub client: String,
    /// The state, such as `idle in transaction`.
    pub state: String,
    /// How long its transaction has been open; `None` where it holds the lock without one.
    pub transaction_age: Option<Duration>,
    /// Its statement, or its last one when it is idle; shortened.
    pub query: String,
    /// The name of a prepared transaction (Postgres documentation, `PREPARE TRANSACTION`).
    pub prepared: Option<String>,
}
