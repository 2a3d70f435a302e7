//! What a plan's first schema changes beyond itself is found in the catalogs, and stops the plan.

use crate::support::Project;

/// Returns three tenants, and around them what a tenant's migration has no business with.
async fn with_shared_things() -> Project {
    let project = Project::with_tenants(["acme", "globex", "hooli"]).await;
    project
        .sql(
            "create table public.plans (id int primary key, name text); \
             create function public.rate() returns int language sql as 'select 1'; \
             create type public.mood as enum ('good'); \
             create domain public.score as int; \
             create table public.prices (plan int references public.plans)",
        )
        .await;
    project
}

/// Returns a file that runs a statement which the grammar does not see.
fn dynamic(statement: &str) -> String {
    let statement = statement.replace('\'', "''");
    format!("create table notes (id int); do $$ begin execute '{statement}'; end $$;")
}

impl Project {
    /// Returns what is said to have been changed by a file that runs this statement; nothing of it
    /// is left, and no other schema was started.
    async fn found(&self, statement: &str) -> String {
        self.tenant_migration("V1__a.sql", &dynamic(statement));
        let output = self.command("migrate-schemas --tenants").output().unwrap();
        let shown = self.shown(&output);
        assert_eq!(output.status.code(), Some(1), "{statement}: {shown}");
        assert!(shown.starts_with("1 schema failed, 2 not attempted\n"), "{statement}: {shown}");
        assert_eq!(self.tables("acme").await, "");
        let found = shown.lines().find_map(|it| it.split_once("not the schema's: "));
        found.unwrap_or_else(|| panic!("{statement}: {shown}")).1.to_owned()
    }
}

