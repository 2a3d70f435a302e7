//! `all-tenants-command`: run something in many schemas.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::sync::{Mutex, watch};

use super::tenant_command::changepassword::{self, ChangepasswordArgs};
use super::tenant_command::createsuperuser::{self, CreatesuperuserArgs};
use super::tenant_command::exec::ExecArgs;
use super::tenant_command::psql::{self, PsqlArgs};
use super::tenant_command::sql::{self, Shown, SqlArgs};
use crate::cli::child::{self, Apart};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::execution::PaceArgs;
use crate::cli::exit_code::ExitCode;
use crate::cli::fleet::{Fleet, Verdict};
use crate::cli::fleet_output::{FleetOutput, OutputFolder, Stream, Voice};
use crate::cli::report::{Report, object};
use crate::cli::selection::SelectionArgs;
use crate::cli::text::printable;
use crate::migration::{Interrupt, Urgency};
use crate::name::SchemaName;
use crate::pg::{ConnectError, Connection, Database, Lane, Scope, ScopeError};
use crate::run_log::{Entry, Outcome, RunLog};
use crate::tenant::user::{self, NewUser, Password, UserError, Username};
use crate::tenant::{RunSqlError, SqlText};

/// A backend is replaced after it has served so many schemas: it keeps what it learns of each.
const SCHEMAS_PER_CONNECTION: usize = 250;

/// A connection that was idle for longer may have been ended by the server meanwhile.
const IDLE: Duration = Duration::from_millis(10);

/// Run a command in many schemas
///
/// The commands are those of `tenant-command`. What is said in a schema stands behind its name, a
/// line at a time, or in files with `--output-dir`. One schema's failure does not stop the others;
/// the exit status is the highest of all, or 130 after an interrupt. The first Ctrl-C starts no
/// further schema, the second ends what is running.
///
/// The flags may stand before or after the command.
#[derive(Debug, clap::Args)]
pub(crate) struct AllTenantsCommandArgs {
    #[command(flatten)]
    fleet: FleetArgs,

    #[command(subcommand)]
    command: InnerCommand,
}

// Comments rather than documentation, here and on `Inner`: clap would take it for the command's.
#[derive(Debug, Clone, Default, clap::Args)]
struct FleetArgs {
    #[command(flatten)]
    selection: SelectionArgs,

    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    output: OutputArgs,
}

// Where what is said goes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "How")]
struct OutputArgs {
    /// Write what is said in each schema to files `NAME.out` and `NAME.err` in this folder, which
    /// is made, or has to be empty
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

// A command, and once more where and how.
#[derive(Debug, clap::Args)]
struct Inner<A: clap::Args> {
    #[command(flatten)]
    args: A,

    #[command(flatten)]
    fleet: FleetArgs,
}

#[derive(Debug, clap::Subcommand)]
enum InnerCommand {
    /// Create a user who may do everything, the same in each schema
    ///
    /// A row in each schema's table `users`. What no flag gives is asked for once, in the terminal.
    /// The password is asked for twice, or comes from `--password-stdin` or from the environment
    /// variable TENANTCTL_SUPERUSER_PASSWORD; its Argon2id hash is stored, another one in each.
    Createsuperuser(Inner<CreatesuperuserArgs>),
    /// Give the user of that name in each schema a new password
    ///
    /// The password is asked for twice, or comes from `--password-stdin` or from the environment
    /// variable TENANTCTL_SUPERUSER_PASSWORD; its Argon2id hash is stored, another one in each.
    Changepassword(Inner<ChangepasswordArgs>),
    /// Run SQL in each schema, in one transaction a schema
    ///
    /// Rows are written as a table to a terminal, as tab-separated values to a pipe, or as JSON
    /// objects that carry the schema; counts go to stderr.
    Sql(Inner<SqlArgs>),
    /// Run psql in each schema, with `-c` or `-f`, or with what comes on stdin
    ///
    /// It never asks for a password. What comes on stdin is read once, and given to each.
    Psql(Inner<PsqlArgs>),
    /// Run a program in each schema
    ///
    /// It gets the same environment as from `tenant-command exec`. With `--output-dir` it writes to
    /// the files itself. It runs in a process group of its own, which Ctrl-C in the terminal does
    /// not reach: the first lets it finish, the second ends it.
    Exec(Inner<ExecInEachArgs>),
}

#[derive(Debug, clap::Args)]
struct ExecInEachArgs {
    /// Give each what comes on stdin, which is read once; otherwise they get nothing
    #[arg(long)]
    stdin: bool,

