//! What every command shares: the project, the database, the reporter.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command_line::{command_line, words};
use super::database;
use super::error::{CommandError, run_log_hint};
use super::exit_code::ExitCode;
use super::globals::Globals;
use super::report::Report;
use super::signals::Signals;
use crate::migration::scaffold::FolderKind;
use crate::migration::sql::{self, Folder};
use crate::migration::{ExecuteOptions, MigrationFolder, MigrationSet, Urgency, seeds};
use crate::name::SchemaName;
use crate::pg::{Connection, Database, Scope, Spare};
use crate::project::{Project, Timeout};
use crate::run_log::{Entry, NewRun, RunLog, RunLogError};
use crate::tenant::{Names, Registry};

/// What a command works with.
pub(crate) struct Context {
    pub(crate) globals: Globals,
    pub(crate) report: Report,
    pub(crate) signals: Signals,
    project: Option<Project>,
    run_log: RunLog,
    /// What a run's end is recorded over, where the run has left a connection.
    spare: Option<Spare>,
}

/// For how long the end of a run may take to be recorded: longer than the log waits for a lock.
const RECORD_WITHIN: Duration = Duration::from_secs(2);
/// The same for who has interrupted twice, and will not wait.
const RECORD_AT_ONCE: Duration = Duration::from_millis(100);

impl Context {
    pub(crate) fn new(globals: Globals, signals: Signals) -> Self {
        let report = globals.report();
        Self { globals, report, signals, project: None, run_log: RunLog::default(), spare: None }
    }

    /// Returns the project that the working directory belongs to.
    pub(crate) fn project(&mut self) -> Result<&Project, CommandError> {
        if self.project.is_none() {
            // From the empty path, so that the project's own paths stay short in messages.
            self.project = Some(Project::find(Path::new(""), self.globals.config.as_deref())?);
        }
        Ok(self.project.as_ref().expect("found above"))
    }

    /// Forgets what was read of the project: it has just been written.
    pub(crate) fn forget_project(&mut self) {
        self.project = None;
    }

    /// Returns the folder that holds the project.
    pub(crate) fn root(&mut self) -> Result<PathBuf, CommandError> {
        let root = self.project()?.root.clone();
        Ok(if root.as_os_str().is_empty() { PathBuf::from(".") } else { root })
    }

    /// Returns the database, without connecting to it.
    pub(crate) async fn database(&mut self) -> Result<Database, CommandError> {
        let root = self.root()?;
        let flag = self.globals.database_url.as_deref();
        database::choose(flag, &root, self.globals.connect_timeout).await
    }

    /// Returns a connection for a few questions.
    pub(crate) async fn connection(&mut self) -> Result<Connection, CommandError> {
        Ok(self.database().await?.connect("tenantctl").await?)
    }

    /// Records that this run is about to change something, and returns where to note what. Where
    /// that is not possible it is said, and the work goes on.
    pub(crate) async fn begin_run(&mut self, command: &str, database: &Database) -> RunLog {
        let spare = Spare::new(database);
        let run_log = self.begin_run_over(command, database, &spare).await;
        spare.close().await;
        run_log
    }

    /// Records that this run is about to change something as [`Self::begin_run`] does, over the one
    /// connection that the run has so far.
    pub(crate) async fn begin_run_over(
        &mut self,
        command: &str,
        database: &Database,
        spare: &Spare,
    ) -> RunLog {
        let run = NewRun {
            command: command.to_owned(),
            command_line: command_line(words().skip(1)),
            os_user: Some(os_user()),
            host: rustix::system::uname().nodename().to_str().ok().map(str::to_owned),
        };
        let begun = async {
            let mut lane = spare.lane().await;
            RunLog::begin(lane.serve(0).await?, database, &run).await
        };
        match begun.await {
            Ok(run_log) => self.run_log = run_log,
            // A database that is out of reach, or read-only, is for the work itself to tell.
            Err(RunLogError::Connect(_)) => {}
            Err(error) => {
                self.report.warn(format!("this run is not recorded: {error}"));
                run_log_hint(&error, database).inspect(|hint| self.report.hint(hint));
            }
        }
        self.run_log.clone()
    }

    /// Records something that was done in one step.
    pub(crate) async fn record_done(
        &mut self,
        command: &str,
        database: &Database,
        schema: &SchemaName,
        what: String,
    ) {
        self.begin_run(command, database).await.note(Entry::done(schema, what));
    }

    /// Keeps the connection that a run has left for recording its end.
    pub(crate) fn keep_spare(&mut self, spare: Option<Spare>) {
        self.spare = spare;
    }

