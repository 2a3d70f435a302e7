//! Waiting for locks: what is busy is tried again, and nobody waits behind us for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Executor};
use tenantctl::pg::server::ServerConnection;

use crate::support::{OwnServer, Project, eventually};

const ALTER: &str = "alter table orders add column note text";

/// Returns tenants that have a table of orders, and a migration that alters it.
async fn with_orders<const N: usize>(schemas: [&str; N]) -> Project {
    let project = Project::with_tenants(schemas).await;
    project.tenant_migration("V1__orders.sql", "create table orders (id int)");
    project.migrate();
    project.tenant_migration("V2__notes.sql", ALTER);
    project
}

impl Project {
    /// Applies what is pending, which is to work.
    pub(crate) fn migrate(&self) {
        let output = self.command("migrate-schemas --all").output().unwrap();
        assert!(output.status.success(), "{}", self.shown(&output));
    }

    /// Returns in how many schemas a version is recorded.
    pub(crate) async fn recorded(&self, version: u32) -> usize {
        let schemas = self.query("select schema_name from public.tenants").await;
        let mut recorded = 0;
        for schema in schemas.lines() {
            let table = format!("\"{schema}\".refinery_schema_history");
            let exists = format!("select to_regclass('{table}') is not null");
            let question = format!("select count(*) from {table} where version = {version}");
            recorded +=
                usize::from(self.query(&exists).await == "t" && self.query(&question).await == "1");
        }
        recorded
    }
}

#[tokio::test]
async fn a_locked_history_is_waited_for() {
    let project = with_orders(["acme", "globex"]).await;
    let blocker = project.blocker("lock table acme.refinery_schema_history").await;
    let program = project.start("migrate-schemas --tenants --verbose");
    eventually("the other one is done", async || {
        project.query("select max(version) from globex.refinery_schema_history").await == "2"
    })
    .await;
    project.somebody_waits().await;
    blocker.release().await;
    let output = program.ends();
    assert_eq!(output.status.code(), Some(0), "{}", project.shown(&output));
    assert_eq!(project.recorded(2).await, 2);
}

#[tokio::test]
async fn a_history_that_stays_locked_is_busy_and_who_holds_it_is_named() {
    let project = with_orders(["acme", "globex"]).await;
    let _blocker = project.blocker("lock table acme.refinery_schema_history").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --retries 2 --quiet"), @"
    1 schema migrated, 1 busy
    ------- stderr -------
    error: schema `acme` is busy
      caused by: somebody has locked its table `refinery_schema_history`
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; lock table acme.refinery_schema_history
    hint: run `tenantctl migrate-schemas --retries 2 --quiet --schema=acme`
    [exit status: 6]
    ");
}

#[tokio::test]
async fn a_locked_shared_history_keeps_the_tenants_from_being_started() {
    let project = with_orders(["acme"]).await;
    let _blocker = project.blocker("lock table public.refinery_schema_history").await;
    let shown = project.run("migrate-schemas --all --retries 1 --quiet");
    assert!(shown.contains("schema `public` is busy"), "{shown}");
    assert!(shown.contains("no tenant was started"), "{shown}");
    assert!(shown.contains("[exit status: 6]"), "{shown}");
}

#[tokio::test]
async fn a_busy_schema_is_migrated_once_the_application_lets_go() {
    let project = with_orders(["acme", "globex"]).await;
    let blocker = project.blocker("select * from acme.orders").await;
    let program = project.start("migrate-schemas --all --quiet");
    project.somebody_waits().await;
    eventually("the other one is done", async || project.recorded(2).await == 1).await;
    blocker.release().await;

    insta::assert_snapshot!(project.shown(&program.ends()), @"2 schemas migrated, 1 up to date");
    assert_eq!(project.recorded(2).await, 2);
}

