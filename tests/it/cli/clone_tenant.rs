//! `clone-tenant`.

use crate::support::Project;

const EVERY_KIND: &str = include_str!("clone_tenant/every_kind.sql");

#[tokio::test]
async fn a_tenant_of_every_kind_of_object_is_cloned() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table if not exists public.users (id bigint primary key)").await;
    project.sql(&format!("set search_path = acme, public; {EVERY_KIND}")).await;
    insta::assert_snapshot!(project.run("clone-tenant acme globex --domain globex.example"), @"cloned tenant `acme` as `globex` at globex.example: 11 tables, 114 rows");
    let rows = "select concat_ws(' ', (select count(*) from acme.orders) = (select count(*) from globex.orders),
        (select last_value from acme.codes) = (select last_value from globex.codes),
        (select count(*) from globex.totals))";
    assert_eq!(project.query(rows).await, "t t 20");
}

#[tokio::test]
async fn a_source_that_is_no_tenant_is_named_and_nothing_is_made() {
    let project = Project::with_tenants(["acme"]).await;
    insta::assert_snapshot!(project.run("clone-tenant nobody globex"), @"
    ------- stderr -------
    error: there is no tenant `nobody` to clone
    hint: `tenantctl list-tenants` lists the tenants
    [exit status: 2]
    ");
    assert_eq!(
        project.query("select count(*) from pg_namespace where nspname = 'globex'").await,
        "0"
    );
}

#[tokio::test]
async fn a_mask_stands_for_a_column_and_is_one_expression() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table acme.people (id int, email text); insert into acme.people values (1, 'a@b')").await;
    insta::assert_snapshot!(project.run("clone-tenant acme globex --mask people.email=id::text"), @"cloned tenant `acme` as `globex`: 1 table, 1 row");
    assert_eq!(project.query("select email from globex.people").await, "1");
    insta::assert_snapshot!(project.run("clone-tenant acme other --mask people.email=1),(2"), @r#"
    ------- stderr -------
    error: `1),(2` cannot stand for `people.email`
      caused by: syntax error at or near ")"
        SQLSTATE 42601
    [exit status: 2]
    "#);
    assert_eq!(
        project.query("select count(*) from pg_namespace where nspname = 'other'").await,
        "0"
    );
}
