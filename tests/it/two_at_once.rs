//! Two at once: each migration is applied once in each schema, and everybody tells the truth.

use std::process::Output;

use rustix::process::Signal;

use crate::support::proxy::{Lose, Proxy};
use crate::support::{Blocker, Program, Project, eventually};

impl Project {
    /// Runs the program several times at once.
    fn at_once(&self, arguments: impl IntoIterator<Item = String>) -> Vec<Output> {
        let programs: Vec<Program> = arguments.into_iter().map(|it| self.start(&it)).collect();
        programs.into_iter().map(Program::ends).collect()
    }

    /// Runs a migration of 12 schemas several times at once, and looks at what came of it.
    async fn migrates_once(&self, runs: usize) {
        self.add_many_tenants(12).await;
        self.add_traces(1, 0.01);
        self.add_traces(2, 0.0);
        let same = std::iter::repeat_n("migrate-schemas --all --jobs 2".to_owned(), runs);
        for output in self.at_once(same) {
            let shown = self.shown(&output);
            assert_eq!(output.status.code(), Some(0), "{shown}");
            assert!(!shown.contains("error"), "{shown}");
        }
        assert_eq!(self.versions().await, "V2: 12");
    }
}

#[tokio::test]
async fn three_runs_apply_each_migration_once() {
    Project::new().await.migrates_once(3).await;
}

#[tokio::test]
async fn eight_runs_apply_each_migration_once() {
    Project::new().await.migrates_once(8).await;
}

#[tokio::test]
async fn of_five_that_create_one_tenant_one_does() {
    let project = Project::new().await;
    project.add_traces(1, 0.1);
    let create = "create-tenant --schema acme --domain acme.localhost --no-input";
    let outputs = project.at_once(std::iter::repeat_n(create.to_owned(), 5));
    let (done, refused): (Vec<_>, Vec<_>) = outputs.iter().partition(|it| it.status.success());
    assert_eq!(done.len(), 1);
    for output in refused {
        let shown = project.shown(output);
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.contains("exists"), "{shown}");
    }
    let rows = "select (select count(*) from tenants), (select count(*) from domains)";
    assert_eq!(project.query(rows).await, "1|1");
    assert_eq!(project.versions().await, "V1: 1");
}

