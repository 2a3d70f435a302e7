//! Who holds the lock that somebody waits for. It is asked while the waiting lasts: afterwards
//! it is too late.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::script::lock_key;
use crate::event::{Holder, Observer, Silent};
use crate::name::SchemaName;
use crate::pg::{Connection, Incomplete, Lane, Row, Spare, literal};

/// What is asked about a session that holds a lock, for the table alias `b`.
const COLUMNS: &str = "b.pid, coalesce(b.application_name, ''), coalesce(host(b.client_addr), 'local'), \
     coalesce(b.state, ''), (extract(epoch from clock_timestamp() - b.xact_start) * 1000)::int8, \
     left(regexp_replace(coalesce(b.query, ''), '\\s+', ' ', 'g'), 120)";

/// How often an observer may write down what it has noticed.
const WRITE_DOWN_EVERY: Duration = Duration::from_millis(100);

/// When it may again after it could not: who waits for a lock is to be looked at meanwhile.
const WRITE_DOWN_AGAIN: Duration = Duration::from_secs(1);

/// A connection that answers no sooner is given up: others may need the place that it has.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Looks, from the run's spare connection, at what the workers of one run wait for, and lends the
/// connection to the run's observer now and then.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When each worker's present statement began.
    since: RefCell<HashMap<usize, Instant>>,
    seen: RefCell<HashMap<usize, Vec<Holder>>>,
    ended: Notify,
}

/// Does `work` on a connection whose name is `run` and a 0, and returns with its result who was last
/// seen in its way.
pub(crate) async fn watched<T>(
    spare: &Spare,
    run: &str,
    work: impl Future<Output = T>,
) -> (T, Vec<Holder>) {
    let watch = Watch::default();
    watch.begin(0);
    let result = {
        let looking = watch.run(spare, run, &Silent);
        tokio::pin!(looking, work);
        tokio::select! {
            result = &mut work => result,
            () = &mut looking => work.await,
        }
    };
    (result, watch.end(0))
}

impl Watch {
    /// Notes that worker `number` has sent something.
    pub(super) fn begin(&self, number: usize) {
        self.since.borrow_mut().insert(number, Instant::now());
        self.seen.borrow_mut().remove(&number);
    }

    /// Notes that worker `number` has its answer, and returns who was seen in its way.
    pub(super) fn end(&self, number: usize) -> Vec<Holder> {
        self.since.borrow_mut().remove(&number);
        self.seen.borrow_mut().remove(&number).unwrap_or_default()
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
        self.since.borrow().values().map(Instant::elapsed).max()
    }

    fn pause(&self) -> Duration {
        match self.oldest() {
            Some(age) if age > Duration::from_secs(1) => Duration::from_millis(400),
            _ => Duration::from_millis(60),
        }
    }

    /// Returns `None` when the connection does not answer; the run goes on without us.
    async fn look(&self, lane: &mut Lane, run: &str) -> Option<()> {
        let question = format!(
            "select substr(a.application_name, {}), {COLUMNS} \
             from pg_stat_activity a \
             cross join lateral unnest(pg_blocking_pids(a.pid)) as w(pid) \
             join pg_stat_activity b on b.pid = w.pid \
             where a.wait_event_type = 'Lock' and starts_with(a.application_name, {})",
            run.len() + 1,
            literal(run)
        );
        let rows = lane.serve(0).await.ok()?.ask(&question).await.ok()?.rows;
        let mut seen: HashMap<usize, Vec<Holder>> = HashMap::new();
        for row in &rows {
            if let Ok(worker) = row.text(0).parse() {
                seen.entry(worker).or_default().push(holder(row, 1));
            }
        }
        self.seen.borrow_mut().extend(seen);
        Some(())
    }
}

async fn write_down(lane: &mut Lane, observer: &dyn Observer) -> Result<(), Incomplete> {
    let connection = lane.serve(0).await.map_err(Incomplete::Lost)?;
    observer.write_down(connection).await
}

/// Returns who holds a schema's advisory lock.
pub(crate) async fn of_schema_lock(
    connection: &mut Connection,
    schema: &SchemaName,
) -> Result<Vec<Holder>, Incomplete> {
    let question = format!(
        "select {COLUMNS} from pg_locks l join pg_stat_activity b on b.pid = l.pid \
         where l.locktype = 'advisory' and l.granted and l.objsubid = 1 \
           and l.database = (select oid from pg_database where datname = current_database()) \
           and (l.classid::int8 << 32) | l.objid::int8 = {}",
        lock_key(schema)
    );
    Ok(connection.ask(&question).await?.rows.iter().map(|row| holder(row, 0)).collect())
}

/// Returns who has one of these tables locked otherwise than for reading, in a transaction that is
/// still open.
pub(crate) async fn of_tables(
    connection: &mut Connection,
    tables: &[String],
) -> Result<Vec<Holder>, Incomplete> {
    let tables: Vec<String> = tables.iter().map(|it| literal(it)).collect();
    let question = format!(
        "select distinct on (b.pid) {COLUMNS} from pg_locks l join pg_stat_activity b using (pid) \
         where l.locktype = 'relation' and l.granted and l.mode <> 'AccessShareLock' \
           and l.relation in (select to_regclass(it) from unnest(array[{}]) as it) \
           and b.pid <> pg_backend_pid()",
        tables.join(", ")
    );
    let rows = connection.ask(&question).await?.rows;
    Ok(rows.iter().map(|row| holder(row, 0)).collect())
}

/// Returns who has anything of these schemas locked, be it for reading, or holds a schema's own lock,
/// in a transaction that is still open.
pub(crate) async fn in_schemas(
    connection: &mut Connection,
    schemas: &[SchemaName],
) -> Result<Vec<Holder>, Incomplete> {
    let names: Vec<String> = schemas.iter().map(|it| literal(it.as_str())).collect();
    let keys: Vec<String> = schemas.iter().map(lock_key).collect();
    let question = format!(
        "select distinct on (b.pid) {COLUMNS} from pg_locks l join pg_stat_activity b using (pid) \
         where l.granted and b.pid <> pg_backend_pid() \
           and l.database = (select oid from pg_database where datname = current_database()) \
           and (l.locktype = 'relation' and l.relation in (select c.oid from pg_class c \
               join pg_namespace n on n.oid = c.relnamespace where n.nspname in ({names})) \
             or l.locktype = 'advisory' and l.objsubid = 1 \
               and (l.classid::int8 << 32) | l.objid::int8 in ({keys}))",
        names = names.join(", "),
        keys = keys.join(", "),
    );
    let rows = connection.ask(&question).await?.rows;
    Ok(rows.iter().map(|row| holder(row, 0)).collect())
}

fn holder(row: &Row, first: usize) -> Holder {
    let milliseconds = row.number(first + 4).map(i64::unsigned_abs);
    Holder {
        pid: row.number(first).unwrap_or_default(),
        application_name: row.text(first + 1).to_owned(),
        client: row.text(first + 2).to_owned(),
        state: row.text(first + 3).to_owned(),
        transaction_age: milliseconds.map(Duration::from_millis),
        query: row.text(first + 5).to_owned(),
    }
}
