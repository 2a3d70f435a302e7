//! The main job from an empty folder to a mended failure, and what holds it together: what also
//! has to hold on other versions of Postgres.

use crate::support::Project;

const NOTES: &str = "create table notes (id int);\n";

#[tokio::test]
async fn from_an_empty_folder_to_a_mended_failure() {
    let as_one_message = main_flow("").await;
    insta::assert_snapshot!(as_one_message, @r#"
    $ init
    wrote tenantctl.toml
    wrote migrations/shared/V1__create_tenants_and_domains.sql
    wrote migrations/shared/V2__create_users.sql
    wrote migrations/tenant/V1__create_users.sql
    wrote .gitignore
    ------- stderr -------
    next: `tenantctl quickstart`, or `tenantctl migrate-schemas --shared` with a database of yours

    $ migrate-schemas --shared
    1 schema migrated
    ------- stderr -------
    public: applied V1 `create_tenants_and_domains`, V2 `create_users`

    $ create-tenant --schema acme --domain acme.localhost
    created tenant `acme` at acme.localhost
    ------- stderr -------
    acme: created with V1 `create_users`

    $ create-tenant --schema eha-meetup
    created tenant `eha-meetup`
    ------- stderr -------
    eha-meetup: created with V1 `create_users`

    $ makemigrations add_orders --tenant --from orders.sql
    wrote migrations/tenant/V2__add_orders.sql

    $ migrate-schemas --all --check
    1 migration pending after V1: acme, eha-meetup
    [exit status: 3]

    $ migrate-schemas --all --jobs 1
    2 schemas migrated, 1 up to date
    ------- stderr -------
    acme: applied V2 `add_orders`
    eha-meetup: applied V2 `add_orders`

    $ status
    shared schema `public` at V2
    2 schemas at V2

    $ migrate-schemas --all --jobs 1
    1 schema migrated, 1 up to date, 1 failed
    ------- stderr -------
    eha-meetup: applied V3 `note`
    error: migration V3 `note` could not be applied to schema `acme`
      caused by: column "note" of relation "orders" contains null values
         --> migrations/tenant/V3__note.sql:1
          |
        1 | alter table orders alter note set not null;
        SQLSTATE 23502
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --schema=acme`
    [exit status: 4]

    $ status --check
    shared schema `public` at V2
    1 schema at V3 · 1 behind: acme V2
    ------- stderr -------
    hint: `tenantctl migrate-schemas --all` applies what is pending
    [exit status: 3]

    $ migrate-schemas --schema=acme
    1 schema migrated
    ------- stderr -------
    acme: applied V3 `note`

    $ status --check
    shared schema `public` at V2
    2 schemas at V3
    "#);
    assert_eq!(main_flow(" --one-by-one").await, as_one_message);
}

/// Returns all that is said on the way, each command after a `$`.
async fn main_flow(flags: &str) -> String {
    let project = Project::empty().await;
    let mut said = String::new();
    let mut run = |command: &str, flags: &str| {
        let answer = project.run(&format!("{command}{flags}")).replace(" --one-by-one", "");
        said += &format!("$ {command}\n{answer}\n");
    };
    run("init", "");
    run("migrate-schemas --shared", flags);
    run("create-tenant --schema acme --domain acme.localhost", flags);
    run("create-tenant --schema eha-meetup", flags);
    project.write("orders.sql", "create table orders (id int primary key, note text);\n");
    run("makemigrations add_orders --tenant --from orders.sql", "");
    run("migrate-schemas --all --check", "");
    run("migrate-schemas --all --jobs 1", flags);
    run("status", "");
    project.sql("insert into acme.orders values (1, null)").await;
    project.tenant_migration("V3__note.sql", "alter table orders alter note set not null;\n");
    run("migrate-schemas --all --jobs 1", flags);
    run("status --check", "");
    project.sql("update acme.orders set note = ''").await;
    run("migrate-schemas --schema=acme", flags);
    run("status --check", "");
    said
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing() {
    for flags in ["", " --one-by-one"] {
        let project = Project::with_tenants(["acme"]).await;
        project.tenant_migration(
            "V1__notes.sql",
            "create table notes (id int);\ninsert into notes values ('x');",
        );
        let said = project.run(&format!("migrate-schemas --tenants{flags}"));
        assert!(said.contains("V1__notes.sql:2:27"), "{said}");
        assert_eq!(project.tables("acme").await, "");
    }
}

#[tokio::test]
async fn no_tenant_reaches_another_or_the_shared_schema() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project
        .sql(
            "create table public.users (id int); create table globex.users (id int); \
             create sequence public.counter",
        )
        .await;
    for (sql, touched) in [
        ("alter table users add column age int;", "public.users"),
        ("drop table if exists users;", "public.users"),
        ("insert into users values (1);", "public.users"),
        ("alter table users disable trigger all;", "public.users"),
        ("select setval('counter', 7);", "public.counter"),
        (
            "create table plans (id int primary key); \
             alter table users add foreign key (id) references plans (id);",
            "public.users",
        ),
        ("create index on users (id);", "public.users"),
        ("do $$ begin execute 'drop table globex.users'; end $$;", "globex.users"),
        ("do $$ begin execute 'create table public.leaked (id int)'; end $$;", "public.leaked"),
        (
            "create table t (id int); create function f() returns trigger language plpgsql as $$ \
             begin execute 'insert into users values (7)'; return null; end $$; create constraint \
             trigger c after insert on t deferrable initially deferred for each row execute \
             function f(); insert into t values (1);",
            "public.users",
        ),
    ] {
        for flags in ["", " --one-by-one"] {
            project.tenant_migration("V1__x.sql", sql);
            let said = project.run(&format!("migrate-schemas --schema acme{flags}"));
            assert!(said.contains(&format!("touched {touched}")), "{sql}: {said}");
            assert_eq!(project.tables("public").await, "domains, tenants, users", "{sql}");
            assert_eq!(project.tables("globex").await, "users", "{sql}");
            assert_eq!(project.columns("public.users").await, "id", "{sql}");
            assert_eq!(project.query("select count(*) from public.users").await, "0", "{sql}");
            let counted = "select last_value, is_called from public.counter";
            assert_eq!(project.query(counted).await, "1|f", "{sql}");
            assert_eq!(project.tables("acme").await, "", "{sql}");
        }
    }
}

// A string that ends elsewhere for the server than for us would hide a COMMIT.
#[tokio::test]
async fn backslashes_are_plain_whatever_the_database_is_set_to() {
    for flags in ["", " --one-by-one", " --rehearse", " --rehearse --one-by-one"] {
        let project = Project::with_tenants(["acme"]).await;
        let database = &project.database().database;
        project
            .sql(&format!("alter database {database} set standard_conforming_strings = off"))
            .await;
        project.tenant_migration(
            "V1__x.sql",
            "create table notes (id int);\nselect 'a\\', '; commit; --';\nselect 1/0;",
        );
        let said = project.run(&format!("migrate-schemas --tenants{flags}"));
        assert!(said.contains("caused by: division by zero"), "{said}");
        assert!(said.contains("V1__x.sql:3"), "{said}");
        assert_eq!(project.tables("acme").await, "", "{flags}");
    }
}

#[tokio::test]
async fn a_foreign_key_to_the_shared_schema_is_fine() {
    for flags in ["", " --one-by-one"] {
        let project = Project::with_tenants(["acme", "globex"]).await;
        project.sql("create table public.plans (id int primary key); insert into public.plans values (1)").await;
        project.tenant_migration("V1__x.sql", "create table orders (plan int references plans);\ninsert into orders select id from plans;");
        let said = project.run(&format!("migrate-schemas --tenants --jobs 1{flags}"));
        assert!(said.starts_with("2 schemas migrated\n"), "{said}");
    }
}

#[tokio::test]
async fn a_missing_schema_is_not_migrated_into_the_shared_one() {
    for flags in ["", " --one-by-one"] {
        let project = Project::with_tenants(["acme", "ghost"]).await;
        project.sql("drop schema ghost").await;
        project.tenant_migration("V1__notes.sql", NOTES);
        let said = project.run(&format!("migrate-schemas --tenants{flags}"));
        assert!(said.contains("there is no such schema") && said.contains("status: 4"), "{said}");
        assert_eq!(project.tables("public").await, "domains, tenants");
    }
}

#[tokio::test]
async fn two_runs_at_once_apply_each_migration_once() {
    let project = Project::with_tenants(["acme", "globex", "hooli", "initech"]).await;
    project.tenant_migration(
        "V1__notes.sql",
        "create table notes (id int);\ninsert into notes values (1);\nselect pg_sleep(0.1);",
    );
    let runs: Vec<_> = ["", " --one-by-one", ""]
        .iter()
        .map(|flags| {
            let mut command = project.command(&format!("migrate-schemas --all{flags}"));
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        let said = project.shown(&output);
        assert!(matches!(output.status.code(), Some(0 | 6)), "{said}");
        assert!(!said.contains("SQLSTATE"), "{said}");
    }
    let counts = "select count(*) from acme.notes union all select count(*) from globex.notes union all select count(*) from hooli.notes union all select count(*) from initech.notes";
    assert_eq!(project.query(counts).await, "1\n1\n1\n1");
}

#[tokio::test]
async fn a_concurrent_index_is_built_outside_a_transaction() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.tenant_migration(
        "V2__index.sql",
        "-- tenantctl: no-transaction\ncreate index concurrently by_id on notes (id);\n",
    );
    project.tenant_migration("V3__orders.sql", "create table orders (id int);");
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    2 schemas migrated, 1 up to date
    ------- stderr -------
    acme: applied V1 `notes`, V2 `index`, V3 `orders`
    globex: applied V1 `notes`, V2 `index`, V3 `orders`
    ");
    let valid = "select count(*) from pg_index where indisvalid and indexrelid::regclass::text like '%by_id'";
    assert_eq!(project.query(valid).await, "2");
}

#[tokio::test]
async fn odd_names_are_quoted_everywhere() {
    let project = Project::new().await;
    project.tenant_migration("V1__notes.sql", NOTES);
    for name in [
        "eha-meetup",
        "1234",
        "select",
        "Tenant 1",
        "bücher",
        "o'brien",
        r#"x", "y"#,
        r"back\slash",
    ] {
        let said = project.run(&format!("create-tenant --schema={}", shell_words::quote(name)));
        assert!(!said.contains("[exit"), "{said}");
        assert_eq!(project.tables(name).await, "notes, refinery_schema_history");
    }
    project.tenant_migration("V2__orders.sql", "create table orders (id int);");
    insta::assert_snapshot!(project.run("migrate-schemas --all --quiet"), @"8 schemas migrated, 1 up to date");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    8 schemas at V2
    ");
    assert_eq!(project.tables("public").await, "domains, tenants");
}

#[tokio::test]
async fn a_rehearsal_and_a_dry_run_change_nothing() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    for arguments in ["--rehearse", "--rehearse --one-by-one", "--dry-run", "--check"] {
        project.run(&format!("migrate-schemas --all {arguments}"));
        assert_eq!(project.tables("acme").await, "", "{arguments}");
    }
}

#[tokio::test]
async fn a_baseline_records_and_runs_nothing() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("baseline --tenants --to latest"), @"
    1 schema recorded
    ------- stderr -------
    acme: recorded V1 `notes`
    ");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    1 schema at V1
    ");
    assert_eq!(project.tables("acme").await, "refinery_schema_history");
}

#[tokio::test]
async fn a_schema_that_is_in_use_is_tried_again_and_then_named() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --tenants");
    project.tenant_migration("V2__body.sql", "alter table notes add column body text;\n");
    let blocker = project.blocker("lock table acme.notes in access share mode").await;
    let said = project.run("migrate-schemas --tenants --lock-timeout 100ms --retries 2");
    blocker.release().await;
    assert!(said.starts_with("1 schema migrated, 1 busy\n"), "{said}");
    assert!(said.contains("V2__body.sql:1") && said.ends_with("[exit status: 6]\n"), "{said}");
    let said = project.run("migrate-schemas --tenants");
    assert!(said.starts_with("1 schema migrated, 1 up to date\n"), "{said}");
}

#[tokio::test]
async fn a_migration_does_not_touch_its_own_history() {
    let project = Project::with_tenants(["acme"]).await;
    project
        .tenant_migration("V1__x.sql", "create table x ();\ndelete from refinery_schema_history;");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    ------- stderr -------
    error: the migration files cannot be run as they are
      `refinery_schema_history` says what was applied, and is not a migration's to change
         --> migrations/tenant/V1__x.sql:2:13
          |
        2 | delete from refinery_schema_history;
          |             ^
        instead: leave it out; `tenantctl baseline` records what was applied by other means
    hint: nothing was changed; mend the file and run it again
    [exit status: 2]
    ");
    assert_eq!(project.tables("acme").await, "");
}
