//! Through PgBouncer in transaction mode, where a session belongs to everybody.

use crate::support::Project;
use crate::support::pgbouncer::PgBouncer;
use crate::support::proxy::{Lose, Proxy};

impl Project {
    fn run_through(&self, pooler: &PgBouncer, arguments: &str) -> String {
        let mut command = self.command(arguments);
        let output = command.env("DATABASE_URL", pooler.url()).output().unwrap();
        self.redacted(&self.shown(&output).replace(&pooler.url(), "[pooler]"))
    }
}

#[tokio::test]
async fn every_command_works_through_a_pooler() {
    let project = Project::new().await;
    let Some(pooler) = PgBouncer::start(project.database()).await else {
        return;
    };
    project.add_many_tenants(20).await;
    project.add_traces(1, 0.0);
    project
        .write("seeds/tenant/more.sql", "create table more (id int); insert into more values (1);");
    for arguments in [
        "migrate-schemas --all --jobs 8 --quiet",
        "migrate-schemas --all --one-by-one --quiet",
        "create-tenant --schema acme --domain acme.localhost --no-input --quiet",
        "clone-tenant acme globex --domain globex.localhost --quiet",
        "create-tenant --schema hooli --template acme --no-input --quiet",
        "rename-tenant hooli initech --quiet",
        "update-tenant initech --name Initech --quiet",
        "show-tenant initech",
        "delete-tenant initech --drop-schema --yes --quiet",
        "status",
        "list-tenants",
        "migrate-schemas --all --check",
        "migrate-schemas --all --dry-run",
        "resolve acme.localhost",
        "all-tenants-command --tenants --jobs 8 sql --quiet 'select count(*) from log'",
        "seed more --tenants --jobs 8 --quiet",
    ] {
        let said = project.run_through(&pooler, arguments);
        assert!(!said.contains("[exit status"), "{arguments}: {said}");
    }
    assert_eq!(project.versions().await, "V1: 22");
    project.tenant_migration("V2__text.sql", "alter table log add column text text");
    let said = project.run_through(&pooler, "migrate-schemas --all --jobs 8 --quiet");
    assert_eq!(said.trim_end(), "22 schemas migrated, 1 up to date");
    assert_eq!(project.recorded(2).await, 22);
}

#[tokio::test]
async fn a_pooler_that_hangs_up_on_what_it_does_not_know_is_made_do_with() {
    let project = Project::new().await;
    project.add_many_tenants(20).await;
    project.add_traces(1, 0.0);
    let proxy = Proxy::start(project.database(), Lose::Direct);
    let mut command = project.command("migrate-schemas --all --quiet");
    let output = command.env("DATABASE_URL", proxy.url()).output().unwrap();
    assert!(proxy.has_lost());
    assert_eq!(project.shown(&output).trim_end(), "20 schemas migrated, 1 up to date");
}

#[tokio::test]
async fn no_program_is_run_where_it_would_find_the_shared_schemas_tables() {
    let project = Project::with_tenants(["acme"]).await;
    // PgBouncer refuses what sets the search path, or takes it and does not pass it on.
    for more in ["", "ignore_startup_parameters = options\n"] {
        let Some(pooler) = PgBouncer::start_with(project.database(), more).await else {
            return;
        };
        for arguments in [
            "tenant-command --schema acme psql -- -c 'create table lost ()'",
            "tenant-command --schema acme exec touch ran",
            "all-tenants-command --tenants psql -- -c 'create table lost ()'",
            "all-tenants-command --tenants exec touch ran",
        ] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(project.run_through(&pooler, arguments), @"
                ------- stderr -------
                error: another program needs a connection to the server itself, and there is a pooler in between
                hint: give the server's own host and port with `--database-url`
                [exit status: 1]
                ");
            }
        }
    }
    assert_eq!(project.query("select to_regclass('public.lost') is null").await, "t");
    assert!(!project.path("ran").exists());
}

