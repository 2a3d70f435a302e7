//! Which exit status a failure has.

use super::CommandError;
use crate::cli::exit_code::ExitCode;
use crate::migration::scaffold::ScaffoldError;
use crate::migration::{LookError, PreflightError};
use crate::pg::{ScopeError, SqlError};
use crate::run_log::RunLogError;
use crate::tenant::doctor::DoctorError;
use crate::tenant::user::UserError;
use crate::tenant::{
    ArchiveError, ChangeError, CloneError, DeleteError, DomainError, DumpError, MigrateError,
    RegistryError, RenameError, RestoreError, RunSqlError, SelectionError, TemplateError,
    UpdateError,
};

impl CommandError {
    /// Returns the exit status.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Url(_) | Self::DotEnv { .. } | Self::File { .. } => {
                ExitCode::Usage
            }
            Self::Variable { .. } => ExitCode::Usage,
            Self::SchemaName(_) | Self::Hostname(_) | Self::Usage { .. } => ExitCode::Usage,
            Self::NoSelection | Self::EmptyFolder { .. } | Self::Folder(_) => ExitCode::Usage,
            Self::Scaffold(error) => scaffold_exit_code(error),
            Self::NoDatabase | Self::NoAnswer { .. } | Self::Terminal { .. } => ExitCode::Usage,
            Self::PrivateServerStopped | Self::Connect(_) => ExitCode::Unreachable,
            Self::Init(_) | Self::Server(_) | Self::NotDone { .. } => ExitCode::NotDone,
            Self::Input(_) => ExitCode::Usage,
            Self::Scope(error) => scope_exit_code(error),
            Self::User(error) => user_exit_code(error),
            Self::RunSql(error) => run_sql_exit_code(error),
            Self::Seeds(_) => ExitCode::Usage,
            Self::Hook(error) => error.exit_code(),
            Self::RunLog(RunLogError::Connect(_)) => ExitCode::Unreachable,
            Self::RunLog(RunLogError::Locked) => ExitCode::Busy,
            Self::RunLog(RunLogError::Sql(error) | RunLogError::NotMade(error)) => {
                sql_exit_code(error)
            }
            // As a shell has it.
            Self::NoProgram { .. } => ExitCode::Child(127),
            Self::ProgramNotRun { .. } => ExitCode::Child(126),
            Self::Sql(error) => sql_exit_code(error),
            Self::Registry(error) => registry_exit_code(error),
            Self::Selection(error) => selection_exit_code(error),
            Self::Domain(error) => domain_exit_code(error),
            Self::Clone(error) => clone_exit_code(error),
            Self::Template(error) => template_exit_code(error),
            Self::Update(error) => update_exit_code(error),
            Self::Rename(error) => rename_exit_code(error),
            Self::Delete(error) => delete_exit_code(error),
            Self::Doctor(DoctorError::Registry(error)) => registry_exit_code(error),
            Self::Doctor(DoctorError::RegistryLocked { .. }) => ExitCode::Busy,
            Self::Doctor(DoctorError::Look(error)) | Self::Look(error) => look_exit_code(error),
            Self::Dump(error) => dump_exit_code(error),
            Self::Archive(error) => archive_exit_code(error),
            Self::Restore(error) => restore_exit_code(error),
            Self::Migrate(error) => migrate_exit_code(error),
            Self::Obstacle(obstacle) if obstacle.is_usage() => ExitCode::Usage,
            Self::Obstacle(_) | Self::NotWritten { .. } => ExitCode::NotDone,
            Self::Interrupted => ExitCode::Interrupted,
        }
    }
}

fn sql_exit_code(error: &SqlError) -> ExitCode {
    match error.code.as_str() {
        _ if error.is_lock_not_available() || error.is_conflict() => ExitCode::Busy,
        "25006" => ExitCode::Unreachable,
        _ => ExitCode::NotDone,
    }
}

fn registry_exit_code(error: &RegistryError) -> ExitCode {
    match error {
        RegistryError::Connect(_) => ExitCode::Unreachable,
        RegistryError::Condition { .. } | RegistryError::Order { .. } => ExitCode::Usage,
        RegistryError::Sql(error) => sql_exit_code(error),
        RegistryError::NotInitialised { .. } => ExitCode::NotDone,
    }
}