#[tokio::test]
async fn of_two_that_create_a_tenant_with_one_domain_one_does() {
    let project = Project::new().await;
    project.add_traces(1, 0.1);
    let create =
        |name: &str| format!("create-tenant --schema {name} --domain a.localhost --no-input");
    let outputs = project.at_once([create("acme"), create("globex")]);
    let refused = outputs.iter().find(|it| !it.status.success()).unwrap();
    let shown = project.shown(refused).replace("globex", "acme");
    insta::assert_snapshot!(shown, @"
    ------- stderr -------
    error: tenant `acme` could not be created
      caused by: domain `a.localhost` is taken
    nothing was created for `acme`
    [exit status: 1]
    ");
    let rows = "select (select count(*) from tenants), (select count(*) from domains)";
    assert_eq!(project.query(rows).await, "1|1");
    assert_eq!(project.versions().await, "V1: 1");
}

#[tokio::test]
async fn eight_tenants_are_created_at_once() {
    let project = Project::new().await;
    project.add_traces(1, 0.0);
    let create = |number: u32| format!("create-tenant --schema t{number} --no-input");
    for output in project.at_once((0..8).map(create)) {
        assert_eq!(output.status.code(), Some(0), "{}", project.shown(&output));
    }
    assert_eq!(project.versions().await, "V1: 8");
}

#[tokio::test]
async fn looking_waits_for_nothing() {
    let project = Project::new().await;
    project.add_many_tenants(3).await;
    // The first schema of a plan goes alone.
    project.add_traces(1, 30.0);
    let program = project.start("migrate-schemas --tenants --jobs 2");
    project.pausing(1).await;
    for command in ["status", "list-tenants", "migrate-schemas --all --dry-run"] {
        let output = project.command(command).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", project.shown(&output));
    }
    let check = project.command("status --check").output().unwrap();
    assert_eq!(check.status.code(), Some(3), "{}", project.shown(&check));
    project.pausing(1).await;
    program.kill();
}

#[tokio::test]
async fn looking_does_not_wait_for_a_history_that_somebody_has_locked() {
    let project = Project::new().await;
    project.add_many_tenants(70).await;
    project.add_traces(1, 0.0);
    project.migrate();
    let _blocker = project.blocker("lock table t7.refinery_schema_history").await;
    let begun = std::time::Instant::now();
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    69 schemas at V1 · 1 schema unreadable: t7
      unreadable: somebody has locked its table `refinery_schema_history`
        in t7
    ");
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_schema_that_somebody_has_locked_is_busy() {
    let project = Project::with_tenants(["acme"]).await;
    project.add_traces(1, 0.0);
    let key = "hashtextextended('tenantctl:acme', 0)";
    let _blocker = project.blocker(&format!("select pg_advisory_xact_lock({key})")).await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --retries 0"), @"
    1 schema busy
    ------- stderr -------
    error: schema `acme` is busy
      caused by: another run, or somebody else, holds its lock
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; select pg_advisory_xact_lock(hashtextextended('tenantctl:acme', 0))
    hint: run `tenantctl migrate-schemas --retries 0 --schema=acme`
    [exit status: 6]
    ");
}

#[tokio::test]
async fn a_schema_that_an_idle_session_has_locked_is_busy() {
    let project = Project::with_tenants(["acme"]).await;
    project.add_traces(1, 0.0);
    let key = "hashtextextended('tenantctl:acme', 0)";
    let lock = format!("select pg_advisory_lock({key}); commit");
    let _blocker = project.blocker(&lock).await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --retries 0"), @"
    1 schema busy
    ------- stderr -------
    error: schema `acme` is busy
      caused by: another run, or somebody else, holds its lock
        held by pid [pid] (blocker, 127.0.0.1), idle, in no transaction; last statement: begin; select pg_advisory_lock(hashtextextended('tenantctl:acme', 0)); commit
    hint: run `tenantctl migrate-schemas --retries 0 --schema=acme`
    [exit status: 6]
    ");
}

#[tokio::test]
async fn what_another_run_did_is_not_done_again() {
    let project = Project::with_tenants(["acme"]).await;
    project.add_traces(1, 1.0);
    let first = project.start("migrate-schemas --tenants");
    project.pausing(1).await;
    let second = project.start("migrate-schemas --tenants");
    eventually("the second has been there", async || {
        project.query("select count(*) from pg_stat_activity where datname = current_database() and application_name ~ '^tenantctl [0-9a-f]{8} 0'").await == "2"
    })
    .await;
    assert_eq!(first.ends().status.code(), Some(0));
    insta::assert_snapshot!(project.shown(&second.ends()), @"
    1 schema up to date
    ------- stderr -------
    acme: busy, will be tried again: another run, or somebody else, holds its lock
    acme: already up to date
    ");
    assert_eq!(project.versions().await, "V1: 1");
}

/// Returns a project of four tenants with one history, and a migration that none of them has.
async fn four_behind() -> Project {
    let project = Project::with_tenants(["a", "b", "c", "d"]).await;
    project.tenant_migration("V1__one.sql", "create table one ()");
    project.migrate();
    project.tenant_migration("V2__two.sql", "create table two ()");
    project
}

/// Starts a run that has read all digests, and does so much before it reads a history.
async fn while_it_looks(project: &Project, meanwhile: impl AsyncFnOnce()) -> Output {
    let hold = "union all select 0, version";
    let proxy = Proxy::start(project.database(), Lose::Nothing { hold });
    let mut command = project.command("migrate-schemas --tenants --jobs 1");
    command.env("DATABASE_URL", proxy.url());
    let program = project.start_command(command);
    eventually("it is about to read a history", async || proxy.holds()).await;
    meanwhile().await;
    proxy.release();
    program.ends()
}

#[tokio::test]
async fn a_history_that_changes_while_the_fleet_is_looked_at_is_that_schemas_alone() {
    let project = four_behind().await;
    let output = while_it_looks(&project, async || {
        project.run("migrate-schemas --schema a --schema b --schema d");
    })
    .await;
    insta::assert_snapshot!(project.shown(&output), @"
    1 schema migrated, 3 up to date
    ------- stderr -------
    a: already up to date
    b: already up to date
    c: applied V2 `two`
    ");
    let migrated = "select count(*) from pg_class where relname = 'two'";
    assert_eq!(project.query(migrated).await, "4");
}

#[tokio::test]
async fn what_is_deleted_while_the_fleet_is_looked_at_is_left_out_and_what_is_renamed_is_found() {
    let project = four_behind().await;
    let output = while_it_looks(&project, async || {
        project.run("delete-tenant a --drop-schema --yes");
        project.run("delete-tenant d --drop-schema --yes");
        project.run("rename-tenant b e");
    })
    .await;
    insta::assert_snapshot!(project.shown(&output), @"
    2 schemas migrated, 2 gone
    ------- stderr -------
    warning: a: its schema is gone since this run began
    warning: b: its schema is gone since this run began
    c: applied V2 `two`
    e: applied V2 `two`
    ");
    let migrated = "select count(*) from pg_class where relname = 'two'";
    assert_eq!(project.query(migrated).await, "2");
}

#[tokio::test]
async fn what_another_run_has_done_is_not_found_out_one_by_one() {
    let project = Project::new().await;
    project.add_many_tenants(150).await;
    project.tenant_migration("V1__one.sql", "create table one ()");
    project.migrate();
    project.tenant_migration("V2__two.sql", "create table two ()");
    let hold = "tenantctl.runs";
    let proxy = Proxy::start(project.database(), Lose::Nothing { hold });
    let mut command = project.command("migrate-schemas --tenants --quiet --jobs 2");
    command.env("DATABASE_URL", proxy.url());
    let program = project.start_command(command);
    eventually("it has looked and not begun", async || proxy.holds()).await;
    let before = proxy.asked();
    let said = project.run("migrate-schemas --tenants --quiet");
    assert_eq!(said, "150 schemas migrated\n");
    proxy.release();
    insta::assert_snapshot!(project.shown(&program.ends()), @"150 schemas up to date");
    let asked = proxy.asked() - before;
    assert!(asked < 50, "{asked} questions");
}

#[tokio::test]
async fn who_is_interrupted_twice_while_looking_ahead_tells_of_each_schema_once() {
    let project = Project::new().await;
    project.add_many_tenants(30).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    project.migrate();
    project.tenant_migration("V2__text.sql", "alter table notes add column text text");
    let blocker = project.blocker("lock table t1.notes in access share mode").await;
    // In the order of their names: `t1`, `t10`, which is found done, and what comes after it.
    let hold = "unnest(array['t11'";
    let proxy = Proxy::start(project.database(), Lose::Nothing { hold });
    let mut command =
        project.command("migrate-schemas --tenants --quiet --jobs 1 --lock-timeout off");
    command.env("DATABASE_URL", proxy.url());
    let program = project.start_command(command);
    project.somebody_waits().await;
    let said = project.run("migrate-schemas --tenants --exclude t1 --quiet");
    assert_eq!(said, "29 schemas migrated\n");
    blocker.release().await;
    eventually("it looks ahead", async || proxy.holds()).await;
    program.heeds(Signal::INT).await;
    program.signal(Signal::TERM);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    1 schema migrated, 1 up to date, 28 not attempted
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    cancelling what is running
    error: interrupted
    not attempted: t11, t12, t13, t14, t15 and 23 more
    hint: run `tenantctl migrate-schemas --tenants --quiet --jobs 1 --lock-timeout off` again: it does only what is left
    [exit status: 130]
    ");
}

/// Starts a run over twelve tenants, and returns it with who keeps it at the first.
async fn waits_at_the_first(project: &Project, flags: &str) -> (Blocker, Program) {
    project.add_many_tenants(12).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    project.migrate();
    project.tenant_migration("V2__text.sql", "alter table notes add column text text");
    let blocker = project.blocker("lock table t1.notes in access share mode").await;
    let run = format!("migrate-schemas --tenants --jobs 1 --lock-timeout off {flags}");
    let program = project.start(&run);
    project.somebody_waits().await;
    (blocker, program)
}

#[tokio::test]
async fn a_tenant_that_is_deleted_or_renamed_meanwhile_is_no_failure() {
    let project = Project::new().await;
    let (blocker, program) =
        waits_at_the_first(&project, "--quiet --fail-fast --canary t1 t5").await;
    project.run("delete-tenant t5 --drop-schema --yes");
    project.run("delete-tenant t6 --drop-schema --yes");
    project.run("rename-tenant t7 r7");
    blocker.release().await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    10 schemas migrated, 3 gone
    ------- stderr -------
    warning: t5: its schema is gone since this run began
    warning: t6: its schema is gone since this run began
    warning: t7: its schema is gone since this run began
    ");
    assert_eq!(project.recorded(2).await, 10);
}

#[tokio::test]
async fn a_schema_that_is_dropped_behind_the_registrys_back_is_missed() {
    let project = Project::new().await;
    let (blocker, program) = waits_at_the_first(&project, "--quiet").await;
    project.sql("drop schema t6 cascade").await;
    blocker.release().await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    11 schemas migrated, 1 failed
    ------- stderr -------
    warning: t6: its schema is gone since this run began
    error: schema `t6` could not be migrated
      caused by: there is no such schema
        unless it has just been deleted or renamed, the registry still has a row for it: make the schema anew with `create schema` in psql, or remove the row there
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --lock-timeout off --quiet --schema=t6`
    [exit status: 4]
    ");
}

#[tokio::test]
async fn who_asked_for_a_tenant_by_name_that_is_gone_is_told_so() {
    let project = Project::new().await;
    let (blocker, program) = waits_at_the_first(&project, "--quiet --schema t1 --schema t7").await;
    project.run("rename-tenant t7 r7");
    blocker.release().await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    1 schema migrated, 1 failed
    ------- stderr -------
    warning: t7: its schema is gone since this run began
    error: schema `t7` could not be migrated
      caused by: there is no such schema
        unless it has just been deleted or renamed, the registry still has a row for it: make the schema anew with `create schema` in psql, or remove the row there
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --lock-timeout off --quiet --schema=t7`
    [exit status: 4]
    ");
}
