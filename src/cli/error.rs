//! What a command's failure is called and how it is told. Which exit status it has and what to type
//! next is chosen in `error/`, and nowhere else.

mod hints;
mod statuses;

use std::error::Error as _;
use std::path::PathBuf;

pub(crate) use self::hints::{connect_hint, disagreement_advice, run_log_hint, worst_disagreement};

use super::exit_code::ExitCode;
use super::hooks::HookError;
use super::migration_report::describe_holder;
use super::report::Report;
use super::text::{few, grouped, printable};
use crate::event::{Failure, Holder};
use crate::migration::scaffold::ScaffoldError;
use crate::migration::{FolderError, LookError, SeedsError};
use crate::name::{HostnameError, SchemaName, SchemaNameError};
use crate::pg::server::ServerError;
use crate::pg::{ClientError, ConnectError, Incomplete, ScopeError, SqlError, UrlError};
use crate::project::{ConfigError, InitError};
use crate::run_log::RunLogError;
use crate::tenant::doctor::DoctorError;
use crate::tenant::user::{InputError, UserError};
use crate::tenant::{
    ArchiveError, ChangeError, CloneError, DeleteError, DomainError, DumpError, FileFinding,
    MigrateError, Obstacle, Refusal, RegistryError, RenameError, RestoreError, RunSqlError,
    SelectionError, TemplateError, UpdateError,
};

