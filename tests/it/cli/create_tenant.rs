use crate::support::Project;

async fn project() -> Project {
    let project = Project::new().await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int);\n");
    project
}

#[tokio::test]
async fn a_tenant_is_made_whole() {
    let project = project().await;
    insta::assert_snapshot!(project.run("create-tenant --schema acme --name 'Acme Inc.' --domain ACME.Example.com. --domain www.acme.example.com --set paid_until=2099-12-31 --set on_trial=false --no-input"), @"
    created tenant `acme` at acme.example.com, at www.acme.example.com
    ------- stderr -------
    acme: created with V1 `notes`
    ");
    assert_eq!(
        project.query("select schema_name, name, paid_until, on_trial from tenants").await,
        "acme|Acme Inc.|2099-12-31|f"
    );
    assert_eq!(
        project.query("select domain, is_primary from domains order by id").await,
        "acme.example.com|t\nwww.acme.example.com|f"
    );
    assert_eq!(project.tables("acme").await, "notes, refinery_schema_history");
}

#[tokio::test]
async fn the_name_is_the_schemas_where_none_is_given() {
    let project = project().await;
    insta::assert_snapshot!(project.run("create-tenant --schema=eha-meetup --one-by-one"), @"
    created tenant `eha-meetup`
    ------- stderr -------
    eha-meetup: created with V1 `notes`
    ");
    assert_eq!(project.query("select name from tenants").await, "eha-meetup");
}

#[tokio::test]
async fn names_that_cannot_be_a_schemas_are_refused() {
    let project = project().await;
    let long = "x".repeat(64);
    let wide = "ü".repeat(40);
    let names = [
        "",
        " ",
        " acme",
        "acme ",
        "pg_x",
        "information_schema",
        "public",
        "tenantctl",
        "$user",
        "a\tb",
        &long,
        &wide,
    ];
    let said: String = names
        .iter()
        .map(|name| {
            let said = project
                .run(&format!("create-tenant --no-input --schema={}", shell_words::quote(name)));
            assert!(said.ends_with("[exit status: 2]\n"), "{name:?}: {said}");
            said.replace("------- stderr -------\n", "").replace("[exit status: 2]\n", "")
        })
        .collect();
    insta::assert_snapshot!(said, @r"
    error: a schema name cannot be empty
    error: a schema name cannot be blank
    error: schema name ` acme` begins or ends with white space
    error: schema name `acme ` begins or ends with white space
    error: schema name `pg_x` begins with `pg_`, which Postgres reserves for itself
    error: schema name `information_schema` has a meaning of its own to Postgres
    error: `public` is the shared schema, not a tenant's
    hint: take another name: a tenant has a schema of its own
    error: schema `tenantctl` holds tenantctl's own records
    error: schema name `$user` has a meaning of its own to Postgres
    error: schema name `a\tb` contains a control character
    error: schema name `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is 64 bytes long, and Postgres keeps 63
    error: schema name `üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü` is 80 bytes long, and Postgres keeps 63
    ");
    assert_eq!(project.query("select count(*) from tenants").await, "0");
    let schemas = "select count(*) from pg_namespace where nspname !~ '^pg_|^information_schema$|^public$|^tenantctl$'";
    assert_eq!(project.query(schemas).await, "0");
}

#[tokio::test]
async fn every_other_name_is_exactly_that() {
    let project = project().await;
    let long = "x".repeat(63);
    let names = [
        "select",
        "user",
        "default",
        "null",
        "eha-meetup",
        "1acme",
        "1234",
        "Acme",
        "Tenant 1",
        "bücher",
        "o'brien; drop schema x",
        "x\", \"y",
        r"back\slash",
        "-x",
        "--all",
        &long,
    ];
    for name in names {
        let said =
            project.run(&format!("create-tenant --no-input --schema={}", shell_words::quote(name)));
        assert!(!said.contains("[exit"), "{name}: {said}");
        assert_eq!(project.tables(name).await, "notes, refinery_schema_history", "{name}");
    }
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    16 schemas at V1
    ");
    assert_eq!(project.tables("public").await, "domains, tenants");
}

#[tokio::test]
async fn a_name_that_is_taken_is_left_alone() {
    let project = project().await;
    project.run("create-tenant --schema acme --domain acme.example.com");
    project.sql("insert into acme.notes values (7)").await;
    insta::assert_snapshot!(project.run("create-tenant --schema acme"), @"
    ------- stderr -------
    error: tenant `acme` exists
    hint: `tenantctl list-tenants` lists the tenants
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema ACME"), @"
    ------- stderr -------
    error: tenant `ACME` differs from `acme` in upper and lower case alone
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema globex --domain acme.EXAMPLE.com"), @"
    ------- stderr -------
    error: domain `acme.example.com` is taken by tenant `acme`
    hint: `tenantctl list-domains` lists the domains
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema globex --domain g.example --domain g.example"), @"
    ------- stderr -------
    error: domain `g.example` is asked for twice
    [exit status: 2]
    ");
    project.sql("create schema stray").await;
    insta::assert_snapshot!(project.run("create-tenant --schema stray"), @r#"
    ------- stderr -------
    error: schema `stray` exists, but is not registered
    hint: to register it as it is, add `--adopt`; to be rid of it, `drop schema "stray"` in psql
    [exit status: 1]
    "#);
    assert_eq!(project.query("select * from acme.notes").await, "7");
    assert_eq!(project.query("select schema_name from tenants").await, "acme");
}

#[tokio::test]
async fn hosts_that_are_none_are_refused() {
    let project = project().await;
    let label = format!("{}.example", "x".repeat(64));
    let name = format!("{}example", "abcdefghi.".repeat(25));
    let hosts = [
        "https://acme.example.com/",
        "acme.example.com:8000",
        "acme example.com",
        "",
        "*.example.com",
        "a..b",
        &label,
        &name,
        "127.0.0.1",
        "[::1]",
        "xn--a",
        "-a.example",
        "a_b.example",
    ];
    let said: String = hosts
        .iter()
        .map(|host| {
            let said = project
                .run(&format!("create-tenant --schema acme --domain={}", shell_words::quote(host)));
            assert!(said.ends_with("[exit status: 2]\n"), "{host:?}: {said}");
            said.replace("------- stderr -------\n", "").replace("[exit status: 2]\n", "")
        })
        .collect();
    insta::assert_snapshot!(said, @"
    error: `https://acme.example.com/` is not a hostname: it contains a scheme, `https://`
    hint: use `acme.example.com`
    error: `acme.example.com:8000` is not a hostname: it contains a port
    hint: use `acme.example.com`
    error: `acme example.com` is not a hostname: it contains white space
    error: `` is not a hostname: it is empty
    error: `*.example.com` is not a hostname: a wildcard stands for many hosts
    hint: use `example.com`
    error: `a..b` is not a hostname: it has an empty label between its dots
    error: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example` is not a hostname: its label `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is 64 bytes long, and a label may have 63
    error: `abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.example` is not a hostname: it is 257 bytes long, and a hostname may have 253
    error: `127.0.0.1` is not a hostname: it is an IPv4 address, or would be read as one
    error: `[::1]` is not a hostname: it is an IPv6 address
    error: `xn--a` is not a hostname: it breaks the rules of internationalized names (UTS 46)
    error: `-a.example` is not a hostname: its label `-a` begins or ends with a hyphen
    error: `a_b.example` is not a hostname: it contains `_`, and labels are made of letters, digits and hyphens
    ");
    assert_eq!(project.tables("acme").await, "");
}

#[tokio::test]
async fn a_host_has_one_form() {
    let project = project().await;
    insta::assert_snapshot!(project.run("create-tenant --schema one --domain bücher.example"), @"
    created tenant `one` at xn--bcher-kva.example
    ------- stderr -------
    one: created with V1 `notes`
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema two --domain xn--bcher-kva.example"), @"
    ------- stderr -------
    error: domain `xn--bcher-kva.example` is taken by tenant `one`
    hint: `tenantctl list-domains` lists the domains
    [exit status: 1]
    ");
    assert_eq!(project.query("select domain from domains").await, "xn--bcher-kva.example");
}

#[tokio::test]
async fn values_follow_the_registrys_columns() {
    let project = project().await;
    insta::assert_snapshot!(project.run("create-tenant --schema acme --set paid_till=2099-12-31"), @"
    ------- stderr -------
    error: the table of tenants has no column `paid_till` that can be set
    hint: add it with a shared migration, or leave it out
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema acme --set paid_until=tomorow"), @r#"
    ------- stderr -------
    error: `tomorow` is no value for column `paid_until` (date): invalid input syntax for type date: "tomorow"
    [exit status: 2]
    "#);
    insta::assert_snapshot!(project.run("create-tenant --schema acme --set paid_until"), @"
    ------- stderr -------
    error: invalid value 'paid_until' for '--set <COLUMN=VALUE>': it is not of the form COLUMN=VALUE

    For more information, try '--help'.
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema acme --set =x"), @"
    ------- stderr -------
    error: invalid value '=x' for '--set <COLUMN=VALUE>': it names no column

    For more information, try '--help'.
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema acme --set schema_name=x"), @"
    ------- stderr -------
    error: the table of tenants has no column `schema_name` that can be set
    hint: add it with a shared migration, or leave it out
    [exit status: 2]
    ");
    project.shared_migration(
        "V2__plan.sql",
        "alter table tenants add column plan text not null check (plan in ('free', 'paid'));
         alter table tenants alter column created_on set default '2026-01-31';",
    );
    project.run("migrate-schemas --shared");
    insta::assert_snapshot!(project.run("create-tenant --schema acme"), @"
    ------- stderr -------
    error: column `plan` (text) needs a value
    hint: give it with `--set plan=VALUE`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema acme --set plan=gold"), @r#"
    ------- stderr -------
    error: tenant `acme` could not be created
      caused by: new row for relation "tenants" violates check constraint "tenants_plan_check"
        detail: Failing row contains (1, acme, acme, null, t, 2026-01-31, gold).
        SQLSTATE 23514
    nothing was created for `acme`
    [exit status: 1]
    "#);
    assert_eq!(project.tables("acme").await, "");
    insta::assert_snapshot!(project.run(r#"create-tenant --schema acme --set "plan=free" --set "name=o'brien; drop table tenants""#), @"
    created tenant `acme`
    ------- stderr -------
    acme: created with V1 `notes`
    ");
    assert_eq!(
        project.query("select name, plan from tenants").await,
        "o'brien; drop table tenants|free"
    );
}

#[tokio::test]
async fn without_a_terminal_nothing_is_asked() {
    let project = project().await;
    insta::assert_snapshot!(project.run("create-tenant"), @"
    ------- stderr -------
    error: which schema is the tenant to have?
    hint: say `--schema NAME`, or `--from FILE` for many
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("create-tenant --no-input"), @"
    ------- stderr -------
    error: which schema is the tenant to have?
    hint: say `--schema NAME`, or `--from FILE` for many
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema acme --from x.csv"), @"
    ------- stderr -------
    error: the argument '--schema <NAME>' cannot be used with '--from <FILE>'

    Usage: tenantctl create-tenant --schema <NAME>

    For more information, try '--help'.
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing() {
    let project = project().await;
    project.tenant_migration("V2__bad.sql", "create table orders (id int);\nselect 1 / 0;\n");
    for flags in ["", " --one-by-one"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(project.run(&format!("create-tenant --schema acme --domain acme.example.com{flags}")), @"
            ------- stderr -------
            error: migration V2 `bad` could not be applied to schema `acme`
              caused by: division by zero
                 --> migrations/tenant/V2__bad.sql:2
                  |
                2 | select 1 / 0;
                SQLSTATE 22012
            nothing was created for `acme`
            [exit status: 1]
            ");
        }
        assert_eq!(project.query("select count(*) from tenants").await, "0");
        assert_eq!(
            project.query("select count(*) from pg_namespace where nspname = 'acme'").await,
            "0"
        );
    }
}

#[tokio::test]
async fn a_role_that_may_not_create_schemas_is_told_the_grant() {
    let project = project().await;
    let role = format!("r{:x}", fastrand::u64(..));
    project.sql(&format!("create role {role} login password 'x'; grant select, insert on tenants, domains to {role}; grant usage on all sequences in schema public to {role}")).await;
    let database = project.database();
    let url =
        format!("postgres://{role}:x@{}:{}/{}", "127.0.0.1", database.port, database.database);
    let output =
        project.command("create-tenant --schema acme").env("DATABASE_URL", url).output().unwrap();
    let said = project.shown(&output).replace(&role, "[role]");
    project.sql(&format!("drop owned by {role}; drop role {role}")).await;
    insta::assert_snapshot!(said, @r#"
    ------- stderr -------
    warning: this run is not recorded: permission denied for schema tenantctl
    hint: let the owner of schema `tenantctl` grant this role its use, and that of its tables and sequence
    error: tenant `acme` could not be created
      caused by: permission denied for database [database]
        SQLSTATE 42501
        the role lacks a privilege: grant it, or connect as the owner of the schema
    nothing was created for `acme`
    hint: let the database's owner run `grant create on database "[database]" to "[role]"`
    [exit status: 1]
    "#);
    assert_eq!(project.query("select count(*) from tenants").await, "0");
}

#[tokio::test]
async fn a_schema_that_is_there_is_registered_as_it_is() {
    let project = project().await;
    project.sql("create schema grown; create table grown.notes (id int)").await;
    insta::assert_snapshot!(project.run("create-tenant --schema grown --adopt --domain grown.example"), @"
    adopted tenant `grown` at grown.example
    ------- stderr -------
    grown: adopted
    ");
    assert_eq!(project.tables("grown").await, "notes");
    insta::assert_snapshot!(project.run("baseline --schema grown --to latest"), @"
    1 schema recorded
    ------- stderr -------
    grown: recorded V1 `notes`
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema grown --adopt"), @"
    ------- stderr -------
    error: tenant `grown` exists
    hint: `tenantctl list-tenants` lists the tenants
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema ghost --adopt"), @"
    ------- stderr -------
    error: there is no schema `ghost` to adopt
    hint: leave out `--adopt` to create it
    [exit status: 1]
    ");
}

#[tokio::test]
async fn many_come_from_a_file_each_with_its_answer() {
    let project = project().await;
    project.run("create-tenant --schema there --domain there.example");
    project.write("tenants.csv", "schema_name,name,domain,paid_until\nacme,\"Acme, Inc.\",acme.example,2099-12-31\npg_x,X,,\nthere,,,\nglobex,G,there.example,\nhooli,H,,someday\ninitech,I,,\ninitech,Again,,\nshort\n");
    insta::assert_snapshot!(project.run("create-tenant --from tenants.csv --jobs 1"), @r#"
    2 tenants created, 1 already there, 5 failed
    ------- stderr -------
    acme: created with V1 `notes`
    initech: created with V1 `notes`
    error: line 3: `pg_x`: schema name `pg_x` begins with `pg_`, which Postgres reserves for itself
    error: line 5: `globex`: domain `there.example` is taken by tenant `there`
    error: line 8: `initech`: schema `initech` is asked for twice
    error: line 9: it has 1 cell, and the header 4
    error: tenant `hooli` could not be created
      caused by: invalid input syntax for type date: "someday"
        SQLSTATE 22007
    hint: mend what is wrong and give the same rows again: what is there is left alone, and a tenant is there whole or not at all
    [exit status: 4]
    "#);
    insta::assert_snapshot!(project.query("select schema_name, name, paid_until from tenants order by id").await, @"
    there|there|null
    acme|Acme, Inc.|2099-12-31
    initech|I|null
    ");
    assert_eq!(
        project.query("select count(*) from pg_namespace where nspname = 'hooli'").await,
        "0"
    );
    insta::assert_snapshot!(project.run_with_stdin("create-tenant --from - --format json", "{\"schema\":\"umbrella\",\"domains\":[\"u.example\"]}\nnot json\n"), @r#"
    {"type":"created","schema":"umbrella","migrations":["V1 `notes`"],"seconds":[time]}
    {"type":"failed","line":2,"schema":"","message":"it is not JSON from column 2 on"}
    {"type":"summary","created":1,"up_to_date":0,"failed":1,"busy":0,"not_attempted":0,"exit_status":4}
    ------- stderr -------
    umbrella: created with V1 `notes`
    error: line 2: it is not JSON from column 2 on
    hint: mend what is wrong and give the same rows again: what is there is left alone, and a tenant is there whole or not at all
    [exit status: 4]
    "#);
    insta::assert_snapshot!(project.run("create-tenant --from nothing.csv"), @"
    ------- stderr -------
    error: `nothing.csv` could not be read
      caused by: no such file or directory
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("create-tenant --from -"), @"0 tenants: there is nothing to do");
    project.write("headless.csv", "acme2,Acme\n");
    insta::assert_snapshot!(project.run("create-tenant --from headless.csv"), @"
    ------- stderr -------
    error: `headless.csv` has no column `schema_name`
    hint: its first line names the columns: `schema_name,name,domain`
    [exit status: 2]
    ");
    project.write("no-schema.csv", "name\nAcme\n");
    insta::assert_snapshot!(project.run("create-tenant --from no-schema.csv"), @"
    ------- stderr -------
    error: `no-schema.csv` has no column `schema_name`
    hint: its first line names the columns: `schema_name,name,domain`
    [exit status: 2]
    ");
}

#[tokio::test]
async fn the_same_file_again_creates_what_is_left() {
    let project = project().await;
    let acme = "schema_name,name,domain\nacme,Acme,acme.example\n";
    project.write("tenants.csv", acme);
    project.run("create-tenant --from tenants.csv");
    project.write("tenants.csv", format!("{acme}globex,Globex,globex.example\nhooli,,\n"));
    insta::assert_snapshot!(project.run("create-tenant --from tenants.csv --dry-run --quiet"), @"
    would create tenant `globex` at globex.example
    would create tenant `hooli`
      each with 1 migration: V1 `notes`
    would create 2 tenants, and find 1 there
    ");
    insta::assert_snapshot!(project.run("create-tenant --from tenants.csv --jobs 1"), @"
    2 tenants created, 1 already there
    ------- stderr -------
    globex: created with V1 `notes`
    hooli: created with V1 `notes`
    ");
    insta::assert_snapshot!(project.run("create-tenant --from tenants.csv"), @"3 tenants already there");
    insta::assert_snapshot!(project.run("create-tenant --from tenants.csv --format json"), @r#"{"type":"summary","created":0,"up_to_date":3,"failed":0,"busy":0,"not_attempted":0,"exit_status":0}"#);

    // The tenant is there, and what is asked for is not.
    project.write("tenants.csv", "schema_name,domain\nacme,other.example\nglobex,acme.example\n");
    insta::assert_snapshot!(project.run("create-tenant --from tenants.csv"), @"
    2 tenants failed
    ------- stderr -------
    error: line 2: `acme`: tenant `acme` exists
    error: line 3: `globex`: tenant `globex` exists
    hint: mend what is wrong and give the same rows again: what is there is left alone, and a tenant is there whole or not at all
    [exit status: 1]
    ");
    assert_eq!(project.query("select count(*) from domains").await, "2");
}

#[tokio::test]
async fn a_file_that_runs_in_no_transaction_is_picked_up_where_it_stopped() {
    let project = project().await;
    project.tenant_migration("V2__index.sql", "-- tenantctl: no-transaction\ncreate index concurrently by_id on notes (id);\nselect 1 / 0;\n");
    insta::assert_snapshot!(project.run("create-tenant --schema acme --domain acme.example"), @"
    ------- stderr -------
    error: migration V2 `index` could not be applied to schema `acme`
      caused by: division by zero
         --> migrations/tenant/V2__index.sql:3
          |
        3 | select 1 / 0;
        SQLSTATE 22012
        left behind: `CREATE INDEX` in line 2 took effect
        the next run begins the file anew, and keeps the concurrent indexes that are there
    `acme` is not registered; the same command again goes on where this one stopped
    [exit status: 1]
    ");
    assert_eq!(project.query("select count(*) from tenants").await, "0");
    insta::assert_snapshot!(project.run("create-tenant --schema ACME"), @"
    ------- stderr -------
    error: migration V2 `index` could not be applied to schema `ACME`
      caused by: division by zero
         --> migrations/tenant/V2__index.sql:3
          |
        3 | select 1 / 0;
        SQLSTATE 22012
        left behind: `CREATE INDEX` in line 2 took effect
        the next run begins the file anew, and keeps the concurrent indexes that are there
    `ACME` is not registered; the same command again goes on where this one stopped
    [exit status: 1]
    ");
    project.tenant_migration(
        "V2__index.sql",
        "-- tenantctl: no-transaction\ncreate index concurrently by_id on notes (id);\n",
    );
    insta::assert_snapshot!(project.run("create-tenant --schema acme --domain acme.example"), @"
    created tenant `acme` at acme.example
    ------- stderr -------
    acme: created with V2 `index`
    ");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    1 schema at V2
    ");
}

#[tokio::test]
async fn without_a_registry_it_says_what_to_type() {
    let project = Project::empty().await;
    project.run("init --without-users");
    insta::assert_snapshot!(project.run("create-tenant --schema acme"), @"
    ------- stderr -------
    error: there is no table `tenants` in schema `public` of database `[database]` at 127.0.0.1:[port] as user `postgres`
    hint: apply the shared migrations with `tenantctl migrate-schemas --shared`; `tenantctl init` writes them
    [exit status: 1]
    ");
    assert_eq!(
        project
            .query("select count(*) from pg_namespace where nspname in ('acme', 'tenantctl')")
            .await,
        "0"
    );
}

#[tokio::test]
async fn a_tenant_without_migrations_is_a_tenant() {
    let project = Project::new().await;
    insta::assert_snapshot!(project.run("create-tenant --schema acme"), @"
    created tenant `acme`
    ------- stderr -------
    acme: created
    ");
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    1 schema with nothing applied
    ");
}

#[tokio::test]
async fn one_file_given_twice_at_once_creates_each_once() {
    let project = Project::new().await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int); select pg_sleep(0.01)");
    let rows = (0..40).map(|n| format!("n{n:02},N{n},n{n:02}.example\n")).collect::<String>();
    project.write("tenants.csv", format!("schema_name,name,domain\n{rows}"));
    let start = || project.start("create-tenant --from tenants.csv --quiet");
    let mut created = 0;
    for program in [start(), start(), start()] {
        let output = program.ends();
        let shown = project.shown(&output);
        assert_eq!(output.status.code(), Some(0), "{shown}");
        assert!(!shown.contains("error"), "{shown}");
        let number = shown.split_once(" tenants created").or(shown.split_once(" tenant created"));
        created += number.map_or(0, |(number, _)| number.parse::<usize>().unwrap());
    }
    assert_eq!(created, 40);
    assert_eq!(project.query("select count(*) from domains").await, "40");
    assert_eq!(project.recorded(1).await, 40);
}

#[tokio::test]
async fn five_at_once_make_one() {
    let project = project().await;
    let children: Vec<_> = (0..5)
        .map(|_| {
            let mut command = project.command("create-tenant --schema acme --domain acme.example");
            command
                .stderr(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let outputs: Vec<_> = children.into_iter().map(|it| it.wait_with_output().unwrap()).collect();
    let said: Vec<String> = outputs.iter().map(|it| project.shown(it)).collect();
    assert_eq!(outputs.iter().filter(|it| it.status.success()).count(), 1, "{said:#?}");
    assert_eq!(project.query("select count(*) from tenants").await, "1");
    assert_eq!(project.query("select count(*) from domains").await, "1");
    for said in said.iter().filter(|it| it.contains("[exit")) {
        assert!(
            ["exists", "somebody else has created it", "is taken by tenant"]
                .iter()
                .any(|it| said.contains(it)),
            "{said}"
        );
        assert!(!said.contains("SQLSTATE"), "{said}");
    }
}

#[tokio::test]
async fn a_registered_schema_that_is_missing_cannot_be_adopted() {
    let project = project().await;
    project.sql("insert into tenants (schema_name, name) values ('ghost', 'G')").await;
    let shown = project.run("create-tenant --schema ghost --adopt");
    assert!(shown.contains("tenant `ghost` exists"), "{shown}");
    assert!(shown.trim_end().ends_with("[exit status: 1]"), "{shown}");
}

#[tokio::test]
async fn a_flag_is_not_taken_for_a_name() {
    let project = project().await;
    let shown = project.run("create-tenant --schema --no-input");
    assert!(shown.trim_end().ends_with("[exit status: 2]"), "{shown}");
    assert_eq!(project.query("select count(*) from tenants").await, "0");
}

#[tokio::test]
async fn the_end_of_input_is_no_answer() {
    let project = project().await;
    let mut terminal = project.terminal("create-tenant");
    let (seen, status) = terminal.sees("schema").presses("\x04").ends();
    assert!(seen.contains("`schema` was not answered: the input ended"), "{seen}");
    assert_eq!(status, 2);
    assert_eq!(project.query("select count(*) from tenants").await, "0");
}
