//! `--dry-run`, of every command that changes something.

use std::os::unix::fs::PermissionsExt;

use crate::support::Project;

/// A project with two migrated tenants, users in them, domains, a seed and a hook.
async fn project() -> Project {
    let project = Project::empty().await;
    for arguments in ["init", "migrate-schemas --shared"] {
        assert!(project.command(arguments).output().unwrap().status.success());
    }
    project.tenant_migration("V2__notes.sql", "create table notes (id serial primary key)");
    project.add_tenants(&["acme", "globex"]).await;
    assert!(project.command("migrate-schemas --tenants").output().unwrap().status.success());
    project.write("seeds/tenant/demo.sql", "insert into notes default values");
    project.write("hook.sh", "#!/bin/sh\ntouch hook-ran\n");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(project.path("hook.sh"), executable).unwrap();
    let config = std::fs::read_to_string(project.path("tenantctl.toml")).unwrap();
    let config = config.replace("[hooks]", "[hooks]\npost_create = [\"./hook.sh\"]");
    project.write("tenantctl.toml", config);
    project
        .sql(
            "insert into domains (tenant_id, domain, is_primary)
             select id, domain, domain = 'acme.example' from tenants,
               unnest(array['acme.example', 'www.acme.example']) as domain
             where schema_name = 'acme';
             insert into domains (tenant_id, domain, is_primary)
             select id, 'globex.example', true from tenants where schema_name = 'globex';
             insert into acme.users (username, password) values ('ada', 'x');
             create schema old; create table old.notes (id int);
             drop schema if exists tenantctl cascade",
        )
        .await;
    project
}

/// Everything that is in the database: schemas, relations, sequences' places and rows.
async fn everything(project: &Project) -> String {
    let catalog = "select string_agg(n.nspname || '.' || coalesce(c.relname, ''), ',' order by 1)
        from pg_namespace n left join pg_class c on c.relnamespace = n.oid
        where n.nspname !~ '^(pg_|information_schema)'";
    let sequences = "select schemaname, sequencename, last_value from pg_sequences order by 1, 2";
    let rows = "select md5(database_to_xml(true, false, '')::text)";
    let mut all = String::new();
    for question in [catalog, sequences, rows] {
        all += &(project.query(question).await + "\n");
    }
    all.trim_end().to_owned()
}

#[tokio::test]
async fn nothing_is_changed_by_any_of_them() {
    let project = project().await;
    project.write("tenants.csv", "schema_name,domain\nhooli,hooli.example\npied,pied.example\n");
    let before = everything(&project).await;
    for arguments in [
        "create-tenant --schema initech --domain initech.example --seed demo",
        "create-tenant --schema old --adopt",
        "create-tenant --from tenants.csv",
        "create-domain new.example --schema acme --primary",
        "set-primary-domain www.acme.example",
        "delete-domain www.acme.example",
        "delete-domain globex.example --yes",
        "baseline --all --to latest",
        "baseline --schema acme --to 1",
        "update-tenant acme --set name=Acme",
        "rename-tenant acme initech",
        "delete-tenant acme --drop-schema",
        "delete-tenant acme --keep-schema",
        "doctor --fix",
        "seed demo --tenants",
        "migrate-schemas --all",
        "tenant-command --schema acme createsuperuser --username eve --no-input",
        "tenant-command --schema acme changepassword ada",
        "tenant-command --schema acme sql 'delete from users; create table t ()'",
        "all-tenants-command --tenants createsuperuser --username eve --no-input",
        "all-tenants-command --schema acme changepassword ada",
        "all-tenants-command --tenants sql 'delete from users'",
    ] {
        for format in ["text", "json"] {
            let arguments = format!("{arguments} --dry-run --format {format}");
            let output = project.command(&arguments).output().unwrap();
            assert!(output.status.success(), "{arguments}: {}", project.shown(&output));
            assert_eq!(everything(&project).await, before, "{arguments}");
        }
    }
    assert!(!project.path("hook-ran").exists());
    // What it does is rolled back, and no sequence goes back.
    project.run("clone-tenant acme initech --domain initech.example --dry-run");
    project.run("dump-tenant acme --output acme.dump");
    let restored = project.run("restore-tenant acme.dump --as initech --dry-run");
    assert!(restored.starts_with("would restore tenant `acme` as `initech`"), "{restored}");
    let rows =
        |all: &str| (all.lines().next().unwrap().to_owned(), all[all.len() - 32..].to_owned());
    assert_eq!(rows(&everything(&project).await), rows(&before));
}

