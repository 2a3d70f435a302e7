//! A project in a folder of its own, with a database of its own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgPool, Row, ValueRef};
use tempfile::TempDir;
use tenantctl::pg::server::ServerConnection;

use super::cluster;
use super::program::Program;
use super::redact::Redactor;
use super::terminal::Terminal;
use super::waiting::Blocker;

/// A project and its database; both are gone when it is dropped.
pub(crate) struct Project {
    /// Holds the project's folder and the program's home.
    folders: TempDir,
    database: ServerConnection,
    // In this order: dropping a database that is in use takes much longer.
    pool: PgPool,
    _dropped: Dropped,
}

impl Project {
    /// Returns a project as `init --without-users` makes it, with its registry and no migrations
    /// for tenants.
    pub(crate) async fn new() -> Project {
        Project::new_on(cluster::connection()).await
    }

    /// Returns such a project on another server.
    pub(crate) async fn new_on(server: &ServerConnection) -> Project {
        let project = Project::empty_on(server).await;
        for arguments in ["init --without-users", "migrate-schemas --shared"] {
            let output = project.command(arguments).output().unwrap();
            assert!(output.status.success(), "{}", project.shown(&output));
        }
        project
    }

    /// Returns a project with tenants whose schemas are empty.
    pub(crate) async fn with_tenants<const N: usize>(schemas: [&str; N]) -> Project {
        let project = Project::new().await;
        project.add_tenants(&schemas).await;
        project
    }

    /// Registers tenants and makes their schemas, which stay empty.
    pub(crate) async fn add_tenants<S: AsRef<str>>(&self, schemas: &[S]) {
        for schema in schemas {
            let schema = schema.as_ref();
            let (name, value) = (schema.replace('"', "\"\""), schema.replace('\'', "''"));
            self.sql(&format!(
                "create schema \"{name}\"; \
                 insert into public.tenants (schema_name, name) values ('{value}', '{value}')"
            ))
            .await;
        }
    }

    /// Returns an empty folder and an empty database.
    pub(crate) async fn empty() -> Project {
        Project::empty_on(cluster::connection()).await
    }

    async fn empty_on(server: &ServerConnection) -> Project {
        let folders = TempDir::with_prefix("tenantctl-").unwrap();
        for folder in ["project", "home"] {
            fs::create_dir(folders.path().join(folder)).unwrap();
        }
        let database = create_database(server).await;
        let pool = PgPoolOptions::new().max_connections(2);
        Project {
            pool: pool.connect_lazy_with(database.options()),
            _dropped: Dropped(database.clone(), server.clone()),
            folders,
            database,
        }
    }

    /// Returns a path in the project's folder.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder().join(relative)
    }

    fn folder(&self) -> PathBuf {
        self.folders.path().join("project")
    }

    /// Writes a file in the project's folder.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is in the project")).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn shared_migration(&self, name: &str, sql: &str) {
        self.write(&format!("migrations/shared/{name}"), sql);
    }

    pub(crate) fn tenant_migration(&self, name: &str, sql: &str) {
        self.write(&format!("migrations/tenant/{name}"), sql);
    }

    /// Runs SQL in the project's database.
    pub(crate) async fn sql(&self, sql: &str) {
        let run = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool);
        run.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Returns a query's rows as lines, with `|` between the values.
    pub(crate) async fn query(&self, sql: &str) -> String {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&self.pool);
        let rows = rows.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Returns a query's rows as they are seen by way of another URL.
    pub(crate) async fn query_at(&self, url: &str, sql: &str) -> String {
        let options: PgConnectOptions = url.parse().unwrap();
        let mut connection = options.extra_float_digits(None).connect().await.unwrap();
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection);
        let rows = rows.await.unwrap();
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Returns the names of a schema's tables, in their order: `notes, orders`.
    pub(crate) async fn tables(&self, schema: &str) -> String {
        let schema = schema.replace('\'', "''");
        let tables = format!(
            "select coalesce(string_agg(tablename, ', ' order by tablename), '') from pg_tables \
             where schemaname = '{schema}' and (schemaname, tablename) <> ('public', 'refinery_schema_history')"
        );
        self.query(&tables).await
    }

    /// Returns the names of a table's columns: `id, body`.
    pub(crate) async fn columns(&self, table: &str) -> String {
        let columns = format!(
            "select string_agg(attname, ', ' order by attnum) from pg_attribute \
             where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped"
        );
        self.query(&columns).await
    }

    /// Opens a second connection and runs SQL on it, in a transaction that stays open.
    pub(crate) async fn blocker(&self, sql: &str) -> Blocker {
        Blocker::begin(&self.database, sql).await
    }

    /// Returns how to connect to the project's database.
    pub(crate) fn database(&self) -> &ServerConnection {
        &self.database
    }

    /// Runs the program; returns what it said, fit for a snapshot.
    pub(crate) fn run(&self, arguments: &str) -> String {
        let output = self.command(arguments).output().unwrap();
        self.shown(&output)
    }

    /// Runs the program with something on its standard input.
    pub(crate) fn run_with_stdin(&self, arguments: &str, input: &str) -> String {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = command.spawn().unwrap();
        // It may end without reading; what it says shows that.
        let _ = program.stdin.take().unwrap().write_all(input.as_bytes());
        self.shown(&program.wait_with_output().unwrap())
    }

    /// Starts the program, and does not wait for it.
    pub(crate) fn start(&self, arguments: &str) -> Program {
        Program::start(self.command(arguments))
    }

    /// Starts the program as it was set up by a test.
    pub(crate) fn start_command(&self, command: Command) -> Program {
        Program::start(command)
    }

    /// Starts the program by way of another, such as `nohup`, with arguments for that or without.
    pub(crate) fn start_under(&self, other: &str, arguments: &str) -> Program {
        let program = self.command(arguments);
        let mut words = other.split(' ');
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg(program.get_program()).args(program.get_args());
        command.current_dir(self.folder()).stdin(Stdio::null());
        command.env("DATABASE_URL", self.database.url());
        Program::start(command)
    }

    /// Runs the program in a terminal.
    pub(crate) fn terminal(&self, arguments: &str) -> Terminal {
        Terminal::open(self.command(arguments))
    }

    /// Returns the program with these arguments, in the project's folder and a clean environment.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenantctl"));
        command
            .args(shell_words::split(arguments).expect("the quotes are closed"))
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folders.path().join("home"))
            .env("DATABASE_URL", self.database.url())
            .stdin(Stdio::null());
        command
    }

    /// Returns a program's output as one text: stdout, stderr if any, the status if not 0.
    pub(crate) fn shown(&self, output: &Output) -> String {
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.stderr.is_empty() {
            text += "------- stderr -------\n";
            text += &String::from_utf8_lossy(&output.stderr);
        }
        match output.status.code() {
            Some(0) => {}
            Some(status) => text += &format!("[exit status: {status}]\n"),
            None => text += &format!("[{}]\n", output.status),
        }
        self.redacted(&text)
    }

    /// Returns a text without what differs from run to run.
    pub(crate) fn redacted(&self, text: &str) -> String {
        Redactor::new()
            .word(&self.folder(), "[project]")
            .word(self.folders.path(), "[temp]")
            .word(Path::new(&self.database.database), "[database]")
            .word(Path::new(&self.database.password), "[password]")
            .word(Path::new(&self.database.port.to_string()), "[port]")
            .redact(text)
    }
}

