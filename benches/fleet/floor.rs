//! What cannot be beaten: the same SQL, fed by psql over the same number of connections.

use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use super::measure::{Measured, run};
use super::workload::Workload;

/// psql, and where it connects to.
pub(crate) struct Psql {
    program: PathBuf,
    server: String,
}

const HISTORY: &str = "create table refinery_schema_history (version int4 primary key, \
    name varchar(255), applied_on varchar(255), checksum varchar(255));\n";

impl Psql {
    pub(crate) fn new(program: PathBuf, url: &str) -> Self {
        let (server, _) = url.rsplit_once('/').expect("a URL with a database");
        Self { program, server: server.to_owned() }
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.server)
    }

    pub(crate) fn create_database(&self, name: &str) {
        self.feed("postgres", &format!("create database {name};"));
    }

    pub(crate) fn copy_database(&self, from: &str, to: &str) {
        self.feed("postgres", &format!("create database {to} template {from};"));
    }

    /// Writes out what others have left to be written: what is measured next is not to wait for what
    /// was measured before.
    pub(crate) fn settle(&self) {
        self.feed("postgres", "checkpoint;");
        let synced = Command::new("sync").status().expect("sync is there");
        assert!(synced.success());
    }

    /// Registers schemas that are empty.
    pub(crate) fn register_empty(&self, database: &str, names: &[String]) {
        let rows = names.iter().map(|name| {
            format!(
                "begin; create schema {name}; insert into public.tenants (schema_name, name) \
                 values ('{name}', '{name}'); commit;\n"
            )
        });
        self.feed(database, &rows.collect::<String>());
    }

    pub(crate) fn create_tenants(
        &self,
        database: &str,
        jobs: usize,
        names: &[String],
        workload: &Workload,
    ) -> Measured {
        self.spread(database, jobs, names, |name| {
            let host = name.replace('_', "-");
            format!(
                "begin;\ncreate schema {name};\nset local search_path = {name}, public;\n{}\
                 insert into public.tenants (schema_name, name) values ('{name}', '{name}');\n\
                 insert into public.domains (tenant_id, domain, is_primary) select id, \
                 '{host}.example.com', true from public.tenants where schema_name = '{name}';\n\
                 commit;\n",
                migrations(workload, 0..10, true)
            )
        })
    }

    /// Applies migrations to every schema.
    pub(crate) fn apply(
        &self,
        database: &str,
        jobs: usize,
        names: &[String],
        workload: &Workload,
        files: Range<usize>,
        makes_history: bool,
    ) -> Measured {
        self.spread(database, jobs, names, |name| {
            let sql = migrations(workload, files.clone(), makes_history);
            format!("begin;\nset local search_path = {name}, public;\n{sql}commit;\n")
        })
    }

    /// Reads every history with one psql, 64 to a statement.
    pub(crate) fn read_histories(&self, database: &str, names: &[String]) -> Measured {
        let statements = names.chunks(64).map(|names| {
            let selects: Vec<String> = names
                .iter()
                .map(|name| {
                    format!(
                        "select '{name}', version, name, applied_on, checksum \
                         from {name}.refinery_schema_history"
                    )
                })
                .collect();
            selects.join(" union all ") + ";\n"
        });
        let mut command = self.command(database);
        command.stdin(file_with(&statements.collect::<String>()));
        run(command).expect_done()
    }

    /// Feeds each schema's SQL, shared out over so many psql processes that run at once.
    fn spread(
        &self,
        database: &str,
        jobs: usize,
        names: &[String],
        sql: impl Fn(&str) -> String,
    ) -> Measured {
        let scripts: Vec<String> = (0..jobs)
            .map(|job| names.iter().skip(job).step_by(jobs).map(|name| sql(name)).collect())
            .collect();
        let begun = std::time::Instant::now();
        thread::scope(|scope| {
            for script in &scripts {
                scope.spawn(|| self.feed(database, script));
            }
        });
        Measured::of(begun.elapsed())
    }

    fn feed(&self, database: &str, sql: &str) {
        let mut command = self.command(database);
        command.stdin(file_with(sql));
        run(command).expect_done();
    }

    fn command(&self, database: &str) -> Command {
        let mut command = Command::new(&self.program);
        let url = self.url(database);
        command.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", &url]);
        command.stdout(Stdio::null());
        command
    }
}

/// Returns the SQL of some migrations and their history rows.
fn migrations(workload: &Workload, files: Range<usize>, makes_history: bool) -> String {
    let mut sql = String::from(if makes_history { HISTORY } else { "" });
    for index in files {
        sql += &workload.sql(index);
        let version = index + 1;
        sql += &format!(
            "insert into refinery_schema_history (version, name, applied_on, checksum) values \
             ({version}, 't', '2026-01-01T00:00:00Z', '1234567890');\n"
        );
    }
    sql
}

/// Returns a file that holds `text`, to be read by a child.
fn file_with(text: &str) -> Stdio {
    use std::io::{Seek as _, Write as _};
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it can be written");
    file.rewind().expect("it can be read again");
    file.into()
}
