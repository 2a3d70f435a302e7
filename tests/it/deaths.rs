//! Dying and losing the connection: every schema is at its old version or at its new one, and
//! running again finishes.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::proxy::{Lose, Proxy};
use crate::support::{OwnServer, Project, eventually};

/// Returns a migration that leaves a trace at its beginning, in its middle and at its end. Without
/// a pause it is as fast as it can be.
pub(crate) fn traces(version: u32, pause: f32) -> String {
    let log = match version {
        1 => "create table log (version int);",
        _ => "",
    };
    format!(
        "{log} create table before_{version} (); insert into log values ({version}); \
         select pg_sleep({pause}); create table after_{version} ();"
    )
}

impl Project {
    /// Returns a project with tenants `t1`, `t2`, …, to which the first migration is applied.
    async fn with_traces(count: u32) -> Project {
        let project = Project::new().await;
        project.add_many_tenants(count).await;
        project.add_traces(1, 0.0);
        project.migrate();
        project
    }

    /// Registers tenants `t1`, `t2`, … and makes their schemas, which stay empty.
    pub(crate) async fn add_many_tenants(&self, count: u32) {
        let all: String = (1..=count).fold(String::new(), |mut sql, number| {
            write!(sql, "create schema t{number};").unwrap();
            sql
        });
        let rows = "insert into public.tenants (schema_name, name) select 't' || n, 't' || n";
        self.sql(&format!("{all} {rows} from generate_series(1, {count}) as n")).await;
    }

    pub(crate) fn add_traces(&self, version: u32, pause: f32) {
        self.tenant_migration(&format!("V{version}__traces.sql"), &traces(version, pause));
    }

    /// Returns how many schemas are at which version, after making sure that none is in between:
    /// `V1: 2, V2: 1`.
    pub(crate) async fn versions(&self) -> String {
        let schemas = self
            .query(
                "select quote_ident(nspname) from pg_namespace n \
                 where to_regclass(quote_ident(nspname) || '.refinery_schema_history') is not null \
                   and nspname <> 'public' order by 1",
            )
            .await;
        let states: Vec<String> = schemas.lines().map(state).collect();
        if states.is_empty() {
            return String::new();
        }
        let states = states.join(" union all ");
        let torn = format!(
            "select * from ({states}) as s (schema, history, log, before, after) \
             where array[log, before, after] <> array[history, history, history]"
        );
        assert_eq!(self.query(&torn).await, "", "torn schemas");
        let versions = format!(
            "select string_agg('V' || n || ': ' || count, ', ' order by n) from \
             (select cardinality(string_to_array(history, ',')) as n, count(*) from ({states}) \
                as s (schema, history, log, before, after) group by 1) as v"
        );
        self.query(&versions).await
    }

    /// Waits until no connection of the program is left: the server takes a moment to notice that
    /// one was closed.
    pub(crate) async fn nobody_is_connected(&self) {
        let connections = "select count(*) from pg_stat_activity \
            where datname = current_database() and application_name like 'tenantctl%'";
        eventually("nobody is connected", async || self.query(connections).await == "0").await;
    }

    /// Waits until so many migrations are in their pause.
    pub(crate) async fn pausing(&self, count: usize) {
        let sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' \
            and datname = current_database()";
        eventually("migrations are under way", async || {
            self.query(sleeping).await == count.to_string()
        })
        .await;
    }
}

/// Returns a query for what a schema's history, log and tables say was applied.
fn state(schema: &str) -> String {
    let versions = "coalesce(string_agg(version::text, ',' order by version), '')";
    let tables = |prefix: &str| {
        format!(
            "(select coalesce(string_agg(v::text, ',' order by v), '') from \
             (select substr(relname, length('{prefix}') + 1)::int as v from pg_class \
              where relnamespace = '{schema}'::regnamespace and relname like '{prefix}%') as t)"
        )
    };
    format!(
        "select '{schema}', (select {versions} from {schema}.refinery_schema_history), \
         (select {versions} from {schema}.log), {}, {}",
        tables("before\\_").replace("\\_')", "_')"),
        tables("after\\_").replace("\\_')", "_')")
    )
}

