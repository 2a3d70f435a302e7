//! What to type after a failure, or what to do.

mod tenants;

use self::tenants::{
    archive_hint, clone_hint, delete_hint, domain_hint, dump_hint, obstacle_hint, rename_hint,
    restore_hint, template_hint, update_hint,
};
use super::CommandError;
use crate::cli::text::{few, shell_word};
use crate::migration::scaffold::ScaffoldError;
use crate::migration::{FileProblem, FolderError, LookError, PreflightError, SeedsError};
use crate::name::{HostnameError, SchemaNameError};
use crate::pg::server::ServerError;
use crate::pg::{ClientError, ConnectError, Database, ScopeError, UrlError, identifier};
use crate::run_log::RunLogError;
use crate::tenant::doctor::DoctorError;
use crate::tenant::user::UserError;
use crate::tenant::{MigrateError, RegistryError, RunSqlError, SelectionError};

impl CommandError {
    /// Returns something to type, or to do.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::NoDatabase => Some(
                "give one with `--database-url` or `DATABASE_URL`, or start the project's own with \
                 `tenantctl quickstart`"
                    .into(),
            ),
            Self::PrivateServerStopped => Some(
                "start it with `tenantctl dev start`, or give another database with \
                 `--database-url` or `DATABASE_URL`"
                    .into(),
            ),
            Self::NoSelection => Some(
                "say `--all` (shared, then tenants), `--shared`, `--tenants`, `--schema NAME`, \
                 `--match GLOB`, `--where SQL` or `--schemas-from FILE`"
                    .into(),
            ),
            Self::EmptyFolder { path } => Some(format!(
                "write a migration with `tenantctl makemigrations NAME {}`, or name another folder \
                 with `--migrations-dir`",
                if path.ends_with("shared") { "--shared" } else { "--tenant" }
            )),
            Self::Folder(error) => folder_hint(error),
            Self::Scaffold(ScaffoldError::Folder(error)) => folder_hint(error),
            Self::Scaffold(ScaffoldError::Name { suggestion: Some(name), .. }) => {
                Some(format!("use `{name}`"))
            }
            Self::Hostname(HostnameError { host_part: Some(host), .. }) => {
                Some(format!("use `{host}`"))
            }
            Self::SchemaName(SchemaNameError::Shared { .. }) => {
                Some("take another name: a tenant has a schema of its own".into())
            }
            Self::NoAnswer { .. } | Self::Terminal { .. } => {
                Some("nothing was changed; `--help` lists the flags that answer instead".into())
            }
            Self::Url(error) => Some(url_hint(error)),
            Self::Server(error) => server_hint(error),
            Self::Connect(error) => connect_hint(error),
            Self::Registry(error) => registry_hint(error),
            Self::Selection(error) => selection_hint(error),
            Self::Domain(error) => domain_hint(error),
            Self::Clone(error) => clone_hint(error),
            Self::Template(error) => template_hint(error),
            Self::Update(error) => update_hint(error),
            Self::Rename(error) => rename_hint(error),
            Self::Delete(error) => delete_hint(error),
            Self::Doctor(DoctorError::Registry(error)) => registry_hint(error),
            Self::Doctor(DoctorError::RegistryLocked { .. }) => {
                Some("run the same command again once they are done".into())
            }
            Self::Doctor(DoctorError::Look(LookError::Connect(error)))
            | Self::Look(LookError::Connect(error)) => connect_hint(error),
            Self::Dump(error) => dump_hint(error),
            Self::Archive(error) => archive_hint(error),
            Self::Restore(error) => restore_hint(error),
            Self::Migrate(error) => migrate_hint(error),
            Self::Scope(error) => scope_hint(error),
            Self::User(error) => user_hint(error),
            Self::RunSql(error) => run_sql_hint(error),
            Self::Seeds(error) => seeds_hint(error),
            Self::Hook(error) => Some(error.hint()),
            Self::RunLog(RunLogError::Connect(error)) => connect_hint(error),
            Self::NoProgram { program } if program == "psql" => Some(
                "install PostgreSQL's client, or name the folder it is in in `TENANTCTL_PG_BIN`"
                    .into(),
            ),
            Self::ProgramNotRun { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => {
                    Some("the interpreter that its first line names is missing".into())
                }
                std::io::ErrorKind::PermissionDenied => Some("make it executable".into()),
                _ => None,
            },
            Self::Obstacle(obstacle) => obstacle_hint(obstacle),
            Self::Usage { hint, .. } => Some(hint.clone()),
            Self::NotDone { hint, .. } => hint.clone(),
            Self::Sql(error) => error.hint.clone(),
            _ => None,
        }
    }
}

