//! Files that run in no transaction: recorded when all of it succeeded, and run again without
//! harm where that can be.

use crate::support::{Project, eventually};

const HEADER: &str = "-- tenantctl: no-transaction\n";

impl Project {
    async fn with_orders() -> Project {
        let project = Project::with_tenants(["acme"]).await;
        project.tenant_migration("V1__orders.sql", "create table orders (id int, note text)");
        project.migrate();
        project
    }

    fn alone(&self, sql: &str) {
        self.tenant_migration("V2__alone.sql", &format!("{HEADER}{sql}"));
    }

    /// Returns the indexes of the table, and whether each is valid.
    async fn indexes(&self) -> String {
        self.query(
            "select indexrelid::regclass, indisvalid from pg_index \
             where indrelid = 'acme.orders'::regclass order by 1",
        )
        .await
    }
}

#[tokio::test]
async fn a_unique_index_that_meets_duplicates_is_built_again_once_they_are_gone() {
    let project = Project::with_orders().await;
    project.sql("insert into acme.orders values (1), (1)").await;
    for sql in ["", "if not exists "] {
        project.alone(&format!("create unique index concurrently {sql}orders_id on orders (id);"));
        let said = project.run("migrate-schemas --tenants");
        assert!(said.contains("the invalid index `orders_id`"), "{said}");
        assert_eq!(project.indexes().await, "acme.orders_id|f");
        assert_eq!(project.recorded(2).await, 0);
    }
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @r#"
    1 schema failed
    ------- stderr -------
    error: migration V2 `alone` could not be applied to schema `acme`
      caused by: could not create unique index "orders_id"
         --> migrations/tenant/V2__alone.sql:2
          |
        2 | create unique index concurrently if not exists orders_id on orders (id);
        detail: Key (id)=(1) is duplicated.
        SQLSTATE 23505
        left behind: the invalid index `orders_id`; the next run removes it and builds it again
        the next run begins the file anew, and keeps the concurrent indexes that are there
    hint: mend what failed and run `tenantctl migrate-schemas --schema=acme`
    [exit status: 1]
    "#);
    project.sql("truncate acme.orders").await;
    project.migrate();
    assert_eq!(project.indexes().await, "acme.orders_id|t");
    assert_eq!(project.recorded(2).await, 1);
}

