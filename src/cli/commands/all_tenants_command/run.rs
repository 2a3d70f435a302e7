//! One run over many schemas: a few workers, each with a connection or a program of its own.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::sync::{Mutex, MutexGuard, watch};

use super::work::{Program, Work};
use crate::cli::child::{self, Apart};
use crate::cli::commands::tenant_command::sql::{self, Shown};
use crate::cli::commands::tenant_command::{changepassword, createsuperuser};
use crate::cli::error::CommandError;
use crate::cli::exit_code::ExitCode;
use crate::cli::fleet::{Fleet, Tally, Verdict};
use crate::cli::fleet_output::{FleetOutput, Stream, Voice};
use crate::cli::report::{Report, object};
use crate::cli::text::{count, grouped, printable};
use crate::migration::{Interrupt, Urgency};
use crate::name::SchemaName;
use crate::pg::{ConnectError, Connection, Database, Lane, Scope, ScopeError};
use crate::run_log::{Entry, Outcome, RunLog};
use crate::tenant::user::{self, UserError};
use crate::tenant::{RunSqlError, SqlText};

/// A backend is replaced after it has served so many schemas: it keeps what it learns of each.
const SCHEMAS_PER_CONNECTION: usize = 250;

/// How often something is seen of a run that writes to files.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A connection that was idle for longer may have been ended by the server meanwhile.
const IDLE: Duration = Duration::from_millis(10);

/// One run over many schemas.
pub(super) struct Run {
    /// By which the run's connections are found in `pg_stat_activity`.
    pub(super) name: String,
    pub(super) log: RunLog,
    pub(super) report: Report,
    pub(super) database: Database,
    /// What every schema's transaction runs under, but for the schema.
    pub(super) scope: Scope,
    pub(super) work: Work,
    pub(super) output: FleetOutput,
    pub(super) interrupt: Interrupt,
    pub(super) progress: Progress,
}

/// How far it is, for who sees nothing else of it.
pub(super) struct Progress {
    total: usize,
    ended: Cell<usize>,
    told: Cell<Instant>,
}

impl Progress {
    pub(super) fn of(total: usize) -> Self {
        Self { total, ended: Cell::new(0), told: Cell::new(Instant::now()) }
    }

    /// Notes that one more has ended, and returns what there is to tell now and then.
    fn step(&self) -> Option<String> {
        self.ended.set(self.ended.get() + 1);
        let is_due = self.told.get().elapsed() >= TELL_EVERY;
        is_due.then(|| {
            self.told.set(Instant::now());
            format!("{} of {}", grouped(self.ended.get()), count(self.total, "schema"))
        })
    }
}

/// One worker's connection.
struct Worker {
    lane: Lane,
    last_used: Instant,
}

/// Why something was not done in a schema.
enum Failure {
    Command(Box<CommandError>),
    NoConnection(ConnectError),
}

impl<E: Into<CommandError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Command(Box::new(error.into()))
    }
}

impl Run {
    /// Does the work in each schema.
    pub(super) async fn carry_out(
        &self,
        schemas: Vec<SchemaName>,
        jobs: usize,
        max_failures: usize,
    ) -> Tally {
        let fleet = Fleet { jobs, max_failures, interrupt: &self.interrupt };
        let lanes: Vec<_> = (0..jobs.min(schemas.len())).map(|it| self.lane(it)).collect();
        let attend =
            async |number: usize, schema: &SchemaName| self.attend(&lanes[number], schema).await;
        let tally = fleet.run(schemas, attend).await;
        for lane in lanes {
            lane.into_inner().lane.close().await;
        }
        self.leave().await;
        self.log.note_not_attempted(&tally.not_attempted);
        tally
    }

    fn lane(&self, number: usize) -> Mutex<Worker> {
        let name = format!("{}{number}", self.name);
        let lane = Lane::new(&self.database, &name, SCHEMAS_PER_CONNECTION);
        Mutex::new(Worker { lane, last_used: Instant::now() })
    }

    /// Does the work in one schema, and says what came of it.
    async fn attend(&self, worker: &Mutex<Worker>, schema: &SchemaName) -> Verdict {
        let scope = Scope { schema: schema.clone(), ..self.scope.clone() };
        let mut worker = worker.lock().await;
        if let Err(error) = worker.connect().await {
            return Verdict::NoConnection(error);
        }
        let voice = match self.output.of(schema) {
            Ok(voice) => voice,
            Err(error) => {
                for line in error.lines() {
                    self.report.always(format!("{}: {line}", printable(schema.as_str())));
                }
                return self.told(schema, error.exit_code(), Some(&error));
            }
        };
        let result = match &self.work {
            Work::Program(program) => self.run_program(worker, &scope, &voice, program).await,
            _ => self.act(worker, &scope, &voice).await,
        };
        match result {
            Ok((status, what)) => {
                if let Some(what) = what {
                    self.log.note(Entry::done(schema, what));
                }
                self.told(schema, status, None)
            }
            Err(Failure::NoConnection(error)) => Verdict::NoConnection(error),
            Err(Failure::Command(error)) => {
                let turn = voice.turn().await;
                for line in error.lines() {
                    voice.say(Stream::Stderr, &line).await;
                }
                drop(turn);
                self.told(schema, error.exit_code(), Some(&error))
            }
        }
    }