    #[command(flatten)]
    exec: ExecArgs,
}

pub(crate) async fn run(context: &mut Context, args: &AllTenantsCommandArgs) -> CommandResult {
    let fleet = args.fleet()?;
    let selection = fleet.selection.required()?;
    args.command.check_stdin(&fleet.selection)?;
    let (database, registry) = (context.database().await?, context.registry()?);
    let mut schemas = Vec::new();
    if selection.shared {
        schemas.push(registry.names().shared_schema.clone());
    }
    let mut connection = database.connect("tenantctl").await?;
    schemas.extend(selection.resolve(&mut connection, &registry).await?);
    connection.close().await;

    let work = args.command.work(&context.report).await?;
    let jobs = fleet.pace.jobs(context)?;
    let log = match work.is_recorded() && !schemas.is_empty() {
        true => context.begin_run("all-tenants-command", &database).await,
        false => RunLog::default(),
    };
    let run = Run {
        log,
        name: format!("tenantctl {:08x} ", fastrand::u32(..)),
        report: context.report,
        scope: context.scope(registry.names().shared_schema.clone())?,
        output: fleet.output.open(&context.report, &schemas)?,
        database,
        work,
        interrupt: context.signals.heed().clone(),
    };
    let max_failures = fleet.pace.max_failures(schemas.len());
    let fleet = Fleet { jobs, max_failures, interrupt: &run.interrupt };
    let lanes: Vec<_> = (0..jobs.min(schemas.len())).map(|number| run.lane(number)).collect();
    let tally = fleet.run(schemas, async |number, schema| run.attend(&lanes[number], schema).await);
    let tally = tally.await;
    for lane in lanes {
        lane.into_inner().lane.close().await;
    }
    run.leave().await;
    run.log.note_not_attempted(&tally.not_attempted);
    Ok(tally.answer(&context.report, &run.scope.schema))
}

impl AllTenantsCommandArgs {
    /// Returns where and how, said before the command or after it, or both.
    fn fleet(&self) -> Result<FleetArgs, CommandError> {
        let inner = match &self.command {
            InnerCommand::Createsuperuser(it) => &it.fleet,
            InnerCommand::Changepassword(it) => &it.fleet,
            InnerCommand::Sql(it) => &it.fleet,
            InnerCommand::Psql(it) => &it.fleet,
            InnerCommand::Exec(it) => &it.fleet,
        };
        self.fleet.and(inner).map_err(|flag| CommandError::Usage {
            message: format!("`{flag}` is given twice"),
            hint: "give it once, before the command or after it".into(),
        })
    }
}

impl FleetArgs {
    fn and(&self, other: &Self) -> Result<Self, &'static str> {
        if self.output.output_dir.is_some() && other.output.output_dir.is_some() {
            return Err("--output-dir");
        }
        let output_dir = self.output.output_dir.clone().or(other.output.output_dir.clone());
        Ok(Self {
            selection: self.selection.and(&other.selection)?,
            pace: self.pace.and(&other.pace)?,
            output: OutputArgs { output_dir },
        })
    }
}

impl OutputArgs {
    fn open(&self, report: &Report, schemas: &[SchemaName]) -> Result<FleetOutput, CommandError> {
        let folder = self.output_dir.as_deref().map(|it| OutputFolder::make(it, schemas));
        let folder = folder.transpose()?;
        for (schema, name) in folder.iter().flat_map(OutputFolder::renamed) {
            let schema = printable(schema.as_str());
            report.say(format!("the files of `{schema}` are called `{name}`"));
        }
        Ok(FleetOutput::new(report, folder))
    }
}

/// What is done in each schema.
enum Work {
    Sql(SqlText),
    CreateSuperuser(NewUser),
    ChangePassword(Username, Password),
    Program { program: OsString, arguments: Vec<OsString>, stdin: Option<File> },
}

