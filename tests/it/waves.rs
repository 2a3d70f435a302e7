//! In which order and in which waves tenants are migrated.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Project, eventually};

const NOTES: &str = "create table notes (id int)";

/// Returns five tenants; in the schema of one of them the migration collides.
async fn with_bad(bad: &str) -> Project {
    let project = Project::with_tenants(["acme", "eha", "globex", "hooli", "initech"]).await;
    project.sql(&format!("create table \"{bad}\".notes (id int)")).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project
}

#[tokio::test]
async fn canaries_come_first_and_a_failed_one_stops_the_rest() {
    let project = with_bad("eha").await;
    insta::assert_snapshot!(project.run("migrate-schemas --all --canary 2"), @r#"
    1 schema migrated, 1 up to date, 1 failed, 3 not attempted
    ------- stderr -------
    wave 1 of 2, 2 canaries: acme, eha
    acme: applied V1 `notes`
    error: migration V1 `notes` could not be applied to schema `eha`
      caused by: relation "notes" already exists
         --> migrations/tenant/V1__notes.sql:1
          |
        1 | create table notes (id int)
        SQLSTATE 42P07
    error: stopped early: 1 of 2 canaries is not done
    not attempted: globex, hooli, initech
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --all --canary 2` again: the canaries come first again, and what is done is not done twice
    [exit status: 4]
    "#);
    assert_eq!(project.recorded(1).await, 1);
    project.sql("drop table eha.notes").await;
    insta::assert_snapshot!(project.run("migrate-schemas --all --canary 2 --quiet"), @"4 schemas migrated, 2 up to date");
    assert_eq!(project.recorded(1).await, 5);
}

#[tokio::test]
async fn canaries_are_chosen_by_name() {
    let project = with_bad("acme").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --canary globex acme --jobs 1"), @r#"
    1 schema migrated, 1 failed, 3 not attempted
    ------- stderr -------
    wave 1 of 2, 2 canaries: acme, globex
    globex: applied V1 `notes`
    error: migration V1 `notes` could not be applied to schema `acme`
      caused by: relation "notes" already exists
         --> migrations/tenant/V1__notes.sql:1
          |
        1 | create table notes (id int)
        SQLSTATE 42P07
    error: stopped early: 1 of 2 canaries is not done
    not attempted: eha, hooli, initech
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --tenants --canary globex acme --jobs 1` again: the canaries come first again, and what is done is not done twice
    [exit status: 4]
    "#);
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --canary hooli --canary=initech --jobs 1"), @r#"
    3 schemas migrated, 1 up to date, 1 failed
    ------- stderr -------
    wave 1 of 2, 2 canaries: hooli, initech
    hooli: applied V1 `notes`
    initech: applied V1 `notes`
    wave 2 of 2, 2 schemas: acme, eha
    eha: applied V1 `notes`
    error: migration V1 `notes` could not be applied to schema `acme`
      caused by: relation "notes" already exists
         --> migrations/tenant/V1__notes.sql:1
          |
        1 | create table notes (id int)
        SQLSTATE 42P07
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --schema=acme`
    [exit status: 4]
    "#);
}

#[tokio::test]
async fn a_busy_canary_stops_the_rest() {
    let project = Project::with_tenants(["acme", "eha", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.migrate();
    project.tenant_migration("V2__more.sql", "alter table notes add column body text");
    let _blocker = project.blocker("select from eha.notes").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --canary eha --retries 2"), @"
    1 schema busy, 2 not attempted
    ------- stderr -------
    wave 1 of 2, the canary: eha
    eha: busy, will be tried again: V2 `more` at migrations/tenant/V2__more.sql:1: canceling statement due to lock timeout
    error: schema `eha` is busy
      caused by: V2 `more`: canceling statement due to lock timeout
         --> migrations/tenant/V2__more.sql:1
          |
        1 | alter table notes add column body text
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; select from eha.notes
    error: stopped early: the canary is not done
    not attempted: acme, globex
    hint: run `tenantctl migrate-schemas --tenants --canary eha --retries 2` again: the canaries come first again, and what is done is not done twice
    [exit status: 6]
    ");
    assert_eq!(project.recorded(2).await, 0);
}

#[tokio::test]
async fn a_canary_without_a_schema_stops_the_rest() {
    let project = with_bad("acme").await;
    project.sql("drop schema acme cascade").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --canary acme"), @"
    1 schema failed, 4 not attempted
    ------- stderr -------
    error: schema `acme` could not be migrated
      caused by: there is no such schema
        unless it has just been deleted or renamed, the registry still has a row for it: make the schema anew with `create schema` in psql, or remove the row there
    error: stopped early: the canary is not done
    not attempted: eha, globex, hooli, initech
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --tenants --canary acme` again: the canaries come first again, and what is done is not done twice
    [exit status: 1]
    ");
    assert_eq!(project.recorded(1).await, 0);
}

#[tokio::test]
async fn a_canary_that_is_up_to_date_is_done() {
    let project = with_bad("initech").await;
    project.run("migrate-schemas --schema acme");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --canary acme --exclude initech --quiet"), @"3 schemas migrated, 1 up to date");
}

#[tokio::test]
async fn canaries_in_json() {
    let project = with_bad("acme").await;
    let arguments = "migrate-schemas --tenants --canary 1 --wave-size 2 --format json --quiet";
    insta::assert_snapshot!(project.run(arguments), @r#"
    {"type":"wave","number":1,"of":3,"canary":true,"schemas":["acme"]}
    {"type":"failed","schema":"acme","message":"relation \"notes\" already exists","migration":"V1 `notes`","file":"migrations/tenant/V1__notes.sql","line":1,"column":null,"sqlstate":"42P07","detail":null,"hint":null,"left_behind":[]}
    {"type":"not_attempted","schema":"eha"}
    {"type":"not_attempted","schema":"globex"}
    {"type":"not_attempted","schema":"hooli"}
    {"type":"not_attempted","schema":"initech"}
    {"type":"summary","applied":0,"up_to_date":0,"failed":1,"busy":0,"not_attempted":4,"exit_status":1,"gone":0}
    ------- stderr -------
    error: migration V1 `notes` could not be applied to schema `acme`
      caused by: relation "notes" already exists
         --> migrations/tenant/V1__notes.sql:1
          |
        1 | create table notes (id int)
        SQLSTATE 42P07
    error: stopped early: the canary is not done
    not attempted: eha, globex, hooli, initech
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --tenants --canary 1 --wave-size 2 --format json --quiet` again: the canaries come first again, and what is done is not done twice
    [exit status: 1]
    "#);
}

#[tokio::test]
async fn a_rehearsal_has_canaries_too() {
    let project = with_bad("acme").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --rehearse --canary 20%"), @r#"
    1 schema failed, 4 not attempted
    ------- stderr -------
    wave 1 of 2, the canary: acme
    error: migration V1 `notes` could not be applied to schema `acme`
      caused by: relation "notes" already exists
         --> migrations/tenant/V1__notes.sql:1
          |
        1 | create table notes (id int)
        SQLSTATE 42P07
    error: stopped early: the canary is not done
    not attempted: eha, globex, hooli, initech
    hint: every schema is as it was; mend what failed and rehearse again
    [exit status: 1]
    "#);
    assert_eq!(project.recorded(1).await, 0);
}

#[tokio::test]
async fn a_dry_run_prints_the_waves() {
    let project = with_bad("acme").await;
    let arguments =
        "migrate-schemas --tenants --dry-run --canary 1 --wave-size 50% --order name:desc";
    let shown = project.run(arguments);
    let waves: Vec<&str> = shown.lines().filter(|it| it.starts_with("-- wave")).collect();
    insta::assert_snapshot!(waves.join("\n"), @"
    -- wave 1 of 3, the canary: initech
    -- wave 2 of 3, 2 schemas: hooli, globex
    -- wave 3 of 3, 2 schemas: eha, acme
    ");
    let shown = project.run(&format!("{arguments} --format json"));
    let waves: Vec<&str> = shown.lines().filter(|it| it.contains("\"wave\"")).collect();
    insta::assert_snapshot!(waves.join("\n"), @r#"
    {"type":"wave","number":1,"of":3,"canary":true,"schemas":["initech"]}
    {"type":"wave","number":2,"of":3,"canary":false,"schemas":["hooli","globex"]}
    {"type":"wave","number":3,"of":3,"canary":false,"schemas":["eha","acme"]}
    "#);
    assert_eq!(project.recorded(1).await, 0);
}

#[tokio::test]
async fn canaries_that_are_not_there_are_refused_before_anything() {
    let project = with_bad("acme").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --canary ghost acme"), @"
    ------- stderr -------
    error: canary `ghost` is not among the 5 tenants selected
    hint: nothing was changed; `tenantctl list-tenants` lists the tenants
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --canary eha,acme"), @"
    ------- stderr -------
    error: canary `eha,acme` is not among the 5 tenants selected
    hint: nothing was changed; names are told apart by spaces: `--canary acme globex`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --schema eha --canary globex hooli"), @"
    ------- stderr -------
    error: canaries `globex`, `hooli` are not among the 1 tenant selected
    hint: nothing was changed; `tenantctl list-tenants` lists the tenants
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --canary 0"), @"
    ------- stderr -------
    error: `--canary`: `0` is neither a number above 0 nor a share such as `2%`
    hint: say how many, such as `--canary 1`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --canary 2 acme"), @"
    ------- stderr -------
    error: `--canary` was given `2` and something else
    hint: give it one number, one share, or names
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --canary acme --check"), @"
    ------- stderr -------
    error: the argument '--canary <N|P%|NAME>...' cannot be used with '--check'

    Usage: tenantctl migrate-schemas --tenants --canary <N|P%|NAME>...

    For more information, try '--help'.
    [exit status: 2]
    ");
    assert_eq!(project.recorded(1).await, 0);
}

#[tokio::test]
async fn a_pause_needs_waves() {
    let project = with_bad("acme").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --pause-between 5s"), @"
    ------- stderr -------
    error: `--pause-between` needs waves to pause between
    hint: say which with `--canary N` or `--wave-size N`
    [exit status: 2]
    ");
}

#[tokio::test]
async fn nothing_is_open_while_the_run_pauses() {
    let project = with_bad("initech").await;
    project.sql("drop table initech.notes").await;
    let program = project
        .start("migrate-schemas --all --canary 1 --wave-size 2 --pause-between 600ms --jobs 1");
    let begun = Instant::now();
    for done in [1, 3] {
        eventually("a wave is done", async || project.recorded(1).await == done).await;
        project.nobody_is_connected().await;
        assert_eq!(project.recorded(1).await, done);
    }
    let output = program.ends();
    assert!(begun.elapsed() >= Duration::from_millis(1200));
    insta::assert_snapshot!(project.shown(&output), @"
    5 schemas migrated, 1 up to date
    ------- stderr -------
    wave 1 of 3, the canary: acme
    acme: applied V1 `notes`
    pausing for [time] before wave 2 of 3; Ctrl-C stops here
    wave 2 of 3, 2 schemas: eha, globex
    eha: applied V1 `notes`
    globex: applied V1 `notes`
    pausing for [time] before wave 3 of 3; Ctrl-C stops here
    wave 3 of 3, 2 schemas: hooli, initech
    hooli: applied V1 `notes`
    initech: applied V1 `notes`
    ");
}

#[tokio::test]
async fn ctrl_c_ends_a_pause_at_once() {
    let project = with_bad("initech").await;
    let program = project.start("migrate-schemas --tenants --canary 1 --pause-between 10m");
    eventually("the canary is done", async || project.recorded(1).await == 1).await;
    project.nobody_is_connected().await;
    let begun = Instant::now();
    program.signal(Signal::INT);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    1 schema migrated, 4 not attempted
    ------- stderr -------
    wave 1 of 2, the canary: acme
    acme: applied V1 `notes`
    pausing for 10m before wave 2 of 2; Ctrl-C stops here
    stopping; interrupt again to cancel what is under way
    error: interrupted
    not attempted: eha, globex, hooli, initech
    hint: run `tenantctl migrate-schemas --schema=eha --schema=globex --schema=hooli --schema=initech`
    [exit status: 130]
    ");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn the_failure_budget_counts_over_all_waves() {
    let project = with_bad("acme").await;
    project.sql("create table globex.notes (id int)").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --wave-size 1 --max-failures 2 --quiet"), @r#"
    1 schema migrated, 2 failed, 2 not attempted
    ------- stderr -------
    error: migration V1 `notes` could not be applied to 2 schemas: acme, globex
      caused by: relation "notes" already exists
         --> migrations/tenant/V1__notes.sql:1
          |
        1 | create table notes (id int)
        SQLSTATE 42P07
    error: stopped early, after 2 failures, as `--max-failures` says
    not attempted: hooli, initech
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --max-failures 2 --quiet --schema=acme --schema=globex --schema=hooli --schema=initech`
    [exit status: 4]
    "#);
}

#[tokio::test]
async fn one_job_keeps_the_order_in_a_fleet_that_two_connections_look_at() {
    let project = Project::new().await;
    project.add_many_tenants(140).await;
    project.tenant_migration("V1__a.sql", "create table a ()");
    let shown = project.run("migrate-schemas --tenants --jobs 1 --order id:desc --verbose");
    let schemas: Vec<&str> =
        shown.lines().filter_map(|line| Some(line.split_once(": applied")?.0)).collect();
    let asked: Vec<String> = (1..=140).rev().map(|number| format!("t{number}")).collect();
    assert_eq!(schemas, asked);
}

#[tokio::test]
async fn tenants_are_migrated_in_the_order_of_a_column() {
    let project = with_bad("initech").await;
    project
        .sql(
            "drop table initech.notes; \
             alter table tenants add column size int, add column settings json; \
             update tenants set on_trial = schema_name in ('eha', 'globex'); \
             update tenants set size = length(schema_name) where schema_name <> 'acme'",
        )
        .await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1 --order on_trial:desc --order size --canary 1"), @"
    5 schemas migrated
    ------- stderr -------
    wave 1 of 2, the canary: eha
    eha: applied V1 `notes`
    wave 2 of 2, 4 schemas: globex, hooli, initech, acme
    globex: applied V1 `notes`
    hooli: applied V1 `notes`
    initech: applied V1 `notes`
    acme: applied V1 `notes`
    ");
    project.tenant_migration("V2__more.sql", "alter table notes add column body text");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1 --order size:desc"), @"
    5 schemas migrated
    ------- stderr -------
    initech: applied V2 `more`
    globex: applied V2 `more`
    hooli: applied V2 `more`
    eha: applied V2 `more`
    acme: applied V2 `more`
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --order ghost"), @"
    ------- stderr -------
    error: the table of tenants has no column `ghost`
    hint: it has `id`, `schema_name`, `name`, `paid_until`, `on_trial`, `created_on`, `size`, `settings`; a shared migration adds others
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --order settings"), @"
    ------- stderr -------
    error: the tenants cannot be ordered by `settings`
      caused by: could not identify an ordering operator for type json
        server's hint: Use an explicit ordering operator or modify the query.
        SQLSTATE 42883
    hint: order by a column of numbers, dates, texts or the like
    [exit status: 2]
    ");
}
