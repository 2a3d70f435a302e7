//! Making others wait, and waiting for others.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tenantctl::pg::server::ServerConnection;

use super::Project;

/// How long something may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection with an open transaction, as an application forgets one.
pub(crate) struct Blocker {
    connection: PgConnection,
    pub(crate) pid: i32,
}

impl Blocker {
    pub(super) async fn begin(database: &ServerConnection, sql: &str) -> Blocker {
        let options = database.options().application_name("blocker");
        let mut connection = options.connect().await.unwrap();
        let pid = sqlx::query_scalar("select pg_backend_pid()");
        let pid = pid.fetch_one(&mut connection).await.unwrap();
        let sql = AssertSqlSafe(format!("begin; {sql}"));
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        Blocker { connection, pid }
    }

    /// Ends the transaction with its changes.
    pub(crate) async fn commit(mut self) {
        sqlx::raw_sql("commit").execute(&mut self.connection).await.unwrap();
        self.release().await;
    }

    /// Ends the transaction without its changes, and with it all its locks.
    pub(crate) async fn release(self) {
        self.connection.close().await.unwrap();
    }
}

/// Asks again and again until the answer is yes.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Project {
    /// Waits until a connection to the project's database waits for a lock.
    pub(crate) async fn somebody_waits(&self) {
        // Of all databases, since other tests wait in theirs, `pg_locks` would speak.
        let waits = "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock' \
            and datname = current_database()";
        eventually("somebody waits for a lock", async || self.query(waits).await == "t").await;
    }
}

#[tokio::test]
async fn a_blocker_makes_others_wait_until_it_is_released() {
    let project = Project::empty().await;
    project.sql("create table orders (id int)").await;
    let blocker = project.blocker("lock table orders").await;

    let held =
        "select a.application_name, l.pid from pg_locks l join pg_stat_activity a using (pid)
                 where l.relation = 'orders'::regclass";
    assert_eq!(project.query(held).await, format!("blocker|{}", blocker.pid));
    blocker.release().await;
    eventually("the lock is gone", async || project.query(held).await.is_empty()).await;
}
