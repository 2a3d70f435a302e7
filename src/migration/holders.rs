//! Who holds the lock that somebody waits for. It is asked while the waiting lasts: afterwards
//! it is too late.

use std::collections::HashMap;
use std::time::Duration;

use super::script::lock_key;
use crate::event::Holder;
use crate::name::SchemaName;
use crate::pg::{Connection, Incomplete, Row, literal};

/// What is asked about a session `b`, or a prepared transaction `p`, that holds a lock. What a role may
/// not see of another's session is said in these words (Postgres documentation, "The Statistics
/// Collector").
const COLUMNS: &str = "b.pid, \
     coalesce(nullif(b.application_name, ''), nullif(b.backend_type, 'client backend'), ''), \
     case when b.query = '<insufficient privilege>' then '' \
       else coalesce(host(b.client_addr), 'local') end, \
     coalesce(b.state, ''), \
     (extract(epoch from clock_timestamp() - coalesce(b.xact_start, p.prepared)) * 1000)::int8, \
     left(regexp_replace(coalesce(nullif(b.query, '<insufficient privilege>'), ''), \
       '\\s+', ' ', 'g'), 120), p.gid";

/// Whether a row `h` of `pg_locks` is of a prepared transaction `p`. Its rows have no process, and are
/// told by that of its own number.
const PREPARED: &str = "h.pid is null and h.virtualtransaction in (select x.virtualtransaction \
       from pg_locks x where x.pid is null and x.locktype = 'transactionid' \
         and x.transactionid = p.transaction)";

/// What a session of ours waits for.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    /// Its transaction (`virtualtransaction` in `pg_locks`).
    pub(super) transaction: String,
    /// The lock, in words of the server's.
    pub(super) lock: String,
    /// For how long; not known before Postgres 14.
    pub(super) since: Option<Duration>,
}

/// Returns what sessions wait for whose name is `run` and a number, and who is in their way, by their
/// numbers.
pub(super) async fn of_waiting(
    connection: &mut Connection,
    run: &str,
) -> Result<HashMap<usize, (Waiting, Vec<Holder>)>, Incomplete> {
    // A prepared transaction has no session: its process is 0.
    let question = format!(
        "select substr(a.application_name, {}), t.virtualtransaction, t.lock, t.since, {COLUMNS} \
         from pg_stat_activity a \
         cross join lateral (select l.*, (to_jsonb(l) - 'waitstart')::text as lock, \
             (extract(epoch from clock_timestamp() - (to_jsonb(l) ->> 'waitstart')::timestamptz) \
               * 1000)::int8 as since \
           from pg_locks l where l.pid = a.pid and not l.granted limit 1) as t \
         left join lateral (select distinct pid from unnest(pg_blocking_pids(a.pid)) as pid) as w \
           on true \
         left join pg_stat_activity b on b.pid = w.pid \
         left join lateral (select p.* from pg_locks h join pg_prepared_xacts p on {PREPARED} \
           where w.pid = 0 and h.granted and h.locktype = t.locktype \
             and (h.database, h.relation, h.page, h.tuple, h.transactionid, h.classid, h.objid, \
                 h.objsubid) is not distinct from (t.database, t.relation, t.page, t.tuple, \
                 t.transactionid, t.classid, t.objid, t.objsubid)) as p on true \
         where a.wait_event_type = 'Lock' and starts_with(a.application_name, {})",
        run.len() + 1,
        literal(run)
    );
    let mut found: HashMap<usize, (Waiting, Vec<Holder>)> = HashMap::new();
    for row in &connection.ask(&question).await?.rows {
        let Ok(number) = row.text(0).parse() else {
            continue;
        };
        let waiting = Waiting {
            transaction: row.text(1).to_owned(),
            lock: row.text(2).to_owned(),
            since: row.number(3).map(|it| Duration::from_millis(it.unsigned_abs())),
        };
        let (_, holders) = found.entry(number).or_insert((waiting, Vec::new()));
        holders.extend(holder(row, 4));
    }
    Ok(found)
}

