//! Which database, and what is said when it cannot be reached: the same in every command.

use std::io::{Read as _, Write as _};
use std::process::Command;

use crate::support::Project;

fn shown(project: &Project, command: &mut Command) -> String {
    project.shown(&command.output().unwrap())
}

fn with_url(project: &Project, url: &str) -> String {
    shown(project, project.command("status").env("DATABASE_URL", url))
}

/// The URL of the project's database with something else in it.
fn url(project: &Project, user: &str, password: &str, database: &str, rest: &str) -> String {
    let port = project.database().port;
    format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}{rest}")
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_being_shown() {
    let project = Project::new().await;
    for url in [
        "mysql://me:s3cret@localhost/db",
        "s3cret",
        "postgres://me:s3cret@localhost:port/db",
        "postgres://me:s3%ZZcret@local host/db",
        "postgres://me:s3cret@localhost/db?sslmode=perhaps",
        "postgres://me:s3cret@[::1/db",
        "postgres://",
    ] {
        let said = with_url(&project, url);
        eprintln!("{url}\n{said}");
        assert!(!said.contains("s3"), "{said}");
        if url != "postgres://" {
            assert!(said.ends_with("[exit status: 2]\n"), "{url}: {said}");
        }
    }
    insta::assert_snapshot!(project.run("status --database-url mysql://me:s3cret@localhost/db"), @"
    ------- stderr -------
    error: the database URL cannot be read: it does not begin with `postgres://`
    hint: it has the form `postgres://user:password@host:port/database`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("status --database-url postgres://me:s3cret@localhost:port/db"), @"
    ------- stderr -------
    error: the database URL cannot be read: invalid port number
    hint: it has the form `postgres://user:password@host:port/database`
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_wrong_password_is_not_shown_either() {
    let project = Project::new().await;
    let database = project.database().database.clone();
    for password in ["s3cret", "s3%63ret%40%3A"] {
        let said = with_url(&project, &url(&project, "postgres", password, &database, ""));
        assert!(!said.contains("s3"), "{said}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(said, @r#"
            ------- stderr -------
            error: could not connect to database `[database]` at 127.0.0.1:[port] as user `postgres`
              caused by: password authentication failed for user "postgres"
                SQLSTATE 28P01
            hint: check the user, and the password in the database's URL, `PGPASSWORD` or `~/.pgpass`
            [exit status: 5]
            "#);
        }
    }
    let said = with_url(&project, &url(&project, "nobody_here", "s3cret", &database, ""));
    insta::assert_snapshot!(said, @r#"
    ------- stderr -------
    error: could not connect to database `[database]` at 127.0.0.1:[port] as user `nobody_here`
      caused by: password authentication failed for user "nobody_here"
        SQLSTATE 28P01
    hint: check the user, and the password in the database's URL, `PGPASSWORD` or `~/.pgpass`
    [exit status: 5]
    "#);
}

#[tokio::test]
async fn a_database_that_is_not_there() {
    let project = Project::new().await;
    let password = project.database().password.clone();
    let said = with_url(&project, &url(&project, "postgres", &password, "no such db", ""));
    insta::assert_snapshot!(said, @r#"
    ------- stderr -------
    error: could not connect to database `no such db` at 127.0.0.1:[port] as user `postgres`
      caused by: database "no such db" does not exist
        SQLSTATE 3D000
    hint: create it with `createdb 'no such db'`
    [exit status: 5]
    "#);
}

#[tokio::test]
async fn a_server_that_is_down_is_said_at_once() {
    let project = Project::new().await;
    // Nothing listens on a port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begun = std::time::Instant::now();
    let url = format!("postgres://me:s3cret@127.0.0.1:{free}/db");
    for arguments in [
        "status",
        "migrate-schemas --shared",
        "create-tenant --schema acme",
        "baseline --shared --to 1",
    ] {
        let said = shown(&project, project.command(arguments).env("DATABASE_URL", &url));
        let said = said.replace(&free.to_string(), "[free]");
        insta::allow_duplicates! {
            insta::assert_snapshot!(said, @"
            ------- stderr -------
            error: could not connect to database `db` at 127.0.0.1:[free] as user `me`: nothing listens there (connection refused)
            hint: check that the server runs and that host and port are right
            [exit status: 5]
            ");
        }
    }
    assert!(begun.elapsed().as_secs() < 10);
    insta::assert_snapshot!(with_url(&project, "postgres://me@no-such-host.invalid/db"), @"
    ------- stderr -------
    error: could not connect to database `db` at no-such-host.invalid:5432 as user `me`: failed to lookup address information: name or service not known
    hint: check that the server runs and that host and port are right
    [exit status: 5]
    ");
    insta::assert_snapshot!(with_url(&project, "postgres://me@/db?host=/no/such/socket"), @"
    ------- stderr -------
    error: the database URL cannot be read: empty host
    hint: a socket's folder is named like `postgres:///database?user=me&host=/run/postgresql`
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let project = Project::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://me@127.0.0.1:{port}/db?sslmode=disable");
    let said =
        shown(&project, project.command("status --connect-timeout 300ms").env("DATABASE_URL", url));
    insta::assert_snapshot!(said.replace(&port.to_string(), "[silent]"), @"
    ------- stderr -------
    error: could not connect to database `db` at 127.0.0.1:[silent] as user `me`: no answer within [time]
    hint: check that the server runs and that host and port are right
    [exit status: 5]
    ");
    insta::assert_snapshot!(project.run("status --connect-timeout soon"), @"
    ------- stderr -------
    error: invalid value 'soon' for '--connect-timeout <TIME>': it is not a length of time such as `[time]` or `5s`

    For more information, try '--help'.
    [exit status: 2]
    ");
}

#[tokio::test]
async fn tls_that_is_demanded_is_never_done_without() {
    let project = Project::new().await;
    let (password, database) =
        (project.database().password.clone(), project.database().database.clone());
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = with_url(
            &project,
            &url(&project, "postgres", &password, &database, &format!("?sslmode={mode}")),
        );
        insta::allow_duplicates! {
            insta::assert_snapshot!(said, @"
            ------- stderr -------
            error: could not connect to database `[database]` at 127.0.0.1:[port] as user `postgres`: TLS: server does not support TLS
            hint: let the server offer TLS, or leave `sslmode` out where the network is to be trusted
            [exit status: 5]
            ");
        }
    }
}

#[tokio::test]
async fn a_certificate_file_that_is_not_there_is_named() {
    let project = Project::new().await;
    // It offers TLS, and goes away then.
    let server = answering(b"S");
    let url = |file: &str| {
        format!("postgres://me@127.0.0.1:{server}/db?sslmode=verify-ca&sslrootcert={file}")
    };
    let said = with_url(&project, &url("/no/such/ca.pem"));
    insta::assert_snapshot!(said.replace(&server.to_string(), "[tls]"), @"
    ------- stderr -------
    error: could not connect to database `db` at 127.0.0.1:[tls] as user `me`: TLS: there is no file `/no/such/ca.pem`, which `sslrootcert` names
    [exit status: 5]
    ");
}

#[tokio::test]
async fn what_answers_and_is_not_postgres_is_said_to_be_none() {
    let project = Project::new().await;
    let server = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let said = with_url(&project, &format!("postgres://me@127.0.0.1:{server}/db"));
    insta::assert_snapshot!(said.replace(&server.to_string(), "[other]"), @"
    ------- stderr -------
    error: could not connect to database `db` at 127.0.0.1:[other] as user `me`: what answers there is not Postgres
    hint: check that the server runs and that host and port are right
    [exit status: 5]
    ");
}

#[tokio::test]
async fn a_url_may_say_how_long_to_wait() {
    let project = Project::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://me@127.0.0.1:{port}/db?sslmode=disable&connect_timeout=1");
    let said = with_url(&project, &url);
    insta::assert_snapshot!(said.replace(&port.to_string(), "[silent]"), @"
    ------- stderr -------
    error: could not connect to database `db` at 127.0.0.1:[silent] as user `me`: no answer within 1s
    hint: check that the server runs and that host and port are right
    [exit status: 5]
    ");
    let several = "postgres://me@one:5432,two:5432/db";
    insta::assert_snapshot!(with_url(&project, several), @"
    ------- stderr -------
    error: the database URL cannot be read: it names several hosts, and can name only one
    hint: it has the form `postgres://user:password@host:port/database`
    [exit status: 2]
    ");
}

/// Returns the port of a server that answers whatever it is sent with the same bytes.
fn answering(bytes: &'static [u8]) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 8];
            let _ = stream.read_exact(&mut request);
            let _ = stream.write_all(bytes);
        }
    });
    port
}

#[tokio::test]
async fn the_flag_comes_before_the_environment_and_that_before_the_file() {
    let project = Project::new().await;
    let good = project.database().url().to_string();
    let bad = "mysql://x";
    let status = |flag: Option<&str>, variable: Option<&str>, file: Option<&str>| {
        let mut command = project.command("status --shared");
        command.env_remove("DATABASE_URL");
        flag.map(|it| command.arg("--database-url").arg(it));
        variable.map(|it| command.env("DATABASE_URL", it));
        project.write(
            ".env",
            file.map_or(String::new(), |it| format!("# ours\nexport DATABASE_URL=\"{it}\"\n")),
        );
        command.output().unwrap().status.code()
    };
    assert_eq!(status(Some(&good), Some(bad), Some(bad)), Some(0));
    assert_eq!(status(Some(bad), Some(&good), Some(&good)), Some(2));
    assert_eq!(status(None, Some(&good), Some(bad)), Some(0));
    assert_eq!(status(None, Some(""), Some(&good)), Some(0));
    assert_eq!(status(None, None, Some(bad)), Some(2));
    assert_eq!(status(None, None, None), Some(2));
}

#[tokio::test]
async fn no_database_at_all_is_said() {
    let project = Project::new().await;
    insta::assert_snapshot!(shown(&project, project.command("migrate-schemas --all").env_remove("DATABASE_URL")), @"
    ------- stderr -------
    error: migration folder `migrations/tenant` is empty
    hint: write a migration with `tenantctl makemigrations NAME --tenant`, or name another folder with `--migrations-dir`
    [exit status: 2]
    ");
    project.tenant_migration("V1__a.sql", "select 1;");
    insta::assert_snapshot!(shown(&project, project.command("migrate-schemas --all").env_remove("DATABASE_URL")), @"
    ------- stderr -------
    error: no database was given
    hint: give one with `--database-url` or `DATABASE_URL`, or start the project's own with `tenantctl quickstart`
    [exit status: 2]
    ");
    project.write(".env", "DATABASE_URL='postgres://me:s3cret@");
    insta::assert_snapshot!(shown(&project, project.command("status").env_remove("DATABASE_URL")), @"
    ------- stderr -------
    error: `.env` could not be read: a line of it is not of the form `NAME=value`
    [exit status: 2]
    ");
    project.write(".env", b"DATABASE_URL=\xff\xfe");
    insta::assert_snapshot!(shown(&project, project.command("status").env_remove("DATABASE_URL")), @"
    ------- stderr -------
    error: `.env` could not be read: it is not UTF-8
    [exit status: 2]
    ");
}

#[tokio::test]
async fn libpqs_variables_are_understood() {
    let project = Project::new().await;
    let database = project.database();
    let mut command = project.command("status --shared");
    command
        .env_remove("DATABASE_URL")
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", database.port.to_string())
        .env("PGUSER", "postgres")
        .env("PGPASSWORD", &database.password)
        .env("PGDATABASE", &database.database);
    insta::assert_snapshot!(shown(&project, &mut command), @"shared schema `public` at V1");
    insta::assert_snapshot!(shown(&project, command.env("PGPORT", "port")), @"
    ------- stderr -------
    error: `PGPORT` is `port`, which is not a port
    [exit status: 2]
    ");
}

#[tokio::test]
async fn what_clap_refuses_exits_2() {
    let project = Project::new().await;
    for arguments in [
        "migrate-schemas --al",
        "migrate-shemas",
        "",
        "status --format yaml",
        "migrate-schemas --all --jobs 0",
        "migrate-schemas --all --lock-timeout abc",
        "migrate-schemas --all --lock-timeout -5s",
        "migrate-schemas --all --lock-timeout 99999h",
        "migrate-schemas --all --lock-timeout 0",
        "migrate-schemas --all --max-failures 0",
        "migrate-schemas --all --dry-run --check",
    ] {
        let said = project.run(arguments);
        eprintln!("{arguments}\n{said}");
        assert!(said.ends_with("[exit status: 2]\n"), "{arguments}: {said}");
    }
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_said() {
    let project = Project::new().await;
    for config in [
        "[registry",
        "[registry]\ntenant = \"x\"\n",
        "[migrate]\njobs = 0\n",
        "[migrate]\nlock_timeout = \"soon\"\n",
        "[registry]\nshared_schema = \"pg_x\"\n",
    ] {
        project.write("tenantctl.toml", config);
        let said = project.run("status");
        eprintln!("{config}\n{said}");
        assert!(said.ends_with("[exit status: 2]\n") && said.contains("tenantctl.toml"), "{said}");
    }
    project.write("tenantctl.toml", b"\xff");
    insta::assert_snapshot!(project.run("status"), @"
    ------- stderr -------
    error: configuration `tenantctl.toml` could not be read
      caused by: it is not UTF-8
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("status --config nothing.toml"), @"
    ------- stderr -------
    error: there is no configuration `nothing.toml`
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_reader_that_goes_away_changes_nothing() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int);");
    let program = env!("CARGO_BIN_EXE_tenantctl");
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &format!("set -o pipefail; {program} migrate-schemas --tenants --dry-run | head -1; echo $?; {program} migrate-schemas --tenants 1>&- 2>&-; echo $?; {program} status --check 0<&-")])
        .current_dir(project.path(""))
        .env("DATABASE_URL", project.database().url());
    insta::assert_snapshot!(shown(&project, &mut shell), @"
    -- 2 schemas: acme, globex
    0
    0
    shared schema `public` at V1
    2 schemas at V1
    ");
}

#[tokio::test]
async fn what_the_role_and_the_database_set_changes_nothing() {
    let project = Project::with_tenants(["acme"]).await;
    project
        .tenant_migration("V1__notes.sql", "create table notes (id int);\nselect pg_sleep(0.5);\n");
    let name = &project.database().database;
    for setting in [
        "statement_timeout = '300ms'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "search_path = nowhere",
        "lock_timeout = 1",
        "standard_conforming_strings = off",
        "idle_in_transaction_session_timeout = '200ms'",
        "client_min_messages = debug1",
        "role = pg_monitor",
    ] {
        if setting.starts_with("role") {
            continue;
        }
        project
            .sql(&format!(
                "set default_transaction_read_only = off; alter database \"{name}\" set {setting}"
            ))
            .await;
    }
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V1 `notes`
    ");
    insta::assert_snapshot!(project.run("create-tenant --schema 'back\\slash'"), @r"
    created tenant `back\slash`
    ------- stderr -------
    back\slash: created with V1 `notes`
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --check --tenants --where \"name = 'back\\slash'\""), @"1 schema up to date");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    2 schemas at V1
    ");
}