/// Returns what lets runs be recorded.
pub(crate) fn run_log_hint(error: &RunLogError, database: &Database) -> Option<String> {
    match error {
        RunLogError::NotMade(error) if error.is("42501") => Some(format!(
            "let the database's owner run `create schema tenantctl authorization {}`",
            identifier(&database.place().user)
        )),
        RunLogError::Sql(error) if error.is("42501") => Some(
            "let the owner of schema `tenantctl` grant this role its use, and that of its tables \
             and sequence"
                .into(),
        ),
        _ => None,
    }
}

fn client_hint(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Missing { .. } | ClientError::TooOld { .. } => Some(
            "install a PostgreSQL client of that version or a newer one, or name the folder it is in \
             in `TENANTCTL_PG_BIN`"
                .into(),
        ),
        ClientError::NotRun { .. } | ClientError::Ended { .. } => None,
    }
}

fn folder_hint(error: &FolderError) -> Option<String> {
    let problems = match error {
        FolderError::Missing { .. } => {
            return Some(
                "make the project's folders with `tenantctl init`, or name another with \
                 `--migrations-dir`"
                    .into(),
            );
        }
        FolderError::Files { problems, .. } => problems,
        _ => return None,
    };
    problems.iter().find_map(|problem| match problem {
        FileProblem::Duplicate(duplicate) => duplicate.files.last().map(|file| {
            let file = shell_word(&file.display().to_string());
            format!("give one the next free version: `tenantctl makemigrations --renumber {file}`")
        }),
        FileProblem::Misnamed { file, suggestion: Some(name) } => {
            let to = file.with_file_name(name);
            let (from, to) = (file.display().to_string(), to.display().to_string());
            Some(format!("rename it: `mv {} {}`", shell_word(&from), shell_word(&to)))
        }
        FileProblem::Misnamed { .. } => {
            Some("a migration is named like `V2__add_orders.sql`".into())
        }
        FileProblem::NotUtf8 { .. } => Some("save it as UTF-8".into()),
        _ => None,
    })
}

fn seeds_hint(error: &SeedsError) -> Option<String> {
    match error {
        SeedsError::Missing { path } | SeedsError::Empty { path } => Some(format!(
            "write one, such as `{}`, or name another folder under `[seeds]` in `tenantctl.toml`",
            path.join("demo.sql").display()
        )),
        SeedsError::Unknown { known, .. } if known.is_empty() => None,
        SeedsError::Unknown { known, .. } => {
            let known = known.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>();
            Some(format!("the folder has {}", few(known.iter(), 20)))
        }
        SeedsError::File(FileProblem::NotUtf8 { .. }) => Some("save it as UTF-8".into()),
        SeedsError::File(_) | SeedsError::Unreadable { .. } => None,
    }
}

fn server_hint(error: &ServerError) -> Option<String> {
    match error {
        ServerError::NoServerPrograms { install: Some(line) } => {
            Some(format!("install them: `{line}`"))
        }
        ServerError::NoServerPrograms { install: None } => Some(
            "install PostgreSQL, or name the folder of its programs in `TENANTCTL_PG_BIN`".into(),
        ),
        ServerError::NotServerPrograms { .. } => {
            Some("it must name a folder with `initdb`, `pg_ctl` and `postgres`".into())
        }
        ServerError::DataOfOtherVersion { data_major, .. } => Some(format!(
            "install PostgreSQL {data_major}, or start anew without the data: `tenantctl dev destroy --yes`"
        )),
        ServerError::PasswordLost { .. }
        | ServerError::MadeElsewhere { .. }
        | ServerError::StateNotUnderstood { .. } => {
            Some("start anew without the data: `tenantctl dev destroy --yes`".into())
        }
        _ => None,
    }
}

fn url_hint(error: &UrlError) -> String {
    match error.reason.as_str() {
        "empty host" => {
            "a socket's folder is named like `postgres:///database?user=me&host=/run/postgresql`"
        }
        _ => "it has the form `postgres://user:password@host:port/database`",
    }
    .into()
}