    fn is_program(&self) -> bool {
        matches!(self.work, Work::Program(_))
    }

    /// Says with which status it ended in a schema, and why where the program did not say it.
    fn told(&self, schema: &SchemaName, status: ExitCode, error: Option<&CommandError>) -> Verdict {
        if let Some(error) = error {
            let (schema, what) = (schema.to_string(), one_line(error));
            self.log.note(Entry { schema, outcome: Outcome::Failed, versions: None, what });
        }
        let number = status.number();
        let mut fields = json!({ "schema": schema, "exit_status": number });
        if let Some(error) = error {
            fields["message"] = json!(error.lines().join("\n"));
        }
        if let Some([stdout, stderr]) = self.output.files(schema) {
            fields["stdout"] = json!(stdout.display().to_string());
            fields["stderr"] = json!(stderr.display().to_string());
        }
        if let Some(progress) = self.progress.step().filter(|_| self.output.is_in_files()) {
            self.report.say(progress);
        }
        self.report.object(if number == 0 { "done" } else { "failed" }, fields);
        if self.is_program() && number != 0 && error.is_none() {
            let schema = printable(schema.as_str());
            self.report.always(format!("{schema}: ended with status {number}"));
        }
        Verdict::Ended(status)
    }

    /// Does what is done over a connection of ours, unless somebody will not wait for it.
    async fn act(
        &self,
        mut worker: MutexGuard<'_, Worker>,
        scope: &Scope,
        voice: &Voice<'_>,
    ) -> Result<(ExitCode, Option<String>), Failure> {
        let connection = worker.lane.serve(0).await.map_err(Failure::NoConnection)?;
        let result = tokio::select! {
            biased;
            result = self.act_over(connection, scope, voice) => result,
            () = self.interrupt.wait_for(Urgency::Now) => Err(CommandError::Interrupted.into()),
        };
        worker.rest(&result);
        Ok((ExitCode::Done, result?))
    }

    async fn act_over(
        &self,
        connection: &mut Connection,
        scope: &Scope,
        voice: &Voice<'_>,
    ) -> Result<Option<String>, Failure> {
        let (schema, is_dry_run) = (&scope.schema, self.work.is_dry_run());
        let (done, fields) = match &self.work {
            Work::Sql(sql) | Work::RehearseSql(sql) => {
                return self.run_sql(connection, scope, voice, sql).await;
            }
            Work::CreateSuperuser(new) => {
                user::create_superuser(connection, scope, new).await?;
                let done = format!("created superuser `{}`", new.username);
                (done, createsuperuser::created(schema, &new.username, is_dry_run))
            }
            Work::ChangePassword(username, password) => {
                user::change_password(connection, scope, username, password).await?;
                let done = format!("changed the password of `{username}`");
                (done, changepassword::changed(schema, username, is_dry_run))
            }
            Work::ForeseeSuperuser(username, email) => {
                user::foresee_superuser(connection, scope, username, email.as_ref()).await?;
                let done = format!("would create superuser `{username}`");
                (done, createsuperuser::created(schema, username, is_dry_run))
            }
            Work::ForeseePassword(username) => {
                user::foresee_password(connection, scope, username).await?;
                let done = format!("would change the password of `{username}`");
                (done, changepassword::changed(schema, username, is_dry_run))
            }
            Work::Program(_) => unreachable!("a program has a connection of its own"),
        };
        match self.report.is_json() {
            true => voice.say_object(&object("user", fields).to_string()).await,
            false => voice.say(Stream::Stdout, &done).await,
        }
        Ok((!is_dry_run).then_some(done))
    }

    /// Runs a program where the schema is there: a search path would skip it in silence. The
    /// connection that asks is free for the others while the program runs.
    async fn run_program(
        &self,
        mut worker: MutexGuard<'_, Worker>,
        scope: &Scope,
        voice: &Voice<'_>,
        Program { program, arguments, stdin }: &Program,
    ) -> Result<(ExitCode, Option<String>), Failure> {
        let connection = worker.lane.serve(0).await.map_err(Failure::NoConnection)?;
        let is_there = scope.is_there(connection).await.map_err(Failure::from);
        worker.rest(&is_there);
        drop(worker);
        if !is_there? {
            return Err(ScopeError::NoSchema { schema: scope.schema.clone() }.into());
        }
        let command = child::command((&self.database, scope), program, arguments);
        let status = self.status_of(command, voice, stdin.as_ref()).await;
        let status = status.map_err(|source| child::not_run(program, source))?;
        Ok((ExitCode::Child(status), None))
    }