fn selection_exit_code(error: &SelectionError) -> ExitCode {
    match error {
        SelectionError::Registry(error) => registry_exit_code(error),
        SelectionError::Unknown { .. }
        | SelectionError::Shared { .. }
        | SelectionError::NoSuchColumn { .. } => ExitCode::Usage,
    }
}

fn scope_exit_code(error: &ScopeError) -> ExitCode {
    match error {
        ScopeError::Connect(_) | ScopeError::Unknown(_) => ExitCode::Unreachable,
        ScopeError::NoSchema { .. } | ScopeError::SchemaGone { .. } => ExitCode::NotDone,
        ScopeError::Sql(error) => sql_exit_code(error),
    }
}

fn user_exit_code(error: &UserError) -> ExitCode {
    match error {
        UserError::Scope(error) => scope_exit_code(error),
        _ => ExitCode::NotDone,
    }
}

fn run_sql_exit_code(error: &RunSqlError) -> ExitCode {
    match error {
        RunSqlError::Empty | RunSqlError::Nul { .. } | RunSqlError::Refused(_) => ExitCode::Usage,
        RunSqlError::Statement { source, .. } => sql_exit_code(source),
        RunSqlError::Scope(error) => scope_exit_code(error),
    }
}

fn domain_exit_code(error: &DomainError) -> ExitCode {
    match error {
        DomainError::Registry(error) => registry_exit_code(error),
        DomainError::Selection(error) => selection_exit_code(error),
        DomainError::Change(error) => change_exit_code(error),
        DomainError::Last(_) | DomainError::NoSharedRow { .. } => ExitCode::Usage,
        DomainError::Taken(_) | DomainError::AlreadyThere(_) => ExitCode::NotDone,
        DomainError::NoSuchDomain { .. } | DomainError::Primary { .. } => ExitCode::NotDone,
    }
}

fn clone_exit_code(error: &CloneError) -> ExitCode {
    match error {
        CloneError::NoSource { .. } | CloneError::Shared { .. } => ExitCode::Usage,
        CloneError::NoSuchColumn { .. } | CloneError::Mask { .. } => ExitCode::Usage,
        CloneError::Obstacle(obstacle) if obstacle.is_usage() => ExitCode::Usage,
        CloneError::BeingDeleted { .. } => ExitCode::NotDone,
        CloneError::Obstacle(_) | CloneError::Unknown { .. } | CloneError::Differs { .. } => {
            ExitCode::NotDone
        }
        CloneError::Busy { .. } | CloneError::Changing { .. } => ExitCode::Busy,
        CloneError::Sql { source, .. } => sql_exit_code(source),
        CloneError::Migrate(error) => migrate_exit_code(error),
        CloneError::Registry(error) => registry_exit_code(error),
        CloneError::Connect(_) | CloneError::Unanswered(_) => ExitCode::Unreachable,
    }
}

fn template_exit_code(error: &TemplateError) -> ExitCode {
    match error {
        TemplateError::NoTemplate { .. } => ExitCode::Usage,
        TemplateError::Unfit { .. } => ExitCode::CheckFailed,
        TemplateError::Failed { .. } => ExitCode::NotDone,
        TemplateError::Busy { .. } => ExitCode::Busy,
        TemplateError::Sql { source, .. } => sql_exit_code(source),
        TemplateError::Look(error) => look_exit_code(error),
        TemplateError::Registry(error) => registry_exit_code(error),
        TemplateError::Connect(_) => ExitCode::Unreachable,
    }
}

fn update_exit_code(error: &UpdateError) -> ExitCode {
    match error {
        UpdateError::Selection(error) => selection_exit_code(error),
        UpdateError::Obstacle(_) | UpdateError::Identity { .. } | UpdateError::Twice { .. } => {
            ExitCode::Usage
        }
        UpdateError::Change(error) => change_exit_code(error),
        UpdateError::Registry(error) => registry_exit_code(error),
    }
}

fn rename_exit_code(error: &RenameError) -> ExitCode {
    match error {
        RenameError::Selection(error) => selection_exit_code(error),
        RenameError::SameName { .. } => ExitCode::Usage,
        RenameError::Obstacle(_) | RenameError::NoSchema { .. } => ExitCode::NotDone,
        RenameError::Unfinished { .. } => ExitCode::NotDone,
        RenameError::Change(error) => change_exit_code(error),
        RenameError::Registry(error) => registry_exit_code(error),
    }
}

