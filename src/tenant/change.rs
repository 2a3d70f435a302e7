//! A change to the registry, and to tenants' schemas along with it: read, decide, and change what was
//! read in one transaction that fails when anything has come between.

use std::time::Duration;

use tokio::time::Instant;

use super::registry::Registry;
use crate::event::Holder;
use crate::migration::{holders_in_schemas, holders_of_tables, lock_key};
use crate::name::SchemaName;
use crate::pg::{ConnectError, Connection, Database, Incomplete, Lane, SqlError};
use crate::pg::{literal, search_path};

/// For so long a change is tried that somebody else is in the way of.
const BUDGET: Duration = Duration::from_secs(8);
/// Pauses between attempts grow from about this long, doubling with every attempt.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a statement waits for a lock on the registry's rows.
const ROW_WAIT: &str = "2s";
/// The same for a tenant's tables: whatever comes after us waits behind us for as long.
const TABLE_WAIT: &str = "200ms";
/// Autovacuum yields only to who has waited for `deadlock_timeout`, 1 s by default.
const LONG_TABLE_WAIT: &str = "1500ms";
/// Every how many attempts one waits for long.
const LONG_WAIT_EVERY: u32 = 5;

/// What a message carries that fails because something has come between.
const OVERTAKEN: &str = "tenantctl:overtaken";
/// What a message carries that fails because somebody else holds a schema's lock.
const LOCKED: &str = "tenantctl:locked";

/// Why the registry was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// No connection, or it was lost and did not come back.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Somebody else is changing the registry, and did not finish in time.
    #[error("the registry is busy")]
    Busy {
        /// Sessions that have changed it in a transaction that is still open.
        holders: Vec<Holder>,
        /// The server's last answer.
        source: SqlError,
    },
    /// Somebody is using one of the schemas, and did not finish in time.
    #[error("somebody else is at work in schema {}", quoted(schemas))]
    SchemaBusy {
        /// The schemas, one of which is in use.
        schemas: Vec<SchemaName>,
        /// Sessions with a transaction that is still open there.
        holders: Vec<Holder>,
    },
    /// The registry was different again at every attempt.
    #[error("the registry kept changing while it was being changed")]
    Unsettled,
    /// The server refused.
    #[error("the registry could not be changed")]
    Sql(#[source] SqlError),
}

fn quoted(schemas: &[SchemaName]) -> String {
    let names: Vec<String> =
        schemas.iter().map(|it| format!("`{}`", it.as_str().escape_debug())).collect();
    names.join(" or ")
}

impl From<Incomplete> for ChangeError {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Sql(error) => Self::Sql(error),
            Incomplete::Lost(error) => error.into(),
        }
    }
}

/// Who changes what.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) database: &'a Database,
    pub(super) registry: &'a Registry,
    /// The schemas that are changed along with the registry, whose locks are taken first.
    pub(super) schemas: &'a [SchemaName],
    /// What the connection calls itself on the server.
    pub(super) name: &'a str,
    /// Whether everything is rolled back in the end.
    pub(super) rehearse: bool,
}

/// What is to be done about what was read.
#[derive(Debug)]
pub(super) enum Decision<T> {
    /// Nothing: it is so already.
    Done(T),
    /// To carry out these statements, after which `answer` is true.
    Change {
        /// Without semicolons. What they rely on of what was read is in a [`must_change`] or a
        /// [`must_hold`].
        statements: Vec<String>,
        /// What to say once they are committed.
        answer: T,
    },
}

/// What came of one attempt.
enum Sent {
    Committed,
    Overtaken,
    Locked,
    Refused(SqlError),
    Lost(ConnectError),
}

impl<'a> Change<'a> {
    /// Returns a change to the registry alone.
    pub(super) fn of(database: &'a Database, registry: &'a Registry) -> Self {
        Self { database, registry, schemas: &[], name: "tenantctl", rehearse: false }
    }