    /// Records how the run ended, if it was recorded that it began.
    pub(crate) async fn end_run(&mut self, code: ExitCode) {
        let spare = self.spare.take();
        let within = match self.signals.heed().urgency() {
            Urgency::Now => RECORD_AT_ONCE,
            _ => RECORD_WITHIN,
        };
        match tokio::time::timeout(within, self.run_log.end(code.number(), spare)).await {
            Ok(Ok(())) => {}
            Err(_) if within == RECORD_AT_ONCE => {}
            Ok(Err(_)) if matches!(code, ExitCode::Unreachable | ExitCode::Interrupted) => {}
            Ok(Err(error)) => {
                self.report.warn(format!("the end of this run is not recorded: {error}"));
            }
            Err(_) => self.report.warn("the end of this run is not recorded: it took too long"),
        }
    }

    /// Returns the registry as the configuration names it.
    pub(crate) fn registry(&mut self) -> Result<Registry, CommandError> {
        let config = &self.project()?.config.registry;
        let columns = config.columns.clone();
        Ok(Registry::new(Names {
            shared_schema: config.shared_schema.clone(),
            tenants: config.tenants.clone(),
            domains: config.domains.clone(),
            id: columns.id,
            schema_name: columns.schema_name,
            name: columns.name,
            tenant_id: columns.tenant_id,
            domain: columns.domain,
            is_primary: columns.is_primary,
        }))
    }

    /// Returns the schemas behind a tenant's own in the search path.
    pub(crate) fn path(&mut self) -> Result<Vec<String>, CommandError> {
        let config = &self.project()?.config;
        let extra = config.database.extra_search_path.iter();
        let path = std::iter::once(&config.registry.shared_schema).chain(extra);
        Ok(path.map(SchemaName::to_string).collect())
    }

    /// Returns what a transaction in `schema` runs under, as the configuration has it.
    pub(crate) fn scope(&mut self, schema: SchemaName) -> Result<Scope, CommandError> {
        let path = self.path()?;
        let config = &self.project()?.config.migrate;
        let default = ExecuteOptions::default();
        let limit = |given, default| match given {
            Some(Timeout::Off) => None,
            Some(Timeout::After(limit)) => Some(limit),
            None => default,
        };
        Ok(Scope {
            schema,
            path,
            lock_timeout: limit(config.lock_timeout, default.lock_timeout),
            statement_timeout: limit(config.statement_timeout, default.statement_timeout),
        })
    }

    /// Returns the migrations of one of the project's folders, or of the one in `dir`.
    ///
    /// # Errors
    ///
    /// An empty folder is refused: more likely the wrong one was named.
    pub(crate) fn migrations(
        &mut self,
        kind: FolderKind,
        dir: Option<&Path>,
    ) -> Result<MigrationSet, CommandError> {
        let set = self.migrations_or_none(kind, dir)?;
        if set.folder().is_empty() {
            return Err(CommandError::EmptyFolder { path: set.folder().path().to_owned() });
        }
        Ok(set)
    }

    /// Returns the migrations of one of the project's folders, which may be empty.
    pub(crate) fn migrations_or_none(
        &mut self,
        kind: FolderKind,
        dir: Option<&Path>,
    ) -> Result<MigrationSet, CommandError> {
        let path = match dir {
            Some(dir) => dir.join(kind.folder_name()),
            None => self.project()?.migrations(kind),
        };
        let folder = match kind {
            FolderKind::Shared => Folder::Shared,
            FolderKind::Tenant => Folder::Tenant,
        };
        Ok(MigrationSet::new(MigrationFolder::read(&path)?, self.rules(folder)?))
    }

    /// Returns the project's seeds of these names, or all of them.
    pub(crate) fn seeds(&mut self, names: Option<&[String]>) -> Result<MigrationSet, CommandError> {
        let seeds = seeds::read(&self.project()?.tenant_seeds(), names)?;
        Ok(MigrationSet::new(seeds, self.rules(Folder::Tenant)?))
    }

    /// Returns what decides what a file may say.
    fn rules(&mut self, folder: Folder) -> Result<sql::Context, CommandError> {
        let config = &self.project()?.config;
        let extra = config.database.extra_search_path.iter();
        Ok(sql::Context {
            folder,
            shared_schema: config.registry.shared_schema.to_string(),
            extra_schemas: extra.map(SchemaName::to_string).collect(),
        })
    }
}

/// Returns who runs this, as the environment says, or else by number.
fn os_user() -> String {
    let variables = ["SUDO_USER", "USER", "LOGNAME"];
    let said = variables.iter().find_map(|it| std::env::var(it).ok().filter(|it| !it.is_empty()));
    said.unwrap_or_else(|| match rustix::process::getuid() {
        user if user.is_root() => "root".into(),
        user => format!("uid {}", user.as_raw()),
    })
}
