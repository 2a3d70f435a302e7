use std::fs;

use crate::support::Project;

#[tokio::test]
async fn files_are_numbered_in_sequence() {
    let project = Project::new().await;
    insta::assert_snapshot!(project.run("makemigrations add_notes --tenant"), @"wrote migrations/tenant/V1__add_notes.sql");
    insta::assert_snapshot!(project.run("makemigrations add_plans --shared"), @"wrote migrations/shared/V2__add_plans.sql");
    insta::assert_snapshot!(fs::read_to_string(project.path("migrations/tenant/V1__add_notes.sql")).unwrap(), @r#"
    -- Runs once in the schema of every tenant.
    -- Write names without a schema (orders, not acme.orders), and leave out COMMIT and
    -- SET search_path: the file runs in one transaction with its line in the schema's history.
    -- Extensions belong in a shared migration. What cannot run in a transaction, such as
    -- CREATE INDEX CONCURRENTLY, gets a file of its own whose first line is
    -- "-- tenantctl: no-transaction".
    "#);
    insta::assert_snapshot!(fs::read_to_string(project.path("migrations/shared/V2__add_plans.sql")).unwrap(), @r#"
    -- Runs once, in the shared schema, which every tenant reads.
    -- Write names without a schema (orders, not public.orders), and leave out COMMIT and
    -- SET search_path: the file runs in one transaction with its line in the history.
    -- Extensions belong here. What cannot run in a transaction, such as CREATE INDEX CONCURRENTLY,
    -- gets a file of its own whose first line is "-- tenantctl: no-transaction".
    "#);
}

#[tokio::test]
async fn a_timestamp_is_a_version_too() {
    let project = Project::new().await;
    let said = project.run("makemigrations add_notes --tenant --timestamp");
    let version =
        said.trim().strip_prefix("wrote migrations/tenant/V").and_then(|it| it.split_once("__"));
    assert_eq!(
        version.map(|(version, name)| (version.len(), name)),
        Some((14, "add_notes.sql")),
        "{said}"
    );
    // A folder that has them goes on with them.
    let said = project.run("makemigrations more --tenant");
    assert!(said.starts_with("wrote migrations/tenant/V20"), "{said}");
    project.write("tenantctl.toml", "[migrations]\nnumbering = \"timestamp\"\n");
    let said = project.run("makemigrations plans --shared");
    assert!(said.starts_with("wrote migrations/shared/V20"), "{said}");
}

#[tokio::test]
async fn the_sql_may_be_given() {
    let project = Project::with_tenants(["acme"]).await;
    project.write("notes.sql", "create table notes (id int);\n");
    insta::assert_snapshot!(project.run("makemigrations notes --tenant --from notes.sql"), @"wrote migrations/tenant/V1__notes.sql");
    insta::assert_snapshot!(
        project.run_with_stdin("makemigrations orders --tenant --from -", "create table orders (id int);\n"), @"wrote migrations/tenant/V2__orders.sql");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V1 `notes`, V2 `orders`
    ");
    insta::assert_snapshot!(project.run("makemigrations x --tenant --from nothing.sql"), @"
    ------- stderr -------
    error: `nothing.sql` could not be read
      caused by: no such file or directory
    [exit status: 2]
    ");
    project.write("latin1.sql", b"-- gr\xfc\xdfe");
    insta::assert_snapshot!(project.run("makemigrations x --tenant --from latin1.sql"), @"
    ------- stderr -------
    error: `latin1.sql` could not be read
      caused by: it is not UTF-8
    [exit status: 2]
    ");
    assert!(!project.path("migrations/tenant/V3__x.sql").exists());
}

#[tokio::test]
async fn names_refinery_would_not_read_are_refused() {
    let project = Project::new().await;
    insta::assert_snapshot!(project.run("makemigrations 'Add Orders!' --tenant"), @"
    ------- stderr -------
    error: `Add Orders!` cannot be a migration's name, which is made of letters, digits and underscores, without version and ending
    hint: use `Add_Orders`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("makemigrations '' --tenant"), @"
    ------- stderr -------
    error: `` cannot be a migration's name, which is made of letters, digits and underscores, without version and ending
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("makemigrations ../../etc/x --tenant"), @"
    ------- stderr -------
    error: `../../etc/x` cannot be a migration's name, which is made of letters, digits and underscores, without version and ending
    hint: use `etc_x`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("makemigrations größe --tenant"), @"wrote migrations/tenant/V1__größe.sql");
    let long = format!("makemigrations {} --tenant", "x".repeat(300));
    insta::assert_snapshot!(project.run(&long), @"
    ------- stderr -------
    error: a migration's name may have 200 bytes, and this one has 300
    [exit status: 2]
    ");
    assert_eq!(
        fs::read_dir(project.path("migrations/tenant")).unwrap().count(),
        2 // `größe` is made of letters
    );
}

#[tokio::test]
async fn which_folder_must_be_said() {
    let project = Project::new().await;
    insta::assert_snapshot!(project.run("makemigrations notes"), @"
    ------- stderr -------
    error: for which schemas is the migration?
    hint: say `--tenant` (every tenant's schema) or `--shared` (the shared schema)
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("makemigrations notes --shared --tenant"), @"
    ------- stderr -------
    error: the argument '--shared' cannot be used with '--tenant'

    Usage: tenantctl makemigrations --shared <NAME>

    For more information, try '--help'.
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("makemigrations --tenant"), @"
    ------- stderr -------
    error: the following required arguments were not provided:
      <NAME>

    Usage: tenantctl makemigrations --tenant <NAME>

    For more information, try '--help'.
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("makemigrations notes --tenant --migrations-dir elsewhere"), @"
    ------- stderr -------
    error: there is no migration folder `elsewhere/tenant`
    hint: make the project's folders with `tenantctl init`, or name another with `--migrations-dir`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("makemigrations notes --check"), @"
    ------- stderr -------
    error: the argument '[NAME]' cannot be used with '--check'

    Usage: tenantctl makemigrations <NAME>

    For more information, try '--help'.
    [exit status: 2]
    ");
}

#[tokio::test]
async fn two_branches_that_claim_one_version_are_found_and_mended() {
    let project = Project::new().await;
    project.tenant_migration("V1__notes.sql", "select 1;");
    insta::assert_snapshot!(project.run("makemigrations --check"), @"no version is claimed twice");
    project.tenant_migration("V2__mine.sql", "select 2;");
    project.tenant_migration("V2__theirs.sql", "select 2;");
    insta::assert_snapshot!(project.run("makemigrations --check"), @"
    version 2 is claimed by `migrations/tenant/V2__mine.sql` and `migrations/tenant/V2__theirs.sql`
    ------- stderr -------
    hint: `tenantctl makemigrations --renumber migrations/tenant/V2__theirs.sql` gives the file the next free version
    [exit status: 3]
    ");
    insta::assert_snapshot!(project.run("makemigrations more --tenant"), @"
    ------- stderr -------
    error: version 2 is claimed by `migrations/tenant/V2__mine.sql` and `migrations/tenant/V2__theirs.sql`
    hint: give one the next free version: `tenantctl makemigrations --renumber migrations/tenant/V2__theirs.sql`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("makemigrations --renumber migrations/tenant/V2__theirs.sql"), @"renamed migrations/tenant/V2__theirs.sql to migrations/tenant/V3__theirs.sql");
    insta::assert_snapshot!(project.run("makemigrations --check"), @"no version is claimed twice");
    assert_eq!(
        fs::read_to_string(project.path("migrations/tenant/V3__theirs.sql")).unwrap(),
        "select 2;"
    );
}

#[tokio::test]
async fn only_a_migration_can_be_renumbered() {
    let project = Project::new().await;
    project.tenant_migration("V1__notes.sql", "select 1;");
    project.write("elsewhere/V1__x.sql", "select 1;");
    project.write("migrations/tenant/readme.md", "hello");
    insta::assert_snapshot!(project.run("makemigrations --renumber migrations/tenant/V7__none.sql"), @"
    ------- stderr -------
    error: `migrations/tenant/V7__none.sql` is not a migration of `migrations/tenant`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("makemigrations --renumber elsewhere/V1__x.sql"), @"
    ------- stderr -------
    error: `elsewhere/V1__x.sql` is not a migration of `migrations/tenant`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("makemigrations --renumber migrations/tenant/readme.md"), @"
    ------- stderr -------
    error: `migrations/tenant/readme.md` is not a migration of `migrations/tenant`
    [exit status: 2]
    ");
}

#[tokio::test]
async fn no_database_is_needed() {
    let project = Project::empty().await;
    project.run("init");
    let output = project
        .command("makemigrations notes --tenant")
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    insta::assert_snapshot!(project.shown(&output), @"wrote migrations/tenant/V2__notes.sql");
}