    /// Changes what `decide` says, and tries again when somebody else is in the way.
    ///
    /// `decide` reads and changes nothing. It is given the answer of a change that was sent and of
    /// which nothing was heard: where that is so by now, it has happened.
    pub(super) async fn make<T: Clone, E: From<ChangeError>>(
        self,
        mut decide: impl AsyncFnMut(&mut Connection, Option<T>) -> Result<Decision<T>, E>,
    ) -> Result<T, E> {
        let mut lane = Lane::new(self.database, self.name, usize::MAX);
        let mut unheard: Option<T> = None;
        let mut patience = Patience::new();
        loop {
            let connection = match lane.serve(0).await {
                Err(error) if unheard.is_some() && patience.is_left() && error.may_pass() => {
                    patience.pause().await;
                    continue;
                }
                other => other.map_err(ChangeError::from)?,
            };
            let (statements, answer) = match decide(connection, unheard.clone()).await? {
                Decision::Done(answer) => return Ok(answer),
                Decision::Change { statements, answer } => (statements, answer),
            };
            let sent = self.send(connection, statements, patience.attempts).await;
            if let Sent::Committed = sent {
                return Ok(answer);
            }
            if !patience.is_left() || !may_pass(&sent) {
                return Err(self.why_not(connection, sent).await.into());
            }
            if let Sent::Lost(_) = sent {
                unheard = Some(answer);
                lane.abandon();
            }
            patience.pause().await;
        }
    }

    /// Returns what [`Self::make`] would answer were it tried now, and sends nothing.
    pub(super) async fn foresee<T, E: From<ChangeError>>(
        self,
        mut decide: impl AsyncFnMut(&mut Connection, Option<T>) -> Result<Decision<T>, E>,
    ) -> Result<T, E> {
        let connection = self.database.connect(self.name).await;
        let mut connection = connection.map_err(ChangeError::from)?;
        let decision = decide(&mut connection, None).await?;
        connection.close().await;
        Ok(match decision {
            Decision::Done(answer) | Decision::Change { answer, .. } => answer,
        })
    }

    /// Sends the transaction as one message.
    async fn send(
        &self,
        connection: &mut Connection,
        mut statements: Vec<String>,
        attempts: u32,
    ) -> Sent {
        let lock_timeout = match self.schemas {
            [] => ROW_WAIT,
            _ if (attempts + 1).is_multiple_of(LONG_WAIT_EVERY) => LONG_TABLE_WAIT,
            _ => TABLE_WAIT,
        };
        let mut message = vec![
            "begin isolation level read committed, read write".to_owned(),
            settings(connection.server_version(), self.registry, lock_timeout),
        ];
        message.extend(self.schemas.iter().map(|schema| {
            let is_free = format!("pg_catalog.pg_try_advisory_xact_lock({})", lock_key(schema));
            must_be_free(&is_free)
        }));
        message.append(&mut statements);
        message.push(if self.rehearse { "rollback" } else { "commit" }.into());
        match connection.send(message.join(";\n")).await {
            Ok(_) => Sent::Committed,
            Err((Incomplete::Lost(error), _)) => Sent::Lost(error),
            Err((Incomplete::Sql(error), complete)) => match connection.roll_back().await {
                Err(Incomplete::Lost(error)) => Sent::Lost(error),
                _ if error.message.contains(OVERTAKEN) => Sent::Overtaken,
                _ if error.message.contains(LOCKED) => Sent::Locked,
                _ if is_read_only(&error, complete) => {
                    Sent::Lost(ConnectError::ReadOnly { place: connection.place().clone().into() })
                }
                _ => Sent::Refused(error),
            },
        }
    }

    async fn why_not(&self, connection: &mut Connection, sent: Sent) -> ChangeError {
        let is_busy = match &sent {
            Sent::Locked => true,
            Sent::Refused(error) => is_busy(error),
            _ => false,
        };
        match sent {
            _ if is_busy && !self.schemas.is_empty() => {
                let holders = holders_in_schemas(connection, self.schemas).await;
                let (schemas, holders) = (self.schemas.to_vec(), holders.unwrap_or_default());
                ChangeError::SchemaBusy { schemas, holders }
            }
            Sent::Lost(error) => error.into(),
            Sent::Refused(source) if is_busy => {
                let tables = [self.registry.tenants_table(), self.registry.domains_table()];
                let holders = holders_of_tables(connection, &tables).await;
                ChangeError::Busy { holders: holders.unwrap_or_default(), source }
            }
            Sent::Refused(error) => ChangeError::Sql(error),
            Sent::Overtaken | Sent::Locked | Sent::Committed => ChangeError::Unsettled,
        }
    }
}

