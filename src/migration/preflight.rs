//! What should be known of the server before the first schema is touched: one question, asked when
//! there is something to do.

use std::fmt;
use std::time::Duration;

use super::executor::{ExecuteOptions, Mode};
use super::set::MigrationSet;
use crate::event::{Event, Observer};
use crate::pg::{ConnectError, Connection, Database, Incomplete, Row, Spare, SqlError};

/// A transaction that has been open for so long is worth a warning.
const LONG: Duration = Duration::from_secs(60);

/// Connections that are left to others.
const SPARE: usize = 2;

/// Locks that a statement which makes or changes a table takes, with its indexes and its TOAST
/// table.
const LOCKS_PER_STATEMENT: usize = 3;

/// So many times the locks that the lock table is made for fit into it: it may use what shared memory
/// has to spare.
const SLACK: usize = 2;

/// Why nothing can be done on this server.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PreflightError {
    /// No connection, or a standby.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server did not answer the question.
    #[error("the server could not be looked at")]
    Sql(#[source] SqlError),
    /// A file needs a session of its own, and a pooler stands in between.
    #[error(
        "{migration} runs in no transaction and needs a connection to the server itself, and this is a pooler's"
    )]
    Pooled {
        /// The first such file, as it is shown.
        migration: String,
    },
}

impl From<Incomplete> for PreflightError {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Sql(error) => Self::Sql(error),
            Incomplete::Lost(error) => Self::Connect(error),
        }
    }
}

/// What is about to be done: files of a folder.
pub type Work<'a> = (&'a MigrationSet, Vec<usize>);

/// Looks at the server, warns of what will be in the way, and returns the options to go on with:
/// with fewer jobs where there are not enough free connections.
///
/// # Errors
///
/// [`PreflightError`] when the work cannot be done there, or not by way of this connection.
pub async fn check(
    spare: &Spare,
    database: &Database,
    work: &[Work<'_>],
    options: &ExecuteOptions,
    observer: &dyn Observer,
) -> Result<ExecuteOptions, PreflightError> {
    let mut server = Server::look(spare.lane().await.serve(0).await?).await?;
    // Those that helped to look are workers' connections already.
    server.helpers = i64::try_from(spare.helpers()).expect("a few");
    if server.is_standby {
        let place = database.place().into();
        return Err(ConnectError::ReadOnly { place }.into());
    }
    refuse_pooler(database, work, options.mode).await?;
    let jobs = server.jobs(options.jobs);
    let warnings = [
        server.long_transactions(),
        server.dump(),
        server.fewer_jobs(options.jobs, jobs),
        server.lock_table(largest(work), jobs).map(|it| format!("{it}: {}", it.advice())),
    ];
    for warning in warnings.into_iter().flatten() {
        observer.observe(&Event::Warning(warning));
    }
    Ok(ExecuteOptions { jobs, ..options.clone() })
}

/// Returns how many of `wanted` connections the server has room for, at least one, and what should
/// be said where those are fewer.
pub async fn room_for(
    connection: &mut Connection,
    wanted: usize,
) -> Result<(usize, Option<String>), Incomplete> {
    let server = Server::look(connection).await?;
    let jobs = server.jobs(wanted);
    Ok((jobs, server.fewer_jobs(wanted, jobs)))
}

/// Returns what should be said where the server's lock table may have no room for one transaction
/// that takes `wanted` locks, for `what`.
pub(crate) async fn room_for_locks(
    connection: &mut Connection,
    what: &str,
    wanted: usize,
) -> Result<Option<String>, Incomplete> {
    let server = Server::from(&connection.ask(&question()).await?.rows[0]);
    Ok(server.too_many_locks(wanted).then(|| {
        let (locks, each) = (server.locks, server.locks_per_transaction);
        format!(
            "{what} takes about {wanted} locks in one transaction; the server is set up for {locks} \
             and has room for perhaps {SLACK} times as many (`max_locks_per_transaction` is {each})"
        )
    }))
}

async fn refuse_pooler(
    database: &Database,
    work: &[Work<'_>],
    mode: Mode,
) -> Result<(), PreflightError> {
    let alone = work.iter().find_map(|(set, files)| {
        let file = files.iter().find(|&&file| set.is_no_transaction(file))?;
        Some(set.label(*file))
    });
    let (Some(migration), Mode::Apply | Mode::Create) = (alone, mode) else {
        return Ok(());
    };
    match database.connect_directly("tenantctl", &[]).await? {
        Some(connection) => {
            connection.close().await;
            Ok(())
        }
        None => Err(PreflightError::Pooled { migration }),
    }
}

/// Returns how many statements that lock relations are in the largest plan.
pub(crate) fn largest(work: &[Work<'_>]) -> usize {
    let locks = |kind: &str| ["CREATE", "ALTER", "DROP"].iter().any(|it| kind.starts_with(it));
    let statements = |set: &MigrationSet, file| {
        let all = set.statements(file).iter();
        all.filter(|statement| locks(statement.kind())).count()
    };
    let plan = |(set, files): &Work<'_>| files.iter().map(|&file| statements(set, file)).sum();
    work.iter().map(plan).max().unwrap_or_default()
}

/// A lock table that a plan may not fit into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallLockTable {
    /// Statements of the plan that change an object.
    pub statements: usize,
    /// Schemas that are worked on at once.
    pub jobs: usize,
    /// Locks that they may take.
    pub wanted: usize,
    /// Locks the server is set up for.
    pub locks: usize,
    /// The server's `max_locks_per_transaction`.
    pub per_transaction: usize,
}

impl SmallLockTable {
    /// Returns the `max_locks_per_transaction` with which they would fit.
    pub fn enough(&self) -> usize {
        let sessions = (self.locks / self.per_transaction.max(1)).max(1);
        self.wanted.div_ceil(sessions * SLACK)
    }

    fn advice(&self) -> String {
        let fewer = if self.jobs > 1 { "use fewer `--jobs`, " } else { "use " };
        format!("{fewer}smaller files, or a setting of {}", self.enough())
    }
}

impl fmt::Display for SmallLockTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { statements, jobs, wanted, locks, per_transaction } = self;
        let takers = if *jobs == 1 { "one schema".into() } else { format!("{jobs} at once") };
        write!(
            f,
            "the largest plan changes {statements} objects, for which {takers} may take about \
             {wanted} locks; the server is set up for {locks} and has room for perhaps {SLACK} times \
             as many (`max_locks_per_transaction` is {per_transaction})"
        )
    }
}

