use tenantctl::pg::server::ServerConnection;

use crate::support::Project;

const NOTES: &str = "create table notes (id int);\n";

#[tokio::test]
async fn the_fleet_at_a_glance() {
    let project = Project::with_tenants(["acme", "globex", "hooli", "initech", "umbrella"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    5 behind: acme (nothing applied), globex (nothing applied), hooli (nothing applied), initech (nothing applied), umbrella (nothing applied)
    ------- stderr -------
    hint: `tenantctl migrate-schemas --all` applies what is pending
    ");
    project.run("migrate-schemas --tenants --exclude umbrella");
    project.tenant_migration("V2__orders.sql", "create table orders (id int);");
    project.run("migrate-schemas --schema acme --schema globex");
    project.sql("drop schema hooli cascade").await;
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    2 schemas at V2 · 2 behind: initech V1, umbrella (nothing applied) · 1 schema missing: hooli
    ------- stderr -------
    hint: `tenantctl migrate-schemas --all` applies what is pending
    ");
    insta::assert_snapshot!(project.run("show-migrations --verbose"), @"
    schema	state	version	pending
    public	up to date	V1	0
    acme	up to date	V2	0
    globex	up to date	V2	0
    hooli	missing		0
    initech	behind	V1	1
    umbrella	behind		2
    ------- stderr -------
    hint: `tenantctl migrate-schemas --all` applies what is pending
    ");
    insta::assert_snapshot!(project.run("status --format json"), @r#"
    {"type":"schema","schema":"public","state":"up to date","version":1,"pending":0}
    {"type":"schema","schema":"acme","state":"up to date","version":2,"pending":0}
    {"type":"schema","schema":"globex","state":"up to date","version":2,"pending":0}
    {"type":"schema","schema":"hooli","state":"missing","version":null,"pending":0}
    {"type":"schema","schema":"initech","state":"behind","version":1,"pending":1}
    {"type":"schema","schema":"umbrella","state":"behind","version":null,"pending":2}
    {"type":"summary","clean":false,"schemas":6}
    ------- stderr -------
    hint: `tenantctl migrate-schemas --all` applies what is pending
    "#);
    insta::assert_snapshot!(project.run("status --tenants --match 'g*'"), @"1 schema at V2");
    insta::assert_snapshot!(project.run("status --match 'i*' --match 'g*' --exclude globex"), @"
    1 behind: initech V1
    ------- stderr -------
    hint: `tenantctl migrate-schemas --match='i*' --match='g*' --exclude=globex` applies what is pending
    ");
    let shown = project.run("status --exclude globex --exclude hooli");
    let hint = "hint: `tenantctl migrate-schemas --all --exclude=globex --exclude=hooli` applies";
    assert!(shown.contains(hint), "{shown}");
    insta::assert_snapshot!(project.run("status --shared"), @"shared schema `public` at V1");
}

#[tokio::test]
async fn one_schemas_migrations_with_their_times() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.tenant_migration("V2__orders.sql", "create table orders (id int);");
    project.run("migrate-schemas --tenants --to 1");
    insta::assert_snapshot!(project.run("status --schema acme"), @"
    version	name	state	applied_on
    V1	notes	applied	[timestamp]
    V2	orders	pending	
    ------- stderr -------
    hint: `tenantctl migrate-schemas --schema=acme` applies what is pending
    ");
    insta::assert_snapshot!(project.run("status --schema acme --format json"), @r#"
    {"type":"schema","schema":"acme","state":"behind","version":1,"pending":1}
    {"type":"migration","version":"V1","name":"notes","state":"applied","applied_on":"[timestamp]"}
    {"type":"migration","version":"V2","name":"orders","state":"pending","applied_on":null}
    {"type":"summary","clean":false,"schemas":1}
    ------- stderr -------
    hint: `tenantctl migrate-schemas --schema=acme` applies what is pending
    "#);
    insta::assert_snapshot!(project.run("status --schema ghost"), @"
    ------- stderr -------
    error: there is no tenant with schema `ghost`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
    project.sql("drop schema acme cascade").await;
    insta::assert_snapshot!(project.run("status --schema acme"), @"1 schema missing: acme");
}

#[tokio::test]
async fn a_check_fails_when_anything_is_pending() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    1 behind: acme (nothing applied)
    ------- stderr -------
    hint: `tenantctl migrate-schemas --all` applies what is pending
    [exit status: 3]
    ");
    project.run("migrate-schemas --tenants");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    1 schema at V1
    ");
}

#[tokio::test]
async fn everything_that_disagrees_is_said_with_its_schemas() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.tenant_migration("V3__orders.sql", "create table orders (id int);");
    project.tenant_migration("V4__more.sql", "select 1;");
    project.run("migrate-schemas --tenants");
    project.tenant_migration("V1__notes.sql", "-- mended\ncreate table notes (id int);\n");
    project.tenant_migration("V2__late.sql", "select 1;");
    std::fs::remove_file(project.path("migrations/tenant/V3__orders.sql")).unwrap();
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    2 schemas in disagreement with the files: acme, globex
      divergent: V1 `notes` was applied, and `migrations/tenant/V1__notes.sql` has changed since
        in acme, globex
      missing: V3 `orders` was applied, and there is no such file in `migrations/tenant`
        in acme, globex
      out of order: `migrations/tenant/V2__late.sql` was not applied, and is older than V4, which was
        in acme, globex
    ------- stderr -------
    hint: `tenantctl migrate-schemas` would refuse that: give the file a version above the newest: `tenantctl makemigrations --renumber FILE`
    ");
    insta::assert_snapshot!(project.run("status --schema acme"), @"
    version	name	state	applied_on
    V1	notes	divergent	[timestamp]
    V2	late	out of order	
    V3	orders	missing	[timestamp]
    V4	more	applied	[timestamp]
      divergent: V1 `notes` was applied, and `migrations/tenant/V1__notes.sql` has changed since
        in acme
      missing: V3 `orders` was applied, and there is no such file in `migrations/tenant`
        in acme
      out of order: `migrations/tenant/V2__late.sql` was not applied, and is older than V4, which was
        in acme
    ------- stderr -------
    hint: `tenantctl migrate-schemas` would refuse that: give the file a version above the newest: `tenantctl makemigrations --renumber FILE`
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"
    ------- stderr -------
    error: the migration files do not agree with what was applied
      divergent: V1 `notes` was applied, and `migrations/tenant/V1__notes.sql` has changed since
        in acme, globex
      missing: V3 `orders` was applied, and there is no such file in `migrations/tenant`
        in acme, globex
      out of order: `migrations/tenant/V2__late.sql` was not applied, and is older than V4, which was
        in acme, globex
    hint: nothing was changed; give the file a version above the newest: `tenantctl makemigrations --renumber FILE`
    [exit status: 3]
    ");
}

#[tokio::test]
async fn looking_creates_nothing() {
    let project = Project::empty().await;
    project.run("init");
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` with nothing applied, 2 migrations pending
    ------- stderr -------
    error: there is no table `tenants` in schema `public` of database `[database]` at 127.0.0.1:[port] as user `postgres`
    hint: apply the shared migrations with `tenantctl migrate-schemas --shared`; `tenantctl init` writes them
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("status --tenants"), @"
    ------- stderr -------
    error: there is no table `tenants` in schema `public` of database `[database]` at 127.0.0.1:[port] as user `postgres`
    hint: apply the shared migrations with `tenantctl migrate-schemas --shared`; `tenantctl init` writes them
    [exit status: 1]
    ");
    let made = "select count(*) from pg_class where relnamespace::regnamespace::text !~ '^pg_|information_schema'";
    assert_eq!(project.query(made).await, "0");
}

#[tokio::test]
async fn a_fleet_without_tenants_says_so() {
    let project = Project::new().await;
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    no tenants
    ");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    no tenants
    ");
}

#[tokio::test]
async fn a_history_that_may_not_be_read_is_said_why() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --tenants");
    project.sql("drop table globex.refinery_schema_history; create view globex.refinery_schema_history as select 1 as version").await;
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    1 schema at V1 · 1 schema unreadable: globex
      unreadable: its table `refinery_schema_history` does not have refinery's columns
        in globex
    [exit status: 3]
    ");
    insta::assert_snapshot!(project.run("status --schema globex"), @"
    1 schema unreadable: globex
      unreadable: its table `refinery_schema_history` does not have refinery's columns
        in globex
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    1 schema up to date, 1 failed
    ------- stderr -------
    error: schema `globex` could not be migrated
      caused by: its history cannot be used: its table `refinery_schema_history` does not have refinery's columns
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=globex`
    [exit status: 4]
    ");
}

#[tokio::test]
async fn schemas_that_a_role_may_not_read_are_one_finding() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --tenants");
    let role = format!("reader_{:08x}", fastrand::u32(..));
    project
        .sql(&format!(
            "create role {role} login password 'secret'; \
             grant select on all tables in schema public to {role}"
        ))
        .await;
    let (user, password) = (role.clone(), "secret".to_owned());
    let reader = ServerConnection { user, password, ..project.database().clone() };
    let output = project.command("status --check").env("DATABASE_URL", reader.url()).output();
    insta::assert_snapshot!(project.shown(&output.unwrap()), @"
    shared schema `public` at V1
    2 schemas unreadable: acme, globex
      unreadable: this role may not read its table `refinery_schema_history`
        in acme, globex
    [exit status: 3]
    ");
}

#[tokio::test]
async fn histories_whose_columns_are_of_other_types_are_read() {
    let project = Project::with_tenants(["acme", "globex", "initech"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --tenants");
    project
        .sql(
            "alter table acme.refinery_schema_history \
               alter checksum type numeric using checksum::numeric; \
             alter table globex.refinery_schema_history alter name type name",
        )
        .await;
    project.tenant_migration("V2__more.sql", "alter table notes add more text");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --quiet"), @"3 schemas migrated");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    3 schemas at V2
    ");
}

#[tokio::test]
async fn in_a_folder_without_a_project_it_says_what_to_do() {
    let project = Project::empty().await;
    insta::assert_snapshot!(project.run("status"), @"
    ------- stderr -------
    error: there is no migration folder `migrations/shared`
    hint: make the project's folders with `tenantctl init`, or name another with `--migrations-dir`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"
    ------- stderr -------
    error: there is no migration folder `migrations/shared`
    hint: make the project's folders with `tenantctl init`, or name another with `--migrations-dir`
    [exit status: 2]
    ");
}

#[tokio::test]
async fn from_below_the_project_it_is_found() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    // Outside a repository, nothing above the folder counts.
    std::fs::create_dir(project.path(".git")).unwrap();
    std::fs::create_dir_all(project.path("src/deep")).unwrap();
    let mut command = project.command("status");
    let output = command.current_dir(project.path("src/deep")).output().unwrap();
    insta::assert_snapshot!(project.shown(&output), @"
    shared schema `public` at V1
    1 behind: acme (nothing applied)
    ------- stderr -------
    hint: `tenantctl migrate-schemas --all` applies what is pending
    ");
    let mut command = project.command("migrate-schemas --tenants --dry-run --to 9");
    let output = command.current_dir(project.path("src/deep")).output().unwrap();
    insta::assert_snapshot!(project.shown(&output), @"
    ------- stderr -------
    error: there is no migration with version 9 in `[project]/migrations/tenant`
    hint: `tenantctl status` shows the versions
    [exit status: 2]
    ");
}

#[tokio::test]
async fn many_schemas_are_read_in_few_statements() {
    let project = Project::new().await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.sql("select setval('tenants_id_seq', 1000); insert into tenants (schema_name, name) select 't' || n, 't' from generate_series(1, 300) n; do $$ begin for n in 1..300 loop execute 'create schema t' || n; end loop; end $$").await;
    insta::assert_snapshot!(project.run("migrate-schemas --all --exclude t7 --quiet"), @"299 schemas migrated, 1 up to date");
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    299 schemas at V1 · 1 behind: t7 (nothing applied)
    ------- stderr -------
    hint: `tenantctl migrate-schemas --all` applies what is pending
    ");
}