#[tokio::test]
async fn a_function_made_elsewhere_stops_the_run_after_one_schema() {
    let project = with_shared_things().await;
    let evil = "create function public.evil() returns int language sql as 'select 1'";
    project.tenant_migration("V1__a.sql", &dynamic(evil));
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    1 schema failed, 2 not attempted
    ------- stderr -------
    error: migration V1 `a` could not be applied to schema `acme`
      caused by: it changed what is not the schema's: function public.evil()
         --> migrations/tenant/V1__a.sql:1:74
          |
        1 | …int); do $$ begin execute 'create function public.evil() returns int language sql as ''select 1'''; …
          |                                                    ^
        it was rolled back; what everybody shares belongs in `migrations/shared`, or say on the file's first lines that it is meant: `-- tenantctl: allow other-schema`
    error: stopped early: the same migrations would do the same from every other schema
    not attempted: globex, hooli
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=acme --schema=globex --schema=hooli`
    [exit status: 1]
    ");
    assert_eq!(project.query("select count(*) from pg_proc where proname = 'evil'").await, "0");
}

#[tokio::test]
async fn a_rehearsal_finds_it_as_well_and_json_names_all() {
    let project = with_shared_things().await;
    project.tenant_migration("V1__a.sql", &dynamic("drop function public.rate()"));
    let arguments = "migrate-schemas --tenants --rehearse --format json --quiet";
    insta::assert_snapshot!(project.run(arguments), @r#"
    {"type":"failed","schema":"acme","message":"it changed what is not the schema's: the dropped function public.rate()","migration":"V1 `a`","file":"migrations/tenant/V1__a.sql","line":1,"column":72,"sqlstate":null,"detail":null,"hint":null,"left_behind":[]}
    {"type":"not_attempted","schema":"globex"}
    {"type":"not_attempted","schema":"hooli"}
    {"type":"summary","rehearsed":0,"up_to_date":0,"failed":1,"busy":0,"not_attempted":2,"exit_status":1,"ended_early":0}
    ------- stderr -------
    error: migration V1 `a` could not be applied to schema `acme`
      caused by: it changed what is not the schema's: the dropped function public.rate()
         --> migrations/tenant/V1__a.sql:1:72
          |
        1 | create table notes (id int); do $$ begin execute 'drop function public.rate()'; end $$;
          |                                                                        ^
        it was rolled back; what everybody shares belongs in `migrations/shared`, or say on the file's first lines that it is meant: `-- tenantctl: allow other-schema`
    error: stopped early: the same migrations would do the same from every other schema
    not attempted: globex, hooli
    hint: every schema is as it was; mend what failed and rehearse again
    [exit status: 1]
    "#);
    assert_eq!(project.query("select count(*) from pg_proc where proname = 'rate'").await, "1");
}

#[tokio::test]
async fn whatever_it_is_it_is_named() {
    let project = with_shared_things().await;
    let role = format!("role_{}", project.database().database);
    project.sql(&format!("create role {role}")).await;
    for (statement, found) in [
        ("drop type public.mood", "the dropped type public.mood, the dropped type public.mood[]"),
        ("alter type public.mood add value 'bad'", "type public.mood"),
        ("create type public.other as enum ('a')", "type public.other"),
        (
            "alter domain public.score add check (value > 0)",
            "domain constraint score_check on public.score",
        ),
        ("comment on function public.rate() is 'x'", "function public.rate()"),
        ("comment on schema public is 'x'", "schema public"),
        ("alter function public.rate() stable", "function public.rate()"),
        ("grant select on public.plans to public", "table public.plans"),
        ("grant select (name) on public.plans to public", "table column public.plans.name"),
        ("grant usage on schema public to pg_monitor", "schema public"),
        ("grant usage on type public.mood to pg_monitor", "type public.mood"),
        ("create schema other", "schema other"),
        ("create extension citext", "extension citext"),
        ("create publication p for all tables", "publication p"),
        ("create cast (text as public.mood) with inout", "cast (pg_catalog.text AS public.mood)"),
        (
            "alter default privileges grant select on tables to pg_monitor",
            "default acl for role postgres on tables",
        ),
        (&format!("alter role {role} set work_mem = '8MB'"), "the settings of roles and databases"),
        (&format!("alter role {role} createdb"), "roles"),
        (&format!("grant pg_monitor to {role}"), "the members of roles"),
        (
            "create function t() returns trigger language plpgsql as 'begin return new; end'; \
             create trigger t after insert on public.plans for each row execute function t()",
            "trigger t on public.plans",
        ),
        ("alter table public.plans disable trigger all", "trigger "),
    ] {
        let said = project.found(statement).await;
        assert!(said.starts_with(found), "{statement}: {said}");
    }
    project.sql(&format!("drop role {role}")).await;
}

#[tokio::test]
async fn a_block_that_catches_errors_hides_nothing() {
    let project = with_shared_things().await;
    let nested = "do 'begin begin create function public.evil() returns int language sql as \
        ''select 1''; exception when others then null; end; end'";
    assert_eq!(project.found(nested).await, "function public.evil()");
}

#[tokio::test]
async fn another_tenant_is_safe_from_names_that_are_put_together() {
    let project = Project::with_tenants(["acme", "globex", "hooli"]).await;
    project
        .sql("create table globex.users (id int primary key, note text); insert into globex.users values (1, 'x')")
        .await;
    for (statement, touched) in [
        ("drop schema globex cascade", "globex.users"),
        ("drop table globex . users", "globex.users"),
        ("alter table globex . users add age int", "globex.users"),
        ("update globex . users set id = 2", "globex.users"),
        ("truncate globex . users", "globex.users"),
    ] {
        project.tenant_migration("V1__a.sql", &dynamic(statement));
        let output = project.command("migrate-schemas --tenants").output().unwrap();
        let shown = project.shown(&output);
        assert_eq!(output.status.code(), Some(1), "{statement}: {shown}");
        assert!(shown.starts_with("1 schema failed, 2 not attempted\n"), "{statement}: {shown}");
        assert!(shown.contains(&format!("touched {touched}")), "{statement}: {shown}");
        assert!(shown.contains("V1__a.sql:1:"), "{statement}: {shown}");
        assert_eq!(project.columns("globex.users").await, "id, note", "{statement}");
        assert_eq!(project.query("select id from globex.users").await, "1", "{statement}");
    }
}

#[tokio::test]
async fn the_triggers_of_ones_own_foreign_keys_are_ones_own() {
    let project = with_shared_things().await;
    project.tenant_migration(
        "V1__a.sql",
        "create table subscriptions (plan int, constraint f foreign key (plan) references plans (id))",
    );
    project.migrate();
    for statement in [
        "alter table subscriptions alter constraint f deferrable",
        "alter table subscriptions disable trigger all",
        "alter table subscriptions add constraint g foreign key (plan) references plans (id)",
    ] {
        project.sql("delete from acme.refinery_schema_history where version = 2").await;
        project.tenant_migration("V2__a.sql", statement);
        let shown = project.run("migrate-schemas --schema acme");
        assert!(shown.starts_with("1 schema migrated\n"), "{statement}: {shown}");
    }
}

#[tokio::test]
async fn who_changes_the_history_behind_the_grammars_back_stops_the_run() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__a.sql", "create table a ()");
    project.migrate();
    for statement in [
        "delete from refinery_schema_history",
        "insert into refinery_schema_history values (7, 'x', now()::text, '1')",
        "update refinery_schema_history set checksum = '1'",
        "drop table refinery_schema_history",
    ] {
        project.tenant_migration("V2__b.sql", &dynamic(statement));
        let shown = project.run("migrate-schemas --tenants");
        assert!(shown.starts_with("1 schema failed, 1 not attempted\n"), "{statement}: {shown}");
        let why = "changed or dropped `refinery_schema_history`, which says what was applied\n";
        assert!(shown.contains(why), "{statement}: {shown}");
        assert!(shown.contains("V2__b.sql:1:"), "{statement}: {shown}");
        let history = "select string_agg(version::text, ',') from acme.refinery_schema_history";
        assert_eq!(project.query(history).await, "1", "{statement}");
    }
}

#[tokio::test]
async fn what_one_schema_lacks_and_the_path_has_says_nothing_of_the_others() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.sql("create table public.users (id int); create table globex.users (id int)").await;
    for statement in ["drop table users", "alter table users add age int"] {
        project.tenant_migration("V1__a.sql", statement);
        let output = project.command("migrate-schemas --tenants --jobs 1").output().unwrap();
        let shown = project.shown(&output);
        assert_eq!(output.status.code(), Some(4), "{statement}: {shown}");
        assert!(shown.contains("touched public.users\n"), "{statement}: {shown}");
        assert_eq!(project.columns("public.users").await, "id", "{statement}");
        project
            .sql(
                "drop table if exists globex.users; create table globex.users (id int); \
                 delete from globex.refinery_schema_history",
            )
            .await;
    }
}

#[tokio::test]
async fn a_comment_on_a_shared_table_stops_the_run_as_well() {
    let project = with_shared_things().await;
    project.tenant_migration("V1__a.sql", &dynamic("comment on table public.plans is 'x'"));
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    1 schema failed, 2 not attempted
    ------- stderr -------
    error: migration V1 `a` could not be applied to schema `acme`
      caused by: it reached outside the schema and touched public.plans
         --> migrations/tenant/V1__a.sql:1:75
          |
        1 | create table notes (id int); do $$ begin execute 'comment on table public.plans is ''x'''; end $$;
          |                                                                           ^
        the names were found outside the schema: by the search path, because they are qualified, or by a trigger or function; it was rolled back, and where it is meant, say so on the file's first lines: `-- tenantctl: allow other-schema`
    error: stopped early: the same migrations would do the same from every other schema
    not attempted: globex, hooli
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=acme --schema=globex --schema=hooli`
    [exit status: 1]
    ");
}

