use rustix::process::Signal;

use crate::support::Project;

/// Returns a project with a table `notes` for tenants and two seeds for it, and these tenants.
async fn seeded<const N: usize>(schemas: [&str; N]) -> Project {
    let project = Project::with_tenants(schemas).await;
    project.tenant_migration(
        "V1__notes.sql",
        "create table notes (id bigserial primary key, body text not null);",
    );
    project.migrate();
    project.write("seeds/tenant/a first.sql", "insert into notes (body) values ('first');\n");
    project.write(
        "seeds/tenant/b-second.sql",
        "insert into notes (body)\n  select body || ', second' from notes;\n",
    );
    project.write("seeds/tenant/README.md", "What is what.");
    project
}

/// Returns the notes of a schema, in their order.
async fn notes(project: &Project, schema: &str) -> String {
    let notes =
        format!("select coalesce(string_agg(body, '; ' order by id), '') from {schema}.notes");
    project.query(&notes).await
}

#[tokio::test]
async fn a_tenant_is_created_with_all_seeds_in_the_order_of_their_names() {
    let project = seeded([]).await;
    insta::assert_snapshot!(project.run("create-tenant --schema acme --no-input --seed"), @"
    created tenant `acme`
    ------- stderr -------
    acme: created with V1 `notes`, seed `a first`, seed `b-second`
    ");
    assert_eq!(notes(&project, "acme").await, "first; first, second");
    insta::assert_snapshot!(project.run("create-tenant --schema globex --no-input --seed 'a first'"), @"
    created tenant `globex`
    ------- stderr -------
    globex: created with V1 `notes`, seed `a first`
    ");
    assert_eq!(notes(&project, "globex").await, "first");
    let recorded = "select string_agg(name, ' ') from acme.refinery_schema_history";
    assert_eq!(project.query(recorded).await, "notes");
    insta::assert_snapshot!(project.run("create-tenant --schema initech --no-input"), @"
    created tenant `initech`
    ------- stderr -------
    initech: created with V1 `notes`
    ");
    assert_eq!(notes(&project, "initech").await, "");
}

#[tokio::test]
async fn a_tenant_whose_seed_fails_is_not_there_at_all() {
    let project = seeded([]).await;
    project.write(
        "seeds/tenant/c.sql",
        "insert into notes (body) values ('x');\ninsert into notes (body) values (null);\n",
    );
    insta::assert_snapshot!(project.run("create-tenant --schema acme --no-input --seed"), @r#"
    ------- stderr -------
    error: seed `c` could not be run in schema `acme`
      caused by: null value in column "body" of relation "notes" violates not-null constraint
         --> seeds/tenant/c.sql:2
          |
        2 | insert into notes (body) values (null);
        detail: Failing row contains (4, null).
        SQLSTATE 23502
    nothing was created for `acme`
    [exit status: 1]
    "#);
    assert_eq!(
        project.query("select count(*) from pg_namespace where nspname = 'acme'").await,
        "0"
    );
    assert_eq!(project.query("select count(*) from public.tenants").await, "0");
    project.write("new.csv", "schema_name,name\nglobex,Globex\nhooli,Hooli\n");
    insta::assert_snapshot!(project.run("create-tenant --from new.csv --jobs 1 --seed b-second 'a first'"), @"
    2 tenants created
    ------- stderr -------
    globex: created with V1 `notes`, seed `a first`, seed `b-second`
    hooli: created with V1 `notes`, seed `a first`, seed `b-second`
    ");
    assert_eq!(notes(&project, "hooli").await, "first; first, second");
}

#[tokio::test]
async fn seeds_come_last_where_creation_takes_several_transactions() {
    let project = seeded([]).await;
    project.tenant_migration(
        "V2__index.sql",
        "-- tenantctl: no-transaction\ncreate index concurrently notes_body on notes (body);",
    );
    insta::assert_snapshot!(project.run("create-tenant --schema acme --no-input --seed 'a first'"), @"
    created tenant `acme`
    ------- stderr -------
    acme: created with V1 `notes`, V2 `index`, seed `a first`
    ");
    assert_eq!(notes(&project, "acme").await, "first");
    project.write("seeds/tenant/bad.sql", "select 1 / 0;");
    insta::assert_snapshot!(project.run("create-tenant --schema globex --no-input --seed 'a first' bad"), @"
    ------- stderr -------
    error: seed `bad` could not be run in schema `globex`
      caused by: division by zero
         --> seeds/tenant/bad.sql:1
          |
        1 | select 1 / 0;
        SQLSTATE 22012
    `globex` is not registered; the same command again goes on where this one stopped
    [exit status: 1]
    ");
    project.write("seeds/tenant/bad.sql", "select 1;");
    insta::assert_snapshot!(project.run("create-tenant --schema globex --no-input --seed 'a first' bad"), @"
    created tenant `globex`
    ------- stderr -------
    globex: created with seed `a first`, seed `bad`
    ");
    assert_eq!(notes(&project, "globex").await, "first");
}

#[tokio::test]
async fn seeds_run_later_by_name_and_again_when_asked_again() {
    let project = seeded(["acme", "globex"]).await;
    let seed = "seed b-second 'a first' --tenants --jobs 1";
    insta::assert_snapshot!(project.run(seed), @"
    2 schemas seeded
    ------- stderr -------
    acme: ran seed `a first`, seed `b-second`
    globex: ran seed `a first`, seed `b-second`
    ");
    insta::assert_snapshot!(project.run("seed 'a first' --schema acme --format json"), @r#"
    {"type":"seeded","schema":"acme","seeds":["seed `a first`"],"seconds":[time]}
    {"type":"summary","seeded":1,"up_to_date":0,"failed":0,"busy":0,"not_attempted":0,"exit_status":0}
    ------- stderr -------
    acme: ran seed `a first`
    "#);
    assert_eq!(notes(&project, "acme").await, "first; first, second; first");
    assert_eq!(notes(&project, "globex").await, "first; first, second");
    assert_eq!(project.query("select count(*) from acme.refinery_schema_history").await, "1");
    let noted = "select command, outcome, from_version, to_version, what from tenantctl.runs r \
                 join tenantctl.run_entries e on e.run = r.id where schema_name = 'acme' order by id";
    insta::assert_snapshot!(project.query(noted).await, @"
    migrate-schemas|done|null|1|applied V1 `notes`
    seed|done|1|1|ran seed `a first`, seed `b-second`
    seed|done|1|1|ran seed `a first`
    ");
}

#[tokio::test]
async fn a_failure_leaves_nothing_in_its_schema_and_the_others_go_on() {
    let project = seeded(["acme", "globex", "hooli"]).await;
    project.sql("alter table globex.notes add check (body <> 'first, second'); drop schema hooli cascade").await;
    insta::assert_snapshot!(project.run("seed 'a first' b-second --tenants --jobs 1"), @r#"
    1 schema seeded, 2 failed
    ------- stderr -------
    acme: ran seed `a first`, seed `b-second`
    error: seed `b-second` could not be run in schema `globex`
      caused by: new row for relation "notes" violates check constraint "notes_body_check"
         --> seeds/tenant/b-second.sql:1
          |
        1 | insert into notes (body)
        detail: Failing row contains (2, first, second).
        SQLSTATE 23514
    error: schema `hooli` could not be seeded
      caused by: there is no such schema
        unless it has just been deleted or renamed, the registry still has a row for it: make the schema anew with `create schema` in psql, or remove the row there
    hint: for what is left: `tenantctl seed 'a first' b-second --schema=globex --schema=hooli`
    [exit status: 4]
    "#);
    assert_eq!(notes(&project, "acme").await, "first; first, second");
    assert_eq!(notes(&project, "globex").await, "");
}

#[tokio::test]
async fn a_seed_stays_in_its_schema() {
    let project = seeded(["acme"]).await;
    project.sql("create table public.plans (name text)").await;
    project.write("seeds/tenant/named.sql", "insert into public.plans values ('a');\n");
    project.write(
        "seeds/tenant/fallen.sql",
        "insert into notes (body) values ('x');\ninsert into plans values ('a');\n",
    );
    insta::assert_snapshot!(project.run("seed named --tenants"), @"
    ------- stderr -------
    error: the seeds cannot be run as they are
      `public.plans` is in the shared schema `public`, which a tenant's migration may only read
         --> seeds/tenant/named.sql:1:13
          |
        1 | insert into public.plans values ('a');
          |             ^
        instead: move the statement to a file in `migrations/shared`
    hint: nothing was changed; mend the file and run it again
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("seed fallen --tenants"), @"
    1 schema failed
    ------- stderr -------
    error: seed `fallen` could not be run in schema `acme`
      caused by: it reached outside the schema and touched public.plans
         --> seeds/tenant/fallen.sql:2:13
          |
        2 | insert into plans values ('a');
          |             ^
        the names were found outside the schema: by the search path, because they are qualified, or by a trigger or function; it was rolled back, and where it is meant, say so on the file's first lines: `-- tenantctl: allow other-schema`
    hint: for what is left: `tenantctl seed fallen --schema=acme`
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema globex --no-input --seed fallen"), @"
    ------- stderr -------
    error: seed `fallen` could not be run in schema `globex`
      caused by: it reached outside the schema and touched public.plans
         --> seeds/tenant/fallen.sql:2:13
          |
        2 | insert into plans values ('a');
          |             ^
        the names were found outside the schema: by the search path, because they are qualified, or by a trigger or function; it was rolled back, and where it is meant, say so on the file's first lines: `-- tenantctl: allow other-schema`
    nothing was created for `globex`
    [exit status: 1]
    ");
    assert_eq!(project.query("select count(*) from public.plans").await, "0");
    assert_eq!(notes(&project, "acme").await, "");
    assert_eq!(project.query("select count(*) from public.tenants").await, "1");
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_before_anything_is_done() {
    let project = seeded(["acme"]).await;
    project.write("seeds/tenant/alone.sql", "-- tenantctl: no-transaction\nvacuum notes;\n");
    project.write("seeds/tenant/commit.sql", "insert into notes (body) values ('x'); commit;\n");
    let mut shown = String::new();
    for arguments in [
        "seed --tenants",
        "seed 'a first'",
        "seed 'a first' --all",
        "seed 'a first' nothing --tenants",
        "seed alone --tenants",
        "seed commit --tenants",
        "seed 'a first' --schema ghost",
        "seed 'a first' --match ghost",
        "create-tenant --schema globex --no-input --seed",
        "create-tenant --schema globex --no-input --seed nothing",
    ] {
        shown += &format!("$ {arguments}\n{}", project.run(arguments));
    }
    insta::assert_snapshot!(shown, @"
    $ seed --tenants
    ------- stderr -------
    error: the following required arguments were not provided:
      <NAME>...

    Usage: tenantctl seed --tenants <NAME>...

    For more information, try '--help'.
    [exit status: 2]
    $ seed 'a first'
    ------- stderr -------
    error: in which schemas?
    hint: say `--tenants`, `--schema NAME`, `--match GLOB`, `--where SQL` or `--schemas-from FILE`
    [exit status: 2]
    $ seed 'a first' --all
    ------- stderr -------
    error: seeds are for tenants, and the shared schema is none
    hint: say `--tenants` for every tenant; a shared migration may hold data
    [exit status: 2]
    $ seed 'a first' nothing --tenants
    ------- stderr -------
    error: there is no seed `nothing` in `seeds/tenant`
    hint: the folder has `a first`, `alone`, `b-second`, `commit`
    [exit status: 2]
    $ seed alone --tenants
    ------- stderr -------
    error: the seeds cannot be run as they are
      a seed runs in a transaction, together with the others
         --> seeds/tenant/alone.sql:1
          |
        1 | -- tenantctl: no-transaction
        instead: leave the line out
    hint: nothing was changed; mend the file and run it again
    [exit status: 2]
    $ seed commit --tenants
    ------- stderr -------
    error: the seeds cannot be run as they are
      `COMMIT` interferes with the transaction that makes a migration whole
         --> seeds/tenant/commit.sql:1:40
          |
        1 | insert into notes (body) values ('x'); commit;
          |                                        ^
        instead: delete `COMMIT`: a schema's migrations already run in one transaction; `SAVEPOINT` and `ROLLBACK TO` are fine
    hint: nothing was changed; mend the file and run it again
    [exit status: 2]
    $ seed 'a first' --schema ghost
    ------- stderr -------
    error: there is no tenant with schema `ghost`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    $ seed 'a first' --match ghost
    0 schemas: there is nothing to do
    ------- stderr -------
    warning: no tenant is meant by `ghost`
    $ create-tenant --schema globex --no-input --seed
    ------- stderr -------
    error: the seeds cannot be run as they are
      a seed runs in a transaction, together with the others
         --> seeds/tenant/alone.sql:1
          |
        1 | -- tenantctl: no-transaction
        instead: leave the line out
    hint: nothing was changed; mend the file and run it again
    [exit status: 2]
    $ create-tenant --schema globex --no-input --seed nothing
    ------- stderr -------
    error: there is no seed `nothing` in `seeds/tenant`
    hint: the folder has `a first`, `alone`, `b-second`, `commit`
    [exit status: 2]
    ");
    std::fs::remove_dir_all(project.path("seeds")).unwrap();
    insta::assert_snapshot!(project.run("seed 'a first' --tenants"), @"
    ------- stderr -------
    error: there is no folder `seeds/tenant` with seeds
    hint: write one, such as `seeds/tenant/demo.sql`, or name another folder under `[seeds]` in `tenantctl.toml`
    [exit status: 2]
    ");
    assert_eq!(notes(&project, "acme").await, "");
}

#[tokio::test]
async fn a_dry_run_shows_the_sql_and_changes_nothing() {
    let project = seeded(["acme", "globex"]).await;
    insta::assert_snapshot!(project.run("seed 'a first' --tenants --dry-run"), @r#"
    -- 2 schemas: acme, globex
    -- seed `a first`, shown for acme

    -- what everything below runs with
    begin isolation level read committed, read write;
    select set_config('search_path', '"acme", "public"', true),
           set_config('application_name', 'tenantctl', true),
           set_config('lock_timeout', '[time]', true),
           set_config('statement_timeout', '0', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           set_config('client_connection_check_interval', '[time]', true);

    -- go on only where the schema is there and nobody else works on it
    select cast(case
        when to_regnamespace('"acme"') is null
        then 'tenantctl:no-schema'
        when not pg_catalog.pg_try_advisory_xact_lock(hashtextextended('tenantctl:acme', 0))
        then 'tenantctl:locked'
        else '0' end as integer);

    -- seeds/tenant/a first.sql
    insert into notes (body) values ('first');

    -- fail if anything outside the schema was changed
    set constraints all immediate;
    reset role;
    set local search_path = "acme", pg_catalog, pg_temp;
    select cast(case
        when to_regnamespace('"acme"') is null then 'tenantctl:no-schema'
        when count(*) > 0 then 'tenantctl:outside:' || string_agg(l.relation::regclass::text, ', ')
        else '0' end as integer)
      from pg_catalog.pg_lock_status() as l
     where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
       and l.relation >= 16384
       and l.mode not in ('AccessShareLock', 'RowShareLock', 'ShareRowExclusiveLock')
       and pg_catalog.pg_table_is_visible(l.relation) is not true
       and l.relation::regclass::text !~ '^pg_(toast|temp)';

    -- commit it
    discard temp;
    reset all;
    commit;
    "#);
    assert_eq!(notes(&project, "acme").await, "");
}

#[tokio::test]
async fn the_folder_is_the_configurations() {
    let project = seeded(["acme"]).await;
    project.write("tenantctl.toml", "seeds.dir = 'data'\n");
    project.write("data/tenant/x.sql", "insert into notes (body) values ('data');");
    insta::assert_snapshot!(project.run("seed x --tenants"), @"
    1 schema seeded
    ------- stderr -------
    acme: ran seed `x`
    ");
    assert_eq!(notes(&project, "acme").await, "data");
}

#[tokio::test]
async fn a_busy_schema_is_tried_again() {
    let project = seeded(["acme"]).await;
    let blocker = project.blocker("lock table acme.notes").await;
    let program = project.start("seed 'a first' --tenants --quiet");
    project.somebody_waits().await;
    blocker.release().await;
    assert_eq!(program.ends().status.code(), Some(0));
    assert_eq!(notes(&project, "acme").await, "first");
}

#[tokio::test]
async fn a_lost_connection_does_not_run_a_seed_twice() {
    let project = seeded(["acme", "globex"]).await;
    project.write(
        "seeds/tenant/slow.sql",
        "insert into notes (body) values ('slow'); select pg_sleep(60);",
    );
    let program = project.start("seed slow --schema acme");
    project.pausing(1).await;
    let sleeping = "select pg_terminate_backend(pid) from pg_stat_activity \
                    where wait_event = 'PgSleep' and datname = current_database()";
    project.query(sleeping).await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    1 schema failed
    ------- stderr -------
    warning: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: terminating connection due to administrator command; connecting again
    error: schema `acme` could not be seeded
      caused by: the connection ended before the server had answered; whether it was done is not known
    hint: look at the data first; for what is left: `tenantctl seed slow --schema=acme`
    [exit status: 1]
    ");
    assert_eq!(notes(&project, "acme").await, "");
}

#[tokio::test]
async fn the_second_ctrl_c_leaves_nothing() {
    let project = seeded(["acme", "globex"]).await;
    project.write(
        "seeds/tenant/slow.sql",
        "insert into notes (body) values ('slow'); select pg_sleep(60);",
    );
    let program = project.start("seed slow --tenants --jobs 1");
    project.pausing(1).await;
    program.signal(Signal::INT);
    program.signal(Signal::TERM);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    1 schema failed, 1 not attempted
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    cancelling what is running
    error: schema `acme` could not be seeded
      caused by: the connection ended before the server had answered; whether it was done is not known
    error: interrupted
    not attempted: globex
    hint: look at the data first; for what is left: `tenantctl seed slow --schema=acme --schema=globex`
    [exit status: 130]
    ");
    assert_eq!(notes(&project, "acme").await, "");
    project.nobody_is_connected().await;
}

#[tokio::test]
async fn a_killed_program_leaves_nothing() {
    let project = seeded(["acme"]).await;
    project.write(
        "seeds/tenant/slow.sql",
        "insert into notes (body) values ('slow'); select pg_sleep(60);",
    );
    let program = project.start("seed slow --tenants");
    project.pausing(1).await;
    assert!(program.kill());
    project.nobody_is_connected().await;
    assert_eq!(notes(&project, "acme").await, "");
    project.write("seeds/tenant/slow.sql", "insert into notes (body) values ('quick');");
    project.run("seed slow --tenants");
    assert_eq!(notes(&project, "acme").await, "quick");
}
