use crate::support::Project;

/// Names that have to be quoted, one way or another.
const ODD: [&str; 5] = ["eha-meetup", "1234", "select", "Tenant 1", "bücher"];

/// A project with two tenants, a column of its own and a row for the shared schema.
async fn project() -> Project {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project
        .sql(
            "insert into tenants (schema_name, name) values ('public', 'The public site');
             alter table tenants add column seats int, add column price numeric(8, 2);
             alter table tenants drop column created_on;
             update tenants set seats = 5, price = 19.90, on_trial = false, paid_until = '2099-12-31'
              where schema_name = 'acme';
             insert into domains (tenant_id, domain)
             select id, 'acme.example' from tenants where schema_name = 'acme'",
        )
        .await;
    project
}

#[tokio::test]
async fn all_tenants_are_listed_with_all_their_columns() {
    let project = project().await;
    insta::assert_snapshot!(project.run("list-tenants"), @"
    schema	name	primary_domain	id	paid_until	on_trial	seats	price
    public	The public site		3		true		
    acme	acme	acme.example	1	2099-12-31	false	5	19.90
    globex	globex		2		true
    ");
}

#[tokio::test]
async fn json_keeps_the_types() {
    let project = project().await;
    insta::assert_snapshot!(project.run("list-tenants --format json"), @r#"
    {"type":"tenant","schema":"public","name":"The public site","primary_domain":null,"columns":{"id":3,"paid_until":null,"on_trial":true,"seats":null,"price":null}}
    {"type":"tenant","schema":"acme","name":"acme","primary_domain":"acme.example","columns":{"id":1,"paid_until":"2099-12-31","on_trial":false,"seats":5,"price":19.9}}
    {"type":"tenant","schema":"globex","name":"globex","primary_domain":null,"columns":{"id":2,"paid_until":null,"on_trial":true,"seats":null,"price":null}}
    "#);
}

#[tokio::test]
async fn a_terminal_gets_a_table() {
    let project = project().await;
    let (shown, status) = project.terminal("list-tenants").ends();
    insta::assert_snapshot!(shown.replace('\r', ""), @"
    schema  name             primary_domain  id  paid_until  on_trial  seats  price
    public  The public site                  3               true
    acme    acme             acme.example    1   2099-12-31  false     5      19.90
    globex  globex                           2               true
    ");
    assert_eq!(status, 0);
}

#[tokio::test]
async fn some_tenants_can_be_selected() {
    let project = project().await;
    for (arguments, schemas) in [
        ("--match 'a*'", "acme"),
        ("--exclude 'a*'", "public globex"),
        ("--tenants", "acme globex"),
        ("--shared", "public"),
        ("--schema globex", "globex"),
        ("--where 'paid_until > now() -- always'", "acme"),
        ("--all --where seats=5", "acme"),
        ("--where false", ""),
    ] {
        let shown = project.run(&format!("list-tenants -q {arguments}"));
        let found: Vec<&str> =
            shown.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(found.join(" "), schemas, "{arguments}: {shown}");
    }
}

#[tokio::test]
async fn what_cannot_be_selected_is_named() {
    let project = project().await;
    insta::assert_snapshot!(project.run("list-tenants --schema Acme --schema=-x"), @"
    ------- stderr -------
    error: there is no tenant with schema `Acme`, `-x`
    hint: did you mean `acme`? `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("list-tenants --schema public"), @"
    ------- stderr -------
    error: `public` is the shared schema, not a tenant's
    hint: use `--shared` where the shared schema is meant
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("list-tenants --where 'price is cheap'"), @r#"
    ------- stderr -------
    error: `price is cheap` is not a condition on the registry
      caused by: syntax error at or near "cheap"
        SQLSTATE 42601
    hint: a condition is SQL on the columns that `tenantctl list-tenants` shows
    [exit status: 2]
    "#);
    insta::assert_snapshot!(project.run("list-tenants --where 'colour = 1'"), @r#"
    ------- stderr -------
    error: `colour = 1` is not a condition on the registry
      caused by: column "colour" does not exist
        SQLSTATE 42703
    hint: a condition is SQL on the columns that `tenantctl list-tenants` shows
    [exit status: 2]
    "#);
}

#[tokio::test]
async fn odd_names_are_listed_as_they_are() {
    let project = Project::with_tenants(ODD).await;
    for name in ODD {
        let shown = project.run(&format!("list-tenants -q --schema '{name}'"));
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.lines().nth(1).unwrap().starts_with(&format!("{name}\t{name}\t")), "{shown}");
    }
}

#[tokio::test]
async fn a_name_cannot_steer_the_terminal() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql(r"update tenants set name = E'a\x1b[31m\tb\nc', created_on = '2025-01-01'").await;
    insta::assert_snapshot!(project.run("list-tenants"), @r"
    schema	name	primary_domain	id	paid_until	on_trial	created_on
    acme	a\u{1b}[31m\tb\nc		1		true	2025-01-01
    ");
    insta::assert_snapshot!(project.run("list-tenants --format json"), @r#"{"type":"tenant","schema":"acme","name":"a\u001b[31m\tb\nc","primary_domain":null,"columns":{"id":1,"paid_until":null,"on_trial":true,"created_on":"2025-01-01"}}"#);
    let (shown, _) = project.terminal("list-tenants").ends();
    assert!(shown.contains(r"a\u{1b}[31m\tb\nc"), "{shown}");
}

#[tokio::test]
async fn no_tenants_is_a_header_and_no_error() {
    let project = Project::new().await;
    insta::assert_snapshot!(project.run("list-tenants"), @"
    schema	name	primary_domain	id	paid_until	on_trial	created_on
    ------- stderr -------
    no tenants
    ");
    insta::assert_snapshot!(project.run("list-tenants --format json"), @"");
}

#[tokio::test]
async fn without_a_registry_it_says_what_to_type_and_makes_nothing() {
    let project = Project::empty().await;
    insta::assert_snapshot!(project.run("list-tenants"), @"
    ------- stderr -------
    error: there is no table `tenants` in schema `public` of database `[database]` at 127.0.0.1:[port] as user `postgres`
    hint: apply the shared migrations with `tenantctl migrate-schemas --shared`; `tenantctl init` writes them
    [exit status: 1]
    ");
    let made = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    assert_eq!(project.query(made).await, "0");
}

#[tokio::test]
async fn it_waits_for_nobody() {
    let project = Project::with_tenants(["acme"]).await;
    let blocker = project.blocker("update tenants set name = 'x'").await;
    insta::assert_snapshot!(
        project
            .run("list-tenants --format json")
            .replace(char::is_numeric, "0"), @r#"{"type":"tenant","schema":"acme","name":"acme","primary_domain":null,"columns":{"id":0,"paid_until":null,"on_trial":true,"created_on":"0000-00-00"}}"#);
    blocker.release().await;
}

#[tokio::test]
async fn a_condition_is_only_ever_a_condition() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table public.kept (id int)").await;
    for condition in [
        "true); commit; drop table public.kept; select from public.tenants as t where (true",
        "true) union select 'ghost' where (true",
    ] {
        let condition = shell_words::quote(condition);
        let said = project.run(&format!("list-tenants --where {condition}"));
        assert!(!said.contains("ghost"), "{said}");
        assert_eq!(project.tables("public").await, "domains, kept, tenants");
    }
}
