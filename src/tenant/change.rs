//! A small change to the registry: read, decide, and change what was read in one transaction that
//! fails when anything has come between.

use std::time::Duration;

use tokio::time::Instant;

use super::registry::Registry;
use crate::event::Holder;
use crate::migration::holders_of_tables;
use crate::pg::{ConnectError, Connection, Database, Incomplete, Lane, SqlError};
use crate::pg::{literal, search_path};

/// For so long a change is tried that somebody else is in the way of.
const BUDGET: Duration = Duration::from_secs(8);
/// Pauses between attempts grow from about this long, doubling with every attempt.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a message carries that fails because something has come between.
const OVERTAKEN: &str = "tenantctl:overtaken";

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
    /// The registry was different again at every attempt.
    #[error("the registry kept changing while it was being changed")]
    Unsettled,
    /// The server refused.
    #[error("the registry could not be changed")]
    Sql(#[source] SqlError),
}

/// What is to be done about what was read.
#[derive(Debug)]
pub(super) enum Decision<T> {
    /// Nothing: it is so already.
    Done(T),
    /// To carry out these statements, after which `answer` is true.
    ///
    /// The last one is an INSERT, UPDATE or DELETE and has to change a row; it says in its WHERE
    /// what it relies on of what was read.
    Change {
        /// Without semicolons.
        statements: Vec<String>,
        /// What to say once they are committed.
        answer: T,
    },
}

/// What came of one attempt.
enum Sent {
    Committed,
    Overtaken,
    Refused(SqlError),
    Lost(ConnectError),
}

/// Changes the registry as `decide` says, and tries again when somebody else is in the way.
///
/// `decide` reads and changes nothing. It is given the answer of a change that was sent and of
/// which nothing was heard: where that is so by now, it has happened.
pub(super) async fn change<T: Clone, E: From<ChangeError>>(
    database: &Database,
    registry: &Registry,
    mut decide: impl AsyncFnMut(&mut Connection, Option<T>) -> Result<Decision<T>, E>,
) -> Result<T, E> {
    let mut lane = Lane::new(database, "tenantctl", usize::MAX);
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
        let sent = send(connection, registry, statements).await;
        if let Sent::Committed = sent {
            return Ok(answer);
        }
        if !patience.is_left() || !may_pass(&sent) {
            return Err(why_not(connection, registry, sent).await.into());
        }
        if let Sent::Lost(_) = sent {
            unheard = Some(answer);
            lane.abandon();
        }
        patience.pause().await;
    }
}

/// Sends the transaction as one message.
async fn send(
    connection: &mut Connection,
    registry: &Registry,
    mut statements: Vec<String>,
) -> Sent {
    let last = statements.pop().expect("a change has a statement");
    let mut message = vec![
        "begin isolation level read committed, read write".to_owned(),
        settings(connection.server_version(), registry),
    ];
    message.append(&mut statements);
    message.push(must_change(&last));
    message.push("commit".into());
    match connection.send(message.join(";\n")).await {
        Ok(_) => Sent::Committed,
        Err((Incomplete::Lost(error), _)) => Sent::Lost(error),
        Err((Incomplete::Sql(error), complete)) => match connection.roll_back().await {
            Err(Incomplete::Lost(error)) => Sent::Lost(error),
            _ if error.message.contains(OVERTAKEN) => Sent::Overtaken,
            _ if is_read_only(&error, complete) => {
                Sent::Lost(ConnectError::ReadOnly { place: connection.place().clone().into() })
            }
            _ => Sent::Refused(error),
        },
    }
}

/// A standby already refuses `begin … read write`.
fn is_read_only(error: &SqlError, complete: usize) -> bool {
    error.is("25006") || (complete == 0 && error.is("0A000"))
}

/// Returns a statement that fails unless `statement` changes a row.
fn must_change(statement: &str) -> String {
    format!(
        "with changed as ({statement} returning 1) \
         select cast(case count(*) when 0 then '{OVERTAKEN}' else '0' end as integer) from changed"
    )
}

/// Of no effect beyond the transaction, and nothing is left to the role's own.
fn settings(server_version: u32, registry: &Registry) -> String {
    // Triggers of the project's on these tables expect to find what lies beside them.
    let path = search_path([registry.names().shared_schema.as_str()]);
    let mut settings = vec![
        ("search_path", path.as_str()),
        ("lock_timeout", "2s"),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "60s"),
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
        Sent::Overtaken => true,
        // A unique violation is somebody who was quicker, whom the next look will see.
        Sent::Refused(error) => is_busy(error) || error.is("23505"),
        Sent::Lost(error) => error.may_pass(),
    }
}

fn is_busy(error: &SqlError) -> bool {
    error.is_lock_not_available() || error.is_conflict()
}

async fn why_not(connection: &mut Connection, registry: &Registry, sent: Sent) -> ChangeError {
    match sent {
        Sent::Lost(error) => error.into(),
        Sent::Refused(source) if is_busy(&source) => {
            let tables = [registry.tenants_table(), registry.domains_table()];
            let holders = holders_of_tables(connection, &tables).await;
            ChangeError::Busy { holders: holders.unwrap_or_default(), source }
        }
        Sent::Refused(error) => ChangeError::Sql(error),
        Sent::Overtaken | Sent::Committed => ChangeError::Unsettled,
    }
}

/// How long it is worth trying.
struct Patience {
    ends: Instant,
    longest_pause: Duration,
}

impl Patience {
    fn new() -> Self {
        Self { ends: Instant::now() + BUDGET, longest_pause: SHORTEST_PAUSE }
    }

    fn is_left(&self) -> bool {
        Instant::now() < self.ends
    }

    /// Of random length ("full jitter"), so that two who are in each other's way do not stay so.
    async fn pause(&mut self) {
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
        let sql = settings(180_000, &Registry::default());
        assert_eq!(sql.matches("set_config(").count(), sql.matches(", true)").count());
    }
}
