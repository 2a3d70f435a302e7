//! Hooks: programs of the project's that are run when something happens, as `[hooks]` in
//! `tenantctl.toml` says. Each gets what happens as one JSON object on stdin.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OnceCell, watch};

use super::child::{self, Apart};
use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit_code::ExitCode;
use super::outcome_report;
use super::report::Report;
use super::text::few;
use crate::migration::{Interrupt, MigrationSet, Outcome, Survey, Urgency};
use crate::name::SchemaName;
use crate::pg::{Database, Scope};
use crate::project::{HooksConfig, Program, Timeout};
use crate::tenant::{Migrate, Migrated, NewTenant, Prepared};

/// When a program is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    PreMigrate,
    PostMigrate,
    PostCreate,
    PreDelete,
}

/// Why a hook has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error("hook `{hook}` could not be run: there is no program `{}`", program.escape_debug())]
    NoProgram { hook: Hook, program: String },
    #[error("hook `{hook}`: program `{}` could not be run", program.escape_debug())]
    NotRun { hook: Hook, program: String, source: io::Error },
    #[error("hook `{hook}` ended with status {status}")]
    Ended { hook: Hook, status: u8 },
    #[error("hook `{hook}` was ended: it took longer than {}", humantime::format_duration(*limit))]
    TimedOut { hook: Hook, limit: Duration },
    #[error("hook `{hook}` was interrupted")]
    Interrupted { hook: Hook },
    #[error("hook `{hook}` was not run, as somebody interrupted")]
    NotBegun { hook: Hook },
}

/// A project's hooks.
pub(crate) struct Hooks {
    config: HooksConfig,
    root: PathBuf,
    database: Database,
    interrupt: Interrupt,
    report: Report,
    is_direct: OnceCell<bool>,
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Self::PreMigrate => "pre_migrate",
            Self::PostMigrate => "post_migrate",
            Self::PostCreate => "post_create",
            Self::PreDelete => "pre_delete",
        }
    }

    /// Whether what it is about is done already.
    fn is_after(self) -> bool {
        matches!(self, Self::PostMigrate | Self::PostCreate)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl HookError {
    fn hook(&self) -> Hook {
        match self {
            Self::NoProgram { hook, .. }
            | Self::NotRun { hook, .. }
            | Self::Ended { hook, .. }
            | Self::TimedOut { hook, .. }
            | Self::Interrupted { hook }
            | Self::NotBegun { hook } => *hook,
        }
    }

    /// Returns the exit status: of an action that is done, the hook is the part that is not.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Interrupted { .. } | Self::NotBegun { .. } => ExitCode::Interrupted,
            _ if self.hook().is_after() => ExitCode::Partly,
            _ => ExitCode::NotDone,
        }
    }

    /// Returns what to do.
    pub(crate) fn hint(&self) -> String {
        let hook = self.hook();
        let state = match hook {
            Hook::PreMigrate | Hook::PreDelete => "nothing was changed",
            Hook::PostMigrate => "what is said above about the schemas holds",
            Hook::PostCreate => "the tenant is there",
        };
        let advice = match (self, hook.is_after()) {
            (Self::NoProgram { .. }, _) => {
                format!("`hooks.{hook}` in `tenantctl.toml` names it, as seen from that folder")
            }
            (Self::NotRun { source, .. }, _)
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                "make it executable".to_owned()
            }
            (Self::TimedOut { .. }, _) => {
                "`hooks.timeout` in `tenantctl.toml` says how long it may take".to_owned()
            }
            (_, true) => "do by hand what the program would have done".to_owned(),
            (Self::Ended { .. }, false) => {
                "mend what it found, and run the same command again".to_owned()
            }
            (_, false) => "run the same command again".to_owned(),
        };
        format!("{state}; {advice}")
    }
}

impl Hooks {
    /// Returns the project's hooks. From now on the first interrupt no longer ends the program.
    pub(crate) fn of(context: &mut Context, database: &Database) -> Result<Self, CommandError> {
        Ok(Self {
            root: context.root()?,
            config: context.project()?.config.hooks.clone(),
            database: database.clone(),
            interrupt: context.signals.heed().clone(),
            report: context.report,
            is_direct: OnceCell::new(),
        })
    }

