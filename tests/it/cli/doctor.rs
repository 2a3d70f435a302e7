use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::pgbouncer::PgBouncer;
use crate::support::{OwnServer, Project, eventually};

const NOTES: &str = "create table notes (id int);\n";
const HEADER: &str = "-- tenantctl: no-transaction\n";

/// Returns a project with these tenants, each with a domain and migrated, with nothing wrong.
async fn healthy<const N: usize>(schemas: [&str; N]) -> Project {
    let project = Project::with_tenants(schemas).await;
    project
        .sql(
            "insert into domains (tenant_id, domain, is_primary) \
             select id, lower(schema_name) || '.localhost', true from tenants",
        )
        .await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.migrate();
    project
}

#[tokio::test]
async fn nothing_is_wrong_with_a_healthy_fleet() {
    let project = healthy(["acme", "globex"]).await;
    insta::assert_snapshot!(project.run("doctor"), @"nothing is wrong with 2 tenants");
    insta::assert_snapshot!(project.run("doctor --fix"), @"nothing is wrong with 2 tenants");
    insta::assert_snapshot!(project.run("doctor --format json"), @r#"{"type":"summary","tenants":2,"findings":0}"#);
    insta::assert_snapshot!(project.run("doctor --dry-run"), @"
    ------- stderr -------
    error: the following required arguments were not provided:
      --fix

    Usage: tenantctl doctor --fix --dry-run

    For more information, try '--help'.
    [exit status: 2]
    ");
}

#[tokio::test]
async fn looking_creates_nothing() {
    let project = Project::empty().await;
    project.run("init");
    insta::assert_snapshot!(project.run("doctor --fix"), @"
    ------- stderr -------
    error: there is no table `tenants` in schema `public` of database `[database]` at 127.0.0.1:[port] as user `postgres`
    hint: apply the shared migrations with `tenantctl migrate-schemas --shared`; `tenantctl init` writes them
    [exit status: 1]
    ");
    let made = "select count(*) from pg_class where relnamespace::regnamespace::text !~ '^pg_|information_schema'";
    assert_eq!(project.query(made).await, "0");
    assert_eq!(project.query("select to_regnamespace('tenantctl')").await, "null");
}

#[tokio::test]
async fn missing_schemas_are_named_and_made() {
    let project = healthy(["acme", "ghost", "eha-meetup"]).await;
    project.sql("drop schema ghost cascade; drop schema \"eha-meetup\" cascade").await;
    insta::assert_snapshot!(project.run("doctor"), @"
    2 tenants have no schema (eha-meetup, ghost): `tenantctl doctor --fix` creates them, and `tenantctl migrate-schemas --tenants` the tables
    [exit status: 3]
    ");
    insta::assert_snapshot!(project.run("doctor --fix --dry-run"), @"
    would create 2 missing schemas (eha-meetup, ghost)
    2 tenants have no schema (eha-meetup, ghost): `tenantctl doctor --fix` creates them, and `tenantctl migrate-schemas --tenants` the tables
    [exit status: 3]
    ");
    assert_eq!(project.query("select to_regnamespace('ghost')").await, "null");
    insta::assert_snapshot!(project.run("doctor --fix"), @"
    created 2 missing schemas (eha-meetup, ghost)
    2 tenants are behind (eha-meetup, ghost): `tenantctl migrate-schemas --tenants` applies what is pending
    [exit status: 3]
    ");
    project.migrate();
    insta::assert_snapshot!(project.run("doctor"), @"nothing is wrong with 3 tenants");
    let noted = "select schema_name, outcome, what from tenantctl.run_entries where what like '%missing%' order by 1";
    insta::assert_snapshot!(project.query(noted).await, @"
    eha-meetup|done|created the missing schema
    ghost|done|created the missing schema
    ");
}

#[tokio::test]
async fn json_has_an_object_for_each_finding_and_repair() {
    let project = healthy(["acme", "ghost"]).await;
    project.sql("drop schema ghost cascade; delete from domains").await;
    insta::assert_snapshot!(project.run("doctor --format json"), @r#"
    {"type":"finding","finding":"schema missing","what":"1 tenant has no schema (ghost)","advice":"`tenantctl doctor --fix` creates it, and `tenantctl migrate-schemas --tenants` the tables","schemas":["ghost"],"fixable":true}
    {"type":"finding","finding":"no domain","what":"2 tenants have no domain (acme, ghost)","advice":"give each one with `tenantctl create-domain HOST --schema=acme`","schemas":["acme","ghost"],"fixable":false}
    {"type":"summary","tenants":2,"findings":2}
    [exit status: 3]
    "#);
    insta::assert_snapshot!(project.run("doctor --fix --format json"), @r#"
    {"type":"repair","what":"create schema","schema":"ghost","index":null,"outcome":"done","error":null}
    {"type":"finding","finding":"no domain","what":"2 tenants have no domain (acme, ghost)","advice":"give each one with `tenantctl create-domain HOST --schema=acme`","schemas":["acme","ghost"],"fixable":false}
    {"type":"finding","finding":"behind","what":"1 tenant is behind (ghost)","advice":"`tenantctl migrate-schemas --tenants` applies what is pending","schemas":["ghost"],"fixable":false}
    {"type":"summary","tenants":2,"findings":2}
    [exit status: 3]
    "#);
}

#[tokio::test]
async fn schemas_that_look_like_tenants_are_named_and_left_alone() {
    let project = healthy(["acme", "kept", "last one"]).await;
    project.run("delete-tenant kept --keep-schema --yes");
    // Another program's schema has a history too, and it begins with a V1.
    project
        .sql(
            "delete from tenants where schema_name = 'last one'; create schema other; \
             create table other.refinery_schema_history as \
             select version, 'initial'::text as name, applied_on, checksum from acme.refinery_schema_history; \
             create schema plain; create table plain.notes (id int)",
        )
        .await;
    insta::assert_snapshot!(project.run("doctor --fix"), @r#"
    2 schemas look like tenants' and have no registry row (kept, last one): `tenantctl create-tenant --schema=kept --adopt` registers it; to be rid of it, `drop schema "kept"` in psql
    [exit status: 3]
    "#);
    assert_eq!(project.tables("kept").await, "notes, refinery_schema_history");
    project.run("create-tenant --schema=kept --adopt --domain kept.localhost --no-input");
    let shown = project.run("doctor");
    insta::assert_snapshot!(shown, @r#"
    1 schema looks like a tenant's and has no registry row (last one): `tenantctl create-tenant --schema='last one' --adopt` registers it; to be rid of it, `drop schema "last one"` in psql
    [exit status: 3]
    "#);
}

#[tokio::test]
async fn what_was_begun_and_not_finished_is_named_unless_it_is_under_way() {
    let project = healthy(["acme", "globex", "gone"]).await;
    project
        .sql(
            "create schema rest; comment on schema rest is 'tenantctl: being deleted'; \
             create schema half; comment on schema half is 'tenantctl: being created'; \
             comment on schema globex is 'tenantctl: being deleted'; drop table globex.notes; drop schema gone cascade",
        )
        .await;
    insta::assert_snapshot!(project.run("doctor"), @r#"
    1 tenant has no schema (gone): `tenantctl doctor --fix` creates it, and `tenantctl migrate-schemas --tenants` the tables
    the deletion of 1 tenant is not finished (globex): run `tenantctl delete-tenant globex` again
    the creation of 1 tenant is not finished (half): run `tenantctl create-tenant --schema=half …` again
    1 schema looks like a tenant's and has no registry row (rest): `tenantctl create-tenant --schema=rest --adopt` registers it; to be rid of it, `drop schema "rest"` in psql
    [exit status: 3]
    "#);
    let lock = "select pg_advisory_xact_lock(hashtextextended('tenantctl:' || it, 0)) \
                from unnest(array['half', 'globex', 'gone', 'rest']) as it";
    let blocker = project.blocker(lock).await;
    insta::assert_snapshot!(project.run("doctor"), @"nothing is wrong with 3 tenants");
    blocker.release().await;
}

#[tokio::test]
async fn tenants_that_are_behind_or_disagree_are_one_line_each() {
    let project = healthy(["acme", "b", "c", "d", "e", "f", "globex"]).await;
    project.tenant_migration("V2__more.sql", "create table more (id int);");
    project.shared_migration("V2__plans.sql", "create table plans (id int);");
    project.sql("update globex.refinery_schema_history set checksum = '7'; insert into globex.refinery_schema_history select 9, 'gone', applied_on, checksum from acme.refinery_schema_history").await;
    insta::assert_snapshot!(project.run("doctor"), @"
    the shared schema `public` is behind: `tenantctl migrate-schemas --shared` applies what is pending
    6 tenants are behind (acme, b, c, d, e and 1 more): `tenantctl migrate-schemas --tenants` applies what is pending
    divergent: V1 `notes` was applied, and `migrations/tenant/V1__notes.sql` has changed since (globex): restore the file as it was and write a new migration, or add `--allow-divergent` to go on
    missing: V9 `gone` was applied, and there is no such file in `migrations/tenant` (globex): deploy the release that has the file, or add `--allow-missing` to go on
    out of order: `migrations/tenant/V2__more.sql` was not applied, and is older than V9, which was (globex): give the file a version above the newest: `tenantctl makemigrations --renumber FILE`
    [exit status: 3]
    ");
    let verbose = project.run("doctor --verbose");
    assert!(verbose.contains("6 tenants are behind (acme, b, c, d, e, f):"), "{verbose}");
    project.sql("drop table globex.refinery_schema_history; create view globex.refinery_schema_history as select 1 as version").await;
    let shown = project.run("doctor");
    insta::assert_snapshot!(shown.lines().nth(2).unwrap(), @"1 history cannot be read, as its table `refinery_schema_history` does not have refinery's columns (globex): look at it with `tenantctl tenant-command --schema=globex psql`, and run `tenantctl doctor` again");
}

#[tokio::test]
async fn tenants_without_a_primary_domain_are_named() {
    let project = healthy(["acme", "globex", "hooli"]).await;
    project
        .sql(
            "delete from domains where domain = 'acme.localhost'; \
             update domains set is_primary = false where domain = 'globex.localhost'; \
             drop index domains_one_primary_a_tenant",
        )
        .await;
    project.sql("insert into domains (tenant_id, domain, is_primary) select id, 'www.hooli.localhost', true from tenants where schema_name = 'hooli'").await;
    insta::assert_snapshot!(project.run("doctor"), @"
    1 tenant has no domain (acme): give it one with `tenantctl create-domain HOST --schema=acme`
    1 tenant has domains, but no primary one (globex): choose one of `tenantctl list-domains --schema=globex` with `tenantctl set-primary-domain HOST`
    1 tenant has more than one primary domain (hooli): choose one of `tenantctl list-domains --schema=hooli` with `tenantctl set-primary-domain HOST`
    [exit status: 3]
    ");
    for arguments in [
        "create-domain acme.localhost --schema=acme",
        "set-primary-domain globex.localhost",
        "set-primary-domain hooli.localhost",
    ] {
        project.run(arguments);
    }
    insta::assert_snapshot!(project.run("doctor"), @"nothing is wrong with 3 tenants");
}

#[tokio::test]
async fn names_that_are_alike_or_cannot_be_are_named() {
    let project = healthy(["acme", "globex"]).await;
    let long = "a".repeat(64);
    project
        .sql(&format!(
            "alter table tenants drop constraint tenants_schema_name_check; \
             drop index tenants_schema_name_ignoring_case; alter table tenants drop constraint tenants_schema_name_key; \
             alter table tenants alter schema_name type text; \
             create schema \"Acme\"; create schema \"x\"\", \"\"y\"; \
             insert into tenants (schema_name, name) values ('Acme', ''), ('globex', ''), ('pg_x', ''), \
             ('{long}', ''), ('x\", \"y', ''), (' ', '')"
        ))
        .await;
    project.run("migrate-schemas --all --exclude ' '");
    project.sql("insert into domains (tenant_id, domain, is_primary) select id, id || '.localhost', true from tenants as t where not exists (select from domains where tenant_id = t.id)").await;
    insta::assert_snapshot!(project.run("doctor --fix"), @"
    1 tenant has more than one row in the registry (globex): delete all rows but one in psql
    3 registry rows have names that no tenant can have (` `, `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`, `pg_x`; a schema name cannot be blank): correct or delete these rows of the registry in psql
    2 tenants differ in upper and lower case alone (Acme, acme): give all but one another name: `tenantctl rename-tenant Acme NEW`
    [exit status: 3]
    ");
    let shown = project
        .query("select count(*) from pg_namespace where nspname like 'aaaa%' or nspname = ' '")
        .await;
    assert_eq!(shown, "0");
}

#[tokio::test]
async fn invalid_indexes_are_named_and_dropped_where_a_pending_file_builds_them() {
    let project = healthy(["acme", "globex"]).await;
    project.sql("insert into acme.notes values (1), (1)").await;
    project.tenant_migration(
        "V2__alone.sql",
        &format!("{HEADER}create unique index concurrently notes_id on notes (id);"),
    );
    project.run("migrate-schemas --tenants");
    // Nobody knows where this one comes from.
    project.sql("create index by_hand on globex.notes (id)").await;
    project
        .sql("update pg_index set indisvalid = false where indexrelid = 'globex.by_hand'::regclass")
        .await;
    insta::assert_snapshot!(project.run("doctor"), @r#"
    1 tenant is behind (acme): `tenantctl migrate-schemas --tenants` applies what is pending
    index `by_hand` of `notes` is invalid in 1 schema (globex): run `reindex index concurrently "globex"."by_hand"`, or `drop index concurrently "globex"."by_hand"` if nothing needs it
    index `notes_id` of `notes` is invalid in 1 schema (acme): `tenantctl doctor --fix` drops it, and `tenantctl migrate-schemas` builds it again
    [exit status: 3]
    "#);
    let indexes = "select indexrelid::regclass::text from pg_index where indrelid::regclass::text like '%.notes' order by 1";
    let blocker = project.blocker("select * from acme.notes").await;
    insta::assert_snapshot!(project.run("doctor --fix"), @r#"
    1 tenant is behind (acme): `tenantctl migrate-schemas --tenants` applies what is pending
    index `by_hand` of `notes` is invalid in 1 schema (globex): run `reindex index concurrently "globex"."by_hand"`, or `drop index concurrently "globex"."by_hand"` if nothing needs it
    index `notes_id` of `notes` is invalid in 1 schema (acme): `tenantctl doctor --fix` drops it, and `tenantctl migrate-schemas` builds it again
    ------- stderr -------
    warning: could not drop 1 invalid index (acme.notes_id): somebody is working there
    [exit status: 3]
    "#);
    blocker.release().await;
    insta::assert_snapshot!(project.run("doctor --fix --dry-run").lines().next().unwrap(), @"would drop 1 invalid index (acme.notes_id)");
    insta::assert_snapshot!(project.run("doctor --fix"), @r#"
    dropped 1 invalid index (acme.notes_id)
    1 tenant is behind (acme): `tenantctl migrate-schemas --tenants` applies what is pending
    index `by_hand` of `notes` is invalid in 1 schema (globex): run `reindex index concurrently "globex"."by_hand"`, or `drop index concurrently "globex"."by_hand"` if nothing needs it
    [exit status: 3]
    "#);
    assert_eq!(project.query(indexes).await, "globex.by_hand\nglobex.notes_id");
}

#[tokio::test]
async fn an_index_that_is_being_built_is_not_a_leftover() {
    let project = healthy(["acme"]).await;
    project.tenant_migration(
        "V2__alone.sql",
        &format!("{HEADER}create index concurrently notes_id on notes (id);"),
    );
    // It waits for whoever has changed the table.
    let blocker = project.blocker("insert into acme.notes values (1)").await;
    let program = project.start("migrate-schemas --tenants");
    let being_built = "select count(*) from pg_index where indexrelid = to_regclass('acme.notes_id') and not indisvalid";
    eventually("it is being built", async || project.query(being_built).await == "1").await;
    insta::assert_snapshot!(project.run("doctor --fix"), @"
    1 tenant is behind (acme): `tenantctl migrate-schemas --tenants` applies what is pending
    [exit status: 3]
    ");
    blocker.release().await;
    let ended = program.ends();
    assert!(ended.status.success(), "{}", project.shown(&ended));
    insta::assert_snapshot!(project.run("doctor"), @"nothing is wrong with 1 tenant");
}

#[tokio::test]
async fn tables_of_tenants_in_the_shared_schema_are_named() {
    let project = healthy(["acme"]).await;
    project.tenant_migration("V2__more.sql", "create table \"Plans\" (id int); create temp table domains (id int) on commit drop; create table old (id int); alter table old rename to renamed; create table common (id int);");
    project.shared_migration("V2__common.sql", "create table common (id int);");
    project.migrate();
    project.sql("create table notes (id int); create table \"Plans\" (id int); create table plans (id int); create table renamed (id int)").await;
    insta::assert_snapshot!(project.run("doctor"), @r#"
    3 tables of tenants' migrations in the shared schema `public` (Plans, notes, renamed): if nothing needs what it holds, `drop table "public"."Plans"` in psql; else write a shared migration that creates it
    [exit status: 3]
    "#);
}

#[tokio::test]
async fn a_role_with_few_rights_is_told_which_it_lacks() {
    let project = healthy(["acme", "globex"]).await;
    let role = format!("reader_{}", project.database().database);
    let owner = format!("owner_{}", project.database().database);
    project
        .sql(&format!(
            "create role {role} login password 'x'; create role {owner}; \
             grant select on domains to {role}; alter schema globex owner to {owner}; \
             revoke usage on schema public from public; \
             grant usage on schema acme, public to {role}"
        ))
        .await;
    let url = project.database().url().replace("postgres://", "");
    let (_, place) = url.split_once('@').unwrap();
    let run = |arguments: &str| {
        project.run(&format!("{arguments} --database-url postgres://{role}:x@{place}"))
    };
    let without_registry = run("doctor");
    project.sql(&format!("grant select, insert, update, delete on tenants to {role}; drop schema acme cascade; grant select on refinery_schema_history to {role}")).await;
    let with_registry = run("doctor --fix");
    project
        .sql(&format!(
            "drop owned by {role}; drop role {role}; drop owned by {owner} cascade; drop role {owner}"
        ))
        .await;
    insta::assert_snapshot!(without_registry, @r#"
    role `reader_[database]` may not create schemas in database `[database]`: let the database's owner run `grant create on database "[database]" to "reader_[database]"`
    role `reader_[database]` may not read the history of 1 schema (public): let its owner run `grant usage on schema "public" to "reader_[database]"` and `grant select on "public"."refinery_schema_history" to "reader_[database]"`
    role `reader_[database]` lacks create on the shared schema `public`: let its owner run `grant create on schema "public" to "reader_[database]"`
    role `reader_[database]` lacks select, insert, update and delete on the registry's `public.tenants`: let its owner run `grant select, insert, update, delete on "public"."tenants" to "reader_[database]"`
    role `reader_[database]` lacks insert, update and delete on the registry's `public.domains`: let its owner run `grant insert, update, delete on "public"."domains" to "reader_[database]"`
    [exit status: 3]
    "#);
    insta::assert_snapshot!(with_registry, @r#"
    role `reader_[database]` may not create schemas in database `[database]`: let the database's owner run `grant create on database "[database]" to "reader_[database]"`
    role `reader_[database]` lacks create on the shared schema `public`: let its owner run `grant create on schema "public" to "reader_[database]"`
    role `reader_[database]` lacks insert, update and delete on the registry's `public.domains`: let its owner run `grant insert, update, delete on "public"."domains" to "reader_[database]"`
    1 schema belongs to role `owner_[database]`, whose rights `reader_[database]` lacks (globex): let an administrator run `grant "owner_[database]" to "reader_[database]"`
    role `reader_[database]` may not read the history of 1 schema (globex): let its owner run `grant usage on schema "globex" to "reader_[database]"` and `grant select on "globex"."refinery_schema_history" to "reader_[database]"`
    1 tenant has no schema (acme): `tenantctl doctor --fix` creates it, and `tenantctl migrate-schemas --tenants` the tables
    ------- stderr -------
    warning: this run is not recorded: permission denied for schema tenantctl
    hint: let the owner of schema `tenantctl` grant this role its use, and that of its tables and sequence
    error: could not create 1 missing schema (acme): permission denied for database [database]
    [exit status: 3]
    "#);
}

#[tokio::test]
async fn settings_too_small_for_the_fleet_are_named() {
    let project = healthy(["acme"]).await;
    let many: String = (0..9000).map(|it| format!("create table t{it} ();\n")).collect();
    project.tenant_migration("V2__many.sql", &many);
    insta::assert_snapshot!(project.run("doctor").lines().next().unwrap(), @"the largest plan changes 9000 objects, for which 4 at once may take about 108000 locks; the server is set up for 12800 and has room for perhaps 2 times as many (`max_locks_per_transaction` is 64): run `alter system set max_locks_per_transaction = 270` and restart the server, or use fewer `--jobs`");
    project.run("baseline --tenants --to latest");
    insta::assert_snapshot!(project.run("doctor"), @"
    the largest plan changes 9001 objects, for which one schema may take about 27003 locks; the server is set up for 12800 and has room for perhaps 2 times as many (`max_locks_per_transaction` is 64): run `alter system set max_locks_per_transaction = 68` and restart the server
    [exit status: 3]
    ");
    project.write("tenantctl.toml", "[migrate]\njobs = 500\n");
    let shown = project.run("doctor");
    let (free, rest) = shown.lines().nth(1).unwrap().split_once(" free connections, ").unwrap();
    assert!(free.starts_with("the server has "), "{shown}");
    let (wanted, advice) = rest.split_once(": ").unwrap();
    insta::assert_snapshot!(wanted, @"too few for 500 jobs at once");
    assert!(advice.ends_with(", or raise the server's `max_connections`"), "{shown}");
}

#[tokio::test]
async fn a_standby_is_named_and_looked_at_all_the_same() {
    let server = OwnServer::start(&[("hot_standby", "on")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_tenants(&["acme"]).await;
    server.crash();
    server.make_standby();
    server.start_again();
    insta::assert_snapshot!(project.run("doctor"), @"
    the server is a standby, which accepts no changes: give the primary server's address with `--database-url`
    1 tenant has no domain (acme): give it one with `tenantctl create-domain HOST --schema=acme`
    [exit status: 3]
    ");
    server.crash();
    server.make_primary();
    server.start_again();
}

#[tokio::test]
async fn a_pooler_is_named_and_looked_through() {
    let project = healthy(["acme"]).await;
    let Some(pooler) = PgBouncer::start(project.database()).await else {
        return;
    };
    let mut command = project.command("doctor");
    let output = command.env("DATABASE_URL", pooler.url()).output().unwrap();
    insta::assert_snapshot!(project.shown(&output), @"
    a pooler stands between here and the server: give the server's own host and port with `--database-url` when a file without a transaction is to be applied
    [exit status: 3]
    ");
}

#[tokio::test]
async fn while_others_hold_locks_it_answers_at_once() {
    let project = healthy(["acme", "globex"]).await;
    project
        .tenant_migration("V2__slow.sql", "alter table notes add body text; select pg_sleep(60);");
    let program = project.start("migrate-schemas --schema globex");
    let working = "select count(*) from pg_locks where relation = to_regclass('globex.notes') and mode = 'AccessExclusiveLock' and granted";
    eventually("a migration holds a lock", async || project.query(working).await == "1").await;
    let blocker = project.blocker("lock table acme.refinery_schema_history").await;
    let begun = Instant::now();
    insta::assert_snapshot!(project.run("doctor"), @"
    somebody has locked 1 history (acme): run `tenantctl doctor` again once they are done
    1 tenant is behind (globex): `tenantctl migrate-schemas --tenants` applies what is pending
    [exit status: 3]
    ");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    blocker.release().await;
    program.signal(Signal::INT);
    program.signal(Signal::TERM);
    program.ends();
    let blocker = project.blocker("alter table tenants add plan text").await;
    insta::assert_snapshot!(project.run("doctor"), @"
    ------- stderr -------
    error: the registry is locked
      held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; alter table tenants add plan text
      caused by: canceling statement due to lock timeout
        SQLSTATE 55P03
    hint: run the same command again once they are done
    [exit status: 6]
    ");
    blocker.release().await;
}

#[tokio::test]
async fn many_tenants_are_few_lines() {
    let project = Project::new().await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.add_many_tenants(300).await;
    project.sql("drop schema t7; drop schema t8").await;
    insta::assert_snapshot!(project.run("doctor"), @"
    2 tenants have no schema (t7, t8): `tenantctl doctor --fix` creates them, and `tenantctl migrate-schemas --tenants` the tables
    300 tenants have no domain (t1, t10, t100, t101, t102 and 295 more): give each one with `tenantctl create-domain HOST --schema=t1`
    298 tenants are behind (t1, t10, t100, t101, t102 and 293 more): `tenantctl migrate-schemas --tenants` applies what is pending
    [exit status: 3]
    ");
}
