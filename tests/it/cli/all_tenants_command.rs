use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{OwnServer, Project, eventually};

const PASSWORD: &str = "correct horse\n";

/// Returns a project with a table `notes` in each of three schemas.
async fn three_tenants() -> Project {
    let project = Project::with_tenants(["acme", "globex", "hooli"]).await;
    for schema in ["acme", "globex", "hooli"] {
        project.sql(&format!("create table {schema}.notes (body text)")).await;
    }
    project
}

/// Returns the arguments that run a shell script in every tenant, one after the other.
fn exec(script: &str) -> String {
    let script = shell_words::quote(script);
    format!("all-tenants-command --tenants --jobs 1 exec -- sh -c {script}")
}

/// Whether a process with this argument is running.
fn is_running(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut arguments = processes.filter_map(|it| fs::read(it.path().join("cmdline")).ok());
    arguments.any(|it| it.split(|byte| *byte == 0).any(|it| it == argument.as_bytes()))
}

#[tokio::test]
async fn sql_runs_in_each_schema_and_says_where() {
    let project = three_tenants().await;
    let sql = "all-tenants-command sql --tenants --jobs 1 \
               \"insert into notes values (current_schema()); select body from notes\"";
    insta::assert_snapshot!(project.run(sql), @"
    acme: body
    acme: acme
    globex: body
    globex: globex
    hooli: body
    hooli: hooli
    ------- stderr -------
    acme: INSERT 1
    acme: SELECT 1
    globex: INSERT 1
    globex: SELECT 1
    hooli: INSERT 1
    hooli: SELECT 1
    3 schemas done
    ");
    let json = "all-tenants-command --match 'a*' --format json sql 'select body from notes'";
    insta::assert_snapshot!(project.run(json), @r#"
    {"type":"row","schema":"acme","statement":1,"row":{"body":"acme"}}
    {"type":"statement","schema":"acme","statement":1,"command":"SELECT","rows":1}
    {"type":"done","schema":"acme","exit_status":0}
    {"type":"summary","done":1,"failed":0,"not_attempted":0,"exit_status":0}
    "#);
}

#[tokio::test]
async fn one_schemas_failure_is_its_own() {
    let project = three_tenants().await;
    project.sql("drop table acme.notes; drop schema globex cascade").await;
    let sql = "all-tenants-command --all --jobs 1 sql --quiet 'delete from notes'";
    insta::assert_snapshot!(project.run(sql), @r#"
    ------- stderr -------
    public: error: the server refused the statement
    public:      --> command line:1:13
    public:       |
    public:     1 | delete from notes
    public:       |             ^
    public:   caused by: relation "notes" does not exist
    public:     SQLSTATE 42P01
    acme: error: the server refused the statement
    acme:      --> command line:1:13
    acme:       |
    acme:     1 | delete from notes
    acme:       |             ^
    acme:   caused by: relation "notes" does not exist
    acme:     SQLSTATE 42P01
    globex: error: there is no schema `globex`
    failed, with the status of each: acme (1), globex (1), public (1)
    1 schema done, 3 failed
    hint: to run it where it is not done, say `--schema=acme --schema=globex --shared`
    [exit status: 1]
    "#);
    let json = "all-tenants-command --schema hooli --schema globex --jobs 1 --format json sql 'select 1 as a'";
    insta::assert_snapshot!(project.run(json), @r#"
    {"type":"failed","schema":"globex","exit_status":1,"message":"error: there is no schema `globex`"}
    {"type":"row","schema":"hooli","statement":1,"row":{"a":"1"}}
    {"type":"statement","schema":"hooli","statement":1,"command":"SELECT","rows":1}
    {"type":"done","schema":"hooli","exit_status":0}
    {"type":"summary","done":1,"failed":1,"not_attempted":0,"exit_status":1}
    ------- stderr -------
    globex: error: there is no schema `globex`
    failed, with the status of each: globex (1)
    hint: to run it where it is not done, say `--schema=globex`
    [exit status: 1]
    "#);
}

#[tokio::test]
async fn the_status_is_the_highest_and_every_failed_schema_is_named() {
    let project = three_tenants().await;
    let script = "echo out; echo err >&2; printf 'no end'; \
                  case $TENANT_SCHEMA in acme) exit 3;; globex) kill -TERM $$;; esac";
    insta::assert_snapshot!(project.run(&exec(script)), @"
    acme: out
    acme: no end
    globex: out
    globex: no end
    hooli: out
    hooli: no end
    ------- stderr -------
    acme: err
    acme: ended with status 3
    globex: err
    globex: ended with status 143
    hooli: err
    failed, with the status of each: acme (3), globex (143)
    1 schema done, 2 failed
    hint: to run it where it is not done, say `--schema=acme --schema=globex`
    [exit status: 143]
    ");
    let json = exec(script).replace("--jobs 1", "--jobs 1 --format json");
    insta::assert_snapshot!(project.run(&json), @r#"
    {"type":"output","schema":"acme","line":"out"}
    {"type":"output","schema":"acme","line":"no end"}
    {"type":"failed","schema":"acme","exit_status":3}
    {"type":"output","schema":"globex","line":"out"}
    {"type":"output","schema":"globex","line":"no end"}
    {"type":"failed","schema":"globex","exit_status":143}
    {"type":"output","schema":"hooli","line":"out"}
    {"type":"output","schema":"hooli","line":"no end"}
    {"type":"done","schema":"hooli","exit_status":0}
    {"type":"summary","done":1,"failed":2,"not_attempted":0,"exit_status":143}
    ------- stderr -------
    acme: err
    acme: ended with status 3
    globex: err
    globex: ended with status 143
    hooli: err
    failed, with the status of each: acme (3), globex (143)
    hint: to run it where it is not done, say `--schema=acme --schema=globex`
    [exit status: 143]
    "#);
}

#[tokio::test]
async fn the_failure_budget_leaves_the_others_alone() {
    let project = three_tenants().await;
    let with = |flags: &str| project.run(&exec("exit 7").replace("exec", &format!("exec {flags}")));
    insta::assert_snapshot!(with("--fail-fast"), @"
    ------- stderr -------
    acme: ended with status 7
    error: stopped early, at the first failure
    failed, with the status of each: acme (7)
    not attempted: globex, hooli
    1 schema failed, 2 not attempted
    hint: to run it where it is not done, say `--schema=acme --schema=globex --schema=hooli`
    [exit status: 7]
    ");
    assert_eq!(with("--max-failures 40%"), with("--fail-fast"));
    project.add_many_tenants(8).await;
    let many = project.run(&exec("exit 1").replace("exec", "exec --max-failures 6"));
    insta::assert_snapshot!(many, @"
    ------- stderr -------
    acme: ended with status 1
    globex: ended with status 1
    hooli: ended with status 1
    t1: ended with status 1
    t2: ended with status 1
    t3: ended with status 1
    error: stopped early, after 6 failures, as `--max-failures` says
    failed, with the status of each: acme (1), globex (1), hooli (1), t1 (1), t2 (1) and 1 more
    not attempted: t4, t5, t6, t7, t8
    6 schemas failed, 5 not attempted
    hint: `--verbose` and `--format json` name them all; to run it where it is not done, give their names with `--schemas-from FILE`
    [exit status: 1]
    ");
}

#[tokio::test]
async fn lines_are_whole_and_in_order() {
    let project = three_tenants().await;
    project.add_many_tenants(5).await;
    let script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done";
    let script = shell_words::quote(script);
    let command = format!("all-tenants-command --tenants --jobs 8 exec --quiet -- sh -c {script}");
    let shown = project.run(&command);
    let mut next = std::collections::BTreeMap::new();
    for line in shown.lines() {
        let (schema, line) = line.split_once(": line ").expect(line);
        let number: usize = next.insert(schema, line.parse::<usize>().unwrap() + 1).unwrap_or(0);
        assert_eq!(line, number.to_string(), "{schema}");
    }
    assert_eq!(next.len(), 8);
    assert!(next.values().all(|it| *it == 300));
}

#[tokio::test]
async fn what_a_program_leaves_running_does_not_hold_the_others_up() {
    let project = Project::with_tenants(["acme"]).await;
    let begun = Instant::now();
    insta::assert_snapshot!(project.run(&exec("sleep 20 & echo done")), @"
    acme: done
    ------- stderr -------
    1 schema done
    ");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn files_have_safe_and_distinct_names() {
    let project = Project::with_tenants(["acme", "a/b", ".."]).await;
    project.sql("drop index public.tenants_schema_name_ignoring_case").await;
    project.add_tenants(&["Acme"]).await;
    let command =
        exec("echo $TENANT_SCHEMA; echo err >&2").replace("exec", "--output-dir out/of exec");
    insta::assert_snapshot!(project.run(&command), @"
    ------- stderr -------
    the files of `..` are called `%2E.`
    the files of `a/b` are called `a%2Fb`
    the files of `acme` are called `acme~2`
    4 schemas done
    ");
    let mut files: Vec<_> = fs::read_dir(project.path("out/of")).unwrap().flatten().collect();
    files.sort_by_key(|it| it.file_name());
    let content = |it: &fs::DirEntry| fs::read_to_string(it.path()).unwrap().replace('\n', "");
    let line = |it: &fs::DirEntry| format!("{} {}", it.file_name().display(), content(it));
    insta::assert_snapshot!(files.iter().map(line).collect::<Vec<_>>().join("\n"), @"
    %2E..err err
    %2E..out ..
    Acme.err err
    Acme.out Acme
    a%2Fb.err err
    a%2Fb.out a/b
    acme~2.err err
    acme~2.out acme
    ");
    // What is there is somebody's.
    insta::assert_snapshot!(project.run(&command), @"
    ------- stderr -------
    error: `out/of` is not empty
    hint: nothing was run; name a folder that is empty or not there yet
    [exit status: 2]
    ");
    let sql =
        "all-tenants-command --schema acme --output-dir sql --format json sql 'select 1 as a'";
    insta::assert_snapshot!(project.run(sql), @r#"
    {"type":"done","schema":"acme","exit_status":0,"stdout":"sql/acme.out","stderr":"sql/acme.err"}
    {"type":"summary","done":1,"failed":0,"not_attempted":0,"exit_status":0}
    "#);
    insta::assert_snapshot!(fs::read_to_string(project.path("sql/acme.out")).unwrap(), @r#"
    {"type":"row","schema":"acme","statement":1,"row":{"a":"1"}}
    {"type":"statement","schema":"acme","statement":1,"command":"SELECT","rows":1}
    "#);
}

#[tokio::test]
async fn a_superuser_is_asked_for_once_and_is_in_each() {
    let project = Project::empty().await;
    for arguments in ["init", "migrate-schemas --shared"] {
        assert!(project.command(arguments).output().unwrap().status.success());
    }
    project.add_tenants(&["acme", "globex"]).await;
    assert!(project.command("migrate-schemas --tenants").output().unwrap().status.success());
    let create =
        "all-tenants-command --all --jobs 1 createsuperuser --username ada --password-stdin";
    insta::assert_snapshot!(project.run_with_stdin(create, PASSWORD), @"
    public: created superuser `ada`
    acme: created superuser `ada`
    globex: created superuser `ada`
    ------- stderr -------
    3 schemas done
    ");
    insta::assert_snapshot!(project.run_with_stdin(&create.replace("--all", "--schema acme"), PASSWORD), @"
    ------- stderr -------
    acme: error: there is a user `ada` in schema `acme` already
    failed, with the status of each: acme (1)
    1 schema failed
    hint: to run it where it is not done, say `--schema=acme`
    [exit status: 1]
    ");
    let hashes = "select count(distinct password) from (select password from public.users \
                  union all select password from acme.users union all select password from globex.users) p";
    assert_eq!(project.query(hashes).await, "3");
    let change =
        "all-tenants-command --tenants --jobs 1 --format json changepassword ada --password-stdin";
    insta::assert_snapshot!(project.run_with_stdin(change, "staple battery\n"), @r#"
    {"type":"user","state":"changed","schema":"acme","username":"ada","dry_run":false}
    {"type":"done","schema":"acme","exit_status":0}
    {"type":"user","state":"changed","schema":"globex","username":"ada","dry_run":false}
    {"type":"done","schema":"globex","exit_status":0}
    {"type":"summary","done":2,"failed":0,"not_attempted":0,"exit_status":0}
    "#);
}

#[tokio::test]
async fn psql_is_told_what_to_run_or_gets_it_on_stdin() {
    let project = three_tenants().await;
    let psql = "all-tenants-command --tenants --jobs 2 psql -- -XAt -c";
    let shown = project.run(&format!("{psql} 'select current_schema()' --quiet"));
    assert!(shown.contains("acme: acme") && shown.contains("hooli: hooli"), "{shown}");
    let psql = "all-tenants-command --tenants --jobs 1 --quiet psql -- -XAt";
    insta::assert_snapshot!(project.run_with_stdin(psql, "select current_schema();\n"), @"
    acme: acme
    globex: globex
    hooli: hooli
    ");
    let wrong = project.run_with_stdin(psql, "select 1 / 0;\nselect 'went on';\n");
    assert!(wrong.contains("[exit status: 3]") && !wrong.contains("went on"), "{wrong}");
    let goes_on = format!("{psql} --set ON_ERROR_STOP=0");
    let wrong = project.run_with_stdin(&goes_on, "select 1 / 0;\nselect 'went on';\n");
    assert!(wrong.contains("hooli: went on"), "{wrong}");
    let cat = "all-tenants-command --tenants --jobs 1 --quiet exec --stdin cat";
    insta::assert_snapshot!(project.run_with_stdin(cat, "a\nb\n"), @"
    acme: a
    acme: b
    globex: a
    globex: b
    hooli: a
    hooli: b
    ");
    insta::assert_snapshot!(project.run_with_stdin(&cat.replace("--stdin ", ""), "a\nb\n"), @"");
    let mut terminal = project.terminal("all-tenants-command --tenants psql");
    let (shown, status) = terminal.ends();
    assert!(shown.contains("one terminal cannot be the stdin of many programs"), "{shown}");
    assert_eq!(status, 2);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_runs() {
    let project = three_tenants().await;
    let mut shown = String::new();
    for arguments in [
        "all-tenants-command sql 'select 1'",
        "all-tenants-command --tenants sql --schema ghost 'select 1'",
        "all-tenants-command --tenants sql commit",
        "all-tenants-command --where true sql --where true 'select 1'",
        "all-tenants-command --tenants exec no-such-program",
        "all-tenants-command --schemas-from - exec --stdin cat",
        "all-tenants-command --match nobody sql 'select 1'",
    ] {
        shown += &format!("$ {arguments}\n{}", project.run(arguments));
    }
    insta::assert_snapshot!(shown, @"
    $ all-tenants-command sql 'select 1'
    ------- stderr -------
    error: which schemas?
    hint: say `--all` (shared, then tenants), `--shared`, `--tenants`, `--schema NAME`, `--match GLOB`, `--where SQL` or `--schemas-from FILE`
    [exit status: 2]
    $ all-tenants-command --tenants sql --schema ghost 'select 1'
    ------- stderr -------
    error: there is no tenant with schema `ghost`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    $ all-tenants-command --tenants sql commit
    ------- stderr -------
    error: the SQL says what cannot be run here
      `COMMIT` would break up the transaction that the SQL runs in
         --> command line:1:1
          |
        1 | commit
          | ^
        instead: leave `COMMIT` out: all statements are committed at the end, or none
    hint: nothing was run
    [exit status: 2]
    $ all-tenants-command --where true sql --where true 'select 1'
    ------- stderr -------
    error: `--where` is given twice
    hint: give it once, before the command or after it
    [exit status: 2]
    $ all-tenants-command --tenants exec no-such-program
    ------- stderr -------
    error: there is no program `no-such-program`
    [exit status: 127]
    $ all-tenants-command --schemas-from - exec --stdin cat
    ------- stderr -------
    error: stdin cannot be both the schemas' names and what is run
    hint: put the names into a file: `--schemas-from FILE`
    [exit status: 2]
    $ all-tenants-command --match nobody sql 'select 1'
    ------- stderr -------
    warning: no tenant is meant by `nobody`
    0 schemas: there is nothing to do
    ");
}

#[tokio::test]
async fn the_first_ctrl_c_lets_programs_finish() {
    let project = three_tenants().await;
    let script = "touch started; while [ ! -e go ]; do sleep 0.05; done; echo finished";
    let mut terminal = project.terminal(&exec(script));
    eventually("it runs", async || project.path("started").exists()).await;
    terminal.presses("\x03").sees("stopping; interrupt again");
    project.write("go", "");
    let (shown, status) = terminal.ends();
    assert!(shown.contains("acme: finished"), "{shown}");
    assert!(shown.contains("not attempted: globex, hooli"), "{shown}");
    assert_eq!(status, 130);
}

#[tokio::test]
async fn the_second_signal_ends_programs_and_what_they_started() {
    let project = three_tenants().await;
    // One that does not heed Ctrl-C, with a child of its own.
    let script = "trap '' INT TERM; touch started; sleep 60.0625 & wait; sleep 60.0625";
    let program = project.start(&exec(script));
    eventually("it runs", async || project.path("started").exists() && is_running("60.0625")).await;
    program.signal(Signal::TERM);
    let begun = Instant::now();
    program.signal(Signal::INT);
    let shown = project.shown(&program.ends());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    insta::assert_snapshot!(shown, @"
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    cancelling what is running
    acme: ended with status 137
    error: interrupted
    failed, with the status of each: acme (137)
    not attempted: globex, hooli
    1 schema failed, 2 not attempted
    hint: to run it where it is not done, say `--schema=acme --schema=globex --schema=hooli`
    [exit status: 130]
    ");
    eventually("nothing is left", async || !is_running("60.0625")).await;
}

#[tokio::test]
async fn the_second_signal_cancels_sql_on_the_server() {
    let project = three_tenants().await;
    let sql = "all-tenants-command --tenants --jobs 2 sql \
               'insert into notes values (1); select pg_sleep(60)'";
    let program = project.start(sql);
    project.pausing(2).await;
    program.signal(Signal::INT);
    program.signal(Signal::TERM);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    cancelling what is running
    acme: error: interrupted
    globex: error: interrupted
    error: interrupted
    failed, with the status of each: acme (130), globex (130)
    not attempted: hooli
    2 schemas failed, 1 not attempted
    hint: to run it where it is not done, say `--schema=acme --schema=globex --schema=hooli`
    [exit status: 130]
    ");
    project.nobody_is_connected().await;
    assert_eq!(project.query("select count(*) from acme.notes").await, "0");
}

#[tokio::test]
async fn connections_are_as_many_as_jobs_and_one_for_questions() {
    let project = Project::new().await;
    project.add_many_tenants(12).await;
    let count = "select count(*) from pg_stat_activity where datname = current_database() \
                 and application_name like 'tenantctl%'";
    let program =
        project.start("all-tenants-command --tenants --jobs 3 sql 'select pg_sleep(0.3)'");
    let mut most = 0;
    eventually("all have run", async || {
        let now: u32 = project.query(count).await.parse().unwrap();
        most = most.max(now);
        most > 0 && now == 0
    })
    .await;
    assert!(program.ends().status.success());
    assert!((1..=4).contains(&most), "{most}");
}

#[tokio::test]
async fn a_server_with_few_connections_gets_no_more_programs_than_it_has_room_for() {
    let server = OwnServer::start(&[("max_connections", "12")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(30).await;
    let psql = "all-tenants-command --tenants --jobs 64 psql -- -XAtc 'select pg_sleep(0.1)'";
    let shown = project.run(psql);
    assert!(shown.contains("free connections: working on"), "{shown}");
    assert!(shown.ends_with("30 schemas done\n"), "{shown}");
    let sql = project.run("all-tenants-command --tenants --jobs 64 sql 'select pg_sleep(0.1)'");
    assert!(sql.ends_with("30 schemas done\n"), "{sql}");
}

#[tokio::test]
async fn a_reader_that_goes_away_does_not_stop_the_work() {
    let project = three_tenants().await;
    let mut command = project.command(
        "all-tenants-command --tenants --jobs 1 sql \
         \"insert into notes values (1); select * from generate_series(1, 20000)\"",
    );
    let mut program = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(program.stdout.take());
    assert!(program.wait().unwrap().success());
    assert_eq!(project.query("select count(*) from hooli.notes").await, "1");
}

#[tokio::test]
async fn a_lost_connection_is_one_schemas_failure() {
    let project = three_tenants().await;
    let own = "all-tenants-command --tenants --jobs 1 sql 'select pg_terminate_backend(pg_backend_pid())'";
    insta::assert_snapshot!(project.run(own), @"
    ------- stderr -------
    acme: error: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: terminating connection due to administrator command
    globex: error: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: terminating connection due to administrator command
    hooli: error: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: terminating connection due to administrator command
    failed, with the status of each: acme (5), globex (5), hooli (5)
    3 schemas failed
    hint: to run it where it is not done, say `--schema=acme --schema=globex --schema=hooli`
    [exit status: 5]
    ");
}

#[tokio::test]
async fn what_is_known_to_change_something_is_recorded() {
    let project = three_tenants().await;
    project.sql("drop schema hooli cascade").await;
    project.run("all-tenants-command --tenants sql 'select 1'");
    project.run(&exec("true"));
    project.run("all-tenants-command --tenants --jobs 1 --fail-fast sql 'delete from notes'");
    let noted = "select command, command_line, schema_name, outcome, what from tenantctl.runs r \
                 join tenantctl.run_entries e on e.run = r.id where command = 'all-tenants-command' \
                 order by schema_name";
    insta::assert_snapshot!(project.query(noted).await, @"
    all-tenants-command|all-tenants-command --tenants --jobs 1 --fail-fast sql …|acme|done|sql: DELETE 0
    all-tenants-command|all-tenants-command --tenants --jobs 1 --fail-fast sql …|globex|done|sql: DELETE 0
    all-tenants-command|all-tenants-command --tenants --jobs 1 --fail-fast sql …|hooli|failed|there is no schema `hooli`
    ");
}