#[tokio::test]
async fn killed_at_any_moment_every_schema_is_whole() {
    let project = Project::with_traces(4).await;
    let mut killed = 0;
    for version in 2..12 {
        project.add_traces(version, 0.02);
        let program = project.start("migrate-schemas --all --jobs 2");
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..250))).await;
        killed += usize::from(program.kill());
        project.versions().await;
    }
    assert!(killed > 0, "the program was always faster");
    project.migrate_when_free().await;
    assert_eq!(project.versions().await, "V11: 4");
}

impl Project {
    /// Applies what is pending; what a killed run left on the server may be in the way for as long
    /// as the server takes to notice.
    async fn migrate_when_free(&self) {
        eventually("the run finishes", async || {
            let output = self.command("migrate-schemas --all").output().unwrap();
            let status = output.status.code();
            assert!(matches!(status, Some(0 | 6)), "{}", self.shown(&output));
            status == Some(0)
        })
        .await;
    }
}

#[tokio::test]
async fn killed_while_it_creates_a_tenant_there_is_all_of_it_or_nothing() {
    let project = Project::new().await;
    project.add_traces(1, 0.05);
    project.add_traces(2, 0.05);
    let create = "create-tenant --schema acme --domain acme.example.com --no-input";
    for _ in 0..10 {
        let program = project.start(create);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(10..250))).await;
        program.kill();
        project.nobody_is_connected().await;
        let there = project
            .query(
                "select count(*), (select count(*) from public.tenants), \
                 (select count(*) from public.domains) from pg_namespace where nspname = 'acme'",
            )
            .await;
        assert!(["0|0|0", "1|1|1"].contains(&there.as_str()), "{there}");
        if there == "1|1|1" {
            assert_eq!(project.versions().await, "V2: 1");
            project.sql("drop schema acme cascade; truncate tenants, domains").await;
        }
    }
    assert_eq!(
        project.run(create),
        "created tenant `acme` at acme.example.com\n------- stderr -------\nacme: created with V1 `traces`, V2 `traces`\n"
    );
}

#[tokio::test]
async fn terminated_backends_are_replaced_and_the_run_goes_on() {
    let project = Project::with_traces(6).await;
    project.add_traces(2, 0.4);
    let program = project.start("migrate-schemas --all --jobs 3 --quiet");
    project.pausing(3).await;
    project
        .sql(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and application_name like 'tenantctl%'",
        )
        .await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    6 schemas migrated, 1 up to date
    ------- stderr -------
    warning: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: terminating connection due to administrator command; connecting again
    ");
    assert_eq!(project.versions().await, "V2: 6");
}