fn delete_exit_code(error: &DeleteError) -> ExitCode {
    match error {
        DeleteError::Selection(error) => selection_exit_code(error),
        DeleteError::Name(_) | DeleteError::HasBegun { .. } => ExitCode::Usage,
        DeleteError::Outside { .. } | DeleteError::Gone { .. } => ExitCode::NotDone,
        DeleteError::Sql { source, .. } => sql_exit_code(source),
        DeleteError::Interrupted { .. } => ExitCode::Interrupted,
        DeleteError::Change(error) => change_exit_code(error),
        DeleteError::Registry(error) => registry_exit_code(error),
    }
}

fn dump_exit_code(error: &DumpError) -> ExitCode {
    match error {
        DumpError::NoTenant { .. } | DumpError::NoFile { .. } => ExitCode::Usage,
        DumpError::Exists { .. } | DumpError::NotWritten { .. } => ExitCode::NotDone,
        DumpError::NoSchema { .. } | DumpError::Unfinished { .. } => ExitCode::NotDone,
        DumpError::Pooled | DumpError::Program(_) | DumpError::Unknown { .. } => ExitCode::NotDone,
        DumpError::Busy { .. } | DumpError::Changed { .. } => ExitCode::Busy,
        DumpError::Sql { source, .. } => sql_exit_code(source),
        DumpError::Registry(error) => registry_exit_code(error),
        DumpError::Connect(_) => ExitCode::Unreachable,
    }
}

fn archive_exit_code(error: &ArchiveError) -> ExitCode {
    match error {
        ArchiveError::Unreadable { .. } | ArchiveError::NoDump { .. } => ExitCode::Usage,
        ArchiveError::NoEnd { .. } | ArchiveError::Damaged { .. } | ArchiveError::Newer { .. } => {
            ExitCode::NotDone
        }
    }
}

fn restore_exit_code(error: &RestoreError) -> ExitCode {
    match error {
        RestoreError::Obstacle(obstacle) if obstacle.is_usage() => ExitCode::Usage,
        RestoreError::NoSuchColumn { .. } | RestoreError::NotInDump { .. } => ExitCode::Usage,
        RestoreError::NewerServer { .. } | RestoreError::Program(_) => ExitCode::NotDone,
        RestoreError::Obstacle(_) | RestoreError::Hostname(_) => ExitCode::NotDone,
        RestoreError::Text(_) | RestoreError::Differs { .. } => ExitCode::NotDone,
        RestoreError::Busy { .. } => ExitCode::Busy,
        RestoreError::Rows { source, .. } | RestoreError::Sql { source, .. } => {
            sql_exit_code(source)
        }
        RestoreError::Migrate(error) => migrate_exit_code(error),
        RestoreError::Registry(error) => registry_exit_code(error),
        RestoreError::Connect(_) | RestoreError::Unanswered(_) => ExitCode::Unreachable,
    }
}

fn change_exit_code(error: &ChangeError) -> ExitCode {
    match error {
        ChangeError::Connect(_) => ExitCode::Unreachable,
        ChangeError::Busy { .. } | ChangeError::SchemaBusy { .. } | ChangeError::Unsettled => {
            ExitCode::Busy
        }
        ChangeError::Sql(error) => sql_exit_code(error),
    }
}

fn look_exit_code(error: &LookError) -> ExitCode {
    match error {
        LookError::Connect(_) => ExitCode::Unreachable,
        LookError::Sql(error) => sql_exit_code(error),
    }
}

fn migrate_exit_code(error: &MigrateError) -> ExitCode {
    match error {
        MigrateError::Selection(error) => selection_exit_code(error),
        MigrateError::Look(error) => look_exit_code(error),
        MigrateError::Preflight(error) => preflight_exit_code(error),
        MigrateError::Disagree { .. } => ExitCode::CheckFailed,
        MigrateError::Forbidden(_) | MigrateError::NoSuchVersion { .. } => ExitCode::Usage,
    }
}

fn preflight_exit_code(error: &PreflightError) -> ExitCode {
    match error {
        PreflightError::Connect(_) => ExitCode::Unreachable,
        PreflightError::Sql(error) => sql_exit_code(error),
        PreflightError::Pooled { .. } => ExitCode::Usage,
    }
}

fn scaffold_exit_code(error: &ScaffoldError) -> ExitCode {
    match error {
        ScaffoldError::Write { .. } | ScaffoldError::Rename { .. } => ExitCode::NotDone,
        _ => ExitCode::Usage,
    }
}
