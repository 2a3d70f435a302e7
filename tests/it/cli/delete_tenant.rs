//! `delete-tenant`.

use crate::support::{Project, eventually};

const LEFT: &str =
    "select concat_ws(' ', (select count(*) from tenants where schema_name = 'acme'),
    (select count(*) from domains), (select count(*) from pg_namespace where nspname = 'acme'))";

/// Row, domain and schema of `acme`, which has a table of each of the usual kinds.
async fn project() -> Project {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project
        .sql(
            "create table public.users (id bigint primary key);
             create type acme.kind as enum ('a', 'b');
             create table acme.orders (id bigserial primary key, kind acme.kind,
                 by_user bigint references public.users (id));
             create table acme.parts (id int generated always as identity, made date) partition by range (made);
             create table acme.parts_2026 partition of acme.parts for values from ('2026-01-01') to ('2027-01-01');
             create view acme.recent as select * from acme.orders;
             create function acme.twice(int) returns int language sql as 'select 2 * $1';
             insert into domains (tenant_id, domain, is_primary)
                 select id, 'acme.example', true from tenants where schema_name = 'acme'",
        )
        .await;
    project
}

#[tokio::test]
async fn a_tenant_goes_with_its_domains_and_its_schema() {
    let project = project().await;
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema --yes --dry-run"), @"would delete tenant `acme` with 1 domain (acme.example) and its schema: 3 tables, 8.00 KiB");
    assert_eq!(project.query(LEFT).await, "1 1 1");
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema --yes"), @"deleted tenant `acme` with 1 domain (acme.example) and its schema: 3 tables, 8.00 KiB");
    assert_eq!(project.query(LEFT).await, "0 0 0");
    assert_eq!(project.query("select count(*) from public.users").await, "0");
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema --yes"), @"
    ------- stderr -------
    error: there is no tenant with schema `acme`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
    assert!(project.run("history --schema acme").contains("deleted with its schema"));
}