    /// Whether there is a program for it.
    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.program(hook).is_some()
    }

    /// Whether the programs' connections have the search path that their environment asks for. Where
    /// it cannot be known, they will find out themselves.
    async fn is_direct(&self) -> bool {
        let find_out = async || match self.database.connect_directly("tenantctl", &[]).await {
            Ok(Some(connection)) => {
                connection.close().await;
                true
            }
            Ok(None) => {
                self.report.warn(
                    "hooks are given no database: there is a pooler in between, behind which they \
                     would find the shared schema's tables",
                );
                false
            }
            Err(_) => true,
        };
        *self.is_direct.get_or_init(find_out).await
    }

    /// Runs the program for `hook`, if there is one, for which unqualified names mean the tables of
    /// `scope`'s schema.
    ///
    /// # Errors
    ///
    /// When it could not be run, did not end with status 0, took too long, or was interrupted.
    pub(crate) async fn run(
        &self,
        hook: Hook,
        scope: &Scope,
        event: &Value,
    ) -> Result<(), HookError> {
        let Some((program, arguments)) = self.program(hook) else {
            return Ok(());
        };
        let next = match self.interrupt.urgency() {
            Urgency::None => Urgency::Soon,
            Urgency::Soon => Urgency::Now,
            Urgency::Now => return Err(HookError::NotBegun { hook }),
        };
        let not_run = |source: io::Error| {
            let program = program.clone();
            match child::is_missing(program.as_ref(), &self.root, &source) {
                true => HookError::NoProgram { hook, program },
                false => HookError::NotRun { hook, program, source },
            }
        };
        let mut command = child::command((&self.database, scope), program.as_ref(), arguments);
        if !self.is_direct().await {
            child::take_database(&mut command, (&self.database, scope));
        }
        // What it says to stdout is no answer of ours.
        let stderr = io::stderr().as_fd().try_clone_to_owned().map_err(not_run)?;
        command.stdout(Stdio::from(stderr)).stdin(Stdio::piped()).current_dir(&self.root);
        let mut program = Apart::start(command).map_err(not_run)?;

        let stdin = program.child.stdin.take();
        let (ended, mut has_ended) = watch::channel(false);
        let is_too_long = Cell::new(false);
        let wait = async {
            let stop = async {
                tokio::select! {
                    () = self.interrupt.wait_for(next) => {}
                    () = self.out_of_time() => is_too_long.set(true),
                }
            };
            let status = program.end(stop).await;
            ended.send_replace(true);
            status
        };
        let tell = async {
            tokio::select! {
                () = tell(stdin, event) => {}
                _ = has_ended.wait_for(|ended| *ended) => {}
            }
        };
        let (status, ()) = tokio::join!(wait, tell);
        let status = child::number(status.map_err(not_run)?);
        if is_too_long.get() {
            let limit = self.limit().unwrap_or_default();
            return Err(HookError::TimedOut { hook, limit });
        }
        match status {
            _ if self.interrupt.urgency() >= next => Err(HookError::Interrupted { hook }),
            0 => Ok(()),
            status => Err(HookError::Ended { hook, status }),
        }
    }

    /// Runs a hook after what it is about, and returns the status of both.
    pub(crate) async fn run_after(
        &self,
        hook: Hook,
        scope: &Scope,
        event: &Value,
        code: ExitCode,
    ) -> ExitCode {
        let Err(error) = self.run(hook, scope, event).await else {
            return code;
        };
        let error = CommandError::Hook(error);
        error.report(&self.report);
        if code == ExitCode::Done { error.exit_code() } else { code }
    }

    /// Runs `post_migrate`, whatever came of the run.
    pub(crate) async fn migrated(
        &self,
        scope: &Scope,
        event: &Value,
        result: CommandResult,
    ) -> CommandResult {
        match result {
            Ok(code) => Ok(self.run_after(Hook::PostMigrate, scope, event, code).await),
            Err(error) => {
                if let Err(hook) = self.run(Hook::PostMigrate, scope, event).await {
                    self.report.error(hook.to_string());
                }
                Err(error)
            }
        }
    }

    /// Runs `post_create` for each of the tenants that were created, and returns the status of all.
    pub(crate) async fn created(
        &self,
        context: &mut Context,
        tenants: &[&NewTenant],
        facts: &Value,
        mut code: ExitCode,
    ) -> Result<ExitCode, CommandError> {
        if !self.has(Hook::PostCreate) {
            return Ok(code);
        }
        let is_interrupted = || self.interrupt.urgency() > Urgency::None;
        for (index, tenant) in tenants.iter().enumerate() {
            // The one tenant whose creation was let finish gets its hook, too.
            if index > 0 && is_interrupted() {
                let left = tenants[index..].iter().map(|it| &it.schema);
                self.report.error(format!("hook `post_create` was not run for {}", few(left, 20)));
                return Ok(ExitCode::Interrupted);
            }
            let mut event = json!({
                "type": Hook::PostCreate.name(),
                "schema": tenant.schema,
                "domains": tenant.domains,
                "result": "done",
            });
            extend(&mut event, facts);
            let scope = context.scope(tenant.schema.clone())?;
            code = self.run_after(Hook::PostCreate, &scope, &event, code).await;
        }
        Ok(code)
    }

    /// Runs `pre_delete` for a tenant that is about to be deleted, which it can prevent.
    pub(crate) async fn deleting(
        &self,
        scope: &Scope,
        domains: &[String],
        keeps_schema: bool,
    ) -> Result<(), HookError> {
        let event = json!({
            "type": Hook::PreDelete.name(),
            "schema": scope.schema,
            "domains": domains,
            "keeps_schema": keeps_schema,
        });
        self.run(Hook::PreDelete, scope, &event).await
    }

    fn program(&self, hook: Hook) -> Option<(&String, &[String])> {
        let Program(words) = match hook {
            Hook::PreMigrate => &self.config.pre_migrate,
            Hook::PostMigrate => &self.config.post_migrate,
            Hook::PostCreate => &self.config.post_create,
            Hook::PreDelete => &self.config.pre_delete,
        };
        words.split_first()
    }

    fn limit(&self) -> Option<Duration> {
        match self.config.timeout {
            Timeout::After(limit) => Some(limit),
            Timeout::Off => None,
        }
    }

    async fn out_of_time(&self) {
        match self.limit() {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    }
}

