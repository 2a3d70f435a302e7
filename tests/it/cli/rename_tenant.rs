//! `rename-tenant`, `update-tenant` and `show-tenant`.

use crate::support::{Project, eventually};

const STATE: &str =
    "select string_agg(concat_ws(' ', t.schema_name, n.nspname, d.domain), ', ' order by t.id)
    from tenants t left join pg_namespace n on n.nspname = t.schema_name
    left join domains d on d.tenant_id = t.id";

async fn project() -> Project {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project
        .sql(
            "create table acme.notes (id int);
             insert into domains (tenant_id, domain, is_primary)
                 select id, 'acme.example', true from tenants where schema_name = 'acme'",
        )
        .await;
    project
}

#[tokio::test]
async fn schema_and_row_get_the_name_and_domains_follow() {
    let project = project().await;
    insta::assert_snapshot!(project.run("rename-tenant acme eha-meetup --dry-run"), @"would rename tenant `acme` to `eha-meetup`");
    assert_eq!(project.query(STATE).await, "acme acme acme.example, globex globex");
    insta::assert_snapshot!(project.run("rename-tenant acme eha-meetup"), @"renamed tenant `acme` to `eha-meetup`");
    assert_eq!(project.query(STATE).await, "eha-meetup eha-meetup acme.example, globex globex");
    insta::assert_snapshot!(project.run("resolve acme.example --quiet"), @"eha-meetup");
    insta::assert_snapshot!(project.run("rename-tenant eha-meetup Eha-Meetup --format json"), @r#"{"type":"tenant","schema":"Eha-Meetup","before":"eha-meetup","naming_old":[],"dry_run":false}"#);
    let history = project.run("history --schema acme");
    assert!(history.contains("renamed to `eha-meetup`"), "{history}");
}

#[tokio::test]
async fn a_name_that_is_taken_or_not_allowed_is_refused() {
    let project = project().await;
    project.sql("create schema ghost").await;
    insta::assert_snapshot!(project.run("rename-tenant acme globex"), @"
    ------- stderr -------
    error: tenant `globex` exists
    hint: `tenantctl list-tenants` lists the tenants
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("rename-tenant acme ghost"), @"
    ------- stderr -------
    error: schema `ghost` exists, but is not registered
    hint: nothing was changed; take another name
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("rename-tenant acme GLOBEX"), @"
    ------- stderr -------
    error: tenant `GLOBEX` differs from `globex` in upper and lower case alone
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("rename-tenant public x"), @"
    ------- stderr -------
    error: `public` is the shared schema, not a tenant's
    hint: nothing was changed; name a tenant's schema
    [exit status: 2]
    ");
    for (old, new) in [("acme", "acme"), ("acme", "public"), ("acme", "pg_x"), ("nobody", "x")] {
        let shown = project.run(&format!("rename-tenant {old} {new}"));
        assert!(shown.contains("[exit status: 2]"), "{old} {new}: {shown}");
    }
    assert_eq!(project.query(STATE).await, "acme acme acme.example, globex globex");
}

#[tokio::test]
async fn who_is_at_work_in_it_is_waited_for_and_then_named() {
    let project = project().await;
    let app = project.blocker("select * from acme.notes").await;
    let shown = project.run("rename-tenant acme initech");
    assert!(
        shown.contains(
            "error: somebody else is at work in schema `acme` or `initech`\n  held by pid"
        ),
        "{shown}"
    );
    assert!(shown.contains("[exit status: 6]"), "{shown}");
    assert_eq!(project.query(STATE).await, "acme acme acme.example, globex globex");
    let rename = project.start("rename-tenant acme initech");
    let is_trying = "select count(*) > 0 from pg_stat_activity where datname = current_database() and query like '%alter schema%' and pid <> pg_backend_pid()";
    eventually("it is tried", async || project.query(is_trying).await == "t").await;
    app.release().await;
    let shown = project.shown(&rename.ends());
    insta::assert_snapshot!(shown, @"renamed tenant `acme` to `initech`");
}

#[tokio::test]
async fn a_function_that_says_the_old_name_is_pointed_out() {
    let project = project().await;
    project.sql("create function acme.all_notes() returns bigint language plpgsql as 'begin return (select count(*) from acme.notes); end'").await;
    insta::assert_snapshot!(project.run("rename-tenant acme initech"), @"
    renamed tenant `acme` to `initech`
    ------- stderr -------
    warning: the text of `initech.all_notes()` still says `acme`
    ");
}

#[tokio::test]
async fn of_two_who_rename_at_once_one_does() {
    let project = project().await;
    let start = |new: &str| project.start(&format!("rename-tenant acme {new}"));
    let shown = ["one", "two", "three"].map(start).map(|it| project.shown(&it.ends()));
    let done = shown.iter().filter(|it| it.starts_with("renamed tenant `acme`")).count();
    assert_eq!(done, 1, "{shown:#?}");
    let told =
        shown.iter().filter(|it| it.contains("there is no tenant with schema `acme`")).count();
    assert_eq!(told, 2, "{shown:#?}");
}

#[tokio::test]
async fn a_killed_rename_leaves_one_name_in_both_places() {
    for delay in [5, 20, 40, 60, 90] {
        let project = project().await;
        let rename = project.start("rename-tenant acme initech");
        // The moment is what is tried, not something to wait for.
        tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
        rename.kill();
        project.nobody_is_connected().await;
        let state = project.query(STATE).await;
        let names = [
            "acme acme acme.example, globex globex",
            "initech initech acme.example, globex globex",
        ];
        assert!(names.contains(&state.as_str()), "{state}");
    }
}

#[tokio::test]
async fn the_registrys_columns_are_updated_by_their_types_and_rules() {
    let project = project().await;
    project.sql("alter table tenants add size int check (size > 0), add note varchar(5)").await;
    let today = project.query("select current_date").await;
    insta::assert_snapshot!(project.run("update-tenant acme --name Acme --set size=7 --set note=abc"), @"updated tenant `acme`: name acme → Acme, size NULL → 7, note NULL → abc");
    insta::assert_snapshot!(project.run("update-tenant acme --set size=07"), @"tenant `acme` is so already");
    insta::assert_snapshot!(project.run("update-tenant acme --unset note --dry-run"), @"would update tenant `acme`: note abc → NULL");
    insta::assert_snapshot!(project.run("update-tenant acme --unset note --format json"), @r#"{"type":"tenant","schema":"acme","changed":[{"column":"note","before":"abc","after":null}],"dry_run":false}"#);
    insta::assert_snapshot!(project.run("update-tenant acme --set size=-1").replace(&today, "[date]"), @r#"
    ------- stderr -------
    error: the registry could not be changed
      caused by: new row for relation "tenants" violates check constraint "tenants_size_check"
        detail: Failing row contains (1, acme, Acme, null, t, [date], -1, null).
        SQLSTATE 23514
    [exit status: 1]
    "#);
    insta::assert_snapshot!(project.run("update-tenant acme --set note=abcdef"), @"
    ------- stderr -------
    error: `abcdef` is no value for column `note` (character varying(5)): it is longer than 5 characters
    [exit status: 2]
    ");
    for wrong in [
        "--set schema_name=x",
        "--set id=9",
        "--set nope=1",
        "--set size=x",
        "--set size=1 --set size=2",
        "",
    ] {
        let shown = project.run(&format!("update-tenant acme {wrong}"));
        assert!(shown.contains("[exit status: 2]"), "{wrong}: {shown}");
    }
    let row = "select concat_ws(' ', schema_name, name, size, note) from tenants where schema_name = 'acme'";
    assert_eq!(project.query(row).await, "acme Acme 7");
    let history = project.run("history --schema acme");
    assert!(history.contains("updated note abc → NULL"), "{history}");
}

#[tokio::test]
async fn all_there_is_to_say_of_a_tenant_is_shown() {
    let project = project().await;
    project.tenant_migration("V1__notes.sql", "create table if not exists notes (id int)");
    project.run("create-domain www.acme.example --schema acme");
    let today = project.query("select current_date").await;
    let shown = project.run("show-tenant acme").replace(&today, "[date]");
    insta::assert_snapshot!(shown.replace("\t\n", "\n"), @"
    field	value
    schema	acme
    name	acme
    primary domain	acme.example
    domain	www.acme.example
    id	1
    paid_until
    on_trial	true
    created_on	[date]
    migrations	with nothing applied, 1 migration pending
    owner	postgres
    tables	1
    size	0 B
    ");
    insta::assert_snapshot!(project.run("show-tenant globex --format json").replace(&today, "[date]"), @r#"{"type":"tenant","schema":"globex","name":"globex","primary_domain":null,"domains":[],"columns":{"id":2,"paid_until":null,"on_trial":true,"created_on":"[date]"},"migrations":{"state":"behind","version":null,"pending":1},"owner":"postgres","tables":0,"bytes":0}"#);
    insta::assert_snapshot!(project.run("show-tenant Acme"), @"
    ------- stderr -------
    error: there is no tenant with schema `Acme`
    hint: did you mean `acme`? `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_tenant_with_a_locked_table_is_shown_without_its_size() {
    let project = project().await;
    let blocker = project.blocker("lock table acme.notes in access exclusive mode").await;
    let said = project.run("show-tenant acme --format json");
    assert!(said.contains(r#""tables":1,"bytes":null"#), "{said}");
    let said = project.run("show-tenant acme");
    assert!(said.contains("tables\t1\nsize\tnot known: a table is locked"), "{said}");
    insta::assert_snapshot!(project.run("delete-tenant acme --drop-schema --yes --dry-run"), @"would delete tenant `acme` with 1 domain (acme.example) and its schema: 1 table");
    blocker.release().await;
}