/// How many more connections there can be, and what allows no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeConnections {
    /// How many.
    pub count: usize,
    /// What allows no more.
    pub limit: ConnectionLimit,
}

/// What bounds the number of connections (Postgres documentation, "Connections and Authentication"
/// and `CONNECTION LIMIT` of `CREATE ROLE` and `CREATE DATABASE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// `max_connections`.
    Server,
    /// The role's own limit.
    Role,
    /// The database's own limit.
    Database,
}

impl fmt::Display for FreeConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = if self.count == 1 { "free connection" } else { "free connections" };
        let count = self.count;
        match self.limit {
            ConnectionLimit::Server => write!(f, "the server has {count} {connections}"),
            ConnectionLimit::Role => {
                write!(f, "the role's connection limit leaves {count} {connections}")
            }
            ConnectionLimit::Database => {
                write!(f, "the database's connection limit leaves {count} {connections}")
            }
        }
    }
}

/// What a server said of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server {
    pub(crate) is_standby: bool,
    /// Connections that an ordinary role can still open on the server, besides the one that asked.
    free: i64,
    /// Those that this role can, where it has a limit.
    free_of_role: Option<i64>,
    /// Those that the database can have, where it has a limit.
    free_of_database: Option<i64>,
    /// Connections that are open for the work already, and count as taken above.
    helpers: i64,
    long: i64,
    oldest: Option<Transaction>,
    dump: Option<Transaction>,
    /// Locks the server's lock table is made for.
    locks: usize,
    locks_per_transaction: usize,
}

#[derive(Debug, Clone)]
struct Transaction {
    pid: i64,
    application_name: String,
    age: Duration,
}