/// What a command came to.
pub(crate) type CommandResult = Result<ExitCode, CommandError>;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Scaffold(#[from] ScaffoldError),
    #[error(transparent)]
    SchemaName(#[from] SchemaNameError),
    #[error(transparent)]
    Hostname(#[from] HostnameError),
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Selection(#[from] SelectionError),
    #[error(transparent)]
    Domain(#[from] DomainError),
    #[error(transparent)]
    Clone(#[from] CloneError),
    #[error(transparent)]
    Update(#[from] UpdateError),
    #[error(transparent)]
    Rename(#[from] RenameError),
    #[error(transparent)]
    Delete(#[from] DeleteError),
    #[error(transparent)]
    Doctor(#[from] DoctorError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Dump(#[from] DumpError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Look(#[from] LookError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    RunSql(#[from] RunSqlError),
    #[error(transparent)]
    Seeds(#[from] SeedsError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    RunLog(#[from] RunLogError),
    #[error(transparent)]
    Obstacle(Obstacle),
    #[error("the server refused a statement")]
    Sql(#[source] SqlError),
    #[error("`{}` could not be read: {reason}", path.display())]
    DotEnv {
        path: PathBuf,
        /// Never holds what stands there, which may be a password.
        reason: String,
    },
    #[error("`{variable}` is `{}`, which is not {what}", value.escape_debug())]
    Variable { variable: &'static str, value: String, what: &'static str },
    #[error("`{}` could not be read", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("`{}` could not be written", path.display())]
    NotWritten { path: PathBuf, source: std::io::Error },
    #[error("no database was given")]
    NoDatabase,
    #[error("no database was given, and the project's private server is not running")]
    PrivateServerStopped,
    #[error("which schemas?")]
    NoSelection,
    #[error("migration folder `{}` is empty", path.display())]
    EmptyFolder { path: PathBuf },
    /// What the command line asks for does not go together; nothing was tried.
    #[error("{message}")]
    Usage { message: String, hint: String },
    /// It was not done, and the command knows best what to say.
    #[error("{message}")]
    NotDone { message: String, hint: Option<String> },
    #[error("there is no program `{}`", program.escape_debug())]
    NoProgram { program: String },
    #[error("program `{}` could not be run", program.escape_debug())]
    ProgramNotRun { program: String, source: std::io::Error },
    /// A person was asked and the terminal went away, or they ended the input.
    #[error("`{question}` was not answered: the input ended")]
    NoAnswer { question: String },
    #[error("`{question}` was not answered: the terminal could not be read")]
    Terminal { question: String, source: std::io::Error },
    #[error("interrupted")]
    Interrupted,
}

impl From<Incomplete> for CommandError {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Sql(error) => Self::Sql(error),
            Incomplete::Lost(error) => Self::Connect(error),
        }
    }
}

impl CommandError {
    /// Says on stderr what went wrong, why, and what to do.
    pub(crate) fn report(&self, report: &Report) {
        report.error(printable_lines(&self.to_string()));
        report.always_lines(&self.details());
        if let Some(hint) = self.hint() {
            report.hint(hint);
        }
        if report.is_json() {
            let mut fields = serde_json::json!({
                "message": self.to_string(),
                "causes": self.causes().iter().map(ToString::to_string).collect::<Vec<_>>(),
                "hint": self.hint(),
                "exit_status": self.exit_code().number(),
            });
            if let Some((name, list)) = self.list() {
                fields[name] = list;
            }
            report.object("error", fields);
        }
    }

    /// Returns what an error speaks of that is about many files or schemas, and what it is called.
    fn list(&self) -> Option<(&'static str, serde_json::Value)> {
        match self {
            Self::Migrate(MigrateError::Disagree { disagreements }) => {
                let disagreement = |(what, schemas): &(String, Vec<SchemaName>)| serde_json::json!({ "what": what, "schemas": schemas });
                Some(("disagreements", disagreements.iter().map(disagreement).collect()))
            }
            Self::Migrate(MigrateError::Forbidden(findings)) => {
                let finding = |it: &FileFinding| {
                    serde_json::json!({
                        "file": it.site.path,
                        "line": it.site.line,
                        "column": it.site.column,
                        "message": it.message,
                        "advice": it.advice,
                    })
                };
                Some(("findings", findings.iter().map(finding).collect()))
            }
            _ => None,
        }
    }

    /// Returns what went wrong and why, a line each, for where many things can go wrong at once.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("error: {}", printable_lines(&self.to_string()))];
        lines.extend(self.details());
        lines.iter().flat_map(|it| it.lines()).map(str::to_owned).collect()
    }

    fn details(&self) -> Vec<String> {
        let mut lines = match self {
            Self::Migrate(MigrateError::Disagree { disagreements }) => {
                let line = |(what, schemas): &(String, Vec<_>)| {
                    format!("  {what}\n    in {}", few(schemas.iter(), 5))
                };
                disagreements.iter().map(line).collect()
            }
            Self::Migrate(MigrateError::Forbidden(findings)) => {
                findings.iter().map(file_finding).collect()
            }
            Self::RunSql(RunSqlError::Refused(refusals)) => {
                let lines = |it: &Refusal| finding_lines(&it.message, &it.excerpt, &it.advice);
                refusals.iter().map(lines).collect()
            }
            Self::RunSql(RunSqlError::Statement { excerpt, .. }) => vec![indent(excerpt)],
            Self::Delete(DeleteError::Outside { objects, total, .. }) => {
                let more = total.saturating_sub(objects.len());
                let more = (more > 0).then(|| format!("  and {} more", grouped(more)));
                objects.iter().map(|it| format!("  {}", printable(it))).chain(more).collect()
            }
            Self::Template(TemplateError::Failed { failure, .. }) => explained(failure),
            Self::Dump(DumpError::Program(ClientError::Ended { said, .. }))
            | Self::Restore(RestoreError::Program(ClientError::Ended { said, .. })) => {
                said.iter().map(|line| format!("  {}", printable(line))).collect()
            }
            _ => self
                .holders()
                .iter()
                .map(|it| format!("  held by {}", describe_holder(it)))
                .collect(),
        };
        for cause in self.causes() {
            lines.push(format!("  caused by: {}", cause_text(cause)));
            if let Some(error) = cause.downcast_ref::<SqlError>() {
                lines.extend(sql_details(error));
            }
        }
        lines
    }

    /// Returns who is in the way.
    fn holders(&self) -> &[Holder] {
        let change = match self {
            Self::Domain(DomainError::Change(error)) => error,
            Self::Update(UpdateError::Change(error)) => error,
            Self::Rename(RenameError::Change(error)) => error,
            Self::Delete(DeleteError::Change(error)) => error,
            Self::Doctor(DoctorError::RegistryLocked { holders, .. }) => return holders,
            Self::Clone(CloneError::Busy { blockage, .. }) => return &blockage.holders,
            Self::Template(TemplateError::Busy { holders, .. }) => return holders,
            _ => return &[],
        };
        match change {
            ChangeError::Busy { holders, .. } | ChangeError::SchemaBusy { holders, .. } => holders,
            _ => &[],
        }
    }

    fn causes(&self) -> Vec<&(dyn std::error::Error + 'static)> {
        let mut causes = Vec::new();
        let mut source = self.source();
        while let Some(cause) = source {
            causes.push(cause);
            source = cause.source();
        }
        causes
    }
}

/// Returns an error's words; the system's without its number.
fn cause_text(cause: &(dyn std::error::Error + 'static)) -> String {
    let text = printable_lines(&cause.to_string());
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) if error.kind() == std::io::ErrorKind::InvalidData => "it is not UTF-8".into(),
        Some(_) => text.split(" (os error").next().unwrap_or(&text).to_lowercase(),
        None => text,
    }
}

/// Returns a finding in a file with its place and what to write instead.
pub(crate) fn file_finding(finding: &FileFinding) -> String {
    let FileFinding { site, message, advice } = finding;
    finding_lines(message, &site.excerpt, advice)
}

fn finding_lines(message: &str, excerpt: &str, advice: &str) -> String {
    let excerpt = indent(excerpt);
    format!("  {message}\n{excerpt}\n    instead: {advice}")
}

/// Returns the server's detail, hint, context and SQLSTATE, a line each.
pub(crate) fn sql_details(error: &SqlError) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(detail) = &error.detail {
        lines.push(format!("    detail: {}", printable_lines(detail)));
    }
    if let Some(hint) = &error.hint {
        lines.push(format!("    server's hint: {}", printable_lines(hint)));
    }
    if let Some(context) = &error.context {
        let first: Vec<&str> = context.lines().take(3).collect();
        lines.push(format!("    context: {}", printable(&first.join("; "))));
    }
    lines.push(format!("    SQLSTATE {}", error.code));
    lines
}

/// Returns a text of several lines, each escaped, the later ones indented.
pub(crate) fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n    ")
}

/// Returns a text with every line indented as far as what belongs to a message.
pub(crate) fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Returns where something went wrong, and why.
fn explained(failure: &Failure) -> Vec<String> {
    let mut lines = vec![format!("  caused by: {}", printable_lines(&failure.cause.to_string()))];
    if let Some(site) = &failure.site {
        lines.push(indent(&site.excerpt));
    }
    lines.extend(failure.cause.sql().map(sql_details).unwrap_or_default());
    lines
}
