//! Programs of the project's that are run when something happens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Project, eventually};

impl Project {
    /// Writes a shell script into the project's folder.
    pub(crate) fn script(&self, name: &str, text: &str) {
        self.write(name, format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns what a hook has written, of which nothing is left then.
    fn told(&self) -> String {
        let told = fs::read_to_string(self.path("told")).unwrap_or_default();
        let _ = fs::remove_file(self.path("told"));
        self.redacted(&told)
    }
}

/// Returns a project with a table for tenants, and a hook for everything that notes what it is told.
async fn with_hooks<const N: usize>(schemas: [&str; N]) -> Project {
    let project = Project::with_tenants(schemas).await;
    project.script("hook.sh", "echo \"$1 says hello\"; cat >> told");
    project.write(
        "tenantctl.toml",
        "[hooks]\n\
         pre_migrate = ['./hook.sh', 'pre']\n\
         post_migrate = ['./hook.sh', 'post']\n\
         post_create = './hook.sh'\n",
    );
    project.tenant_migration("V1__notes.sql", "create table notes (body text);");
    project
}

#[tokio::test]
async fn a_migration_is_told_before_and_after() {
    let project = with_hooks(["acme", "globex"]).await;
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    2 schemas migrated, 1 up to date
    ------- stderr -------
    pre says hello
    acme: applied V1 `notes`
    globex: applied V1 `notes`
    post says hello
    ");
    insta::assert_snapshot!(project.told(), @r#"
    {"type":"pre_migrate","shared":0,"tenants":2,"schemas":[{"schema":"acme","from":null,"to":1},{"schema":"globex","from":null,"to":1}]}
    {"type":"post_migrate","shared":0,"tenants":2,"schemas":[{"schema":"acme","from":null,"to":1},{"schema":"globex","from":null,"to":1}],"result":"done","exit_status":0,"summary":{"applied":2,"up_to_date":1,"gone":0,"failed":0,"busy":0,"not_attempted":0},"failed":[],"busy":[],"not_attempted":[]}
    "#);
}

#[tokio::test]
async fn where_nothing_is_done_no_hook_runs() {
    let project = with_hooks(["acme"]).await;
    for arguments in ["--dry-run", "--check", "--rehearse"] {
        project.run(&format!("migrate-schemas --all {arguments}"));
    }
    assert_eq!(project.told(), "");
    project.run("migrate-schemas --all");
    assert!(project.told().contains("post_migrate"));
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"2 schemas up to date");
    assert_eq!(project.told(), "");
}

#[tokio::test]
async fn a_hook_before_that_fails_stops_it() {
    let project = with_hooks(["acme"]).await;
    project.script("hook.sh", "echo told >> told; exit 7");
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"
    ------- stderr -------
    error: hook `pre_migrate` ended with status 7
    hint: nothing was changed; mend what it found, and run the same command again
    [exit status: 1]
    ");
    assert_eq!(project.told(), "told\n");
    assert_eq!(project.tables("acme").await, "");
    fs::remove_file(project.path("hook.sh")).unwrap();
    insta::assert_snapshot!(project.run("migrate-schemas --all --format json"), @r#"
    {"type":"error","message":"hook `pre_migrate` could not be run: there is no program `./hook.sh`","causes":[],"hint":"nothing was changed; `hooks.pre_migrate` in `tenantctl.toml` names it, as seen from that folder","exit_status":1}
    ------- stderr -------
    error: hook `pre_migrate` could not be run: there is no program `./hook.sh`
    hint: nothing was changed; `hooks.pre_migrate` in `tenantctl.toml` names it, as seen from that folder
    [exit status: 1]
    "#);
    project.write("hook.sh", "not executable");
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"
    ------- stderr -------
    error: hook `pre_migrate`: program `./hook.sh` could not be run
      caused by: permission denied
    hint: nothing was changed; make it executable
    [exit status: 1]
    ");
    project.script("hook.sh", "kill -TERM $$");
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"
    ------- stderr -------
    error: hook `pre_migrate` ended with status 143
    hint: nothing was changed; mend what it found, and run the same command again
    [exit status: 1]
    ");
    assert_eq!(project.tables("acme").await, "");
}

#[tokio::test]
async fn a_hook_after_that_fails_is_in_the_status() {
    let project = with_hooks(["acme"]).await;
    project.write(
        "tenantctl.toml",
        "hooks.post_migrate = 'false'\nhooks.post_create = ['gone', 'x']\n",
    );
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"
    1 schema migrated, 1 up to date
    ------- stderr -------
    acme: applied V1 `notes`
    error: hook `post_migrate` ended with status 1
    hint: what is said above about the schemas holds; do by hand what the program would have done
    [exit status: 4]
    ");
    assert_eq!(project.tables("acme").await, "notes, refinery_schema_history");
    insta::assert_snapshot!(project.run("create-tenant --schema globex --no-input"), @"
    created tenant `globex`
    ------- stderr -------
    globex: created with V1 `notes`
    error: hook `post_create` could not be run: there is no program `gone`
    hint: the tenant is there; `hooks.post_create` in `tenantctl.toml` names it, as seen from that folder
    [exit status: 4]
    ");
    assert_eq!(project.tables("globex").await, "notes, refinery_schema_history");
}

#[tokio::test]
async fn a_failed_migration_is_told_and_keeps_its_status() {
    let project = with_hooks(["acme", "globex"]).await;
    project.sql("create table globex.notes ()").await;
    project.script("hook.sh", "cat >> told; test $1 = pre");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1 --quiet"), @r#"
    1 schema migrated, 1 failed
    ------- stderr -------
    error: migration V1 `notes` could not be applied to schema `globex`
      caused by: relation "notes" already exists
         --> migrations/tenant/V1__notes.sql:1
          |
        1 | create table notes (body text);
        SQLSTATE 42P07
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --quiet --schema=globex`
    error: hook `post_migrate` ended with status 1
    hint: what is said above about the schemas holds; do by hand what the program would have done
    [exit status: 4]
    "#);
    insta::assert_snapshot!(project.told(), @r#"
    {"type":"pre_migrate","shared":0,"tenants":2,"schemas":[{"schema":"acme","from":null,"to":1},{"schema":"globex","from":null,"to":1}]}
    {"type":"post_migrate","shared":0,"tenants":2,"schemas":[{"schema":"acme","from":null,"to":1},{"schema":"globex","from":null,"to":1}],"result":"partly","exit_status":4,"summary":{"applied":1,"up_to_date":0,"gone":0,"failed":1,"busy":0,"not_attempted":0},"failed":[{"schema":"globex","message":"relation \"notes\" already exists"}],"busy":[],"not_attempted":[]}
    "#);
}

#[tokio::test]
async fn each_tenant_that_is_created_is_told() {
    let project = with_hooks([]).await;
    project.write("seeds/tenant/a.sql", "insert into notes values ('a')");
    let create =
        "create-tenant --schema acme --no-input --seed --domain acme.example --domain b.example";
    insta::assert_snapshot!(project.run(create), @"
    created tenant `acme` at acme.example, at b.example
    ------- stderr -------
    acme: created with V1 `notes`, seed `a`
     says hello
    ");
    insta::assert_snapshot!(project.told(), @r#"{"type":"post_create","schema":"acme","domains":["acme.example","b.example"],"result":"done","version":1,"seeds":["a"],"adopted":false}"#);
    project.write(
        "new.csv",
        "schema_name,domain\nglobex,globex.example\nacme,\npg_x,\nhooli,hooli.example\n",
    );
    project.run("create-tenant --from new.csv --jobs 1");
    insta::assert_snapshot!(project.told(), @r#"
    {"type":"post_create","schema":"globex","domains":["globex.example"],"result":"done","version":1,"seeds":[],"adopted":false}
    {"type":"post_create","schema":"hooli","domains":["hooli.example"],"result":"done","version":1,"seeds":[],"adopted":false}
    "#);
    project.sql("create schema old").await;
    project.run("create-tenant --schema old --adopt --no-input");
    insta::assert_snapshot!(project.told(), @r#"{"type":"post_create","schema":"old","domains":[],"result":"done","version":null,"seeds":[],"adopted":true}"#);
    project.run("create-tenant --schema old --no-input");
    assert_eq!(project.told(), "");
}

#[tokio::test]
async fn a_hook_finds_the_database_and_the_schema() {
    let project = with_hooks(["acme"]).await;
    project.script(
        "hook.sh",
        "cat > event; pwd >> told; psql -XAtc 'select current_schema()' >> told; \
         echo $TENANT_SCHEMA >> told; tr '\\0' '\\n' < /proc/$$/cmdline | paste -sd/ >> told",
    );
    for folder in [".git", "below"] {
        fs::create_dir(project.path(folder)).unwrap();
    }
    let mut migrate = project.command("migrate-schemas --all");
    assert!(migrate.current_dir(project.path("below")).output().unwrap().status.success());
    project.run("create-tenant --schema 'a b' --no-input");
    insta::assert_snapshot!(project.told(), @"
    [project]
    public
    public
    /bin/sh/./hook.sh/pre
    [project]
    public
    public
    /bin/sh/./hook.sh/post
    [project]
    a b
    a b
    /bin/sh/./hook.sh
    ");
}

#[tokio::test]
async fn a_hook_need_not_read_what_it_is_told() {
    let project = with_hooks([]).await;
    let names = "select 'tenant_' || repeat('x', 50) || n from generate_series(1000, 1799) as n";
    project
        .sql(&format!(
            "insert into public.tenants (schema_name, name) select n, n from ({names}) as t (n)"
        ))
        .await;
    project.sql("do $$ declare s text; begin for s in select schema_name from public.tenants loop execute format('create schema %I', s); end loop; end $$").await;
    project.write(
        "tenantctl.toml",
        "hooks.pre_migrate = 'true'\nhooks.post_migrate = ['sh', '-c', 'wc -c > told']\n",
    );
    project.run("migrate-schemas --tenants --quiet");
    let length: usize = project.told().trim().parse().unwrap();
    assert!(length > 70_000, "{length}");
}

#[tokio::test]
async fn a_hook_that_takes_too_long_is_ended() {
    let project = with_hooks(["acme"]).await;
    project.write("tenantctl.toml", "[hooks]\npre_migrate = ['sleep', '60']\ntimeout = '200ms'\n");
    let begun = Instant::now();
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"
    ------- stderr -------
    error: hook `pre_migrate` was ended: it took longer than [time]
    hint: nothing was changed; `hooks.timeout` in `tenantctl.toml` says how long it may take
    [exit status: 1]
    ");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(project.tables("acme").await, "");
}

#[tokio::test]
async fn while_a_hook_runs_no_connection_waits_for_it() {
    let project = with_hooks(["acme"]).await;
    project.script("hook.sh", "touch started-$1; while [ ! -e go-$1 ]; do sleep 0.02; done");
    let program = project.start("migrate-schemas --all");
    for hook in ["pre", "post"] {
        let started = project.path(&format!("started-{hook}"));
        eventually("the hook runs", async || started.exists()).await;
        project.nobody_is_connected().await;
        project.write(&format!("go-{hook}"), "");
    }
    assert!(program.ends().status.success());
    assert_eq!(project.tables("acme").await, "notes, refinery_schema_history");
}

#[tokio::test]
async fn ctrl_c_ends_a_hook_before_and_nothing_is_done() {
    let project = with_hooks(["acme"]).await;
    project.script("hook.sh", "echo $$ > pid; exec sleep 60");
    let program = project.start("migrate-schemas --all");
    eventually("it runs", async || project.path("pid").exists()).await;
    program.signal(Signal::INT);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    error: hook `pre_migrate` was interrupted
    hint: nothing was changed; run the same command again
    [exit status: 130]
    ");
    assert_eq!(project.tables("acme").await, "");
}

#[tokio::test]
async fn an_interrupted_run_is_told_all_the_same() {
    let project = with_hooks(["acme", "globex"]).await;
    project.tenant_migration("V2__slow.sql", "select pg_sleep(1);");
    let program = project.start("migrate-schemas --tenants --jobs 1 --quiet");
    project.pausing(1).await;
    program.signal(Signal::INT);
    assert_eq!(program.ends().status.code(), Some(130));
    let told = project.told();
    assert!(told.contains(r#""result":"interrupted""#), "{told}");
    assert!(told.contains(r#""not_attempted":["globex"]"#), "{told}");
}
