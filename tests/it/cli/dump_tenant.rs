//! `dump-tenant` and `restore-tenant`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tenantctl::pg::server::ServerPrograms;

use crate::support::{Project, eventually};

const EVERY_KIND: &str = include_str!("clone_tenant/every_kind.sql");

const NOTES: &str = "create table acme.notes (id serial primary key, body text);
    insert into acme.notes (body) values ('one'), (null), (E'a\\tb\\nc\\\\.')";

impl Project {
    /// Returns what pg_dump says of a schema, for people.
    fn plain_dump(&self, schema: &str) -> String {
        let schema = format!("--schema=\"{schema}\"");
        let text = self.pg_program("pg_dump", &[&schema]);
        // A word of its own for each run.
        let lines = text.lines().filter(|it| !it.contains("restrict"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn pg_program(&self, name: &str, arguments: &[&str]) -> String {
        let output = Command::new(real_program(name))
            .args(arguments)
            .current_dir(self.path(""))
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.database().port.to_string())
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", &self.database().password)
            .env("PGDATABASE", &self.database().database)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Deletes a tenant as somebody would by hand.
    async fn forget(&self, schema: &str) {
        let (name, value) = (schema.replace('"', "\"\""), schema.replace('\'', "''"));
        self.sql(&format!(
            "drop schema \"{name}\" cascade; \
             delete from public.domains d using public.tenants t \
               where t.id = d.tenant_id and t.schema_name = '{value}'; \
             delete from public.tenants where schema_name = '{value}'"
        ))
        .await;
    }

    async fn with_notes() -> Project {
        let project = Project::with_tenants(["acme"]).await;
        project.sql(NOTES).await;
        project.run("create-domain acme.example.com --schema acme");
        project
    }

    /// Returns the names of the project's files that could be taken for dumps, or are left over.
    fn dumps(&self) -> String {
        let names = fs::read_dir(self.path("")).unwrap();
        let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|it| it.contains("dump")).collect();
        names.sort();
        names.join(" ")
    }

    /// Puts a shell script in the place of one of Postgres' programs, in the folder `bin`; `$real`
    /// is the program itself.
    fn stand_in(&self, name: &str, script: &str) {
        let real = real_program(name);
        let version = "[ \"$1\" = --version ] && exec \"$real\" --version";
        let script = format!("#!/bin/sh\nreal='{}'\n{version}\n{script}\n", real.display());
        let path = format!("bin/{name}");
        self.write(&path, script);
        fs::set_permissions(self.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns the program, which finds the stand-ins and no others.
    fn command_with_stand_ins(&self, arguments: &str) -> Command {
        let mut command = self.command(arguments);
        command.env("TENANTCTL_PG_BIN", self.path("bin"));
        command
    }

    fn run_with_stand_ins(&self, arguments: &str) -> String {
        let output = self.command_with_stand_ins(arguments).output().unwrap();
        self.shown(&output)
    }
}

fn real_program(name: &str) -> PathBuf {
    ServerPrograms::find().unwrap().program(name).unwrap()
}

#[tokio::test]
async fn a_tenant_of_every_kind_of_object_comes_back_as_it_was() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table if not exists public.users (id bigint primary key)").await;
    project.sql(&format!("set search_path = acme, public; {EVERY_KIND}")).await;
    project.run("create-domain acme.example.com --schema acme");
    let before = project.plain_dump("acme");
    insta::assert_snapshot!(project.run("dump-tenant acme -o acme.dump"), @"dumped tenant `acme` to `acme.dump`: 11 tables, 114 rows");

    project.forget("acme").await;
    insta::assert_snapshot!(project.run("restore-tenant acme.dump"), @"restored tenant `acme` at acme.example.com: 11 tables, 114 rows");
    assert_eq!(project.plain_dump("acme"), before);

    insta::assert_snapshot!(project.run("restore-tenant acme.dump --as globex --domain globex.example"), @"restored tenant `acme` as `globex` at globex.example: 11 tables, 114 rows");
    assert_eq!(project.plain_dump("globex").replace("globex", "acme"), before);
    insta::assert_snapshot!(project.run("list-domains"), @"
    domain	schema	is_primary
    acme.example.com	acme	true
    globex.example	globex	true
    ");
    insta::assert_snapshot!(project.run("history --format tsv").lines().filter(|it| it.contains("restore")).count(), @"2");
}

const ODD: &str = r#"
create type m as enum ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
create table parts (k m, n int) partition by hash (k);
create table p0 partition of parts for values with (modulus 3, remainder 0);
create table p1 partition of parts for values with (modulus 3, remainder 1);
create table p2 partition of parts for values with (modulus 3, remainder 2);
insert into parts select k, n from unnest(enum_range(null::m)) k, generate_series(1, 10) n;
create table none (); insert into none default values; insert into none default values;
create table "a
COPY ""x"".""y"" (""z"") FROM stdin;" ("c
d" text);
insert into "a
COPY ""x"".""y"" (""z"") FROM stdin;" values (E'\\.'), (E'x\n\\.\ny'), ('');
create function of_public() returns bigint language sql as 'select count(*) from tenants';
create table checked (a int check (of_public() > 0)); insert into checked values (1);
create table kinds (a int generated always as identity, b int generated always as (1) stored,
    c xml, d jsonb, e bytea, f float8, g numeric, h timestamptz, i int[], j interval);
insert into kinds (c, d, e, f, g, h, i, j) values
    ('<a/>', '{"a":1}', '\x00ff', 0.1::float8 + 0.2, 'NaN', 'infinity', '{1,NULL}', '1 mon -2 days'),
    ('text', null, '', 'NaN', 1e100, '0044-03-15 BC', '{}', '-00:00:01');
"#;

#[tokio::test]
async fn tables_with_odd_names_and_values_come_back_in_another_database() {
    let project = Project::with_tenants(["acme", "empty"]).await;
    project.sql(&format!("set search_path = acme, public; {ODD}")).await;
    // The hashes of an enum's values are not the same elsewhere, nor are its partitions then.
    let rows = |text: &str| {
        let is_row = |line: &&str| line.len() <= 4 && line.contains('\t');
        let text = text.replace("load via partition root", "");
        text.lines().filter(|line| !is_row(line)).collect::<Vec<_>>().join("\n")
    };
    let before = rows(&project.plain_dump("acme"));
    insta::assert_snapshot!(project.run("dump-tenant acme -o acme.dump"), @"dumped tenant `acme` to `acme.dump`: 7 tables, 88 rows");
    insta::assert_snapshot!(project.run("dump-tenant empty -o empty.dump"), @"dumped tenant `empty` to `empty.dump`: 0 tables, 0 rows");

    let other = Project::new().await;
    for name in ["acme.dump", "empty.dump"] {
        fs::copy(project.path(name), other.path(name)).unwrap();
    }
    insta::assert_snapshot!(other.run("restore-tenant empty.dump"), @"restored tenant `empty`: 0 tables, 0 rows");
    insta::assert_snapshot!(other.run("restore-tenant acme.dump"), @"restored tenant `acme`: 7 tables, 88 rows");
    assert_eq!(rows(&other.plain_dump("acme")), before);
    assert_eq!(other.query("select count(*) from acme.parts").await, "80");
}

#[tokio::test]
async fn pg_restore_reads_the_file_in_whole_and_in_part() {
    let project = Project::with_notes().await;
    project.run("dump-tenant acme -o acme.dump");
    let list = project.pg_program("pg_restore", &["--list", "acme.dump"]);
    assert!(list.contains("TABLE DATA acme notes"), "{list}");
    let rows = ["--data-only", "--table=notes", "--file=-", "acme.dump"];
    let rows = project.pg_program("pg_restore", &rows);
    assert!(rows.contains("1\tone\n2\t\\N\n3\ta\\tb\\nc\\\\.\n\\."), "{rows}");

    project.forget("acme").await;
    let database = project.database().database.clone();
    project.pg_program("pg_restore", &["--dbname", &database, "acme.dump"]);
    assert_eq!(project.query("select count(*) from acme.notes").await, "3");
    let mode = fs::metadata(project.path("acme.dump")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_registry_row_comes_along() {
    let project = Project::with_notes().await;
    project
        .sql(
            "alter table public.tenants add plan text, add seats int; \
             update public.tenants set plan = 'a ''plan''', seats = 3, name = 'Acme Corp'",
        )
        .await;
    project.run("dump-tenant acme -o acme.dump");
    project.forget("acme").await;
    project.run("restore-tenant acme.dump --set seats=4");
    let rows = "select name, plan, seats from public.tenants order by id";
    assert_eq!(project.query(rows).await, "Acme Corp|a 'plan'|4");

    project.forget("acme").await;
    project.sql("alter table public.tenants drop seats, drop plan").await;
    insta::assert_snapshot!(project.run("restore-tenant acme.dump"), @"
    ------- stderr -------
    error: the table of tenants has no column `plan`, for which the dump has `a 'plan'`
    hint: nothing was changed; add the column with a shared migration, or leave the value out with `--without plan`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("restore-tenant acme.dump --without plans"), @"
    ------- stderr -------
    error: the dump has no value for column `plans` that could be left out
    hint: nothing was changed
    [exit status: 2]
    ");
    project.sql("alter table public.tenants add region text not null").await;
    insta::assert_snapshot!(project.run("restore-tenant acme.dump --without plan --without seats"), @"
    ------- stderr -------
    error: column `region` (text) needs a value
    hint: give it with `--set region=VALUE`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("restore-tenant acme.dump --without plan --without seats --set region=eu"), @"restored tenant `acme` at acme.example.com: 1 table, 3 rows");
}

#[tokio::test]
async fn what_is_taken_is_refused_and_nothing_is_changed() {
    let project = Project::with_notes().await;
    project.run("dump-tenant acme -o acme.dump");
    insta::assert_snapshot!(project.run("restore-tenant acme.dump"), @"
    ------- stderr -------
    error: tenant `acme` exists
    hint: nothing was changed; restore it as another with `--as SCHEMA`
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("restore-tenant acme.dump --as globex --domain acme.example.com"), @"
    ------- stderr -------
    error: domain `acme.example.com` is taken by tenant `acme`
    hint: nothing was changed; give others with `--domain HOST`, or none with `--no-domains`
    [exit status: 1]
    ");
    project.sql("create schema initech").await;
    insta::assert_snapshot!(project.run("restore-tenant acme.dump --as initech"), @"
    ------- stderr -------
    error: schema `initech` exists, but is not registered
    hint: nothing was changed; restore it as another with `--as SCHEMA`
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("restore-tenant acme.dump --as public"), @"
    ------- stderr -------
    error: `public` is the shared schema, not a tenant's
    hint: take another name: a tenant has a schema of its own
    [exit status: 2]
    ");
    assert_eq!(project.query("select count(*) from public.tenants").await, "1");
    assert_eq!(project.tables("initech").await, "");

    project.run("delete-domain acme.example.com --yes");
    project.add_tenants(&["globex"]).await;
    project.run("create-domain acme.example.com --schema globex");
    project.forget("acme").await;
    insta::assert_snapshot!(project.run("restore-tenant acme.dump"), @"
    ------- stderr -------
    error: domain `acme.example.com` is taken by tenant `globex`
    hint: nothing was changed; give others with `--domain HOST`, or none with `--no-domains`
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("restore-tenant acme.dump --no-domains"), @"restored tenant `acme`: 1 table, 3 rows");
}

#[tokio::test]
async fn a_dry_run_does_everything_but_the_commit() {
    let project = Project::with_notes().await;
    project.run("dump-tenant acme -o acme.dump");
    insta::assert_snapshot!(project.run("restore-tenant acme.dump --as globex --dry-run"), @"would restore tenant `acme` as `globex`: 1 table, 3 rows");
    assert_eq!(project.query("select to_regnamespace('globex') is null").await, "t");
    assert_eq!(project.query("select count(*) from public.tenants").await, "1");
}

#[tokio::test]
async fn a_file_that_is_there_is_replaced_only_when_that_is_asked_for() {
    let project = Project::with_notes().await;
    project.write("acme.dump", "mine");
    insta::assert_snapshot!(project.run("dump-tenant acme -o acme.dump"), @"
    ------- stderr -------
    error: `acme.dump` exists
    hint: name another file, or add `--force` to replace it
    [exit status: 1]
    ");
    assert_eq!(fs::read_to_string(project.path("acme.dump")).unwrap(), "mine");
    insta::assert_snapshot!(project.run("dump-tenant acme -o acme.dump --force"), @"dumped tenant `acme` to `acme.dump`: 1 table, 3 rows");
    insta::assert_snapshot!(project.run("dump-tenant acme -o -"), @"
    ------- stderr -------
    error: a dump cannot be written to stdout: where its parts are stands at its beginning
    hint: name a file: `--output FILE`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("dump-tenant acme -o migrations --force"), @"
    ------- stderr -------
    error: `migrations` is no file
    hint: name a file in a folder that you can write to
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("dump-tenant nobody -o nobody.dump"), @"
    ------- stderr -------
    error: there is no tenant `nobody` to dump
    hint: `tenantctl list-tenants` lists the tenants
    [exit status: 2]
    ");
    assert_eq!(project.dumps(), "acme.dump");
}

#[tokio::test]
async fn a_file_that_is_no_whole_dump_is_refused() {
    let project = Project::with_notes().await;
    project.run("dump-tenant acme -o acme.dump");
    let whole = fs::read(project.path("acme.dump")).unwrap();
    project.write("cut.dump", &whole[..whole.len() - 1]);
    insta::assert_snapshot!(project.run("restore-tenant cut.dump --as globex"), @"
    ------- stderr -------
    error: `cut.dump` does not end as a dump of a tenant does: it was cut short, or pg_dump made it
    hint: nothing was changed; pg_restore may read what is left of it
    [exit status: 1]
    ");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    project.write("damaged.dump", damaged);
    insta::assert_snapshot!(project.run("restore-tenant damaged.dump --as globex"), @"
    ------- stderr -------
    error: `damaged.dump` is damaged: it is not what was written
    hint: nothing was changed; pg_restore may read what is left of it
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("restore-tenant tenantctl.toml"), @"
    ------- stderr -------
    error: `tenantctl.toml` is no dump of a tenant
    hint: `tenantctl dump-tenant SCHEMA --output FILE` writes one
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("restore-tenant none.dump"), @"
    ------- stderr -------
    error: `none.dump` could not be read
      caused by: no such file or directory
    [exit status: 2]
    ");
    assert_eq!(project.query("select count(*) from public.tenants").await, "1");
}

#[tokio::test]
async fn a_name_is_a_name() {
    let names =
        ["eha-meetup", "o'brien", "a.b", "Acme", "x\"y", "a*b?", "a\\b", "select", "büro 1"];
    let project = Project::with_tenants(names).await;
    // What a pattern would have matched as well.
    project.add_tenants(&["axb1", "axbc"]).await;
    for (index, name) in names.into_iter().enumerate() {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        project.sql(&format!("create table {quoted}.\"t {index}\" (id serial)")).await;
        let word = shell_words::quote(name);
        let dumped = project.run(&format!("dump-tenant {word} -o {index}.dump"));
        assert_eq!(dumped, format!("dumped tenant `{name}` to `{index}.dump`: 1 table, 0 rows\n"));
        project.forget(name).await;
        let restored = project.run(&format!("restore-tenant {index}.dump"));
        assert_eq!(restored, format!("restored tenant `{name}`: 1 table, 0 rows\n"));
        let list = project.pg_program("pg_restore", &["--list", &format!("{index}.dump")]);
        assert_eq!(list.matches(" TABLE DATA ").count(), 1, "{list}");
    }
    assert_eq!(project.tables("a*b?").await, "t 5");
    assert_eq!(project.query("select count(*) from public.tenants").await, "11");
}

#[tokio::test]
async fn json_tells_the_steps_and_the_answer() {
    let project = Project::with_notes().await;
    let dumped = project.run("dump-tenant acme -o acme.dump --format json");
    let without_size = dumped.split(",\"bytes\"").next().unwrap();
    insta::assert_snapshot!(without_size, @r#"
    {"type":"step","what":"rows of `notes`","number":1,"of":1}
    {"type":"dump","schema":"acme","file":"acme.dump","tables":1,"rows":3
    "#);
    project.forget("acme").await;
    let restored = project.run("restore-tenant acme.dump --quiet --format json");
    let (before, after) = restored.split_once("\"dumped_at\":").unwrap();
    insta::assert_snapshot!(before, @r#"{"type":"tenant","schema":"acme","domains":["acme.example.com"],"file":"acme.dump","dumped_as":"acme","dumped_id":"1","#);
    insta::assert_snapshot!(after.split_once(',').unwrap().1, @r#""tables":1,"rows":3,"dry_run":false}"#);
}

#[tokio::test]
async fn the_programs_versions_are_checked_first() {
    let project = Project::with_notes().await;
    project.run("dump-tenant acme -o acme.dump");
    insta::assert_snapshot!(project.run_with_stand_ins("dump-tenant acme -o other.dump"), @"
    ------- stderr -------
    error: there is no program `pg_dump`
    hint: install a PostgreSQL client of that version or a newer one, or name the folder it is in in `TENANTCTL_PG_BIN`
    [exit status: 1]
    ");
    project.stand_in("pg_dump", "");
    project.stand_in("pg_restore", "");
    for name in ["pg_dump", "pg_restore"] {
        let script = format!("#!/bin/sh\necho '{name} (PostgreSQL) 12.3'");
        project.write(&format!("bin/{name}"), script);
    }
    let shown = project.run_with_stand_ins("dump-tenant acme -o other.dump");
    assert!(
        shown.contains("`[project]/bin/pg_dump` is of version 12.3, and the server is of version "),
        "{shown}"
    );
    let shown = project.run_with_stand_ins("restore-tenant acme.dump --as globex");
    assert!(
        shown.contains(
            "`[project]/bin/pg_restore` is of version 12.3, and the dump was made by pg_dump "
        ),
        "{shown}"
    );
    assert_eq!(project.dumps(), "acme.dump");
}

#[tokio::test]
async fn what_pg_dump_complains_of_is_passed_on_and_no_file_is_left() {
    let project = Project::with_notes().await;
    project.stand_in(
        "pg_dump",
        "echo 'pg_dump: reading schemas' >&2; echo 'pg_dump: error: no more room' >&2; exit 1",
    );
    insta::assert_snapshot!(project.run_with_stand_ins("dump-tenant acme -o acme.dump"), @"
    ------- stderr -------
    error: `[project]/bin/pg_dump` ended with exit status: 1
      pg_dump: error: no more room
    [exit status: 1]
    ");
    assert_eq!(project.dumps(), "");
}

#[tokio::test]
async fn a_dump_that_is_interrupted_leaves_nothing_and_one_that_is_killed_no_dump() {
    let project = Project::with_notes().await;
    project.stand_in("pg_dump", "touch begun; exec sleep 5");
    let begun = async || project.path("begun").exists();
    let command = || project.command_with_stand_ins("dump-tenant acme -o acme.dump");

    let program = project.start_command(command());
    eventually("pg_dump begins", begun).await;
    program.signal(Signal::INT);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    ------- stderr -------
    error: interrupted
    [exit status: 130]
    ");
    assert_eq!(project.dumps(), "");

    fs::remove_file(project.path("begun")).unwrap();
    let program = project.start_command(command());
    eventually("pg_dump begins", begun).await;
    assert!(program.kill());
    assert!(!project.path("acme.dump").exists());
    project.run("dump-tenant acme -o acme.dump");
    insta::assert_snapshot!(project.run("restore-tenant acme.dump --as globex"), @"restored tenant `acme` as `globex`: 1 table, 3 rows");
}

#[tokio::test]
async fn a_restoration_that_is_killed_leaves_nothing() {
    let project = Project::with_notes().await;
    project.sql("create table acme.orders (id int); insert into acme.orders select generate_series(1, 1000)").await;
    project.run("dump-tenant acme -o acme.dump");
    // The rows of the first table, and the beginning of the second's.
    project.stand_in("pg_restore", "\"$real\" \"$@\" | head -n 500; touch begun; exec sleep 5");
    for signal in [Signal::INT, Signal::KILL] {
        let command = project.command_with_stand_ins("restore-tenant acme.dump --as globex");
        let program = project.start_command(command);
        eventually("rows come", async || project.path("begun").exists()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        program.signal(signal);
        assert!(!program.ends().status.success());
        fs::remove_file(project.path("begun")).unwrap();
        let is_there = "select exists (select from pg_namespace where nspname = 'globex')";
        assert_eq!(project.query(is_there).await, "f");
        assert_eq!(project.query("select count(*) from public.tenants").await, "1");
    }
    eventually("the lock is gone", async || {
        project.run("restore-tenant acme.dump --as globex").starts_with("restored")
    })
    .await;
}

#[tokio::test]
async fn rows_that_are_missing_and_rows_of_another_schema_are_noticed() {
    let project = Project::with_notes().await;
    project.run("dump-tenant acme -o acme.dump");
    project.stand_in("pg_restore", "\"$real\" \"$@\" | sed /one/d");
    insta::assert_snapshot!(project.run_with_stand_ins("restore-tenant acme.dump --as globex"), @"
    ------- stderr -------
    error: what was restored would differ from the dump in `notes`, which has 2 rows and had 3
    hint: nothing was changed
    [exit status: 1]
    ");
    project.stand_in("pg_restore", "\"$real\" \"$@\" | sed s/acme/other/g");
    insta::assert_snapshot!(project.run_with_stand_ins("restore-tenant acme.dump --as globex"), @"
    ------- stderr -------
    error: pg_restore's text could not be read
      caused by: it holds rows of schema `other`
    hint: nothing was changed
    [exit status: 1]
    ");
    assert_eq!(project.query("select to_regnamespace('globex') is null").await, "t");
}

#[tokio::test]
async fn of_two_restorations_at_once_one_is_done() {
    let project = Project::with_notes().await;
    project.run("dump-tenant acme -o acme.dump");
    project.stand_in("pg_restore", "sleep 1; exec \"$real\" \"$@\"");
    let start = || {
        project
            .start_command(project.command_with_stand_ins("restore-tenant acme.dump --as globex"))
    };
    let (one, other) = (start(), start());
    let mut shown = [project.shown(&one.ends()), project.shown(&other.ends())];
    shown.sort();
    insta::assert_snapshot!(shown.concat(), @"
    ------- stderr -------
    error: somebody else is at work on `globex`
    hint: nothing was changed; run the same command again
    [exit status: 6]
    restored tenant `acme` as `globex`: 1 table, 3 rows
    ");
    assert_eq!(project.query("select count(*) from globex.notes").await, "3");
}

#[tokio::test]
async fn of_two_dumps_to_one_file_one_is_done_and_both_to_two() {
    let project = Project::with_notes().await;
    project.stand_in("pg_dump", "sleep 1; exec \"$real\" \"$@\"");
    let start = |file: &str| {
        project
            .start_command(project.command_with_stand_ins(&format!("dump-tenant acme -o {file}")))
    };
    let (one, other, third) = (start("a.dump"), start("a.dump"), start("b.dump"));
    let mut shown = [project.shown(&one.ends()), project.shown(&other.ends())];
    shown.sort();
    insta::assert_snapshot!(shown.concat(), @"
    ------- stderr -------
    error: `a.dump` exists
    hint: name another file, or add `--force` to replace it
    [exit status: 1]
    dumped tenant `acme` to `a.dump`: 1 table, 3 rows
    ");
    assert!(third.ends().status.success());
    assert_eq!(project.dumps(), "a.dump b.dump");
}

#[tokio::test]
async fn a_dump_is_of_one_moment() {
    let project = Project::with_notes().await;
    project.stand_in(
        "pg_dump",
        "touch begun; while [ -e begun ]; do sleep 0.05; done; exec \"$real\" \"$@\"",
    );
    let program =
        project.start_command(project.command_with_stand_ins("dump-tenant acme -o acme.dump"));
    eventually("pg_dump begins", async || project.path("begun").exists()).await;
    project.sql("insert into acme.notes (body) values ('later')").await;
    project.tenant_migration("V1__more.sql", "alter table notes add more text");
    let migrated = project.run("migrate-schemas --schema acme --lock-timeout 50ms --retries 1");
    assert!(migrated.contains("[exit status: 6]"), "{migrated}");
    fs::remove_file(project.path("begun")).unwrap();
    insta::assert_snapshot!(project.shown(&program.ends()), @"dumped tenant `acme` to `acme.dump`: 1 table, 3 rows");
}

#[tokio::test]
async fn a_structure_that_changes_meanwhile_is_noticed() {
    let project = Project::with_notes().await;
    project.stand_in(
        "pg_dump",
        "touch begun; while [ -e begun ]; do sleep 0.05; done; exec \"$real\" \"$@\"",
    );
    let program =
        project.start_command(project.command_with_stand_ins("dump-tenant acme -o acme.dump"));
    eventually("pg_dump begins", async || project.path("begun").exists()).await;
    project.sql("create view acme.bodies as select body from acme.notes").await;
    fs::remove_file(project.path("begun")).unwrap();
    let shown = project.shown(&program.ends());
    assert!(shown.contains("`acme` was changed while it was dumped: "), "{shown}");
    assert!(shown.contains("view `bodies`"), "{shown}");
    assert_eq!(project.dumps(), "");
}

#[tokio::test]
async fn a_tenant_that_is_being_deleted_is_not_dumped() {
    let project = Project::with_notes().await;
    project.sql("comment on schema acme is 'tenantctl: being deleted'").await;
    insta::assert_snapshot!(project.run("dump-tenant acme -o acme.dump"), @"
    ------- stderr -------
    error: `acme` is being deleted
    hint: finish that first, with the same command that began it
    [exit status: 1]
    ");
    assert_eq!(project.dumps(), "");
}

/// Lets an `ALTER TABLE` wait for the dump before or after pg_dump has done its part.
async fn alter_meanwhile(script: &str) -> String {
    let project = Project::with_notes().await;
    project.stand_in(
        "pg_dump",
        &script.replace("PAUSE", "touch begun; while [ -e begun ]; do sleep 0.05; done"),
    );
    let program =
        project.start_command(project.command_with_stand_ins("dump-tenant acme -o acme.dump"));
    eventually("pg_dump is waited for", async || project.path("begun").exists()).await;
    let alter = project.sql("alter table acme.notes add more text");
    let go_on = async {
        project.somebody_waits().await;
        fs::remove_file(project.path("begun")).unwrap();
        project.shown(&program.ends())
    };
    let ((), shown) = tokio::join!(alter, go_on);
    assert!(project.dumps().is_empty() || shown.starts_with("dumped "), "{shown}");
    shown
}

#[tokio::test]
async fn nobody_waits_for_ever_where_a_table_is_to_be_altered() {
    let shown = alter_meanwhile("PAUSE; exec \"$real\" \"$@\"").await;
    insta::assert_snapshot!(shown, @"
    ------- stderr -------
    error: somebody else is at work on `acme`
    hint: nothing was written; run the same command again
    [exit status: 6]
    ");
    let shown = alter_meanwhile("\"$real\" \"$@\"; PAUSE").await;
    assert!(shown.starts_with("dumped ") || shown.contains("[exit status: 6]"), "{shown}");
}

#[tokio::test]
async fn a_role_that_is_missing_is_named_and_nothing_is_left() {
    let project = Project::with_notes().await;
    let role = format!("reader_{:08x}", fastrand::u32(..));
    project.sql(&format!("create role {role}; grant select on acme.notes to {role}")).await;
    project.run("dump-tenant acme -o acme.dump");
    project.sql(&format!("revoke all on acme.notes from {role}; drop role {role}")).await;
    let shown = project.run("restore-tenant acme.dump --as globex").replace(&role, "[role]");
    insta::assert_snapshot!(shown, @r#"
    ------- stderr -------
    error: `globex` could not be restored
      caused by: role "[role]" does not exist
        SQLSTATE 42704
    hint: nothing was changed; create it first: a dump of a tenant holds neither roles nor extensions
    [exit status: 1]
    "#);
    assert_eq!(project.query("select to_regnamespace('globex') is null").await, "t");
    let log = project.run("history").replace(&role, "[role]");
    assert!(log.contains("1 failed") && log.contains("restore-tenant acme.dump"), "{log}");
}