#[tokio::test]
async fn what_belongs_to_the_schema_is_nobodys_business() {
    let project = with_shared_things().await;
    project.tenant_migration(
        "V1__a.sql",
        "create table a (id int primary key, plan int references plans, mood mood); \
         create type t as enum ('x'); create type c as (a int); create domain d as int check (value > 0); \
         create function f() returns trigger language plpgsql as 'begin return new; end'; \
         create trigger f before insert on a for each row execute function f(); \
         create view v as select * from a; create statistics s on id, plan from a; \
         create policy p on a using (true); comment on column a.id is 'x'; comment on type t is 'x'; \
         grant select on a to pg_monitor; create sequence q; \
         do $$ begin execute format('grant usage on schema %I to pg_monitor', current_schema); \
           execute format('alter default privileges in schema %I grant select on tables to pg_monitor', \
             current_schema); end $$;",
    );
    let shown = project.run("migrate-schemas --tenants --quiet");
    assert_eq!(shown, "3 schemas migrated\n");
    project.tenant_migration(
        "V2__b.sql",
        "drop view v; drop trigger f on a; drop function f(); drop statistics s; drop type c; \
         alter table a drop column mood; drop type t; drop domain d; drop policy p on a; drop sequence q; \
         create temp table x (id int) on commit drop; create type y as (b int); drop type y;",
    );
    let shown = project.run("migrate-schemas --tenants --quiet");
    assert_eq!(shown, "3 schemas migrated\n");
}