#[tokio::test]
async fn a_schema_that_stays_busy_is_named_with_who_holds_it() {
    let project = with_orders(["acme", "globex"]).await;
    let _blocker = project.blocker("select * from acme.orders").await;

    insta::assert_snapshot!(project.run("migrate-schemas --all --retries 2"), @"
    1 schema migrated, 1 up to date, 1 busy
    ------- stderr -------
    acme: busy, will be tried again: V2 `notes` at migrations/tenant/V2__notes.sql:1: canceling statement due to lock timeout
    globex: applied V2 `notes`
    error: schema `acme` is busy
      caused by: V2 `notes`: canceling statement due to lock timeout
         --> migrations/tenant/V2__notes.sql:1
          |
        1 | alter table orders add column note text
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; select * from acme.orders
    hint: run `tenantctl migrate-schemas --retries 2 --schema=acme`
    [exit status: 6]
    ");
    assert_eq!(project.recorded(2).await, 1);
    let columns = "select count(*) from information_schema.columns \
        where table_schema = 'acme' and column_name = 'note'";
    assert_eq!(project.query(columns).await, "0");
}

#[tokio::test]
async fn while_somebody_has_locked_the_run_log_the_work_is_done_and_holders_are_found() {
    let project = with_orders(["acme", "globex"]).await;
    let _log = project.blocker("lock table tenantctl.run_entries").await;
    let _application = project.blocker("select * from acme.orders").await;

    insta::assert_snapshot!(project.run("migrate-schemas --all --retries 2 --quiet"), @"
    1 schema migrated, 1 up to date, 1 busy
    ------- stderr -------
    error: schema `acme` is busy
      caused by: V2 `notes`: canceling statement due to lock timeout
         --> migrations/tenant/V2__notes.sql:1
          |
        1 | alter table orders add column note text
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; select * from acme.orders
    hint: run `tenantctl migrate-schemas --retries 2 --quiet --schema=acme`
    warning: the end of this run is not recorded: somebody has locked the tables in schema `tenantctl`
    [exit status: 6]
    ");
    assert_eq!(project.recorded(2).await, 1);
}

#[tokio::test]
async fn a_schema_that_stays_busy_is_reported_in_json_with_who_holds_it() {
    let project = with_orders(["acme"]).await;
    let _blocker = project.blocker("select * from acme.orders").await;
    let arguments = "migrate-schemas --tenants --retries 2 --format json --quiet";
    insta::assert_snapshot!(project.run(arguments), @r#"
    {"type":"busy","schema":"acme","message":"V2 `notes` at migrations/tenant/V2__notes.sql:1: canceling statement due to lock timeout","file":"migrations/tenant/V2__notes.sql","line":1,"held_by":[{"pid":[pid],"application_name":"blocker","client":"127.0.0.1","state":"idle in transaction","transaction_seconds":[time],"query":"begin; select * from acme.orders","prepared":null}],"left_behind":[]}
    {"type":"summary","applied":0,"up_to_date":0,"failed":0,"busy":1,"not_attempted":0,"exit_status":6,"gone":0}
    ------- stderr -------
    error: schema `acme` is busy
      caused by: V2 `notes`: canceling statement due to lock timeout
         --> migrations/tenant/V2__notes.sql:1
          |
        1 | alter table orders add column note text
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; select * from acme.orders
    hint: run `tenantctl migrate-schemas --retries 2 --format json --quiet --schema=acme`
    [exit status: 6]
    "#);
}

#[tokio::test]
async fn busy_and_failed_is_partly_done() {
    let project = with_orders(["acme", "bad", "good"]).await;
    project.sql("alter table bad.orders add column note text").await;
    let _blocker = project.blocker("select * from acme.orders").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --retries 2"), @r#"
    1 schema migrated, 1 failed, 1 busy
    ------- stderr -------
    acme: busy, will be tried again: V2 `notes` at migrations/tenant/V2__notes.sql:1: canceling statement due to lock timeout
    good: applied V2 `notes`
    error: migration V2 `notes` could not be applied to schema `bad`
      caused by: column "note" of relation "orders" already exists
         --> migrations/tenant/V2__notes.sql:1
          |
        1 | alter table orders add column note text
        SQLSTATE 42701
    error: schema `acme` is busy
      caused by: V2 `notes`: canceling statement due to lock timeout
         --> migrations/tenant/V2__notes.sql:1
          |
        1 | alter table orders add column note text
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; select * from acme.orders
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --retries 2 --schema=bad --schema=acme`
    [exit status: 4]
    "#);
}

#[tokio::test]
async fn a_reader_never_waits_behind_us_for_longer_than_the_lock_timeout() {
    let project = with_orders(["acme"]).await;
    let _blocker = project.blocker("select * from acme.orders").await;
    let reader = Reader::start(project.database());
    let output = project.run("migrate-schemas --tenants --lock-timeout 700ms --retries 4");
    let longest = reader.longest_wait();
    assert!(output.contains("[exit status: 6]"), "{output}");
    // Its own work, on a busy machine, comes on top.
    assert!(longest < Duration::from_millis(1500), "{longest:?}");
}

#[tokio::test]
async fn a_reader_never_waits_longer_where_we_wait_for_one_lock_after_another() {
    let project = with_orders(["acme"]).await;
    project.sql("create table acme.b (); create table acme.c (); create table acme.d ()").await;
    let others = ["b", "c", "d"].map(|table| format!("alter table {table} add column x int;"));
    project.tenant_migration("V2__notes.sql", &format!("{ALTER}; {}", others.concat()));
    let mut blockers = Vec::new();
    for table in ["b", "c", "d"] {
        blockers.push((table, project.blocker(&format!("select * from acme.{table}")).await));
    }
    let reader = Reader::start(project.database());
    let program =
        project.start("migrate-schemas --tenants --quiet --lock-timeout 2s --retries 100");
    for (table, blocker) in blockers {
        let waits = format!(
            "select count(*) from pg_locks where relation = 'acme.{table}'::regclass and not granted \
             and clock_timestamp() - waitstart > '1.5 s'"
        );
        let has_waited = async || project.query(&waits).await == "1";
        eventually("it has waited for nearly as long as it may", has_waited).await;
        blocker.release().await;
    }
    let output = program.ends();
    let longest = reader.longest_wait();
    assert_eq!(project.shown(&output), "1 schema migrated\n");
    assert!(longest < Duration::from_millis(2800), "{longest:?}");
}

#[tokio::test]
async fn a_file_does_not_make_others_wait_longer_than_the_flag_says() {
    let project = with_orders(["acme"]).await;
    project.tenant_migration("V2__notes.sql", &format!("set local lock_timeout = '20s'; {ALTER}"));
    let _blocker = project.blocker("select * from acme.orders").await;
    let reader = Reader::start(project.database());
    let run = "migrate-schemas --tenants --quiet --lock-timeout 300ms --retries 0";
    insta::assert_snapshot!(project.run(run), @"
    1 schema busy
    ------- stderr -------
    error: schema `acme` is busy
      caused by: V2 `notes`: waited for its locks for as long as it may
         --> migrations/tenant/V2__notes.sql:1
          |
        1 | set local lock_timeout = '20s'; alter table orders add column note text
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; select * from acme.orders
    hint: run `tenantctl migrate-schemas --quiet --lock-timeout [time] --retries 0 --schema=acme`
    [exit status: 6]
    ");
    let longest = reader.longest_wait();
    assert!(longest < Duration::from_millis(1500), "{longest:?}");
}

#[tokio::test]
async fn a_prepared_transaction_in_the_way_is_named() {
    let server = OwnServer::start(&[("max_prepared_transactions", "2")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_tenants(&["acme"]).await;
    project.tenant_migration("V1__orders.sql", "create table orders (id int)");
    project.migrate();
    project.tenant_migration("V2__notes.sql", ALTER);
    project.sql("begin; insert into acme.orders values (1); prepare transaction 'it''s'").await;
    let run = "migrate-schemas --tenants --quiet --lock-timeout 300ms --retries 2";
    insta::assert_snapshot!(project.run(run), @"
    1 schema busy
    ------- stderr -------
    error: schema `acme` is busy
      caused by: V2 `notes`: canceling statement due to lock timeout
         --> migrations/tenant/V2__notes.sql:1
          |
        1 | alter table orders add column note text
        held by prepared transaction 'it''s', which no session holds, prepared [time] ago: it stays until `commit prepared 'it''s'` or `rollback prepared 'it''s'`
    hint: run `tenantctl migrate-schemas --quiet --lock-timeout [time] --retries 2 --schema=acme`
    [exit status: 6]
    ");
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema --yes"), @"
    ------- stderr -------
    error: somebody else is at work in schema `acme`
      held by prepared transaction 'it''s', which no session holds, prepared [time] ago: it stays until `commit prepared 'it''s'` or `rollback prepared 'it''s'`
    hint: nothing was dropped by this attempt; run the same command again
    [exit status: 6]
    ");
    project.sql("rollback prepared 'it''s'").await;
    project.migrate();
}

#[tokio::test]
async fn of_a_session_that_the_role_may_not_look_at_no_untruth_is_told() {
    let project = with_orders(["acme"]).await;
    let role = format!("deploy_{:08x}", fastrand::u32(..));
    project
        .sql(&format!(
            "create role {role} login password 'x'; alter schema acme owner to {role}; \
             alter table acme.orders owner to {role}; \
             alter table acme.refinery_schema_history owner to {role}; \
             grant usage on schema public, tenantctl to {role}; \
             grant all on all tables in schema public, tenantctl to {role}; \
             grant all on all sequences in schema public, tenantctl to {role}"
        ))
        .await;
    let _blocker = project.blocker("select * from acme.orders").await;
    let (user, password) = (role.clone(), "x".to_owned());
    let deploys = ServerConnection { user, password, ..project.database().clone() };
    let mut command = project.command("migrate-schemas --tenants --quiet --retries 1");
    let output = command.env("DATABASE_URL", deploys.url()).output().unwrap();
    insta::assert_snapshot!(project.shown(&output), @"
    1 schema busy
    ------- stderr -------
    error: schema `acme` is busy
      caused by: V2 `notes`: canceling statement due to lock timeout
         --> migrations/tenant/V2__notes.sql:1
          |
        1 | alter table orders add column note text
        held by pid [pid] (blocker); this role may not see what it does: `grant pg_read_all_stats` to it shows it
    hint: run `tenantctl migrate-schemas --quiet --retries 1 --schema=acme`
    [exit status: 6]
    ");
}

/// Reads a tenant's table all the time, as an application does.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Duration>,
}

impl Reader {
    fn start(database: &ServerConnection) -> Reader {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, options) = (stop.clone(), database.options());
        let thread = thread::spawn(move || read_until(&stopped, options));
        Reader { stop, thread }
    }

    fn longest_wait(self) -> Duration {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn read_until(stopped: &AtomicBool, options: sqlx::postgres::PgConnectOptions) -> Duration {
    let mut connection = options.connect().await.unwrap();
    let mut longest = Duration::ZERO;
    while !stopped.load(Ordering::SeqCst) {
        let begun = Instant::now();
        connection.execute("select from acme.orders").await.unwrap();
        longest = longest.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    longest
}

#[tokio::test]
async fn nothing_is_locked_while_a_busy_schema_waits_for_its_next_turn() {
    let project = with_orders(["acme"]).await;
    project.sql("create table acme.other (id int)").await;
    project
        .tenant_migration("V2__notes.sql", &format!("alter table other add column x int; {ALTER}"));
    let blocker = project.blocker("select * from acme.orders").await;
    let program = project.start("migrate-schemas --tenants");
    project.somebody_waits().await;
    let locks = "select count(*) from pg_locks where relation = 'acme.other'::regclass \
        and mode = 'AccessExclusiveLock' and granted";
    eventually("it lets go in between", async || project.query(locks).await == "0").await;
    blocker.release().await;
    assert_eq!(program.ends().status.code(), Some(0));
}

#[tokio::test]
async fn a_table_that_is_being_vacuumed_is_migrated_without_a_human() {
    let server = OwnServer::start(&[("autovacuum_naptime", "1s"), ("autovacuum_max_workers", "1")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_tenants(&["acme"]).await;
    project.tenant_migration("V1__orders.sql", "create table orders (id int)");
    project.migrate();
    // At 1 ms a page this takes far longer than the test has patience.
    project
        .sql(
            "alter table acme.orders set (autovacuum_vacuum_cost_delay = 20, \
               autovacuum_vacuum_cost_limit = 20, autovacuum_vacuum_insert_threshold = -1); \
             insert into acme.orders select generate_series(1, 300000); \
             update acme.orders set id = id + 1",
        )
        .await;
    let vacuums = "select count(*) > 0 from pg_stat_progress_vacuum \
        where relid = 'acme.orders'::regclass";
    eventually("it is being vacuumed", async || project.query(vacuums).await == "t").await;
    project.tenant_migration("V2__notes.sql", ALTER);
    let shown = project.run("migrate-schemas --tenants");
    assert!(shown.starts_with("1 schema migrated\n"), "{shown}");
    assert!(shown.contains("acme: busy, will be tried again"), "{shown}");
}

#[tokio::test]
async fn no_tenant_is_started_while_the_shared_schema_is_busy() {
    let project = with_orders(["acme"]).await;
    project.shared_migration("V2__notes.sql", "alter table tenants add column note text");
    let _blocker = project.blocker("select * from public.tenants").await;
    insta::assert_snapshot!(project.run("migrate-schemas --all --retries 2"), @"
    1 schema busy, 1 not attempted
    ------- stderr -------
    public: busy, will be tried again: V2 `notes` at migrations/shared/V2__notes.sql:1: canceling statement due to lock timeout
    error: schema `public` is busy
      caused by: V2 `notes`: canceling statement due to lock timeout
         --> migrations/shared/V2__notes.sql:1
          |
        1 | alter table tenants add column note text
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; select * from public.tenants
    not attempted: acme
    error: no tenant was started, as the shared schema comes first
    hint: run `tenantctl migrate-schemas --all --retries 2` again: it does only what is left
    [exit status: 6]
    ");
    assert_eq!(project.recorded(2).await, 0);
}

#[tokio::test]
async fn races_for_one_shared_row_of_a_catalog_are_run_again() {
    let schemas: [String; 24] = std::array::from_fn(|number| format!("t{number}"));
    let project = Project::with_tenants(schemas.each_ref().map(String::as_str)).await;
    project.tenant_migration(
        "V1__grant.sql",
        "-- tenantctl: allow other-schema\n\
         create table a (id int);\n\
         grant usage on schema public to pg_monitor;\n\
         comment on schema public is 'everybody''s';\n\
         create or replace function public.one() returns int language sql as 'select 1';",
    );
    let output = project.run("migrate-schemas --tenants --jobs 8 --quiet");
    assert_eq!(output, "24 schemas migrated\n");
}

#[tokio::test]
async fn the_victim_of_a_deadlock_is_run_again() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    // Only with `one` table after the other does each wait for the other's.
    project.sql("create table public.first (id int); create table public.second (id int)").await;
    project.tenant_migration("V1__a.sql", "create table a (id int)");
    project.migrate();
    project.tenant_migration(
        "V2__lock.sql",
        "-- tenantctl: allow other-schema\n\
         select case current_schema when 'acme' then pg_advisory_xact_lock(1) \
           else pg_advisory_xact_lock(2) end;\n\
         select pg_sleep(0.3);\n\
         select case current_schema when 'acme' then pg_advisory_xact_lock(2) \
           else pg_advisory_xact_lock(1) end;\n\
         insert into a values (1);",
    );
    let output = project.run("migrate-schemas --tenants --lock-timeout 5s --jobs 2 --quiet");
    assert_eq!(output, "2 schemas migrated\n");
    let rows = "select count(*) from (table acme.a union all table globex.a) as a";
    assert_eq!(project.query(rows).await, "2");
}

#[tokio::test]
async fn a_serialization_failure_is_run_again() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create sequence public.tries").await;
    project.tenant_migration(
        "V1__once.sql",
        "-- tenantctl: allow other-schema\n\
         create table a (id int);\n\
         insert into a values (1);\n\
         do $$ begin if nextval('public.tries') < 3 then \
           raise 'could not serialize access' using errcode = '40001'; end if; end $$;",
    );
    let output = project.run("migrate-schemas --tenants --quiet");
    assert!(output.contains("1 schema migrated\n"), "{output}");
    assert_eq!(project.query("select count(*) from acme.a").await, "1");
}

#[tokio::test]
async fn the_others_come_first_with_a_single_job() {
    let schemas: [String; 50] = std::array::from_fn(|number| format!("t{number:02}"));
    let project = with_orders(schemas.each_ref().map(String::as_str)).await;
    let blocker = project.blocker("select * from t00.orders").await;
    let program = project.start("migrate-schemas --tenants --jobs 1 --verbose");
    eventually("the 49 others are done", async || project.recorded(2).await == 49).await;
    blocker.release().await;
    let output = program.ends();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(lines.last().unwrap().starts_with("t00: applied"), "{said}");
    let tries = lines.iter().filter(|it| it.starts_with("t00: busy"));
    assert!(tries.count() >= 1, "{said}");
}

#[tokio::test]
async fn a_lock_timeout_is_refused_before_anything_is_done() {
    let project = Project::empty().await;
    for wrong in ["abc", "-5s", "99999h", "0"] {
        let mut command = project.command(&format!("migrate-schemas --all --lock-timeout={wrong}"));
        let output = command.env("DATABASE_URL", "postgres://nowhere.invalid/x").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", project.shown(&output));
    }
    insta::assert_snapshot!(project.run("migrate-schemas --all --lock-timeout 0"), @"
    ------- stderr -------
    error: invalid value '0' for '--lock-timeout <TIME>': `0` is less than a millisecond; no limit is spelled `off`

    For more information, try '--help'.
    [exit status: 2]
    ");
}