impl InnerCommand {
    fn check_stdin(&self, selection: &SelectionArgs) -> Result<(), CommandError> {
        let reads_stdin = match self {
            Self::Createsuperuser(it) => it.args.reads_stdin(),
            Self::Changepassword(it) => it.args.reads_stdin(),
            Self::Sql(it) => it.args.reads_stdin(),
            Self::Psql(it) => psql_reads_stdin(&it.args.arguments),
            Self::Exec(it) => it.args.stdin,
        };
        if reads_stdin && selection.reads_stdin() {
            return Err(CommandError::Usage {
                message: "stdin cannot be both the schemas' names and what is run".into(),
                hint: "put the names into a file: `--schemas-from FILE`".into(),
            });
        }
        let is_program = matches!(self, Self::Psql(_) | Self::Exec(_));
        if is_program && reads_stdin && io::IsTerminal::is_terminal(&io::stdin()) {
            return Err(CommandError::Usage {
                message: "one terminal cannot be the stdin of many programs".into(),
                hint: match self {
                    Self::Psql(_) => {
                        "say what psql is to run: `psql --tenants -- -c SQL`, or `-f FILE`; \
                         `tenant-command --schema NAME psql` opens it in one schema"
                    }
                    _ => "leave out `--stdin`, or give it a file: `--stdin < FILE`",
                }
                .into(),
            });
        }
        Ok(())
    }

    /// Returns what is to be done, everything that is asked for or read only once included.
    async fn work(&self, report: &Report) -> Result<Work, CommandError> {
        Ok(match self {
            Self::Createsuperuser(it) => Work::CreateSuperuser(it.args.user_of_many(report).await?),
            Self::Changepassword(it) => {
                let (username, password) = it.args.change_in_many(report).await?;
                Work::ChangePassword(username, password)
            }
            Self::Sql(it) => Work::Sql(it.args.read()?),
            Self::Psql(it) => {
                let arguments = &it.args.arguments;
                let stdin = psql_reads_stdin(arguments).then(spooled).transpose()?;
                let no_password = [OsString::from("--no-password")].into_iter();
                let arguments = no_password.chain(arguments.iter().cloned()).collect();
                Work::program(psql::program(), arguments, stdin)?
            }
            Self::Exec(it) => {
                let command = &it.args.exec.command;
                let (program, arguments) = command.split_first().expect("clap requires one");
                let stdin = it.args.stdin.then(spooled).transpose()?;
                Work::program(program.clone(), arguments.to_vec(), stdin)?
            }
        })
    }
}

impl Work {
    /// Whether it is known to change something.
    fn is_recorded(&self) -> bool {
        match self {
            Self::Sql(text) => text.kinds().any(sql::changes),
            Self::CreateSuperuser(_) | Self::ChangePassword(..) => true,
            Self::Program { .. } => false,
        }
    }

    fn program(
        program: OsString,
        arguments: Vec<OsString>,
        stdin: Option<File>,
    ) -> Result<Self, CommandError> {
        child::check(&program)?;
        Ok(Self::Program { program, arguments, stdin })
    }
}

/// Returns a file with all of stdin, which nobody else finds and which is gone with the program.
fn spooled() -> Result<File, CommandError> {
    let spool = || {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut io::stdin().lock(), &mut file)?;
        Ok(file)
    };
    spool().map_err(|source| CommandError::File { path: "stdin".into(), source })
}

/// Whether psql reads what it is to run from stdin: it is given no `-c`, no `-f` but `-f -`, and
/// nothing else after which it ends.
fn psql_reads_stdin(arguments: &[OsString]) -> bool {
    /// The options of one letter that take a value (psql's manual page).
    const WITH_VALUE: &str = "cdfFhLopPRTUv";
    let mut arguments = arguments.iter().map(|it| it.to_string_lossy());
    let mut has_command = false;
    while let Some(argument) = arguments.next() {
        if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            match name {
                "file" => {
                    let value = value.or_else(|| arguments.next().map(Into::into));
                    match value.as_deref() {
                        Some("-") => return true,
                        _ => has_command = true,
                    }
                }
                "command" | "list" | "version" | "help" => has_command = true,
                _ => {}
            }
            continue;
        }
        let Some(short) = argument.strip_prefix('-') else { continue };
        for (at, letter) in short.char_indices() {
            has_command |= "cflV?".contains(letter);
            if WITH_VALUE.contains(letter) {
                let attached = &short[at + letter.len_utf8()..];
                let value = match attached.is_empty() {
                    true => arguments.next().map(Into::into),
                    false => Some(attached.to_owned()),
                };
                if letter == 'f' && value.as_deref() == Some("-") {
                    return true;
                }
                break;
            }
        }
    }
    !has_command
}