/// Writes what happens to a program. One that does not read it is none the worse.
async fn tell(stdin: Option<tokio::process::ChildStdin>, event: &Value) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(format!("{event}\n").as_bytes()).await;
    }
}

fn extend(event: &mut Value, facts: &Value) {
    if let (Value::Object(event), Value::Object(facts)) = (event, facts) {
        event.extend(facts.clone());
    }
}

/// Returns what is about to be migrated, or `None` where nothing is.
pub(crate) fn pre_migrate(migrate: &Migrate<'_>, prepared: &Prepared) -> Option<Value> {
    let behind = |set: &MigrationSet, survey: &Survey| -> Vec<Value> {
        let version = |index: usize| set.file(index).version;
        let row = |history: usize, schema: &SchemaName| {
            let newest = survey.plans[history].pending.iter().map(|&file| version(file)).max();
            let from = survey.fleet.histories[history].version();
            json!({ "schema": schema, "from": from, "to": newest })
        };
        let rows = survey.behind().into_iter();
        rows.flat_map(|(history, schemas)| {
            schemas.iter().map(|schema| row(history, schema)).collect::<Vec<_>>()
        })
        .collect()
    };
    let of = |set: Option<&MigrationSet>, survey: &Option<Survey>| {
        set.zip(survey.as_ref()).map(|(set, survey)| behind(set, survey)).unwrap_or_default()
    };
    let shared = of(migrate.shared, &prepared.shared);
    let tenants = of(migrate.tenants, &prepared.tenants);
    if shared.is_empty() && tenants.is_empty() {
        return None;
    }
    let (number, of_tenants) = (shared.len(), tenants.len());
    let schemas = [shared, tenants].concat();
    Some(json!({
        "type": Hook::PreMigrate.name(),
        "shared": number,
        "tenants": of_tenants,
        "schemas": schemas,
    }))
}

/// Returns what was migrated: what was to be, and what came of it.
pub(crate) fn post_migrate(mut before: Value, migrated: &Migrated) -> Value {
    let mut outcome = Outcome::default();
    for part in migrated.shared.iter().chain([&migrated.tenants]) {
        outcome.extend(part.clone());
    }
    let code = outcome_report::exit_code(&outcome, 0);
    let failed = outcome
        .failed
        .iter()
        .map(|(schema, failure)| json!({ "schema": schema, "message": failure.cause.to_string() }));
    let busy = outcome.busy.iter().map(|(schema, _)| schema);
    extend(
        &mut before,
        &json!({
            "type": Hook::PostMigrate.name(),
            "result": result(code),
            "exit_status": code.number(),
            "summary": {
                "applied": outcome.applied,
                "up_to_date": outcome.up_to_date,
                "gone": outcome.gone.len(),
                "failed": outcome.failed.len(),
                "busy": outcome.busy.len(),
                "not_attempted": outcome.not_attempted.len(),
            },
            "failed": failed.collect::<Vec<_>>(),
            "busy": busy.collect::<Vec<_>>(),
            "not_attempted": outcome.not_attempted,
        }),
    );
    before
}

/// Returns what was not migrated, because the run could not begin after all.
pub(crate) fn post_migrate_error(mut before: Value, error: &CommandError) -> Value {
    let code = error.exit_code();
    extend(
        &mut before,
        &json!({
            "type": Hook::PostMigrate.name(),
            "result": result(code),
            "exit_status": code.number(),
            "message": error.to_string(),
        }),
    );
    before
}

fn result(code: ExitCode) -> &'static str {
    match code {
        ExitCode::Done => "done",
        ExitCode::Partly => "partly",
        ExitCode::Unreachable => "unreachable",
        ExitCode::Busy => "busy",
        ExitCode::Interrupted => "interrupted",
        ExitCode::NotDone | ExitCode::Usage | ExitCode::CheckFailed | ExitCode::Child(_) => {
            "not_done"
        }
    }
}
