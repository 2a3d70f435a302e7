use crate::support::Project;

async fn grown() -> Project {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.sql("create table acme.notes (id int); create table globex.notes (id int)").await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int);");
    project.tenant_migration("V2__orders.sql", "create table orders (id int);");
    project
}

#[tokio::test]
async fn versions_are_recorded_and_not_run() {
    let project = grown().await;
    insta::assert_snapshot!(project.run("baseline --tenants --to 1 --jobs 1"), @"
    2 schemas recorded
    ------- stderr -------
    acme: recorded V1 `notes`
    globex: recorded V1 `notes`
    ");
    assert_eq!(project.tables("acme").await, "notes, refinery_schema_history");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    2 schemas migrated
    ------- stderr -------
    acme: applied V2 `orders`
    globex: applied V2 `orders`
    ");
    insta::assert_snapshot!(project.run("baseline --tenants --to latest --jobs 1"), @"2 schemas up to date");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    2 schemas at V2
    ");
}

#[tokio::test]
async fn what_is_recorded_already_is_left_as_it_is() {
    let project = grown().await;
    project.run("baseline --schema acme --to V1");
    let before = project.query("select * from acme.refinery_schema_history").await;
    insta::assert_snapshot!(project.run("baseline --tenants --to 2 --jobs 1"), @"
    2 schemas recorded
    ------- stderr -------
    acme: recorded V2 `orders`
    globex: recorded V1 `notes`, V2 `orders`
    ");
    let history =
        project.query("select * from acme.refinery_schema_history order by version").await;
    assert!(history.starts_with(&before), "{history}");
}

#[tokio::test]
async fn a_file_that_could_not_run_can_still_be_recorded() {
    let project = grown().await;
    project.tenant_migration("V3__old.sql", "create extension citext;\nCOMMIT;\n");
    project.tenant_migration(
        "V4__index.sql",
        "-- tenantctl: no-transaction\ncreate index concurrently i on notes (id);\n",
    );
    insta::assert_snapshot!(project.run("baseline --tenants --to latest --jobs 1"), @"
    2 schemas recorded
    ------- stderr -------
    acme: recorded V1 `notes`, V2 `orders`, V3 `old`, V4 `index`
    globex: recorded V1 `notes`, V2 `orders`, V3 `old`, V4 `index`
    ");
}

#[tokio::test]
async fn the_shared_schema_that_grew_by_itself_is_adopted() {
    let project = Project::empty().await;
    project.run("init --without-users");
    project.sql("create table tenants (id bigserial primary key, schema_name text unique, name text); create table domains (tenant_id bigint, domain text, is_primary bool)").await;
    insta::assert_snapshot!(project.run("baseline --shared --to 1"), @"
    1 schema recorded
    ------- stderr -------
    public: recorded V1 `create_tenants_and_domains`
    ");
    insta::assert_snapshot!(project.run("status --shared"), @"shared schema `public` at V1");
}

#[tokio::test]
async fn what_is_asked_for_must_be_plain() {
    let project = grown().await;
    for (arguments, said) in [
        ("baseline --tenants", "--to <VERSION>"),
        ("baseline --to 1", "which schemas?"),
        ("baseline --tenants --to 9", "there is no migration with version 9"),
        ("baseline --tenants --to new", "it is neither a version nor `latest`"),
        ("baseline --all --to 1", "`--to` names a version of one folder"),
        ("baseline --schema ghost --to 1", "there is no tenant with schema `ghost`"),
        ("baseline --schema public --to 1", "`public` is the shared schema"),
    ] {
        let output = project.run(arguments);
        assert!(output.contains(said) && output.ends_with("[exit status: 2]\n"), "{output}");
    }
    assert_eq!(project.tables("acme").await, "notes");
}

#[tokio::test]
async fn a_history_that_disagrees_is_not_added_to() {
    let project = grown().await;
    project.run("baseline --tenants --to 1");
    project.tenant_migration("V1__notes.sql", "create table notes (id bigint);");
    insta::assert_snapshot!(project.run("baseline --tenants --to 2 --jobs 1"), @"
    ------- stderr -------
    error: the migration files do not agree with what was applied
      divergent: V1 `notes` was applied, and `migrations/tenant/V1__notes.sql` has changed since
        in acme, globex
    hint: nothing was changed; restore the file as it was and write a new migration, or add `--allow-divergent` to go on
    [exit status: 3]
    ");
}

#[tokio::test]
async fn a_schema_that_is_not_there_fails_alone() {
    let project = grown().await;
    project.sql("drop schema globex cascade").await;
    insta::assert_snapshot!(project.run("baseline --tenants --to 1 --jobs 1"), @"
    1 schema recorded, 1 failed
    ------- stderr -------
    acme: recorded V1 `notes`
    error: schema `globex` could not be recorded
      caused by: there is no such schema
        unless it has just been deleted or renamed, the registry still has a row for it: make the schema anew with `create schema` in psql, or remove the row there
    hint: what failed is as it was; mend it and run `tenantctl baseline --tenants --to 1 --jobs 1` again: it does only what is left
    [exit status: 4]
    ");
}
