//! `create-tenant --template`.

use crate::support::Project;

/// A project with a tenant `acme` that has all migrations, and rows of its own.
async fn project() -> Project {
    let project = Project::new().await;
    project
        .sql("create table public.plans (id int primary key); insert into public.plans values (1)")
        .await;
    project.tenant_migration(
        "V1__orders.sql",
        "create type state as enum ('open', 'paid');
         create table orders (id serial primary key, state state not null default 'open',
           plan int references public.plans, total numeric check (total >= 0), \"o'dd\" text);
         create table settings (key text primary key, value jsonb, at timestamptz);
         insert into settings values ('o''ne', '{\"a\": [1, null]}', '2025-01-01'), (E'back\\\\slash', null, null);
         insert into orders (state, \"o'dd\") values ('paid', E'two\\nlines');",
    );
    project.tenant_migration(
        "V2__change.sql",
        "alter table orders add column late int; alter table orders drop column late;
         create function total() returns numeric language sql as 'select sum(total) from orders';
         create view paid as select * from orders where state = 'paid';
         create index on orders (state); comment on table orders is 'it''s';",
    );
    for arguments in
        ["create-tenant --schema acme --no-input", "create-tenant --schema replayed --no-input"]
    {
        let output = project.command(arguments).output().unwrap();
        assert!(output.status.success(), "{}", project.shown(&output));
    }
    project
        .sql("insert into acme.orders (total) values (5); insert into acme.settings values ('own')")
        .await;
    project
}

/// Everything that a schema's tables hold, and what comes next.
async fn rows(project: &Project, schema: &str) -> String {
    project
        .query(&format!(
            "select (select json_agg(o order by id) from \"{schema}\".orders o),
               (select json_agg(s order by key) from \"{schema}\".settings s),
               (select last_value from \"{schema}\".orders_id_seq),
               (select json_agg(row(version, name, checksum) order by version)
                  from \"{schema}\".refinery_schema_history)"
        ))
        .await
}

/// What the server says of a schema's objects, without the schema's name.
async fn structure(project: &Project, schema: &str) -> String {
    let told = project
        .query(&format!(
            "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               pg_get_expr(d.adbin, d.adrelid), obj_description(c.oid),
               coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::\"char\", c.relowner))
             from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
             where c.relnamespace = '\"{schema}\"'::regnamespace order by 1, a.attname;"
        ))
        .await;
    let constraints = project
        .query(&format!(
            "select conname, pg_get_constraintdef(oid) from pg_constraint
             where connamespace = '\"{schema}\"'::regnamespace order by 1"
        ))
        .await;
    format!("{told}\n{constraints}")
        .replace(&format!("\"{schema}\""), "[schema]")
        .replace(schema, "[schema]")
}

async fn schemas(project: &Project) -> String {
    let schemas = "select string_agg(nspname, ' ' order by nspname) from pg_namespace
        where nspname !~ '^(pg_|information_schema|public|tenantctl$)'";
    project.query(schemas).await
}

#[tokio::test]
async fn what_is_made_from_a_template_is_what_the_migrations_make() {
    let project = project().await;
    project.write("tenants.csv", "schema_name,domain\nnorth,north.example\neha-meetup,\n");
    insta::assert_snapshot!(project.run("create-tenant --from tenants.csv --template acme --jobs 1"), @"
    2 tenants created
    ------- stderr -------
    north: created with V1 `orders`, V2 `change`
    eha-meetup: created with V1 `orders`, V2 `change`
    ");
    let replayed = (structure(&project, "replayed").await, rows(&project, "replayed").await);
    for schema in ["north", "eha-meetup"] {
        assert_eq!(structure(&project, schema).await, replayed.0);
        assert_eq!(rows(&project, schema).await, replayed.1);
    }
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    4 schemas at V2
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema two --template acme --no-input"), @"
    created tenant `two`
    ------- stderr -------
    two: created with V1 `orders`, V2 `change`
    ");
}

#[tokio::test]
async fn a_template_that_is_something_else_is_refused() {
    let project = project().await;
    let before = schemas(&project).await;
    project
        .sql("alter table acme.orders add column extra int; create index i on acme.orders (extra)")
        .await;
    insta::assert_snapshot!(project.run("create-tenant --schema one --template acme --no-input"), @"
    ------- stderr -------
    error: tenant `acme` cannot serve as a template: it differs from what the migrations make in index `i`, table `orders`
    hint: nothing was created; leave out `--template` to run the migrations
    [exit status: 3]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema one --template nobody --no-input"), @"
    ------- stderr -------
    error: there is no tenant `nobody` to take as a template
    hint: `tenantctl list-tenants` lists the tenants
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema one --template replayed --no-input --dry-run"), @"
    would create tenant `one`
      with 2 migrations: V1 `orders`, V2 `change`
    ");
    project.tenant_migration("V3__late.sql", "create table late ()");
    insta::assert_snapshot!(project.run("create-tenant --schema one --template replayed --no-input"), @"
    ------- stderr -------
    error: tenant `replayed` cannot serve as a template: migrations are pending there
    hint: nothing was created; leave out `--template` to run the migrations
    [exit status: 3]
    ");
    assert_eq!(schemas(&project).await, before);
    assert_eq!(project.query("select count(*) from tenants").await, "2");
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused() {
    for (sql, says) in [
        (
            "-- tenantctl: no-transaction\ncreate index concurrently on t (id)",
            "runs in no transaction",
        ),
        ("insert into t values (floor(random() * 1e9)::int)", "other rows each time"),
        (
            "do $$ begin execute format('create function f() returns text language sql as %L',
            'select ''' || current_schema() || ''''); end $$",
            "in function `f()`",
        ),
    ] {
        let project = Project::new().await;
        project.tenant_migration("V1__t.sql", "create table t (id int)");
        project.tenant_migration("V2__odd.sql", sql);
        let output = project.command("create-tenant --schema acme --no-input").output().unwrap();
        assert!(output.status.success(), "{}", project.shown(&output));
        let before = schemas(&project).await;
        let output = project
            .command("create-tenant --schema one --template acme --no-input")
            .output()
            .unwrap();
        let shown = project.shown(&output);
        assert_eq!(output.status.code(), Some(3), "{shown}");
        assert!(shown.contains(says), "{shown}");
        assert_eq!(schemas(&project).await, before);
    }
}

#[tokio::test]
async fn migrations_that_do_not_run_make_no_template() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__t.sql", "create table t (id int);\ncreate table t (id int);");
    project.run("baseline --tenants --to latest");
    insta::assert_snapshot!(project.run("create-tenant --schema one --template acme --no-input"), @r#"
    ------- stderr -------
    error: the migrations could not be run to compare what they make with `acme`
      caused by: relation "t" already exists
         --> migrations/tenant/V1__t.sql:2
          |
        2 | create table t (id int);
        SQLSTATE 42P07
    hint: nothing was created
    [exit status: 1]
    "#);
}

#[tokio::test]
async fn seeds_are_for_later() {
    let project = Project::with_tenants(["acme"]).await;
    let output =
        project.command("create-tenant --schema one --template acme --seed demo").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn who_is_in_the_way_of_the_proof_is_named() {
    let project = project().await;
    let _blocker = project.blocker("update plans set id = 2").await;
    let shown = project.run("create-tenant --schema one --template acme --no-input");
    let pid = regex::Regex::new(r"pid \d+").unwrap().replace(&shown, "pid [pid]").into_owned();
    let timeless =
        regex::Regex::new(r"open for [\d.]+ s").unwrap().replace(&pid, "open for [time]");
    insta::assert_snapshot!(timeless, @"
    ------- stderr -------
    error: the migrations could not be run to compare what they make: somebody is in the way
      held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; update plans set id = 2
      caused by: canceling statement due to lock timeout
        SQLSTATE 55P03
    hint: nothing was created; run the same command again
    [exit status: 6]
    ");
    assert_eq!(project.query("select count(*) from tenants").await, "2");
}