#[tokio::test]
async fn a_schema_that_is_kept_is_nobodys_until_it_is_adopted() {
    let project = project().await;
    insta::assert_snapshot!(project.run("delete-tenant acme --keep-schema --yes --format json"), @r#"{"type":"tenant","schema":"acme","domains":["acme.example"],"tables":3,"bytes":8192,"schema_dropped":false,"state":"deleted","dry_run":false}"#);
    assert_eq!(project.query(LEFT).await, "0 0 1");
    insta::assert_snapshot!(project.run("create-tenant --schema acme"), @"
    ------- stderr -------
    error: schema `acme` exists, but is not registered
    hint: to register it as it is, add `--adopt`; to be rid of it, `drop schema \"acme\"` in psql
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema --yes"), @"
    ------- stderr -------
    error: there is no tenant with schema `acme`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_script_says_everything_or_nothing_is_done() {
    let project = project().await;
    insta::assert_snapshot!(project.run("delete-tenant acme"), @"
    ------- stderr -------
    error: what is to become of schema `acme` is not said
    hint: nothing was changed; say `--drop-schema` or `--keep-schema`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema"), @"
    ------- stderr -------
    error: `acme` is not deleted unless somebody confirms it
    hint: nothing was changed; add `--yes` where nobody can be asked
    [exit status: 2]
    ");
    for name in ["1", "public", "pg_catalog", "tenantctl", "acm", "ACME"] {
        let shown = project.run(&format!("delete-tenant {name} --drop-schema --yes"));
        assert!(shown.contains("[exit status: 2]"), "{name}: {shown}");
    }
    assert_eq!(project.query(LEFT).await, "1 1 1");
}

#[tokio::test]
async fn a_person_says_what_goes_and_types_the_name() {
    let project = project().await;
    let (seen, status) = project
        .terminal("delete-tenant acme")
        .answers("Type `drop` or `keep`", "yes")
        .answers("Type `drop` or `keep`", "drop")
        .answers("Type its name to go on", "globex")
        .ends();
    assert!(seen.contains("that is not its name; nothing was deleted"), "{seen}");
    assert_eq!((status, project.query(LEFT).await.as_str()), (1, "1 1 1"));
    let (_, status) = project
        .terminal("delete-tenant acme --drop-schema")
        .answers("Type its name to go on", "acme")
        .ends();
    assert_eq!((status, project.query(LEFT).await.as_str()), (0, "0 0 0"));
}

#[tokio::test]
async fn what_depends_on_it_from_outside_is_named_and_stays() {
    let project = project().await;
    project
        .sql(
            "create table globex.refers (id bigint references acme.orders (id));
             create table globex.typed (id int, kind acme.kind);
             create view public.all_orders as select * from acme.orders;
             create table public.parts_2027 partition of acme.parts for values from ('2027-01-01') to ('2028-01-01');
             create table globex.doubled (n int, m int generated always as (acme.twice(2)) stored);",
        )
        .await;
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema --yes"), @"
    ------- stderr -------
    error: `acme` is not deleted: what is not its own depends on it
      column kind of table globex.typed
      constraint refers_id_fkey on table globex.refers
      default value for column m of table globex.doubled
      table public.parts_2027
      view public.all_orders
    hint: nothing was changed; drop or move these first, or keep the schema with `--keep-schema`
    [exit status: 1]
    ");
    assert_eq!(project.query(LEFT).await, "1 1 1");
    assert_eq!(project.query("select count(*) from acme.recent").await, "0");
}

#[tokio::test]
async fn an_extension_in_it_is_everybodys() {
    let project = project().await;
    project.sql("create extension citext schema acme").await;
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema --yes"), @"
    ------- stderr -------
    error: `acme` is not deleted: what is not its own depends on it
      extension citext
    hint: nothing was changed; drop or move these first, or keep the schema with `--keep-schema`
    [exit status: 1]
    ");
}

#[tokio::test]
async fn rows_that_refer_to_the_registry_keep_the_tenant() {
    let project = project().await;
    project
        .sql(
            "create table public.invoices (tenant_id bigint references tenants (id));
             insert into invoices select id from tenants where schema_name = 'acme'",
        )
        .await;
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema --yes"), @r#"
    ------- stderr -------
    error: `acme` could not be deleted
      caused by: update or delete on table "tenants" violates foreign key constraint "invoices_tenant_id_fkey" on table "invoices"
        detail: Key (id)=(1) is still referenced from table "invoices".
        SQLSTATE 23503
    hint: rows of other tables refer to its registry row: delete those first, or let their foreign key say `on delete cascade`
    [exit status: 1]
    "#);
    assert_eq!(project.query(LEFT).await, "1 1 1");
}

#[tokio::test]
async fn a_tenant_that_the_app_is_working_in_is_busy() {
    let project = project().await;
    let blocker = project.blocker("select * from acme.orders").await;
    let shown = project.run("delete-tenant acme --drop-schema --yes");
    assert!(
        shown.contains("error: somebody else is at work in schema `acme`\n  held by "),
        "{shown}"
    );
    assert!(shown.contains("idle in transaction"), "{shown}");
    assert!(shown.contains("[exit status: 6]"), "{shown}");
    assert_eq!(project.query(LEFT).await, "1 1 1");
    blocker.release().await;
    assert!(project.run("delete-tenant acme --drop-schema --yes").starts_with("deleted "));
}

#[tokio::test]
async fn of_two_at_once_one_deletes_it() {
    let project = project().await;
    let started = [(); 3].map(|()| project.start("delete-tenant acme --drop-schema --yes"));
    let shown = started.map(|it| project.shown(&it.ends()));
    let done = shown.iter().filter(|it| it.starts_with("deleted tenant `acme`")).count();
    assert_eq!(done, 1, "{shown:#?}");
    let told = shown.iter().filter(|it| it.contains("there is no tenant")).count();
    assert_eq!(told, 2, "{shown:#?}");
    assert_eq!(project.query(LEFT).await, "0 0 0");
}

/// Makes a tenant too large for one transaction.
async fn large() -> Project {
    let project = project().await;
    project
        .sql(
            "do $$ begin
               for i in 1..900 loop
                 execute format('create table acme.t%s (id int primary key, up int %s)', i,
                   case when i > 1 then format('references acme.t%s (id)', i - 1) end);
               end loop;
             end $$",
        )
        .await;
    project
}

#[tokio::test]
async fn a_large_tenant_goes_in_batches_and_a_killed_deletion_goes_on() {
    let project = large().await;
    let deleting = project.start("delete-tenant acme --drop-schema --yes");
    let is_marked = "select coalesce(obj_description(oid, 'pg_namespace'), '') from pg_namespace where nspname = 'acme'";
    eventually("the schema is marked", async || {
        project.query(is_marked).await == "tenantctl: being deleted"
    })
    .await;
    assert!(deleting.kill());
    insta::assert_snapshot!(project.run("status --tenants"), @"1 schema with nothing applied · 1 schema being deleted: acme");
    assert_eq!(project.query(LEFT).await, "1 0 1");

    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    1 schema migrated
    ------- stderr -------
    warning: `acme` is being deleted and left alone; `tenantctl delete-tenant acme` finishes it
    globex: applied V1 `notes`
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --schema acme"), @"
    1 schema failed
    ------- stderr -------
    error: schema `acme` could not be migrated
      caused by: it is being deleted
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=acme`
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("delete-tenant acme --keep-schema --yes"), @"
    ------- stderr -------
    error: the deletion of `acme` has begun, and its schema cannot be kept any more
    hint: `tenantctl delete-tenant acme --drop-schema` does what is left
    [exit status: 2]
    ");
    let shown = project.run("delete-tenant acme --yes --quiet");
    assert!(shown.starts_with("deleted tenant `acme` with its schema: "), "{shown}");
    assert_eq!(project.query(LEFT).await, "0 0 0");
    assert_eq!(project.query("select count(*) from public.users").await, "0");
}

#[tokio::test]
async fn a_large_tenant_that_cannot_go_wholly_stays_whole() {
    let project = large().await;
    project
        .sql(
            "create table public.invoices (tenant_id bigint references tenants (id) deferrable initially deferred);
             insert into invoices select id from tenants where schema_name = 'acme'",
        )
        .await;
    let shown = project.run("delete-tenant acme --drop-schema --yes");
    assert!(shown.contains("SQLSTATE 23503"), "{shown}");
    assert_eq!(project.query(LEFT).await, "1 1 1");
    assert_eq!(
        project.query("select count(*) from pg_tables where schemaname = 'acme'").await,
        "903"
    );
}

#[tokio::test]
async fn ctrl_c_between_two_batches_says_how_to_go_on() {
    let project = large().await;
    let mut terminal = project.terminal("delete-tenant acme --drop-schema --yes");
    let (seen, status) = terminal.sees("objects left").presses("\x03").ends();
    assert!(seen.contains("the same command again does what is left"), "{seen}");
    assert_eq!((status, project.query(LEFT).await.as_str()), (130, "1 0 1"));
    assert!(project.run("delete-tenant acme --drop-schema --yes").starts_with("deleted "));
    assert_eq!(project.query(LEFT).await, "0 0 0");
}

#[tokio::test]
async fn odd_names_are_names() {
    let names = ["eha-meetup", "select", "Acme", "o'brien; drop schema globex", "a\"b", "--all"];
    let project = Project::with_tenants(names).await;
    project.sql("create schema globex").await;
    for name in names {
        let mut command = project.command("delete-tenant --drop-schema --yes --");
        let output = command.arg(name).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {}", project.shown(&output));
    }
    assert_eq!(project.query("select count(*) from tenants").await, "0");
    assert_eq!(
        project.query("select string_agg(nspname, ' ' order by nspname) from pg_namespace where nspname !~ '^pg_'").await,
        "globex information_schema public tenantctl"
    );
}

#[tokio::test]
async fn a_tenant_without_a_schema_is_deleted_all_the_same() {
    let project = project().await;
    project.sql("drop schema acme cascade").await;
    insta::assert_snapshot!(project.run("delete-tenant acme --yes"), @"deleted tenant `acme` with 1 domain (acme.example); it has no schema");
}

#[tokio::test]
async fn a_registry_row_never_makes_a_schema_of_postgres_a_tenants() {
    let project = project().await;
    project.sql("alter table tenants drop constraint tenants_schema_name_check; insert into tenants (schema_name, name) values ('information_schema', 'x')").await;
    insta::assert_snapshot!(project.run("delete-tenant information_schema --drop-schema --yes"), @"
    ------- stderr -------
    error: schema name `information_schema` has a meaning of its own to Postgres
    hint: `--keep-schema` deletes the registry row and its domains alone
    [exit status: 2]
    ");
    let shown = project.run("delete-tenant information_schema --keep-schema --yes");
    assert!(shown.starts_with("deleted tenant `information_schema`"), "{shown}");
}

#[tokio::test]
async fn a_failing_hook_keeps_the_tenant() {
    let project = project().await;
    project
        .write("tenantctl.toml", "[hooks]\npre_delete = ['sh', '-c', 'cat >event.json; exit 3']\n");
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema --yes"), @"
    ------- stderr -------
    error: hook `pre_delete` ended with status 3
    hint: nothing was changed; mend what it found, and run the same command again
    [exit status: 1]
    ");
    assert_eq!(
        std::fs::read_to_string(project.path("event.json")).unwrap().trim(),
        r#"{"type":"pre_delete","schema":"acme","domains":["acme.example"],"keeps_schema":false}"#
    );
    assert_eq!(project.query(LEFT).await, "1 1 1");
}

#[tokio::test]
async fn what_is_dumped_first_can_be_restored() {
    let project = project().await;
    project.sql("insert into acme.orders (kind) values ('a'), ('b')").await;
    project.write("taken.dump", "x");
    let shown = project.run("delete-tenant acme --drop-schema --yes --dump taken.dump");
    assert!(
        shown.contains("error: `taken.dump` exists") && shown.contains("[exit status: 1]"),
        "{shown}"
    );
    assert_eq!(project.query(LEFT).await, "1 1 1");
    let shown = project.run("delete-tenant acme --drop-schema --yes --dump acme.dump");
    assert!(shown.contains("dumped tenant `acme` to `acme.dump`"), "{shown}");
    assert_eq!(project.query(LEFT).await, "0 0 0");
    let shown = project.run("restore-tenant acme.dump");
    assert!(shown.starts_with("restored tenant `acme`"), "{shown}");
    assert_eq!(project.query(LEFT).await, "1 1 1");
    assert_eq!(project.query("select string_agg(kind::text, '') from acme.orders").await, "ab");
}