/// A standby already refuses `begin … read write`.
fn is_read_only(error: &SqlError, complete: usize) -> bool {
    error.is("25006") || (complete == 0 && error.is("0A000"))
}

/// Returns a statement that fails unless `statement`, an INSERT, UPDATE or DELETE, changes a row.
pub(super) fn must_change(statement: &str) -> String {
    format!(
        "with changed as ({statement} returning 1) \
         select cast(case count(*) when 0 then '{OVERTAKEN}' else '0' end as integer) from changed"
    )
}

/// Returns a statement that fails unless `condition` holds.
pub(super) fn must_hold(condition: &str) -> String {
    fails_unless(condition, OVERTAKEN)
}

/// Returns an expression that fails when `condition` holds.
pub(super) fn overtaken_if(condition: &str) -> String {
    format!("cast(case when {condition} then '{OVERTAKEN}' else '0' end as integer)")
}

/// Returns a statement that fails unless `condition` holds, which it may do later, when somebody else
/// has finished.
pub(super) fn must_be_free(condition: &str) -> String {
    fails_unless(condition, LOCKED)
}

fn fails_unless(condition: &str, word: &str) -> String {
    format!("select cast(case when {condition} then '0' else '{word}' end as integer)")
}

/// Of no effect beyond the transaction, and nothing is left to the role's own.
pub(super) fn settings(server_version: u32, registry: &Registry, lock_timeout: &str) -> String {
    // Triggers of the project's on these tables expect to find what lies beside them.
    let path = search_path([registry.names().shared_schema.as_str()]);
    let mut settings = vec![
        ("search_path", path.as_str()),
        ("lock_timeout", lock_timeout),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "60s"),
        // The planner takes what is asked of a large fleet's catalogs for worth it.
        ("jit", "off"),
    ];
    if server_version >= 140_000 {
        settings.push(("client_connection_check_interval", "500ms"));
    }
    if server_version >= 170_000 {
        settings.push(("transaction_timeout", "0"));
    }
    let calls = settings
        .iter()
        .map(|(name, value)| format!("set_config({}, {}, true)", literal(name), literal(value)));
    format!("select {}", calls.collect::<Vec<_>>().join(", "))
}

/// Whether another attempt may end otherwise.
fn may_pass(sent: &Sent) -> bool {
    match sent {
        Sent::Committed => false,
        Sent::Overtaken | Sent::Locked => true,
        // A unique violation is somebody who was quicker, whom the next look will see.
        Sent::Refused(error) => is_busy(error) || error.is("23505"),
        Sent::Lost(error) => error.may_pass(),
    }
}

fn is_busy(error: &SqlError) -> bool {
    error.is_lock_not_available() || error.is_conflict()
}

/// How long it is worth trying.
pub(super) struct Patience {
    ends: Instant,
    longest_pause: Duration,
    attempts: u32,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self::lasting(BUDGET)
    }

    pub(super) fn lasting(budget: Duration) -> Self {
        Self { ends: Instant::now() + budget, longest_pause: SHORTEST_PAUSE, attempts: 0 }
    }

    pub(super) fn is_left(&self) -> bool {
        Instant::now() < self.ends
    }

    /// Of random length ("full jitter"), so that two who are in each other's way do not stay so.
    pub(super) async fn pause(&mut self) {
        self.attempts += 1;
        tokio::time::sleep(self.longest_pause.mul_f64(fastrand::f64())).await;
        self.longest_pause = (self.longest_pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_changes_nothing_fails() {
        assert_eq!(
            must_change("delete from d where false"),
            "with changed as (delete from d where false returning 1) select cast(case count(*) \
             when 0 then 'tenantctl:overtaken' else '0' end as integer) from changed"
        );
    }

    #[test]
    fn no_setting_outlives_the_transaction() {
        let sql = settings(180_000, &Registry::default(), ROW_WAIT);
        assert_eq!(sql.matches("set_config(").count(), sql.matches(", true)").count());
    }
}