/// Returns what to do about a database that cannot be reached.
pub(crate) fn connect_hint(error: &ConnectError) -> Option<String> {
    let text = match error {
        ConnectError::Refused { source, place } => match source.code.as_str() {
            "28000" if source.message.contains("pg_hba.conf") => {
                "the server's `pg_hba.conf` lets nobody in this way; it may want TLS (`sslmode=require`), \
                 another user or another address"
                    .into()
            }
            "28P01" | "28000" => "check the user, and the password in the database's URL, \
                                  `PGPASSWORD` or `~/.pgpass`"
                .into(),
            "3D000" => format!("create it with `createdb {}`", shell_word(&place.database)),
            "53300" => "wait for a free connection slot, or raise `max_connections`, or the connection \
                        limit of the role or the database"
                .into(),
            _ => return None,
        },
        ConnectError::Unreachable { reason, .. } if reason.starts_with("TLS:") => {
            tls_hint(reason)?.into()
        }
        ConnectError::Unreachable { .. } | ConnectError::NoAnswer { .. } => {
            "check that the server runs and that host and port are right".into()
        }
        ConnectError::Lost { .. } => "run the same command again: it does what is left".into(),
        ConnectError::ReadOnly { .. } => "use the primary server's address".into(),
    };
    Some(text)
}

fn tls_hint(reason: &str) -> Option<&'static str> {
    if reason.contains("does not support TLS") {
        Some("let the server offer TLS, or leave `sslmode` out where the network is to be trusted")
    } else if reason.contains("is for another name") {
        Some("use the name that the certificate is for, or `sslmode=verify-ca`")
    } else if reason.contains("authority that is trusted") {
        Some(
            "name its authority's certificate with `sslrootcert`, or say `sslmode=require`, which does not check it",
        )
    } else {
        None
    }
}

fn registry_hint(error: &RegistryError) -> Option<String> {
    match error {
        RegistryError::Connect(error) => connect_hint(error),
        RegistryError::NotInitialised { .. } => Some(
            "apply the shared migrations with `tenantctl migrate-schemas --shared`; `tenantctl \
             init` writes them"
                .into(),
        ),
        RegistryError::Order { .. } => {
            Some("order by a column of numbers, dates, texts or the like".into())
        }
        RegistryError::Condition { .. } => {
            Some("a condition is SQL on the columns that `tenantctl list-tenants` shows".into())
        }
        RegistryError::Sql(error) if error.is("42703") => Some(
            "say what the registry's columns are called under `[registry.columns]` in \
             `tenantctl.toml`"
                .into(),
        ),
        RegistryError::Sql(error) if error.is_lock_not_available() => {
            Some("somebody has locked what this reads; `tenantctl doctor` says who".into())
        }
        RegistryError::Sql(error) if error.is("42501") => Some(
            "the role that connects must be allowed to read and change the registry; its owner can \
             `grant` that"
                .into(),
        ),
        RegistryError::Sql(_) => None,
    }
}

fn selection_hint(error: &SelectionError) -> Option<String> {
    match error {
        SelectionError::Registry(error) => registry_hint(error),
        SelectionError::Unknown { similar: Some(name), .. } => Some(format!(
            "did you mean `{}`? `tenantctl list-tenants` lists them",
            shell_word(name.as_str())
        )),
        SelectionError::Unknown { .. } => Some("`tenantctl list-tenants` lists them".into()),
        SelectionError::NoSuchColumn { columns, .. } => Some(format!(
            "it has {}; a shared migration adds others",
            few(columns.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().iter(), 20)
        )),
        SelectionError::Shared { .. } => {
            Some("use `--shared` where the shared schema is meant".into())
        }
    }
}

fn scope_hint(error: &ScopeError) -> Option<String> {
    match error {
        ScopeError::NoSchema { .. } => Some("`tenantctl status` shows what is missing".into()),
        ScopeError::SchemaGone { .. } => Some("nothing was changed".into()),
        ScopeError::Unknown(_) => Some("look at the data before you run it again".into()),
        ScopeError::Connect(ConnectError::Lost { .. }) => {
            Some("nothing was changed; run the same command again".into())
        }
        ScopeError::Connect(error) => connect_hint(error),
        ScopeError::Sql(error) if error.is_lock_not_available() => {
            Some("nothing was changed; somebody else is working there, try again later".into())
        }
        ScopeError::Sql(_) => Some("nothing was changed".into()),
    }
}