/// One run over many schemas.
struct Run {
    log: RunLog,
    /// By which the run's connections are found in `pg_stat_activity`.
    name: String,
    report: Report,
    database: Database,
    /// What every schema's transaction runs under, but for the schema.
    scope: Scope,
    work: Work,
    output: FleetOutput,
    interrupt: Interrupt,
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
        let result = tokio::select! {
            biased;
            result = self.act(&mut worker, &scope, &voice) => result,
            () = self.interrupt.wait_for(Urgency::Now), if !self.is_program() => {
                Err(CommandError::Interrupted.into())
            }
        };
        worker.last_used = Instant::now();
        match result {
            Ok((status, what)) => {
                if let Some(what) = what {
                    self.log.note(Entry::done(schema, what));
                }
                self.told(schema, status, None)
            }
            Err(Failure::NoConnection(error)) => Verdict::NoConnection(error),
            Err(Failure::Command(error)) => {
                if is_lost(&error) {
                    worker.lane.abandon();
                }
                for line in error.lines() {
                    voice.say(Stream::Stderr, &line).await;
                }
                self.told(schema, error.exit_code(), Some(&error))
            }
        }
    }

    fn is_program(&self) -> bool {
        matches!(self.work, Work::Program { .. })
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
        self.report.object(if number == 0 { "done" } else { "failed" }, fields);
        if self.is_program() && number != 0 && error.is_none() {
            let schema = printable(schema.as_str());
            self.report.always(format!("{schema}: ended with status {number}"));
        }
        Verdict::Ended(status)
    }

    async fn act(
        &self,
        worker: &mut Worker,
        scope: &Scope,
        voice: &Voice<'_>,
    ) -> Result<(ExitCode, Option<String>), Failure> {
        let connection = worker.lane.serve(0).await.map_err(Failure::NoConnection)?;
        let what = match &self.work {
            Work::Sql(sql) => self.run_sql(connection, scope, voice, sql).await?,
            Work::CreateSuperuser(new) => {
                user::create_superuser(connection, scope, new).await?;
                let done = format!("created superuser `{}`", new.username);
                self.say_user(voice, &done, createsuperuser::created(&scope.schema, &new.username))
                    .await;
                Some(done)
            }
            Work::ChangePassword(username, password) => {
                user::change_password(connection, scope, username, password).await?;
                let done = format!("changed the password of `{username}`");
                self.say_user(voice, &done, changepassword::changed(&scope.schema, username)).await;
                Some(done)
            }
            Work::Program { program, arguments, stdin } => {
                let is_there = scope.is_there(connection).await?;
                // A program may take long, and brings a connection of its own.
                worker.lane.close().await;
                if !is_there {
                    return Err(ScopeError::NoSchema { schema: scope.schema.clone() }.into());
                }
                let command = child::command((&self.database, scope), program, arguments);
                let status = self.run_program(command, voice, stdin.as_ref()).await;
                let status = status.map_err(|source| child::not_run(program, source))?;
                return Ok((ExitCode::Child(status), None));
            }
        };
        Ok((ExitCode::Done, what))
    }

    async fn run_sql(
        &self,
        connection: &mut Connection,
        scope: &Scope,
        voice: &Voice<'_>,
        sql: &SqlText,
    ) -> Result<Option<String>, Failure> {
        let answers = sql.run(connection, scope).await?;
        let for_terminal = self.output.is_terminal();
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
        Ok(sql::changed(&answers))
    }

    async fn say_user(&self, voice: &Voice<'_>, text: &str, fields: Value) {
        match self.report.is_json() {
            true => voice.say_object(&object("user", fields).to_string()).await,
            false => voice.say(Stream::Stdout, text).await,
        }
    }

    async fn run_program(
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
            let end = self.database.end_backends(&self.name);
            // Where it does not answer in time, it ends them when it sees that the client is gone.
            let _ = tokio::time::timeout(Duration::from_millis(1500), end).await;
        }
    }
}

impl Worker {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_stdin(arguments: &str) -> bool {
        let arguments: Vec<OsString> = arguments.split_whitespace().map(OsString::from).collect();
        psql_reads_stdin(&arguments)
    }

    #[test]
    fn psql_reads_stdin_unless_it_is_told_what_to_run() {
        for arguments in [
            "-c x",
            "-cx",
            "-Atc x",
            "--command=x",
            "--command x",
            "-f x",
            "--file=x",
            "-l",
            "-v a=b -c x",
        ] {
            assert!(!reads_stdin(arguments), "{arguments}");
        }
        for arguments in ["", "-At", "-v -c", "-f -", "-f-", "--file -", "--file=-", "-P c", "-d c"]
        {
            assert!(reads_stdin(arguments), "{arguments}");
        }
    }
}