/// The question to the server. The function behind `pg_stat_activity` is read but once, and each
/// setting by its name: the views take longer to plan than all of it takes.
fn question() -> String {
    let transaction = |condition: &str| {
        format!(
            "(select array_to_string(array[pid::text, (extract(epoch from age)::int8)::text, name], ' ') \
             from sessions where is_other and {condition} order by age desc limit 1)"
        )
    };
    let seconds = LONG.as_secs();
    format!(
        "with sessions as (select pid, coalesce(application_name, '') as name, \
             clock_timestamp() - xact_start as age, \
             coalesce(backend_type = 'client backend', usesysid is not null) as is_client, \
             pid <> pg_backend_pid() and backend_type = 'client backend' \
               and datid = (select oid from pg_database where datname = current_database()) \
               as is_other, \
             usesysid as role, datid as database \
           from pg_stat_get_activity(null)), \
         limits as (select r.oid as role, r.rolconnlimit, d.oid as database, d.datconnlimit \
           from pg_roles r, pg_database d \
          where r.rolname = session_user and not r.rolsuper and d.datname = current_database()) \
         select pg_is_in_recovery(), \
           current_setting('max_connections')::int8 \
             - current_setting('superuser_reserved_connections')::int8 \
             - coalesce(current_setting('reserved_connections', true), '0')::int8 \
             - (select count(*) from sessions where is_client), \
           (select count(*) from sessions where is_other and age > interval '{seconds} s'), \
           {}, {}, \
           current_setting('max_locks_per_transaction')::int8, \
           current_setting('max_connections')::int8 \
             + current_setting('max_prepared_transactions')::int8, \
           (select rolconnlimit - (select count(*) from sessions where is_client and role = l.role) \
              from limits l where rolconnlimit >= 0), \
           (select datconnlimit - (select count(*) from sessions where is_client and database = l.database) \
              from limits l where datconnlimit >= 0)",
        transaction(&format!("age > interval '{seconds} s'")),
        transaction("name = 'pg_dump' and age is not null"),
    )
}

impl From<&Row> for Server {
    fn from(row: &Row) -> Self {
        let count = |index| row.number(index).unwrap_or_default();
        let locks_per_transaction = count(5).unsigned_abs() as usize;
        Self {
            is_standby: row.flag(0),
            free: count(1),
            free_of_role: row.number(7),
            free_of_database: row.number(8),
            helpers: 0,
            long: count(2),
            oldest: row.get(3).and_then(transaction),
            dump: row.get(4).and_then(transaction),
            locks: locks_per_transaction * count(6).unsigned_abs() as usize,
            locks_per_transaction,
        }
    }
}

/// Reads `4711 12 myapp`.
fn transaction(text: &str) -> Option<Transaction> {
    let mut words = text.splitn(3, ' ');
    Some(Transaction {
        pid: words.next()?.parse().ok()?,
        age: Duration::from_secs(words.next()?.parse().ok()?),
        application_name: words.next()?.escape_debug().to_string(),
    })
}

impl Server {
    /// Asks the server about itself.
    pub(crate) async fn look(connection: &mut Connection) -> Result<Self, Incomplete> {
        Ok(Self::from(&connection.ask(&question()).await?.rows[0]))
    }

    /// Returns how many schemas to work on at once. The connection that asked stays open beside
    /// theirs.
    pub(crate) fn jobs(&self, wanted: usize) -> usize {
        wanted.min(self.free().count.saturating_sub(SPARE)).max(1)
    }

    /// Returns how many connections can be opened besides the one that asked.
    pub(crate) fn free(&self) -> FreeConnections {
        let limits = [
            (Some(self.free), ConnectionLimit::Server),
            (self.free_of_role, ConnectionLimit::Role),
            (self.free_of_database, ConnectionLimit::Database),
        ];
        let limits = limits.into_iter().filter_map(|(free, limit)| Some((free?, limit)));
        let (free, limit) = limits.min_by_key(|it| it.0).expect("that of the server");
        let count = usize::try_from(free + self.helpers).unwrap_or_default();
        FreeConnections { count, limit }
    }

    fn fewer_jobs(&self, wanted: usize, jobs: usize) -> Option<String> {
        (jobs < wanted)
            .then(|| format!("{}: working on {jobs} at once instead of {wanted}", self.free()))
    }