/// Cancels what a transaction does, if it waits for a lock.
pub(super) async fn cancel(
    connection: &mut Connection,
    transaction: &str,
) -> Result<(), Incomplete> {
    let question = format!(
        "select pg_cancel_backend(pid) from pg_locks where not granted and virtualtransaction = {}",
        literal(transaction)
    );
    connection.ask(&question).await.map(drop)
}

/// Returns who holds a schema's advisory lock.
pub(crate) async fn of_schema_lock(
    connection: &mut Connection,
    schema: &SchemaName,
) -> Result<Vec<Holder>, Incomplete> {
    ask(connection, &is_of_schemas(&[lock_key(schema)])).await
}

/// Returns who has one of these tables locked otherwise than for reading, in a transaction that is
/// still open.
pub(crate) async fn of_tables(
    connection: &mut Connection,
    tables: &[String],
) -> Result<Vec<Holder>, Incomplete> {
    let tables: Vec<String> = tables.iter().map(|it| literal(it)).collect();
    let condition = format!(
        "h.locktype = 'relation' and h.mode <> 'AccessShareLock' \
           and h.relation in (select to_regclass(it) from unnest(array[{}]) as it)",
        tables.join(", ")
    );
    ask(connection, &condition).await
}

/// Returns who has anything of these schemas locked, be it for reading, or holds a schema's own lock,
/// in a transaction that is still open.
pub(crate) async fn in_schemas(
    connection: &mut Connection,
    schemas: &[SchemaName],
) -> Result<Vec<Holder>, Incomplete> {
    let names: Vec<String> = schemas.iter().map(|it| literal(it.as_str())).collect();
    let keys: Vec<String> = schemas.iter().map(lock_key).collect();
    let condition = format!(
        "(h.locktype = 'relation' and h.relation in (select c.oid from pg_class c \
             join pg_namespace n on n.oid = c.relnamespace where n.nspname in ({})) \
           or {})",
        names.join(", "),
        is_of_schemas(&keys),
    );
    ask(connection, &condition).await
}

/// Returns the condition under which a lock `h` is one of these schemas' own.
fn is_of_schemas(keys: &[String]) -> String {
    format!(
        "h.locktype = 'advisory' and h.objsubid = 1 \
           and (h.classid::int8 << 32) | h.objid::int8 in ({})",
        keys.join(", ")
    )
}

/// Returns who holds a lock `h` of this database for which a condition is true.
async fn ask(connection: &mut Connection, condition: &str) -> Result<Vec<Holder>, Incomplete> {
    let question = format!(
        "select distinct on (b.pid, p.gid) {COLUMNS} from pg_locks h \
         left join pg_stat_activity b on b.pid = h.pid left join pg_prepared_xacts p on {PREPARED} \
         where h.granted and h.pid is distinct from pg_backend_pid() \
           and h.database = (select oid from pg_database where datname = current_database()) \
           and {condition}"
    );
    Ok(connection.ask(&question).await?.rows.iter().filter_map(|row| holder(row, 0)).collect())
}

/// Returns who holds a lock; `None` where the holder has gone meanwhile.
fn holder(row: &Row, first: usize) -> Option<Holder> {
    let milliseconds = row.number(first + 4).map(i64::unsigned_abs);
    let (pid, prepared) = (row.number(first), row.text(first + 6));
    let prepared = (!prepared.is_empty()).then(|| prepared.to_owned());
    if pid.is_none() && prepared.is_none() {
        return None;
    }
    Some(Holder {
        pid: pid.unwrap_or_default(),
        application_name: row.text(first + 1).to_owned(),
        client: row.text(first + 2).to_owned(),
        state: row.text(first + 3).to_owned(),
        transaction_age: milliseconds.map(Duration::from_millis),
        query: row.text(first + 5).to_owned(),
        prepared,
    })
}