#[tokio::test]
async fn an_index_that_was_finished_after_its_client_died_is_kept() {
    let project = Project::with_orders().await;
    project.sql("create index orders_id on acme.orders (id)").await;
    let before = project.query("select 'acme.orders_id'::regclass::oid").await;
    project.alone("create index concurrently orders_id on orders (id);");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V2 `alone`
    ");
    let after = project.query("select 'acme.orders_id'::regclass::oid").await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn killed_while_it_builds_an_index_the_next_run_finishes() {
    let project = Project::with_orders().await;
    project.alone("create index concurrently orders_id on orders (id);");
    let blocker = project.blocker("insert into acme.orders values (1)").await;
    let program = project.start("migrate-schemas --tenants");
    eventually("the index is begun", async || project.indexes().await == "acme.orders_id|f").await;
    program.kill();
    blocker.release().await;
    project.nobody_is_connected().await;
    project.migrate();
    assert_eq!(project.indexes().await, "acme.orders_id|t");
}

#[tokio::test]
async fn the_statement_that_failed_and_those_that_took_effect_are_named() {
    let project = Project::with_orders().await;
    project.alone(
        "create index concurrently orders_id on orders (id);\n\
         alter table orders add column missing no_such_type;\n\
         create index concurrently orders_note on orders (note);",
    );
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @r#"
    1 schema failed
    ------- stderr -------
    error: migration V2 `alone` could not be applied to schema `acme`
      caused by: type "no_such_type" does not exist
         --> migrations/tenant/V2__alone.sql:3:39
          |
        3 | alter table orders add column missing no_such_type;
          |                                       ^
        SQLSTATE 42704
        left behind: `CREATE INDEX` in line 2 took effect
        the next run begins the file anew, and keeps the concurrent indexes that are there
    hint: mend what failed and run `tenantctl migrate-schemas --schema=acme`
    [exit status: 1]
    "#);
    let before = project.query("select 'acme.orders_id'::regclass::oid").await;
    project.alone(
        "create index concurrently orders_id on orders (id);\n\
         alter table orders add column missing int;\n\
         create index concurrently orders_note on orders (note);",
    );
    project.migrate();
    assert_eq!(project.indexes().await, "acme.orders_id|t\nacme.orders_note|t");
    let after = project.query("select 'acme.orders_id'::regclass::oid").await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn an_old_transaction_elsewhere_is_waited_for() {
    let project = Project::with_orders().await;
    project.alone("create index concurrently orders_id on orders (id);");
    let blocker = project.blocker("insert into acme.orders values (1)").await;
    let program = project.start("migrate-schemas --tenants --lock-timeout 200ms");
    let waits = "select count(*) > 0 from pg_stat_activity where datname = current_database() \
        and wait_event_type = 'Lock' and clock_timestamp() - query_start > interval '1 s'";
    eventually("it waits for longer than for other locks", async || {
        project.query(waits).await == "t"
    })
    .await;
    blocker.release().await;
    assert_eq!(program.ends().status.code(), Some(0));
    assert_eq!(project.indexes().await, "acme.orders_id|t");
}

#[tokio::test]
async fn what_is_left_behind_by_who_gives_up_waiting_is_named() {
    let project = Project::with_orders().await;
    project.alone("create unique index concurrently orders_id on orders (id);");
    let blocker = project.blocker("insert into acme.orders values (1)").await;
    for retries in [0, 1] {
        let run =
            format!("migrate-schemas --tenants --quiet --lock-timeout 50ms --retries {retries}");
        let said = project.run(&run).replace(&format!("--retries {retries}"), "--retries [n]");
        insta::allow_duplicates! {
            insta::assert_snapshot!(said, @"
            1 schema busy
            ------- stderr -------
            error: schema `acme` is busy
              caused by: V2 `alone`: canceling statement due to lock timeout
                 --> migrations/tenant/V2__alone.sql:2
                  |
                2 | create unique index concurrently orders_id on orders (id);
                held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; insert into acme.orders values (1)
                left behind: the invalid index `orders_id`; the next run removes it and builds it again
                the next run begins the file anew, and keeps the concurrent indexes that are there
            hint: run `tenantctl migrate-schemas --quiet --lock-timeout [time] --retries [n] --schema=acme`
            [exit status: 6]
            ");
        }
        assert_eq!(project.indexes().await, "acme.orders_id|f");
    }
    blocker.release().await;
    project.migrate();
    assert_eq!(project.indexes().await, "acme.orders_id|t");
}

#[tokio::test]
async fn an_ordinary_statement_waits_no_longer_than_in_a_transaction() {
    let project = Project::with_orders().await;
    project.alone("alter table orders add column x int;");
    let _blocker = project.blocker("select from acme.orders").await;
    let begun = std::time::Instant::now();
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --lock-timeout 300ms --retries 2"), @"
    1 schema busy
    ------- stderr -------
    acme: busy, will be tried again: V2 `alone` at migrations/tenant/V2__alone.sql:2: canceling statement due to lock timeout
    error: schema `acme` is busy
      caused by: V2 `alone`: canceling statement due to lock timeout
         --> migrations/tenant/V2__alone.sql:2
          |
        2 | alter table orders add column x int;
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; select from acme.orders
    hint: run `tenantctl migrate-schemas --lock-timeout [time] --retries 2 --schema=acme`
    [exit status: 6]
    ");
    assert!(begun.elapsed().as_secs() < 6, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_took_effect_is_not_run_again_by_itself() {
    let project = Project::with_orders().await;
    project.alone("insert into orders values (1);\nalter table orders add column x int;");
    let _blocker = project.blocker("select from acme.orders").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --lock-timeout 300ms"), @"
    1 schema failed
    ------- stderr -------
    error: migration V2 `alone` could not be applied to schema `acme`
      caused by: canceling statement due to lock timeout
         --> migrations/tenant/V2__alone.sql:3
          |
        3 | alter table orders add column x int;
        SQLSTATE 55P03
        left behind: `INSERT` in line 2 took effect
        the next run begins the file anew, and keeps the concurrent indexes that are there
    hint: mend what failed and run `tenantctl migrate-schemas --lock-timeout [time] --schema=acme`
    [exit status: 1]
    ");
    assert_eq!(project.query("select count(*) from acme.orders").await, "1");
}

#[tokio::test]
async fn what_may_have_taken_effect_is_not_run_again_by_itself() {
    let project = Project::with_orders().await;
    project.alone("insert into orders values (1);\nselect pg_sleep(60);");
    let program = project.start("migrate-schemas --tenants");
    project.pausing(1).await;
    project
        .sql(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and wait_event = 'PgSleep'",
        )
        .await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    1 schema failed
    ------- stderr -------
    warning: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: terminating connection due to administrator command; connecting again
    error: migration V2 `alone` could not be applied to schema `acme`
      caused by: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: terminating connection due to administrator command
         --> migrations/tenant/V2__alone.sql:3
          |
        3 | select pg_sleep(60);
        left behind: `INSERT` in line 2 took effect
        left behind: `SELECT` in line 3 may have taken effect
        the next run begins the file anew, and keeps the concurrent indexes that are there
    hint: mend what failed and run `tenantctl migrate-schemas --schema=acme`
    [exit status: 1]
    ");
    assert_eq!(project.query("select count(*) from acme.orders").await, "1");
}

#[tokio::test]
async fn a_lost_connection_while_an_index_is_built_is_no_failure() {
    let project = Project::with_orders().await;
    project.alone("create index concurrently orders_id on orders (id);");
    let blocker = project.blocker("insert into acme.orders values (1)").await;
    let program = project.start("migrate-schemas --tenants");
    eventually("the index is begun", async || project.indexes().await == "acme.orders_id|f").await;
    project
        .sql(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and query like 'create index%'",
        )
        .await;
    blocker.release().await;
    let output = program.ends();
    assert_eq!(output.status.code(), Some(0), "{}", project.shown(&output));
    assert_eq!(project.indexes().await, "acme.orders_id|t");
}

#[tokio::test]
async fn a_tenant_whose_creation_was_interrupted_is_picked_up() {
    let project = Project::with_orders().await;
    project.alone("create index concurrently orders_id on orders (id);\nselect pg_sleep(60);");
    let program =
        project.start("create-tenant --schema globex --domain globex.localhost --no-input");
    project.pausing(1).await;
    program.kill();
    project.nobody_is_connected().await;
    project.alone("create index concurrently orders_id on orders (id);\nselect pg_sleep(0);");
    let list = "select string_agg(schema_name, ',') from tenants";
    assert_eq!(project.query(list).await, "acme");
    insta::assert_snapshot!(project.run("create-tenant --schema globex --domain globex.localhost --no-input"), @"
    created tenant `globex` at globex.localhost
    ------- stderr -------
    globex: created with V2 `alone`
    ");
    assert_eq!(project.recorded(2).await, 1);
}

#[tokio::test]
async fn what_a_file_sets_behind_the_grammars_back_ends_with_it() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration(
        "V1__settings.sql",
        "do $$ begin execute 'set role pg_monitor'; execute 'set search_path = nowhere'; \
           execute 'set statement_timeout = ''1s'''; \
           execute 'set default_transaction_read_only = on'; end $$;",
    );
    project.tenant_migration(
        "V2__after.sql",
        "create table after (name text default current_user); insert into after default values;",
    );
    for step in ["--to 1", "--to 2"] {
        let output = project.run(&format!("migrate-schemas --tenants --jobs 1 {step} --quiet"));
        assert_eq!(output, "2 schemas migrated\n");
    }
    let owners = "select distinct tableowner from pg_tables where schemaname in ('acme', 'globex')";
    assert_eq!(project.query(owners).await, "postgres");
}

#[tokio::test]
async fn settings_that_reach_beyond_the_file_are_refused() {
    let project = Project::with_orders().await;
    project.tenant_migration(
        "V2__settings.sql",
        "set statement_timeout = '1h';\nset role pg_monitor;\n\
         set default_transaction_read_only = on;",
    );
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    ------- stderr -------
    error: the migration files cannot be run as they are
      `SET statement_timeout` outlives the migration and reaches the next schema
         --> migrations/tenant/V2__settings.sql:1:1
          |
        1 | set statement_timeout = '1h';
          | ^
        instead: write `SET LOCAL statement_timeout = …`
      `SET ROLE` would change who owns everything that comes after it
         --> migrations/tenant/V2__settings.sql:2:1
          |
        2 | set role pg_monitor;
          | ^
        instead: delete it, and give ownership away with `ALTER TABLE … OWNER TO …`
      `SET default_transaction_read_only` outlives the migration and reaches the next schema
         --> migrations/tenant/V2__settings.sql:3:1
          |
        3 | set default_transaction_read_only = on;
          | ^
        instead: write `SET LOCAL default_transaction_read_only = …`
    hint: nothing was changed; mend the file and run it again
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_name_that_the_schema_lacks_is_not_found_in_the_shared_one() {
    let project = Project::with_tenants(["acme"]).await;
    let header = "-- tenantctl: no-transaction\n";
    project.tenant_migration("V1__a.sql", &format!("{header}update tenants set name = 'taken';"));
    let shown = project.run("migrate-schemas --tenants");
    assert!(shown.contains("relation \"tenants\" does not exist"), "{shown}");
    assert!(shown.trim_end().ends_with("[exit status: 1]"), "{shown}");
    assert_eq!(project.query("select name from tenants").await, "acme");
}

#[tokio::test]
async fn a_rehearsal_ends_before_it_and_says_so() {
    let project = Project::with_orders().await;
    project.tenant_migration("V2__price.sql", "alter table orders add column price int");
    project.tenant_migration(
        "V3__alone.sql",
        &format!("{HEADER}create index concurrently orders_price on orders (price);"),
    );
    project.tenant_migration("V4__wrong.sql", "alter table orders add column price int");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --rehearse"), @"
    1 schema not rehearsed to the end
    ------- stderr -------
    acme: could apply V2 `price`; cannot rehearse V3 `alone`
    warning: not rehearsed: V3 `alone`, which no rollback would undo, and what follows it, in 1 schema: acme
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --rehearse --format json --quiet"), @r#"
    {"type":"rehearsed","schema":"acme","migrations":["V2 `price`"],"seconds":[time],"not_rehearsed":"V3 `alone`"}
    {"type":"summary","rehearsed":1,"up_to_date":0,"failed":0,"busy":0,"not_attempted":0,"exit_status":0,"ended_early":1}
    ------- stderr -------
    warning: not rehearsed: V3 `alone`, which no rollback would undo, and what follows it, in 1 schema: acme
    "#);
    assert_eq!(project.recorded(2).await, 0);

    project.run("migrate-schemas --tenants --to 2");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --rehearse"), @"
    1 schema not rehearsed to the end
    ------- stderr -------
    acme: cannot rehearse V3 `alone`
    warning: not rehearsed: V3 `alone`, which no rollback would undo, and what follows it, in 1 schema: acme
    ");
    assert_eq!(project.indexes().await, "");
}

#[tokio::test]
async fn a_rehearsal_sets_no_sequence() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__orders.sql", "create table orders (id serial primary key)");
    project.migrate();
    project.sql("insert into acme.orders default values").await;
    project.tenant_migration(
        "V2__numbers.sql",
        "insert into orders default values; select setval('orders_id_seq', 1, false);",
    );
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --rehearse"), @"
    1 schema not rehearsed to the end
    ------- stderr -------
    acme: cannot rehearse V2 `numbers`
    warning: not rehearsed: V2 `numbers`, which no rollback would undo, and what follows it, in 1 schema: acme
    ");
    assert_eq!(project.query("select last_value, is_called from acme.orders_id_seq").await, "1|t");
    assert!(project.run("migrate-schemas --tenants").starts_with("1 schema migrated\n"));
    assert_eq!(project.query("select last_value, is_called from acme.orders_id_seq").await, "1|f");
}

#[tokio::test]
async fn what_fails_before_it_fails_the_rehearsal() {
    let project = Project::with_orders().await;
    project.tenant_migration("V2__again.sql", "alter table orders add column note int");
    project.tenant_migration("V3__alone.sql", &format!("{HEADER}vacuum orders;"));
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --rehearse"), @r#"
    1 schema failed
    ------- stderr -------
    error: migration V2 `again` could not be applied to schema `acme`
      caused by: column "note" of relation "orders" already exists
         --> migrations/tenant/V2__again.sql:1
          |
        1 | alter table orders add column note int
        SQLSTATE 42701
    hint: every schema is as it was; mend what failed and rehearse again
    [exit status: 1]
    "#);
}
