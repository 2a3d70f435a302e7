//! `history`, and what other commands record.

use crate::support::proxy::{Lose, Proxy};
use crate::support::{Project, eventually};

const ENTRIES: &str = "select schema_name, outcome, from_version, to_version, what \
     from tenantctl.run_entries order by run, schema_name";

/// A project with two tenants in one of which V2 fails.
async fn half_done() -> Project {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    project.run("migrate-schemas --all");
    project.sql("insert into acme.notes values (1), (1)").await;
    project.tenant_migration("V2__unique.sql", "alter table notes add unique (id)");
    let output = project.command("migrate-schemas --all").output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    project
}

/// Returns what is shown, without who ran it where: a name, or a number where the environment has none.
fn shown(project: &Project, arguments: &str) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let who = regex::Regex::new(&format!(r#"(uid )?[^\s"]+@{}"#, regex::escape(&host))).unwrap();
    who.replace_all(&project.run(arguments), "[who]").into_owned()
}

#[tokio::test]
async fn what_a_run_did_to_each_schema_is_recorded() {
    let project = half_done().await;
    let recorded = project.query(ENTRIES).await;
    insta::assert_snapshot!(recorded.split_once("public|done").unwrap().1, @r#"
    |null|1|applied V1 `create_tenants_and_domains`
    acme|done|null|1|applied V1 `notes`
    globex|done|null|1|applied V1 `notes`
    acme|failed|1|1|V2 `unique`: could not create unique index "notes_id_key"
    globex|done|1|2|applied V2 `unique`
    "#);
    assert_eq!(
        project
            .query("select command, command_line, exit_status from tenantctl.runs where id = 3")
            .await,
        "migrate-schemas|migrate-schemas --all|4"
    );
}

#[tokio::test]
async fn the_last_runs_are_shown_with_their_results() {
    let project = half_done().await;
    insta::assert_snapshot!(shown(&project, "history"), @"
    run	began	result	who	command
    3	[timestamp]	1 done, 1 failed: acme	[who]	migrate-schemas --all
    2	[timestamp]	2 done	[who]	migrate-schemas --all
    1	[timestamp]	1 done	[who]	migrate-schemas --shared
    ");
    insta::assert_snapshot!(shown(&project, "history --last 1 --failed"), @"
    run	began	result	who	command
    3	[timestamp]	1 done, 1 failed: acme	[who]	migrate-schemas --all
    ");
    insta::assert_snapshot!(shown(&project, "history --last 1"), @"
    run	began	result	who	command
    3	[timestamp]	1 done, 1 failed: acme	[who]	migrate-schemas --all
    ------- stderr -------
    there is more; `--last N` shows it
    ");
    insta::assert_snapshot!(shown(&project, "history --run 2 --failed"), @"
    at	run	schema	result	version	what	who
    ------- stderr -------
    nothing of the kind is recorded
    ");
}

#[tokio::test]
async fn what_happened_to_a_tenant_is_told() {
    let project = half_done().await;
    project.run("create-domain acme.example --schema acme");
    project.run("tenant-command --schema acme sql 'delete from notes; select 1'");
    project.run("migrate-schemas --all");
    insta::assert_snapshot!(shown(&project, "history --schema acme"), @r#"
    at	run	schema	result	version	what	who
    [timestamp]	6	acme	done	V1 → V2	applied V2 `unique`	[who]
    [timestamp]	5	acme	done		sql: DELETE 2	[who]
    [timestamp]	4	acme	done		created primary domain `acme.example`	[who]
    [timestamp]	3	acme	failed	V1	V2 `unique`: could not create unique index "notes_id_key"	[who]
    [timestamp]	2	acme	done	none → V1	applied V1 `notes`	[who]
    "#);
    insta::assert_snapshot!(shown(&project, "history --run 3 --failed --format json"), @r#"{"type":"entry","run":3,"at":"[timestamp]","schema":"acme","result":"failed","from_version":1,"to_version":1,"what":"V2 `unique`: could not create unique index \"notes_id_key\"","who":"[who]","command_line":"migrate-schemas --all"}"#);
}

#[tokio::test]
async fn looking_records_nothing_and_makes_nothing() {
    let project = Project::empty().await;
    project.run("init --without-users");
    for arguments in
        ["history", "status", "migrate-schemas --all --dry-run", "migrate-schemas --all --check"]
    {
        project.run(arguments);
    }
    insta::assert_snapshot!(project.run("history"), @"
    run	began	result	who	command
    ------- stderr -------
    nothing is recorded
    ");
    assert_eq!(project.query("select to_regnamespace('tenantctl')").await, "null");

    project.run("migrate-schemas --shared");
    project.run("migrate-schemas --all --rehearse");
    project.run("migrate-schemas --all");
    assert_eq!(project.query("select count(*) from tenantctl.runs").await, "1");
}

#[tokio::test]
async fn what_the_last_run_left_is_done_by_name() {
    let project = half_done().await;
    project.sql("insert into public.tenants (schema_name, name) values ('later', 'later')").await;
    project.sql("create schema later; delete from acme.notes").await;
    insta::assert_snapshot!(project.run("migrate-schemas --failed-last-run"), @"
    1 schema migrated
    ------- stderr -------
    run 3, begun [timestamp], did not do 1 schema
    acme: applied V2 `unique`
    ");
    assert_eq!(project.tables("later").await, "");
    insta::assert_snapshot!(project.run("migrate-schemas --failed-last-run"), @"
    0 schemas: there is nothing to do
    ------- stderr -------
    run 4, begun [timestamp], left nothing
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --failed-last-run --all"), @"
    ------- stderr -------
    error: the argument '--failed-last-run' cannot be used with '--all'

    Usage: tenantctl migrate-schemas --failed-last-run

    For more information, try '--help'.
    [exit status: 2]
    ");
}

#[tokio::test]
async fn tenants_that_are_none_any_more_are_not_left_out_in_silence() {
    let project = half_done().await;
    project.run("rename-tenant acme initech");
    insta::assert_snapshot!(project.run("migrate-schemas --failed-last-run"), @"
    0 schemas: there is nothing to do
    ------- stderr -------
    run 3, begun [timestamp], did not do 1 schema
    warning: no longer tenants, deleted or renamed since: acme
    ");
}

#[tokio::test]
async fn without_a_recorded_run_there_is_no_last_one() {
    let project = Project::new().await;
    project.sql("drop schema tenantctl cascade").await;
    insta::assert_snapshot!(project.run("migrate-schemas --failed-last-run"), @"
    ------- stderr -------
    error: no run of `migrate-schemas` is recorded
    hint: `tenantctl migrate-schemas --all` does whatever is left
    [exit status: 1]
    ");
}

#[tokio::test]
async fn tenants_that_were_not_tried_are_among_what_is_left() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    project.shared_migration("V2__broken.sql", "select 1 / 0;");
    project.run("migrate-schemas --all");
    project.shared_migration("V2__broken.sql", "select 1;");
    insta::assert_snapshot!(project.run("migrate-schemas --failed-last-run"), @"
    3 schemas migrated
    ------- stderr -------
    run 2, begun [timestamp], did not do 3 schemas
    public: applied V2 `broken`
    acme: applied V1 `notes`
    globex: applied V1 `notes`
    ");
}

#[tokio::test]
async fn a_run_that_was_killed_has_no_end() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int); select pg_sleep(60)");
    let program = project.start("migrate-schemas --all");
    let sleeps = "select count(*) from pg_stat_activity where datname = current_database() \
         and wait_event = 'PgSleep'";
    eventually("it is at work", async || project.query(sleeps).await == "1").await;
    assert!(program.kill());

    let shown = project.run("history --last 1 --command migrate-schemas");
    assert!(shown.contains("\thas not ended\t"), "{shown}");
    insta::assert_snapshot!(project.run("migrate-schemas --failed-last-run"), @"
    ------- stderr -------
    error: run 2, begun [timestamp], has not ended, and what it left is not known
    hint: `tenantctl migrate-schemas --all` does whatever is left
    [exit status: 1]
    ");
}

#[tokio::test]
async fn what_a_run_had_done_before_it_was_killed_is_told() {
    let project = Project::with_tenants(["acme", "globex", "initech"]).await;
    project.tenant_migration(
        "V1__notes.sql",
        "create table notes (id int); \
         select pg_sleep(case current_schema() when 'initech' then 60 else 0 end)",
    );
    let program = project.start("migrate-schemas --tenants --jobs 1");
    let entries = "select string_agg(schema_name, ' ' order by schema_name) \
         from tenantctl.run_entries where what ~ 'notes'";
    eventually("it is written down", async || project.query(entries).await == "acme globex").await;
    assert!(program.kill());

    let shown = project.run("history --last 1 --command migrate-schemas");
    assert!(shown.contains("\t2 done, has not ended\t"), "{shown}");
}

#[tokio::test]
async fn what_is_written_down_without_an_answer_is_written_once() {
    let project = Project::with_tenants(["acme", "globex", "initech"]).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int); select pg_sleep(1)");
    let proxy = Proxy::start(project.database(), Lose::WrittenDown);
    let url = proxy.url();
    let shown = project.run(&format!("migrate-schemas --tenants --jobs 1 --database-url {url}"));
    assert!(proxy.has_lost(), "{shown}");
    assert!(shown.starts_with("3 schemas migrated\n"), "{shown}");
    let entries = "select string_agg(schema_name, ' ' order by schema_name) \
         from tenantctl.run_entries where what ~ 'notes'";
    assert_eq!(project.query(entries).await, "acme globex initech");
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_stop_the_work() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("drop schema tenantctl cascade").await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    let role = format!("deploy_{:08x}", fastrand::u32(..));
    project
        .sql(&format!(
            "create role {role} login password 'x'; \
             grant all on schema acme, public to {role}; grant all on all tables in schema public to {role}"
        ))
        .await;
    let url = project.database().url();
    let rest = url.split_once('@').unwrap().1;
    let output = project
        .command("migrate-schemas --tenants")
        .env("DATABASE_URL", format!("postgres://{role}:x@{rest}"))
        .output()
        .unwrap();
    let shown = project.shown(&output).replace(&role, "deploy");
    project.sql(&format!("drop owned by {role}; drop role {role}")).await;
    insta::assert_snapshot!(shown, @r#"
    1 schema migrated
    ------- stderr -------
    warning: this run is not recorded: permission denied for database [database]
    hint: let the database's owner run `create schema tenantctl authorization "deploy"`
    acme: applied V1 `notes`
    "#);
}

#[tokio::test]
async fn secrets_are_not_recorded() {
    let project = Project::with_tenants(["acme"]).await;
    let url = project.database().url();
    project.run(&format!("create-domain a.example --schema acme --database-url {url}"));
    project.run("tenant-command --schema acme sql \"create table secret (id int)\"");
    assert_eq!(
        project.query("select command_line from tenantctl.runs where id > 1 order by id").await,
        "create-domain a.example --schema acme\ntenant-command --schema acme sql …"
    );
}

#[tokio::test]
async fn eight_runs_at_once_make_one_log() {
    let project = Project::with_tenants(["a", "b", "c", "d", "e", "f", "g", "h"]).await;
    project.sql("drop schema tenantctl cascade").await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    let schemas = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let programs = schemas.map(|it| project.start(&format!("migrate-schemas --schema {it}")));
    for program in programs {
        let output = project.shown(&program.ends());
        assert!(!output.contains("warning"), "{output}");
    }
    assert_eq!(
        project
            .query("select count(*), min(exit_status), max(exit_status) from tenantctl.runs")
            .await,
        "8|0|0"
    );
    assert_eq!(project.query("select count(*) from tenantctl.run_entries").await, "8");
}

#[tokio::test]
async fn a_run_that_is_not_known_is_refused() {
    let project = Project::new().await;
    insta::assert_snapshot!(project.run("history --run 99"), @"
    ------- stderr -------
    error: there is no run 99
    hint: `tenantctl history` lists the last ones
    [exit status: 1]
    ");
}

#[tokio::test]
async fn a_word_that_is_no_text_does_not_end_in_a_panic() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let project = Project::with_tenants(["acme"]).await;
    let dir = OsStr::from_bytes(b"m\xff");
    std::fs::create_dir_all(project.path("").join(dir).join("tenant")).unwrap();
    let file = project.path("").join(dir).join("tenant/V1__notes.sql");
    std::fs::write(file, "create table notes (id int)").unwrap();
    let mut command = project.command("migrate-schemas --tenants --migrations-dir");
    let output = command.arg(dir).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", project.shown(&output));
    assert_eq!(project.tables("acme").await, "notes, refinery_schema_history");

    let mut command = project.command("status --nope");
    let output = command.arg(dir).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", project.shown(&output));
}