    fn long_transactions(&self) -> Option<String> {
        let Transaction { pid, application_name, age } = self.oldest.as_ref()?;
        let (number, age) = (self.long, humantime::format_duration(*age));
        let transactions = match number {
            1 => "1 transaction has".to_owned(),
            _ => format!("{number} transactions have"),
        };
        Some(format!(
            "{transactions} been open for more than {}, the oldest for {age} (pid {pid}, \
             {application_name}): what they use is busy until they end",
            humantime::format_duration(LONG)
        ))
    }

    fn dump(&self) -> Option<String> {
        let Transaction { pid, age, .. } = self.dump.as_ref()?;
        let age = humantime::format_duration(*age);
        Some(format!(
            "a pg_dump has been running for {age} (pid {pid}): what it dumps is busy until it ends"
        ))
    }

    fn too_many_locks(&self, wanted: usize) -> bool {
        wanted > self.locks * SLACK
    }

    /// Returns what is wrong with the lock table for plans of so many statements.
    pub(crate) fn lock_table(&self, statements: usize, jobs: usize) -> Option<SmallLockTable> {
        let wanted = statements * LOCKS_PER_STATEMENT * jobs;
        let (locks, per_transaction) = (self.locks, self.locks_per_transaction);
        self.too_many_locks(wanted).then_some(SmallLockTable {
            statements,
            jobs,
            wanted,
            locks,
            per_transaction,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(free: i64) -> Server {
        Server { free, locks: 6400, locks_per_transaction: 64, ..Server::default() }
    }

    #[test]
    fn some_connections_are_left_to_others() {
        assert_eq!(server(90).jobs(4), 4);
        assert_eq!(server(5).jobs(64), 3);
    }

    #[test]
    fn one_job_is_always_tried() {
        for free in [-3, 0, 1, 2, 3] {
            assert_eq!(server(free).jobs(8), 1);
        }
    }

    #[test]
    fn what_is_in_the_way_is_said_with_the_number_that_was_compared() {
        let oldest = transaction("4711 3700 nightly report");
        let one = Server { long: 1, oldest: oldest.clone(), ..server(90) };
        assert_eq!(
            one.long_transactions().unwrap(),
            "1 transaction has been open for more than 1m, the oldest for 1h 1m 40s (pid 4711, \
             nightly report): what they use is busy until they end"
        );
        let two = Server { long: 2, oldest, ..server(90) };
        assert!(two.long_transactions().unwrap().starts_with("2 transactions have been open"));
        let dump = Server { dump: transaction("4712 61 pg_dump"), ..server(90) };
        assert_eq!(
            dump.dump().unwrap(),
            "a pg_dump has been running for 1m 1s (pid 4712): what it dumps is busy until it ends"
        );
        assert_eq!(
            server(5).fewer_jobs(64, 3).unwrap(),
            "the server has 5 free connections: working on 3 at once instead of 64"
        );
        let limited = Server { free_of_role: Some(3), free_of_database: Some(4), ..server(90) };
        assert_eq!(
            limited.fewer_jobs(64, 1).unwrap(),
            "the role's connection limit leaves 3 free connections: working on 1 at once instead of 64"
        );
        let limited = Server { free_of_database: Some(1), ..server(90) };
        assert_eq!(
            limited.fewer_jobs(64, 1).unwrap(),
            "the database's connection limit leaves 1 free connection: working on 1 at once instead of 64"
        );
        assert_eq!(server(90).fewer_jobs(4, 4), None);
    }

    #[test]
    fn a_transaction_without_a_name_is_one_too() {
        let nameless = transaction("4711 61 ").unwrap();
        assert_eq!((nameless.pid, nameless.application_name.as_str()), (4711, ""));
    }

    #[test]
    fn the_lock_table_is_compared_with_the_largest_plan() {
        assert_eq!(server(90).lock_table(30, 4), None);
        let small = server(90).lock_table(2000, 4).unwrap();
        assert_eq!(small.enough(), 120);
        assert_eq!(Server { locks: 12_000, ..server(90) }.lock_table(2000, 4), None);
        let warning = small.to_string();
        assert!(warning.contains("24000 locks; the server is set up for 6400"), "{warning}");
    }
}