/// Drops a test's database, on its server, when it is dropped itself.
struct Dropped(ServerConnection, ServerConnection);

impl Drop for Dropped {
    fn drop(&mut self) {
        // A runtime cannot be entered from within the test's own.
        let (name, server) = (self.0.database.clone(), self.1.clone());
        let dropped = thread::spawn(move || drop_database(&name, &server)).join();
        if !thread::panicking() {
            dropped.expect("the test's database can be dropped");
        }
    }
}

async fn create_database(server: &ServerConnection) -> ServerConnection {
    let name = format!("test_{:016x}", fastrand::u64(..));
    on_cluster(server, &format!("create database {name} template template0")).await;
    ServerConnection { database: name, ..server.clone() }
}

#[tokio::main(flavor = "current_thread")]
async fn drop_database(name: &str, server: &ServerConnection) {
    on_cluster(server, &format!("drop database {name} with (force)")).await;
}

async fn on_cluster(server: &ServerConnection, sql: &str) {
    let options: PgConnectOptions = server.options();
    let mut connection = options.connect().await.unwrap();
    let run = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection);
    run.await.unwrap();
    connection.close().await.unwrap();
}

fn line(row: &PgRow) -> String {
    let value = |column| {
        let value = row.try_get_raw(column).expect("there is such a column");
        let text = (!value.is_null()).then(|| value.as_str().expect("values come as text"));
        text.unwrap_or("null").to_owned()
    };
    (0..row.len()).map(value).collect::<Vec<_>>().join("|")
}

#[tokio::test]
async fn every_test_has_a_database_of_its_own() {
    let (one, other) = (Project::empty().await, Project::empty().await);
    one.sql("create table notes (body text)").await;

    let tables = "select count(*) from pg_tables where tablename = 'notes'";
    assert_eq!(one.query(tables).await, "1");
    assert_eq!(other.query(tables).await, "0");
}

#[tokio::test]
async fn a_query_answers_with_lines() {
    let project = Project::empty().await;
    let answer = project.query("values (1, 'a', null), (2, 'b', true)").await;
    assert_eq!(answer, "1|a|null\n2|b|t");
}

#[tokio::test]
async fn a_database_is_gone_after_its_test() {
    let project = Project::empty().await;
    let gone = project.database().database.clone();
    drop(project);

    let count = format!("select count(*) from pg_database where datname = '{gone}'");
    assert_eq!(Project::empty().await.query(&count).await, "0");
}

#[tokio::test]
async fn the_program_runs_in_the_project() {
    let project = Project::new().await;
    project.shared_migration("V1__a.sql", "select 1");
    project.tenant_migration("V1__b.sql", "select 1");
    assert!(project.path("migrations/tenant/V1__b.sql").exists());
    assert_eq!(project.run("--version"), project.run_with_stdin("--version", ""));
    assert_eq!(project.terminal("--version").ends().1, 0);
}

#[tokio::test]
async fn output_is_shown_in_one_text() {
    let project = Project::empty().await;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("pwd; echo \"$0\" >&2; exit 4").arg(project.database().url());
    let output = shell.current_dir(project.path("")).output().unwrap();
    insta::assert_snapshot!(project.shown(&output), @r"
    [project]
    ------- stderr -------
    postgres://postgres:[password]@127.0.0.1:[port]/[database]
    [exit status: 4]
    ");
}