#[tokio::test]
async fn a_network_cut_at_any_message_leaves_every_schema_whole() {
    let project = Project::with_traces(1).await;
    let mut version = 1;
    loop {
        let proxy = Proxy::start(project.database(), Lose::Nth(version as usize - 1));
        version += 1;
        project.add_traces(version, 0.0);
        let mut command = project.command("migrate-schemas --tenants --jobs 1");
        let output = command.env("DATABASE_URL", proxy.url()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{version}: {}", project.shown(&output));
        assert_eq!(project.versions().await, format!("V{version}: 1"));
        if !proxy.has_lost() {
            break;
        }
    }
    assert!(version > 30, "the proxy saw no more than {version} messages");
}

#[tokio::test]
async fn a_network_cut_among_many_small_transactions_leaves_every_schema_whole() {
    let project = Project::new().await;
    project.add_many_tenants(9).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    project.migrate();
    let mut version = 1;
    loop {
        let proxy = Proxy::start(project.database(), Lose::Nth(version - 1));
        version += 1;
        let add = format!("alter table notes add column v{version} int");
        project.tenant_migration(&format!("V{version}__more.sql"), &add);
        let mut command = project.command("migrate-schemas --tenants --jobs 1");
        let output = command.env("DATABASE_URL", proxy.url()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{version}: {}", project.shown(&output));
        let state = |tenant| {
            format!(
                "select (select count(*) from t{tenant}.refinery_schema_history) || ' recorded, ' \
                   || count(*) || ' added' from pg_attribute \
                 where attrelid = 't{tenant}.notes'::regclass and attname like 'v%'"
            )
        };
        let states: Vec<String> = (1..=9).map(state).collect();
        let states = project.query(&states.join(" union ")).await;
        assert_eq!(states, format!("{version} recorded, {} added", version - 1));
        if !proxy.has_lost() {
            break;
        }
    }
    assert!(version > 30, "the proxy saw no more than {version} messages");
}

#[tokio::test]
async fn a_network_cut_while_a_tenant_is_created_leaves_all_of_it_or_nothing() {
    let project = Project::new().await;
    project.add_traces(1, 0.0);
    for lost in (0..).step_by(3) {
        let proxy = Proxy::start(project.database(), Lose::Nth(lost));
        let create =
            format!("create-tenant --schema t{lost} --domain t{lost}.localhost --no-input");
        let mut command = project.command(&create);
        let output = command.env("DATABASE_URL", proxy.url()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{lost}: {}", project.shown(&output));
        let tenants = (lost / 3 + 1).to_string();
        assert_eq!(project.versions().await, format!("V1: {tenants}"));
        assert_eq!(project.query("select count(*) from domains").await, tenants);
        if !proxy.has_lost() {
            break;
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_looked_up() {
    let project = Project::with_traces(1).await;
    project.add_traces(2, 0.0);
    let proxy = Proxy::start(project.database(), Lose::Committed);
    let mut command = project.command("migrate-schemas --tenants");
    let output = command.env("DATABASE_URL", proxy.url()).output().unwrap();
    assert!(proxy.has_lost());
    insta::assert_snapshot!(project.shown(&output).replace(&proxy.port(), "[port]"), @"
    1 schema migrated
    ------- stderr -------
    warning: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: the server closed the connection; connecting again
    t1: applied V2 `traces`
    ");
    assert_eq!(project.versions().await, "V2: 1");
}

#[tokio::test]
async fn a_tenant_whose_commit_lost_its_answer_is_created_once() {
    let project = Project::new().await;
    project.add_traces(1, 0.0);
    let proxy = Proxy::start(project.database(), Lose::Committed);
    let mut command =
        project.command("create-tenant --schema acme --domain acme.localhost --no-input");
    let output = command.env("DATABASE_URL", proxy.url()).output().unwrap();
    assert!(proxy.has_lost());
    insta::assert_snapshot!(project.shown(&output).replace(&proxy.port(), "[port]"), @"
    created tenant `acme` at acme.localhost
    ------- stderr -------
    warning: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: the server closed the connection; connecting again
    acme: created with V1 `traces`
    ");
    let rows = "select (select count(*) from tenants), (select count(*) from domains)";
    assert_eq!(project.query(rows).await, "1|1");
    assert_eq!(project.versions().await, "V1: 1");
}

#[tokio::test]
async fn a_restarted_server_is_waited_for() {
    let server = OwnServer::start(&[]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(200).await;
    project.add_traces(1, 0.01);
    let program = project.start("migrate-schemas --all");
    let done = "select count(*) > 20 from pg_class where relname = 'after_1'";
    eventually("some are done", async || project.query(done).await == "t").await;
    server.crash();
    server.start_again();
    let output = program.ends();
    assert_eq!(output.status.code(), Some(0), "{}", project.shown(&output));
    assert_eq!(project.versions().await, "V1: 200");
}

#[tokio::test]
async fn what_a_crash_has_lost_is_done_again_and_told_of_once() {
    // Only a commit that waits for the disk writes to it.
    let server = OwnServer::start(&[("wal_writer_delay", "2s"), ("wal_writer_flush_after", "1GB")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(400).await;
    project.add_traces(1, 0.0);
    let program = project.start("migrate-schemas --tenants --verbose --jobs 2");
    let done = "select count(*) > 60 from pg_class where relname = 'after_1'";
    eventually("some are done", async || project.query(done).await == "t").await;
    server.crash();
    server.start_again();
    let output = program.ends();
    let shown = project.shown(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.starts_with("400 schemas migrated"), "{shown}");
    assert_eq!(project.versions().await, "V1: 400");
    for number in 1..=400 {
        let line = format!("\nt{number}: applied V1 ");
        assert_eq!(shown.matches(&line).count(), 1, "t{number}: {shown}");
    }
    let entries = "select count(*), count(distinct schema_name) from tenantctl.run_entries \
        where run = (select max(id) from tenantctl.runs)";
    assert_eq!(project.query(entries).await, "400|400");
}

#[tokio::test]
async fn what_no_crash_can_have_lost_is_not_looked_up() {
    let server = OwnServer::start(&[("log_statement", "all")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(40).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    project.run("migrate-schemas --tenants --quiet");
    let log = server.data().with_file_name("log");
    let looks = || fs::read_to_string(&log).unwrap().matches("as w(name, position)").count();
    for version in 2..=4 {
        let (file, before) = (format!("V{version}__more.sql"), looks());
        project.tenant_migration(&file, &format!("alter table notes add column c{version} int"));
        insta::allow_duplicates! {
            insta::assert_snapshot!(project.run("migrate-schemas --tenants --quiet --jobs 4"), @"40 schemas migrated");
        }
        assert_eq!(looks() - before, 1);
    }
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up() {
    let server = OwnServer::start(&[]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(4).await;
    project.add_traces(1, 1.0);
    let program = project.start("migrate-schemas --all --jobs 1 --reconnect-for 2s");
    project.pausing(1).await;
    server.crash();
    let begun = Instant::now();
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    1 schema up to date, 1 failed, 3 not attempted
    ------- stderr -------
    warning: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: the server closed the connection; connecting again
    error: schema `t1` could not be migrated
      caused by: the connection was lost while it was being migrated; whether that was done is not known
    error: could not connect to database `[database]` at 127.0.0.1:[port] as user `postgres`: nothing listens there (connection refused)
    hint: check that the server runs and that host and port are right
    not attempted: t2, t3, t4
    hint: run `tenantctl migrate-schemas --jobs 1 --reconnect-for [time] --schema=t1 --schema=t2 --schema=t3 --schema=t4`
    [exit status: 5]
    ");
    assert!(begun.elapsed() < Duration::from_secs(10));
    server.start_again();
    project.migrate();
    assert_eq!(project.versions().await, "V1: 4");
}

#[tokio::test]
async fn a_person_need_not_wait_for_a_server_that_stays_away() {
    let server = OwnServer::start(&[]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(2).await;
    project.add_traces(1, 1.0);
    let program = project.start("migrate-schemas --all --jobs 1");
    project.pausing(1).await;
    server.crash();
    let begun = Instant::now();
    program.signal(Signal::INT);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    1 schema up to date, 1 failed, 1 not attempted
    ------- stderr -------
    warning: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: the server closed the connection; connecting again
    stopping; interrupt again to cancel what is under way
    error: schema `t1` could not be migrated
      caused by: the connection was lost while it was being migrated; whether that was done is not known
    error: interrupted
    not attempted: t2
    hint: run `tenantctl migrate-schemas --jobs 1 --schema=t1 --schema=t2`
    [exit status: 130]
    ");
    assert!(begun.elapsed() < Duration::from_secs(5));
    server.start_again();
}

#[tokio::test]
async fn a_cancelled_statement_fails_its_schema_alone() {
    let project = Project::with_traces(3).await;
    project.add_traces(2, 0.5);
    let program = project.start("migrate-schemas --tenants --jobs 1");
    project.pausing(1).await;
    project
        .sql(
            "select pg_cancel_backend(pid) from pg_stat_activity \
             where datname = current_database() and wait_event = 'PgSleep'",
        )
        .await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    2 schemas migrated, 1 failed
    ------- stderr -------
    t2: applied V2 `traces`
    t3: applied V2 `traces`
    error: migration V2 `traces` could not be applied to schema `t1`
      caused by: the statement was cancelled by somebody on the server: canceling statement due to user request
         --> migrations/tenant/V2__traces.sql:1
          |
        1 |  create table before_2 (); insert into log values (2); select pg_sleep(0.5); create table after_2 ()…
        SQLSTATE 57014
    hint: run `tenantctl migrate-schemas --jobs 1 --schema=t1`
    [exit status: 4]
    ");
    assert_eq!(project.versions().await, "V1: 1, V2: 2");
}

#[tokio::test]
async fn a_timeout_that_a_file_sets_for_itself_is_called_that() {
    let project = Project::new().await;
    project.add_many_tenants(1).await;
    project.tenant_migration(
        "V1__slow.sql",
        "set local statement_timeout = '100ms'; select pg_sleep(10)",
    );
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    1 schema failed
    ------- stderr -------
    error: migration V1 `slow` could not be applied to schema `t1`
      caused by: canceling statement due to statement timeout
         --> migrations/tenant/V1__slow.sql:1
          |
        1 | set local statement_timeout = '[time]'; select pg_sleep(10)
        SQLSTATE 57014
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=t1`
    [exit status: 1]
    ");
}

#[tokio::test]
async fn a_statement_that_runs_too_long_fails_its_schema() {
    let project = Project::with_traces(1).await;
    project.add_traces(2, 5.0);
    let arguments = "migrate-schemas --tenants --statement-timeout 300ms";
    insta::assert_snapshot!(project.run(arguments), @"
    1 schema failed
    ------- stderr -------
    error: migration V2 `traces` could not be applied to schema `t1`
      caused by: the statement ran longer than the statement timeout
         --> migrations/tenant/V2__traces.sql:1
          |
        1 |  create table before_2 (); insert into log values (2); select pg_sleep(5); create table after_2 ();
        SQLSTATE 57014
        give it longer with `--statement-timeout`, or `off`
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --statement-timeout [time] --schema=t1`
    [exit status: 1]
    ");
    assert_eq!(project.versions().await, "V1: 1");
}

#[tokio::test]
async fn a_full_disk_stops_the_run() {
    let project = Project::with_traces(3).await;
    project.tenant_migration(
        "V2__full.sql",
        "do $$ begin raise 'could not extend file: No space left on device' \
         using errcode = '53100', hint = 'Check free disk space.'; end $$",
    );
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    1 schema failed, 2 not attempted
    ------- stderr -------
    error: migration V2 `full` could not be applied to schema `t1`
      caused by: could not extend file: No space left on device
         --> migrations/tenant/V2__full.sql:1
          |
        1 | do $$ begin raise 'could not extend file: No space left on device' using errcode = '53100', hint = '…
        server's hint: Check free disk space.
        context: PL/pgSQL function inline_code_block line 1 at RAISE
        SQLSTATE 53100
    error: stopped early: the server has run out of something the others need too
    not attempted: t2, t3
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --schema=t1 --schema=t2 --schema=t3`
    [exit status: 1]
    ");
    assert_eq!(project.versions().await, "V1: 3");
}

#[tokio::test]
async fn a_full_lock_table_stops_the_run() {
    let server =
        OwnServer::start(&[("max_connections", "10"), ("max_locks_per_transaction", "10")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(3).await;
    let tables: String = (0..3000).map(|n| format!("create table x{n} ();\n")).collect();
    project.tenant_migration("V1__many.sql", &tables);
    // How far it gets depends on what the server does besides.
    let far = regex::Regex::new(r"\bx?[0-9]{3}\b").unwrap();
    let shown = project.run("migrate-schemas --tenants --jobs 1");
    insta::assert_snapshot!(far.replace_all(&shown, "[far]"), @"
    1 schema failed, 2 not attempted
    ------- stderr -------
    warning: the largest plan changes 3000 objects, for which one schema may take about 9000 locks; the server is set up for [far] and has room for perhaps 2 times as many (`max_locks_per_transaction` is 10): use smaller files, or a setting of [far]
    error: migration V1 `many` could not be applied to schema `t1`
      caused by: out of shared memory
           --> migrations/tenant/V1__many.sql:[far]
            |
        [far] | create table [far] ();
        server's hint: You might need to increase max_locks_per_transaction.
        SQLSTATE 53200
    error: stopped early: the server has run out of something the others need too
    not attempted: t2, t3
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --schema=t1 --schema=t2 --schema=t3`
    [exit status: 1]
    ");
    let tables = "select count(*) from pg_class where relname like 'x%' and relkind = 'r'";
    assert_eq!(project.query(tables).await, "0");
}

#[tokio::test]
async fn a_closed_stdout_neither_stops_the_work_nor_changes_the_status() {
    let project = Project::with_traces(5).await;
    project.add_traces(2, 0.0);
    let mut command = project.command("migrate-schemas --all --format json");
    let mut program = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(program.stdout.take());
    drop(program.stderr.take());
    assert_eq!(program.wait().unwrap().code(), Some(0));
    assert_eq!(project.versions().await, "V2: 5");
}

#[tokio::test]
async fn no_answer_is_an_answer_after_the_connect_timeout() {
    let project = Project::empty().await;
    project.write("migrations/shared/V1__a.sql", "select 1");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut command = project.command("migrate-schemas --shared --connect-timeout 300ms");
    command.env("DATABASE_URL", format!("postgres://ann:secret@127.0.0.1:{port}/shop"));
    let said = project.shown(&command.output().unwrap()).replace(&port.to_string(), "[port]");
    insta::assert_snapshot!(said, @"
    ------- stderr -------
    error: could not connect to database `shop` at 127.0.0.1:[port] as user `ann`: no answer within [time]
    hint: check that the server runs and that host and port are right
    [exit status: 5]
    ");
}

#[tokio::test]
async fn fewer_connections_than_jobs_are_enough() {
    let server = OwnServer::start(&[("max_connections", "12")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(40).await;
    project.add_traces(1, 0.02);
    let program = project.start("migrate-schemas --tenants --jobs 64");
    let mut most = 0;
    let count = "select count(*) from pg_stat_activity where backend_type = 'client backend'";
    eventually("all are done", async || {
        most = most.max(project.query(count).await.parse().unwrap());
        project.versions().await == "V1: 40"
    })
    .await;
    let output = program.ends();
    assert_eq!(output.status.code(), Some(0), "{}", project.shown(&output));
    // Three are kept for superusers, and the application wants to connect as well.
    assert!(most < 9, "{most} connections");
}

#[tokio::test]
async fn the_last_connection_is_enough() {
    let server = OwnServer::start(&[("max_connections", "12")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(10).await;
    project.add_traces(1, 0.02);
    let mut taken = Vec::new();
    for _ in 0..9 {
        taken.push(project.blocker("select 1").await);
    }
    let output = project.command("migrate-schemas --tenants --jobs 8").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", project.shown(&output));
    assert_eq!(project.versions().await, "V1: 10");
}

#[tokio::test]
async fn a_standby_is_refused_before_anything_is_tried() {
    let server = OwnServer::start(&[]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(2).await;
    project.add_traces(1, 0.0);
    server.crash();
    server.make_standby();
    server.start_again();
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"
    ------- stderr -------
    error: database `[database]` at 127.0.0.1:[port] as user `postgres` is read-only: it is a standby
    hint: use the primary server's address
    [exit status: 5]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema acme --no-input"), @"
    ------- stderr -------
    error: database `[database]` at 127.0.0.1:[port] as user `postgres` is read-only: it is a standby
    hint: use the primary server's address
    [exit status: 5]
    ");
    insta::assert_snapshot!(project.run("clone-tenant t1 t3 --domain t3.test"), @"
    ------- stderr -------
    error: database `[database]` at 127.0.0.1:[port] as user `postgres` is read-only: it is a standby
    hint: use the primary server's address
    [exit status: 5]
    ");
    server.crash();
    server.make_primary();
    server.start_again();
}

#[tokio::test]
async fn the_settings_of_role_and_database_change_nothing() {
    let project = Project::with_traces(2).await;
    for setting in [
        "statement_timeout = '300ms'",
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_read_only = on",
        "default_transaction_deferrable = on",
        "search_path = t2, public",
        "idle_in_transaction_session_timeout = '200ms'",
        "lock_timeout = 0",
        "row_security = off",
        "client_min_messages = debug1",
        "standard_conforming_strings = off",
        "datestyle = 'German'",
    ] {
        let database = &project.database().database;
        project.sql(&format!("alter database {database} set {setting}")).await;
    }
    project.add_traces(2, 0.6);
    for arguments in [
        "migrate-schemas --all --one-by-one",
        "create-tenant --schema acme --domain acme.localhost --no-input",
        "status --check",
    ] {
        let output = project.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", project.shown(&output));
    }
    assert_eq!(project.versions().await, "V2: 3");
}

#[tokio::test]
async fn an_idle_session_timeout_does_not_use_up_the_tries() {
    let project = Project::with_traces(1).await;
    let database = &project.database().database;
    project.sql(&format!("alter database {database} set idle_session_timeout = '100ms'")).await;
    project.tenant_migration("V2__log.sql", "alter table log add column x int");
    let _blocker = project.blocker("set idle_session_timeout = 0; select from t1.log").await;
    let output = project.run("migrate-schemas --tenants --retries 8 --lock-timeout 50ms");
    assert!(output.contains("schema `t1` is busy"), "{output}");
    assert!(!output.contains("connecting again"), "{output}");
}

#[tokio::test]
async fn the_budget_ends_a_run_in_which_everything_fails() {
    let project = Project::with_traces(20).await;
    project.tenant_migration("V2__bad.sql", "alter table log add column version int");
    let budget = "migrate-schemas --tenants --jobs 1 --max-failures 3";
    insta::assert_snapshot!(project.run(budget), @r#"
    3 schemas failed, 17 not attempted
    ------- stderr -------
    error: migration V2 `bad` could not be applied to 3 schemas: t1, t10, t11
      caused by: column "version" of relation "log" already exists
         --> migrations/tenant/V2__bad.sql:1
          |
        1 | alter table log add column version int
        SQLSTATE 42701
    error: stopped early, after 3 failures, as `--max-failures` says
    not attempted: t12, t13, t14, t15, t16 and 12 more
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --tenants --jobs 1 --max-failures 3` again: it does only what is left
    [exit status: 1]
    "#);
    let output =
        project.run("migrate-schemas --tenants --jobs 1 --max-failures 10% --format json --quiet");
    let count = |what: &str| output.lines().filter(|it| it.starts_with(what)).count();
    let lines = [r#"{"type":"failed""#, r#"{"type":"not_attempted""#];
    assert_eq!(lines.map(count), [2, 18], "{output}");
    let fast = project.run("migrate-schemas --tenants --jobs 1 --fail-fast");
    assert!(fast.starts_with("1 schema failed, 19 not attempted"), "{fast}");
    assert_eq!(project.versions().await, "V1: 20");
}

#[tokio::test]
async fn ten_thousand_failures_are_as_many_short_records() {
    let project = Project::new().await;
    project.tenant_migration("V1__a.sql", "create table a (id int)");
    project
        .sql(
            "insert into tenants (schema_name, name) \
             select 'gone' || n, 'gone' from generate_series(1, 10000) as n",
        )
        .await;
    let arguments = "migrate-schemas --tenants --max-failures 100%";
    insta::assert_snapshot!(project.run(arguments), @"
    10,000 schemas failed
    ------- stderr -------
    error: 10,000 schemas: gone1, gone10, gone100, gone1000, gone10000 and 9,995 more could not be migrated
      caused by: there is no such schema
        unless it has just been deleted or renamed, the registry still has a row for it: make the schema anew with `create schema` in psql, or remove the row there
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --tenants --max-failures 100%` again: it does only what is left
    [exit status: 1]
    ");
    let output = project.command(&format!("{arguments} --format json --quiet")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let failed = said.lines().filter(|it| it.starts_with(r#"{"type":"failed""#));
    assert_eq!(failed.count(), 10_000);
    assert!(said.lines().all(|it| it.len() < 300), "{}", &said[..1000]);
}

#[tokio::test]
async fn failures_of_many_kinds_are_shown_to_the_fifth() {
    let project = Project::new().await;
    project.add_many_tenants(130).await;
    // What differs by the schema's name alone would be one kind.
    let each = "do $$ begin raise 'this is %', hashtext(current_schema); end $$";
    project.tenant_migration("V1__a.sql", each);
    let arguments = "migrate-schemas --tenants --max-failures 100% --jobs 1";
    let shown = project.run(arguments);
    let explained = shown.lines().filter(|it| it.starts_with("error: migration"));
    assert_eq!(explained.count(), 5, "{shown}");
    assert!(
        shown.contains("and 125 more failures of other kinds; `--verbose` shows them all"),
        "{shown}"
    );
    let shown = project.run(&format!("{arguments} --verbose"));
    let places = shown.lines().filter(|it| it.trim_start().starts_with("--> migrations/tenant"));
    assert_eq!(places.count(), 130, "{shown}");
}

#[tokio::test]
async fn many_schemas_of_many_tables_fit_the_default_lock_table() {
    let server = OwnServer::start(&[("max_connections", "20")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(300).await;
    let tables: String =
        (0..10).map(|n| format!("create table x{n} (id int primary key);")).collect();
    project.tenant_migration("V1__tables.sql", &tables);
    for arguments in ["migrate-schemas --all", "status --check", "list-tenants"] {
        let output = project.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", project.shown(&output));
    }
}

#[tokio::test]
async fn what_will_be_in_the_way_is_said_before_the_first_schema() {
    let server = OwnServer::start(&[("max_connections", "12")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(2).await;
    project.add_traces(1, 0.0);
    let _dump = project.blocker("set application_name = 'pg_dump'").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 20 --quiet"), @"
    2 schemas migrated
    ------- stderr -------
    warning: a pg_dump has been running for [time] (pid [pid]): what it dumps is busy until it ends
    warning: the server has 6 free connections: working on 4 at once instead of 20
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 20 --quiet"), @"2 schemas up to date");
}