#[tokio::test]
async fn a_tenant_would_be_created_with_what_is_there() {
    let project = project().await;
    insta::assert_snapshot!(project.run("create-tenant --schema initech --domain initech.example --domain www.initech.example --seed --dry-run"), @"
    would create tenant `initech` at initech.example, at www.initech.example
      with 2 migrations: V1 `create_users`, V2 `notes`
      with 1 seed: `demo`
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema initech --domain initech.example --dry-run --format json"), @r#"
    {"type":"tenant","schema":"initech","domains":["initech.example"],"adopted":false,"migrations":["V1 `create_users`","V2 `notes`"],"seeds":[],"dry_run":true}
    {"type":"dry_run","tenants":1,"already_there":0,"refused":0}
    "#);
    insta::assert_snapshot!(project.run("create-tenant --schema old --adopt --dry-run"), @"would adopt tenant `old`");
}

#[tokio::test]
async fn many_tenants_would_be_created_but_those_that_cannot() {
    let project = project().await;
    project.write(
        "tenants.csv",
        "schema_name,domain\nhooli,hooli.example\nacme,\npied,pied.example\nx,acme.example\n",
    );
    insta::assert_snapshot!(project.run("create-tenant --from tenants.csv --dry-run"), @"
    would create tenant `hooli` at hooli.example
    would create tenant `pied` at pied.example
      each with 2 migrations: V1 `create_users`, V2 `notes`
    would create 2 tenants, and find 1 there, and refuse 1 row
    ------- stderr -------
    error: line 5: `x`: domain `acme.example` is taken by tenant `acme`
    [exit status: 4]
    ");
    project.write("tenants.csv", "schema_name\nacme\n");
    insta::assert_snapshot!(project.run("create-tenant --from tenants.csv --dry-run"), @"would create 0 tenants, and find 1 there");
}

#[tokio::test]
async fn what_would_be_refused_is_refused() {
    let project = project().await;
    project.tenant_migration("V3__stray.sql", "create table public.stray (id int)");
    for (arguments, status, says) in [
        ("create-tenant --schema acme --adopt", 1, "tenant `acme` exists"),
        ("create-tenant --schema nobody --adopt", 1, "there is no schema `nobody`"),
        ("create-tenant --schema old --adopt --set nothing=1", 2, "no column `nothing`"),
        ("create-tenant --schema new", 2, "V3__stray.sql"),
        ("create-tenant --schema old --adopt --domain acme.example", 1, "is taken"),
        ("create-domain acme.example --schema globex", 1, "is taken"),
        ("create-domain new.example --schema nobody", 2, "there is no tenant"),
        ("set-primary-domain nobody.example", 1, "no tenant has"),
        ("delete-domain acme.example", 1, "is the primary domain"),
        ("delete-domain globex.example", 2, "is the last domain"),
        ("baseline --tenants --to 7", 2, "no migration with version 7"),
        ("tenant-command --schema acme createsuperuser --username ada --no-input", 1, "already"),
        ("tenant-command --schema acme createsuperuser --no-input", 2, "username is missing"),
        ("tenant-command --schema old createsuperuser --username a --no-input", 2, "no tenant"),
        ("tenant-command --schema acme changepassword eve", 1, "no user `eve`"),
        ("tenant-command --schema acme sql 'selct 1'", 1, "selct"),
        ("all-tenants-command --tenants changepassword ada", 1, "no user `ada`"),
    ] {
        let output = project.command(&format!("{arguments} --dry-run")).output().unwrap();
        let shown = project.shown(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments}: {shown}");
        assert!(shown.contains(says), "{arguments}: {shown}");
    }
}

#[tokio::test]
async fn a_baseline_would_be_recorded() {
    let project = project().await;
    project.tenant_migration("V3__orders.sql", "create table orders (id int)");
    let shown = project.run("baseline --tenants --to latest --dry-run");
    let lines = shown.lines().filter(|it| it.starts_with("-- ")).take(2);
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    -- 2 schemas: acme, globex
    -- V3 `orders`, recorded without being run, shown for acme
    ");
    assert!(shown.contains("insert into \"acme\".\"refinery_schema_history\""), "{shown}");
    assert!(!shown.contains("create table orders"), "{shown}");
}

#[tokio::test]
async fn domains_would_change() {
    let project = project().await;
    insta::assert_snapshot!(project.run("create-domain new.example --schema acme --primary --dry-run"), @"would create primary domain `new.example` of `acme`");
    insta::assert_snapshot!(project.run("set-primary-domain www.acme.example --dry-run"), @"`www.acme.example` would become the primary domain of `acme`, instead of `acme.example`");
    insta::assert_snapshot!(project.run("set-primary-domain acme.example --dry-run"), @"`acme.example` is the primary domain of `acme` already");
    insta::assert_snapshot!(project.run("delete-domain www.acme.example --dry-run"), @"would delete domain `www.acme.example` of `acme`; it would have 1 domain left");
    insta::assert_snapshot!(project.run("delete-domain globex.example --yes --dry-run --format json"), @r#"{"type":"domain","domain":"globex.example","schema":"globex","state":"deleted","left":0,"dry_run":true}"#);
    // On a terminal nobody is asked.
    let (shown, status) = project.terminal("delete-domain globex.example --dry-run").ends();
    assert_eq!(status, 0, "{shown}");
}

#[tokio::test]
async fn users_would_change_and_no_password_is_asked_for() {
    let project = project().await;
    let create = "tenant-command --schema acme createsuperuser --username eve --email e@x.example";
    insta::assert_snapshot!(project.run(&format!("{create} --dry-run")), @"would create superuser `eve` in schema `acme`");
    insta::assert_snapshot!(project.run_with_stdin(&format!("{create} --dry-run --password-stdin"), "short"), @"
    ------- stderr -------
    error: a password has at least 8 characters, and this has 5
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("tenant-command --schema acme changepassword ada --dry-run --format json"), @r#"{"type":"user","state":"changed","schema":"acme","username":"ada","dry_run":true}"#);
    insta::assert_snapshot!(project.run("all-tenants-command --tenants --jobs 1 createsuperuser --username ada --no-input --dry-run"), @"
    globex: would create superuser `ada`
    ------- stderr -------
    acme: error: there is a user `ada` in schema `acme` already
    failed, with the status of each: acme (1)
    1 schema done, 1 failed
    hint: to run it where it is not done, say `--schema=acme`
    nothing was changed
    [exit status: 1]
    ");
}

#[tokio::test]
async fn sql_answers_and_is_rolled_back() {
    let project = project().await;
    let sql = "delete from users returning username";
    insta::assert_snapshot!(project.run(&format!("tenant-command --schema acme sql '{sql}' --dry-run")), @"
    username
    ada
    ------- stderr -------
    DELETE 1
    rolled back: nothing was changed
    ");
    insta::assert_snapshot!(project.run(&format!("all-tenants-command --tenants --jobs 1 sql '{sql}' --dry-run --format json")), @r#"
    {"type":"row","schema":"acme","statement":1,"row":{"username":"ada"}}
    {"type":"statement","schema":"acme","statement":1,"command":"DELETE","rows":1}
    {"type":"done","schema":"acme","exit_status":0}
    {"type":"statement","schema":"globex","statement":1,"command":"DELETE","rows":0}
    {"type":"done","schema":"globex","exit_status":0}
    {"type":"summary","done":2,"failed":0,"not_attempted":0,"exit_status":0}
    ------- stderr -------
    nothing was changed
    "#);
    assert_eq!(project.query("select count(*) from acme.users").await, "1");
    // What would fail only at the commit fails as well.
    project.sql("create table acme.a (id int unique deferrable initially deferred)").await;
    let twice = "tenant-command --schema acme sql 'insert into a values (1), (1)' --dry-run";
    assert!(project.run(twice).contains("duplicate key"));
}
