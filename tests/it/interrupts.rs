//! A person's wish to stop: once to finish what is under way, twice to leave at once.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::deaths::traces;
use crate::support::Project;

/// The second time. Of one signal sent twice at once, the program may see but one.
const AGAIN: Signal = Signal::TERM;

/// Returns four tenants, and a migration that takes so many seconds.
async fn four_tenants(pause: f32) -> Project {
    let project = Project::new().await;
    project.add_many_tenants(4).await;
    project.add_traces(1, pause);
    project
}

#[tokio::test]
async fn the_first_ctrl_c_finishes_what_is_under_way() {
    let project = four_tenants(1.0).await;
    let program = project.start("migrate-schemas --tenants --jobs 2 --quiet");
    project.pausing(2).await;
    program.signal(Signal::INT);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    3 schemas migrated, 1 not attempted
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    error: interrupted
    not attempted: t4
    hint: run `tenantctl migrate-schemas --jobs 2 --quiet --schema=t4`
    [exit status: 130]
    ");
    assert_eq!(project.versions().await, "V1: 3");
}

#[tokio::test]
async fn the_second_ctrl_c_cancels_on_the_server() {
    let project = four_tenants(60.0).await;
    // Without it, one schema would be tried alone first.
    let anywhere = format!("-- tenantctl: allow other-schema\n{}", traces(1, 60.0));
    project.tenant_migration("V1__traces.sql", &anywhere);
    let program = project.start("migrate-schemas --tenants --jobs 2");
    project.pausing(2).await;
    program.signal(Signal::INT);
    let begun = Instant::now();
    program.signal(AGAIN);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    2 schemas failed, 2 not attempted
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    cancelling what is running
    error: 2 schemas: t1, t2 could not be migrated
      caused by: it was cancelled by the second interrupt
    error: interrupted
    not attempted: t3, t4
    hint: run `tenantctl migrate-schemas --jobs 2 --schema=t1 --schema=t2 --schema=t3 --schema=t4`
    [exit status: 130]
    ");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    project.nobody_is_connected().await;
    assert_eq!(project.versions().await, "");
}

#[tokio::test]
async fn the_second_ctrl_c_cancels_what_runs_in_no_transaction() {
    let project = four_tenants(0.0).await;
    project.tenant_migration("V2__alone.sql", "-- tenantctl: no-transaction\nselect pg_sleep(60);");
    let program = project.start("migrate-schemas --tenants --jobs 1");
    project.pausing(1).await;
    program.signal(Signal::INT);
    program.signal(AGAIN);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    1 schema failed, 3 not attempted
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    cancelling what is running
    error: schema `t1` could not be migrated
      caused by: it was cancelled by the second interrupt
        left behind: whatever V2 `alone`, which runs in no transaction, had done
        the next run begins the file anew, and keeps the concurrent indexes that are there
    error: interrupted
    not attempted: t2, t3, t4
    hint: mend what failed and run `tenantctl migrate-schemas --jobs 1 --schema=t1 --schema=t2 --schema=t3 --schema=t4`
    [exit status: 130]
    ");
    project.nobody_is_connected().await;
}

#[tokio::test]
async fn a_terminal_that_closes_and_a_service_manager_are_heeded_as_well() {
    for signal in [Signal::HUP, Signal::TERM] {
        let project = four_tenants(0.3).await;
        // The tests themselves may have been started by `nohup`.
        let started = "migrate-schemas --tenants --jobs 1";
        let program = project.start_under("env --default-signal=HUP", started);
        project.pausing(1).await;
        program.signal(signal);
        assert_eq!(program.ends().status.code(), Some(130));
        assert_eq!(project.versions().await, "V1: 1");
    }
}

#[tokio::test]
async fn ctrl_c_does_not_wait_for_a_busy_schema() {
    let project = four_tenants(0.0).await;
    project.migrate();
    project.tenant_migration("V2__log.sql", "alter table log add column x int");
    let _blocker = project.blocker("select from t1.log").await;
    let program = project.start("migrate-schemas --schema t1 --lock-timeout 60s --retries 1000");
    project.somebody_waits().await;
    program.signal(Signal::INT);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    1 schema busy
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    t1: busy, will be tried again: V2 `log` at migrations/tenant/V2__log.sql:1: canceling statement due to lock timeout
    error: schema `t1` is busy
      caused by: V2 `log`: canceling statement due to lock timeout
         --> migrations/tenant/V2__log.sql:1
          |
        1 | alter table log add column x int
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; select from t1.log
    error: interrupted
    hint: run `tenantctl migrate-schemas --lock-timeout 60s --retries 1000 --schema=t1`
    [exit status: 130]
    ");
}

#[tokio::test]
async fn ctrl_c_in_a_terminal_is_an_interrupt_of_the_run() {
    let project = four_tenants(0.5).await;
    let mut terminal = project.terminal("migrate-schemas --tenants --jobs 1");
    project.pausing(1).await;
    let (shown, status) = terminal.presses("\x03").ends();
    assert!(shown.contains("stopping; interrupt again"), "{shown}");
    assert_eq!(status, 130);
    assert_eq!(project.versions().await, "V1: 1");
}

#[tokio::test]
async fn ctrl_c_twice_creates_no_tenant() {
    let project = four_tenants(60.0).await;
    let program = project.start("create-tenant --schema acme --no-input");
    project.pausing(1).await;
    program.signal(Signal::INT);
    program.signal(AGAIN);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    cancelling what is running
    error: tenant `acme` could not be created
      caused by: it was cancelled by the second interrupt
    error: interrupted
    nothing was created for `acme`
    [exit status: 130]
    ");
    let schemas = "select count(*) from pg_namespace where nspname = 'acme'";
    assert_eq!(project.query(schemas).await, "0");
}

#[tokio::test]
async fn a_run_that_nohup_started_survives_the_terminal() {
    let project = four_tenants(0.3).await;
    let program = project.start_under("nohup", "migrate-schemas --tenants --jobs 1");
    project.pausing(1).await;
    program.signal(Signal::HUP);
    assert_eq!(program.ends().status.code(), Some(0));
    assert_eq!(project.versions().await, "V1: 4");
}

#[tokio::test]
async fn ctrl_c_once_lets_a_tenant_be_created() {
    let project = four_tenants(0.5).await;
    let program = project.start("create-tenant --schema acme --no-input");
    project.pausing(1).await;
    program.signal(Signal::INT);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    created tenant `acme`
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    acme: created with V1 `traces`
    ");
}