#[tokio::test]
async fn what_others_do_meanwhile_is_theirs() {
    let project = with_shared_things().await;
    project.tenant_migration("V1__a.sql", "create table a (id int); select pg_sleep(0.7);");
    let program = project.start("migrate-schemas --tenants --quiet --jobs 1");
    project.pausing(1).await;
    project
        .sql(
            "create function public.theirs() returns int language sql as 'select 1'; \
             drop type public.mood; comment on schema public is 'x'; \
             grant select on public.plans to pg_monitor",
        )
        .await;
    assert_eq!(project.shown(&program.ends()), "3 schemas migrated\n");
}

#[tokio::test]
async fn a_file_that_says_so_may() {
    let project = with_shared_things().await;
    let replace =
        dynamic("create or replace function public.rate() returns int language sql as 'select 2'");
    project.tenant_migration("V1__a.sql", &format!("-- tenantctl: allow other-schema\n{replace}"));
    assert_eq!(project.run("migrate-schemas --tenants --quiet"), "3 schemas migrated\n");
}

#[tokio::test]
async fn a_first_schema_that_fails_by_itself_says_nothing_of_the_others() {
    let project = with_shared_things().await;
    project.sql("create table acme.notes (id int)").await;
    project.tenant_migration("V1__a.sql", &dynamic("drop function public.rate()"));
    let shown = project.run("migrate-schemas --tenants --quiet");
    assert!(shown.starts_with("2 schemas failed, 1 not attempted\n"), "{shown}");
    assert!(shown.contains("schema `globex`"), "{shown}");
}

#[tokio::test]
async fn a_plan_of_other_files_goes_on() {
    let project = with_shared_things().await;
    project.tenant_migration("V1__a.sql", "create table a (id int)");
    assert_eq!(project.run("migrate-schemas --schema hooli --quiet"), "1 schema migrated\n");
    project.tenant_migration("V2__b.sql", "create table b (id int)");
    // Only from the schemas' beginning does it reach beyond.
    project.tenant_migration(
        "V3__c.sql",
        &format!(
            "do $$ begin if current_schema <> 'hooli' then execute '{}'; end if; end $$",
            "drop function public.rate()"
        ),
    );
    let shown = project.run("migrate-schemas --tenants --quiet");
    assert!(shown.starts_with("1 schema migrated, 1 failed, 1 not attempted\n"), "{shown}");
}

#[tokio::test]
async fn only_the_first_schema_waits_alone() {
    let project = Project::new().await;
    project.add_many_tenants(5).await;
    project.add_traces(1, 0.8);
    let program = project.start("migrate-schemas --tenants --jobs 4 --quiet");
    project.pausing(1).await;
    project.pausing(4).await;
    assert_eq!(program.ends().status.code(), Some(0));
}