fn user_hint(error: &UserError) -> Option<String> {
    let hint = match error {
        UserError::NoTable { schema, is_shared } => {
            let (selection, folder) = match is_shared {
                true => ("--shared".to_owned(), "--shared"),
                false => (format!("--schema={}", shell_word(schema.as_str())), "--tenant"),
            };
            format!(
                "apply what is pending with `tenantctl migrate-schemas {selection}`, or write a \
                 migration that creates it: `tenantctl makemigrations create_users {folder}`"
            )
        }
        UserError::MissingColumns { .. } => {
            "write a migration that adds them: `tenantctl makemigrations add_logins --tenant`"
                .into()
        }
        UserError::RequiredColumns { .. } => {
            "give them a default, or create the user with `tenantctl tenant-command --schema NAME \
             sql`"
                .into()
        }
        UserError::Taken { .. } => "`changepassword` gives them a new password".into(),
        UserError::Unknown { .. } => "names are compared exactly, upper and lower case too".into(),
        UserError::Ambiguous { .. } => return None,
        UserError::Scope(error) => return scope_hint(error),
    };
    Some(hint)
}

fn run_sql_hint(error: &RunSqlError) -> Option<String> {
    match error {
        RunSqlError::Empty => Some("give it as an argument, or with `--file FILE`".into()),
        RunSqlError::Nul { .. } | RunSqlError::Refused(_) => Some("nothing was run".into()),
        RunSqlError::Statement { source, .. } if source.is_lock_not_available() => {
            Some("nothing was changed; somebody else is working there, try again later".into())
        }
        RunSqlError::Statement { source, .. } if source.is("25001") => Some(
            "nothing was changed; run it in `tenantctl tenant-command --schema NAME psql`".into(),
        ),
        RunSqlError::Statement { .. } => Some("nothing was changed".into()),
        RunSqlError::Scope(error) => scope_hint(error),
    }
}

fn migrate_hint(error: &MigrateError) -> Option<String> {
    match error {
        MigrateError::Selection(error) => selection_hint(error),
        MigrateError::Look(LookError::Connect(error)) => connect_hint(error),
        MigrateError::Look(LookError::Sql(_)) => None,
        MigrateError::Preflight(PreflightError::Connect(error)) => connect_hint(error),
        MigrateError::Preflight(PreflightError::Sql(_)) => None,
        MigrateError::Preflight(PreflightError::Pooled { .. }) => Some(
            "nothing was changed; give the server's own host and port with `--database-url`".into(),
        ),
        MigrateError::Disagree { disagreements } => Some(disagreement_hint(disagreements)),
        MigrateError::Forbidden(_) => {
            Some("nothing was changed; mend the file and run it again".into())
        }
        MigrateError::NoSuchVersion { .. } => Some("`tenantctl status` shows the versions".into()),
    }
}

fn disagreement_hint(disagreements: &[(String, Vec<crate::name::SchemaName>)]) -> String {
    let whats = disagreements.iter().map(|(what, _)| what.as_str());
    format!("nothing was changed; {}", disagreement_advice(worst_disagreement(whats)))
}

/// Returns of which kind the descriptions of some disagreements are, the one to begin with if of
/// several: what no flag passes over comes first.
pub(crate) fn worst_disagreement<'a>(whats: impl Iterator<Item = &'a str> + Clone) -> &'static str {
    let has = |kind: &&str| whats.clone().any(|what| what.starts_with(kind));
    ["broken", "out of order", "divergent"].into_iter().find(has).unwrap_or("missing")
}

/// Returns what to do where histories and files disagree in this way.
pub(crate) fn disagreement_advice(kind: &str) -> &'static str {
    match kind {
        "out of order" => {
            "give the file a version above the newest: `tenantctl makemigrations --renumber FILE`"
        }
        "divergent" => {
            "restore the file as it was and write a new migration, or add \
             `--allow-divergent` to go on"
        }
        "missing" => "deploy the release that has the file, or add `--allow-missing` to go on",
        _ => "mend the history table",
    }
}