#[tokio::test]
async fn a_hook_is_given_no_database_in_which_it_would_be_lost() {
    let project = Project::with_tenants(["acme"]).await;
    let more = "ignore_startup_parameters = options\n";
    let Some(pooler) = PgBouncer::start_with(project.database(), more).await else {
        return;
    };
    project.script("hook.sh", "env | grep -E '^(PG|DATABASE_URL|TENANT)' > seen; cat > told");
    project.write("tenantctl.toml", "[hooks]\npost_migrate = './hook.sh'\n");
    project.tenant_migration("V1__notes.sql", "create table notes (body text);");
    insta::assert_snapshot!(project.run_through(&pooler, "migrate-schemas --tenants"), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V1 `notes`
    warning: hooks are given no database: there is a pooler in between, behind which they would find the shared schema's tables
    ");
    let seen = std::fs::read_to_string(project.path("seen")).unwrap();
    assert_eq!(seen, "TENANT_SCHEMA=public\n");
    assert!(std::fs::read_to_string(project.path("told")).unwrap().contains("\"acme\""));
}

#[tokio::test]
async fn nothing_of_a_session_reaches_another_client() {
    let project = Project::new().await;
    let Some(pooler) = PgBouncer::start(project.database()).await else {
        return;
    };
    project.add_many_tenants(10).await;
    // The grammar refuses what it can see; this it cannot.
    project.tenant_migration(
        "V1__a.sql",
        "create table a ();\n\
         do $$ begin execute 'set work_mem = ''1MB'''; execute 'create temporary table t ()'; \
           execute 'set search_path = nowhere'; execute 'set role pg_monitor'; end $$;",
    );
    let said = project.run_through(&pooler, "migrate-schemas --tenants --jobs 1 --quiet");
    assert_eq!(said, "10 schemas migrated\n");
    let left = "select current_setting('work_mem'), current_setting('search_path'), current_user, \
        (select count(*) from pg_class where relpersistence = 't'), \
        (select count(*) from pg_locks join pg_database d on d.oid = database \
           where locktype = 'advisory' and datname = current_database())";
    for _ in 0..3 {
        let seen = project.query_at(&pooler.url(), left).await;
        assert_eq!(seen, "4MB|\"$user\", public|postgres|0|0");
    }
}

#[tokio::test]
async fn where_strings_end_is_decided_for_us_and_not_for_other_clients() {
    let project = Project::new().await;
    let database = &project.database().database;
    project.sql(&format!("alter database {database} set standard_conforming_strings = off")).await;
    let Some(pooler) = PgBouncer::start(project.database()).await else {
        return;
    };
    project.add_many_tenants(10).await;
    project.tenant_migration(
        "V1__x.sql",
        "create table notes (id int); select 'a\\', '; commit; --'; select 1/0;",
    );
    let said = project.run_through(&pooler, "migrate-schemas --tenants --jobs 2 --one-by-one");
    assert!(said.starts_with("10 schemas failed\n"), "{said}");
    assert!(said.contains("caused by: division by zero"), "{said}");
    let tables = "select count(*) from pg_class where relname = 'notes'";
    assert_eq!(project.query(tables).await, "0");
    for _ in 0..3 {
        let seen = project
            .query_at(&pooler.url(), "select current_setting('standard_conforming_strings')")
            .await;
        assert_eq!(seen, "off");
    }
}

#[tokio::test]
async fn somebody_elses_temporary_table_is_not_changed_instead() {
    let project = Project::with_tenants(["acme"]).await;
    let pooler = PgBouncer::start_with(project.database(), "max_db_connections = 1\n").await;
    let Some(pooler) = pooler else {
        return;
    };
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    project.migrate();
    project.tenant_migration("V2__text.sql", "alter table notes add column text text");
    let table = "create temp table notes as select 1 as id; select 'made'";
    assert_eq!(project.query_at(&pooler.url(), table).await, "made");
    let said = project.run_through(&pooler, "migrate-schemas --tenants --quiet");
    let changed = "select attrelid::regclass from pg_attribute \
        where attname = 'text' and attrelid::regclass::text like '%notes'";
    assert_eq!(project.query(changed).await, "acme.notes", "{said}");

    assert_eq!(project.query_at(&pooler.url(), table).await, "made");
    let insert = "'insert into notes values (2)'";
    let sql = format!("tenant-command --schema acme sql {insert}");
    let said = project.run_through(&pooler, &sql);
    assert_eq!(project.query("select id from acme.notes").await, "2", "{said}");

    assert_eq!(project.query_at(&pooler.url(), table).await, "made");
    let sql = format!("all-tenants-command sql --tenants {insert}");
    let said = project.run_through(&pooler, &sql);
    assert_eq!(project.query("select count(*) from acme.notes").await, "2", "{said}");
}

#[tokio::test]
async fn a_file_that_needs_a_session_is_refused_before_anything_is_done() {
    let project = Project::new().await;
    let Some(pooler) = PgBouncer::start(project.database()).await else {
        return;
    };
    project.add_many_tenants(2).await;
    project.add_traces(1, 0.0);
    project.tenant_migration(
        "V2__index.sql",
        "-- tenantctl: no-transaction\ncreate index concurrently log_version on log (version);",
    );
    insta::assert_snapshot!(project.run_through(&pooler, "migrate-schemas --all"), @"
    ------- stderr -------
    error: V2 `index` runs in no transaction and needs a connection to the server itself, and this is a pooler's
    hint: nothing was changed; give the server's own host and port with `--database-url`
    [exit status: 2]
    ");
    assert_eq!(project.versions().await, "");
    insta::assert_snapshot!(project.run_through(&pooler, "create-tenant --schema acme --no-input"), @"
    ------- stderr -------
    error: V2 `index` runs in no transaction and needs a connection to the server itself, and this is a pooler's
    hint: nothing was changed; give the server's own host and port with `--database-url`
    [exit status: 2]
    ");
    let schemas = "select count(*) from pg_namespace where nspname = 'acme'";
    assert_eq!(project.query(schemas).await, "0");
}

#[tokio::test]
async fn busy_is_busy_through_a_pooler_too() {
    let project = Project::new().await;
    let Some(pooler) = PgBouncer::start(project.database()).await else {
        return;
    };
    project.add_many_tenants(1).await;
    project.add_traces(1, 0.0);
    project.migrate();
    project.tenant_migration("V2__log.sql", "alter table log add column x int");
    let _blocker = project.blocker("select from t1.log").await;
    let said = project.run_through(&pooler, "migrate-schemas --tenants --retries 2");
    assert!(said.contains("(blocker, 127.0.0.1)"), "{said}");
    assert!(said.contains("[exit status: 6]"), "{said}");
}

#[tokio::test]
async fn a_dump_needs_a_direct_connection_and_a_restoration_none() {
    let project = Project::with_tenants(["acme"]).await;
    let Some(pooler) = PgBouncer::start(project.database()).await else {
        return;
    };
    project.sql("create table acme.notes as select generate_series(1, 3) as id").await;
    insta::assert_snapshot!(project.run_through(&pooler, "dump-tenant acme -o acme.dump"), @"
    ------- stderr -------
    error: a dump needs a direct connection, and there is a pooler in between
    hint: give the server's own host and port with `--database-url`
    [exit status: 1]
    ");
    assert!(!project.path("acme.dump").exists());
    project.run("dump-tenant acme -o acme.dump");
    insta::assert_snapshot!(project.run_through(&pooler, "restore-tenant acme.dump --as globex"), @"restored tenant `acme` as `globex`: 1 table, 3 rows");
}