    async fn run_sql(
        &self,
        connection: &mut Connection,
        scope: &Scope,
        voice: &Voice<'_>,
        sql: &SqlText,
    ) -> Result<Option<String>, Failure> {
        let answers = match self.work.is_dry_run() {
            true => sql.rehearse(connection, scope).await?,
            false => sql.run(connection, scope).await?,
        };
        let for_terminal = self.output.is_terminal();
        let _turn = voice.turn().await;
        for (index, answer) in answers.iter().enumerate() {
            let shown = Shown::of(&self.report, Some(&scope.schema), index, answer, for_terminal);
            for text in shown.answers {
                match self.report.is_json() {
                    true => voice.say_object(&text).await,
                    false => voice.say(Stream::Stdout, &text).await,
                }
            }
            if let Some(said) = shown.said.filter(|_| !self.report.quiet) {
                voice.say(Stream::Stderr, &said).await;
            }
        }
        Ok(sql::changed(&answers).filter(|_| !self.work.is_dry_run()))
    }

    async fn status_of(
        &self,
        mut command: tokio::process::Command,
        voice: &Voice<'_>,
        stdin: Option<&File>,
    ) -> io::Result<u8> {
        let (stdout, stderr) = match voice.files()? {
            Some((stdout, stderr)) => (stdout.into(), stderr.into()),
            None => (Stdio::piped(), Stdio::piped()),
        };
        command.stdout(stdout).stderr(stderr);
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut program = Apart::start(command)?;
        let streams = (program.child.stdin.take(), program.child.stdout.take());
        let ((to, out), err) = (streams, program.child.stderr.take());
        let (ended, has_ended) = watch::channel(false);
        let wait = async {
            let status = program.end(self.interrupt.wait_for(Urgency::Now)).await;
            ended.send_replace(true);
            status
        };
        let pass_out = async {
            if let Some(out) = out {
                voice.pass_on(Stream::Stdout, out, has_ended.clone()).await;
            }
        };
        let pass_err = async {
            if let Some(err) = err {
                voice.pass_on(Stream::Stderr, err, has_ended.clone()).await;
            }
        };
        let feed = async {
            let mut has_ended = has_ended.clone();
            if let Some((from, to)) = stdin.zip(to) {
                tokio::select! {
                    () = feed(from, to) => {}
                    _ = has_ended.wait_for(|ended| *ended) => {}
                }
            }
        };
        let (status, (), (), ()) = tokio::join!(wait, pass_out, pass_err, feed);
        Ok(child::number(status?))
    }

    /// After the second interrupt: ends on the server what was still running there.
    async fn leave(&self) {
        if self.interrupt.urgency() == Urgency::Now && !self.is_program() {
            let end = async {
                if let Ok(mut connection) = self.database.connect("tenantctl cancel").await {
                    let _ = connection.end_backends(&self.name).await;
                }
            };
            // Where it does not answer in time, it ends them when it sees that the client is gone.
            let _ = tokio::time::timeout(Duration::from_millis(1500), end).await;
        }
    }
}

impl Worker {
    /// Notes that the connection was used, and forgets it where it is not to be used again.
    fn rest<T>(&mut self, result: &Result<T, Failure>) {
        self.last_used = Instant::now();
        if let Err(Failure::Command(error)) = result
            && is_lost(error)
        {
            self.lane.abandon();
        }
    }

    /// Sees to it that there is a connection.
    async fn connect(&mut self) -> Result<(), ConnectError> {
        if self.last_used.elapsed() > IDLE {
            self.lane.check().await;
        }
        self.lane.serve(1).await.map(drop)
    }
}

/// Writes to a program what it is to read. One that does not read it has ended, or will.
async fn feed(from: &File, mut to: ChildStdin) {
    let (mut offset, mut buffer) = (0, vec![0; 64 * 1024]);
    while let Ok(read @ 1..) = from.read_at(&mut buffer, offset) {
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        offset += read as u64;
    }
}

/// Returns what went wrong, with its last cause, for a log.
fn one_line(error: &CommandError) -> String {
    let (mut line, mut cause) = (error.to_string(), std::error::Error::source(error));
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

fn is_lost(error: &CommandError) -> bool {
    let scope = match error {
        CommandError::Scope(error)
        | CommandError::User(UserError::Scope(error))
        | CommandError::RunSql(RunSqlError::Scope(error)) => error,
        CommandError::Connect(_) | CommandError::Interrupted => return true,
        _ => return false,
    };
    matches!(scope, ScopeError::Connect(_) | ScopeError::Unknown(_))
}
