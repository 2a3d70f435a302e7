//! What to type after something was not done to a tenant or its domains.

use super::{client_hint, connect_hint, migrate_hint, registry_hint, selection_hint};
use crate::cli::text::shell_word;
use crate::migration::LookError;
use crate::tenant::{
    ArchiveError, ChangeError, CloneError, DeleteError, DomainError, DumpError, Obstacle,
    RenameError, RestoreError, SelectionError, TemplateError, UpdateError,
};

pub(super) fn template_hint(error: &TemplateError) -> Option<String> {
    match error {
        TemplateError::NoTemplate { .. } => {
            Some("`tenantctl list-tenants` lists the tenants".into())
        }
        TemplateError::Unfit { .. } => {
            Some("nothing was created; leave out `--template` to run the migrations".into())
        }
        TemplateError::Failed { .. } => Some("nothing was created".into()),
        TemplateError::Busy { .. } => {
            Some("nothing was created; run the same command again".into())
        }
        TemplateError::Sql { source, .. } => source.hint.clone(),
        TemplateError::Look(LookError::Connect(error)) | TemplateError::Connect(error) => {
            connect_hint(error)
        }
        TemplateError::Look(LookError::Sql(_)) => None,
        TemplateError::Registry(error) => registry_hint(error),
    }
}

pub(super) fn clone_hint(error: &CloneError) -> Option<String> {
    match error {
        CloneError::NoSource { .. } => Some("`tenantctl list-tenants` lists the tenants".into()),
        CloneError::Obstacle(obstacle) => obstacle_hint(obstacle),
        CloneError::Busy { .. } | CloneError::Changing { .. } => {
            Some("nothing was changed; run the same command again".into())
        }
        CloneError::Unanswered(_) => {
            Some("run the same command again: it says whether the tenant exists".into())
        }
        CloneError::Sql { source, .. } => source.hint.clone(),
        CloneError::Migrate(error) => migrate_hint(error),
        CloneError::Registry(error) => registry_hint(error),
        CloneError::Connect(error) => connect_hint(error),
        _ => None,
    }
}

/// Returns what to do where one tenant is to be named.
fn tenant_hint(error: &SelectionError) -> Option<String> {
    match error {
        SelectionError::Shared { .. } => Some("nothing was changed; name a tenant's schema".into()),
        other => selection_hint(other),
    }
}

pub(super) fn update_hint(error: &UpdateError) -> Option<String> {
    match error {
        UpdateError::Selection(error) => tenant_hint(error),
        UpdateError::Obstacle(Obstacle::Required { .. }) => None,
        UpdateError::Obstacle(obstacle) => obstacle_hint(obstacle),
        UpdateError::Identity { is_schema: true, .. } => {
            Some("`tenantctl rename-tenant OLD NEW` gives a tenant another name".into())
        }
        UpdateError::Identity { .. } | UpdateError::Twice { .. } => None,
        UpdateError::Change(error) => change_hint(error),
        UpdateError::Registry(error) => registry_hint(error),
    }
}

pub(super) fn rename_hint(error: &RenameError) -> Option<String> {
    match error {
        RenameError::Selection(error) => tenant_hint(error),
        RenameError::Obstacle(Obstacle::SchemaExists { .. }) => {
            Some("nothing was changed; take another name".into())
        }
        RenameError::Obstacle(obstacle) => obstacle_hint(obstacle),
        RenameError::SameName { .. } => None,
        RenameError::NoSchema { .. } => {
            Some("`tenantctl doctor --fix` makes schemas that are missing".into())
        }
        RenameError::Unfinished { .. } => {
            Some("nothing was changed; finish that first, with the same command again".into())
        }
        RenameError::Change(ChangeError::Sql(error)) if error.is("42501") => Some(
            "nothing was changed; the role needs to own the schema, and `create` on the database"
                .into(),
        ),
        RenameError::Change(error) => change_hint(error),
        RenameError::Registry(error) => registry_hint(error),
    }
}

pub(super) fn delete_hint(error: &DeleteError) -> Option<String> {
    let text = match error {
        DeleteError::Selection(error) => return tenant_hint(error),
        DeleteError::Name(_) => {
            "`--keep-schema` deletes the registry row and its domains alone".into()
        }
        DeleteError::Outside { .. } => {
            "nothing was changed; drop or move these first, or keep the schema with `--keep-schema`"
                .into()
        }
        DeleteError::HasBegun { schema } => format!(
            "`tenantctl delete-tenant {} --drop-schema` does what is left",
            shell_word(schema.as_str())
        ),
        DeleteError::Gone { .. } => return None,
        DeleteError::Sql { source, .. } if source.is("23503") => {
            "rows of other tables refer to its registry row: delete those first, or let their \
             foreign key say `on delete cascade`"
                .into()
        }
        DeleteError::Sql { source, .. } if source.is("42501") => {
            "the role needs to own the schema and what is in it".into()
        }
        DeleteError::Sql { .. } => return None,
        DeleteError::Interrupted { has_begun: false, .. } => {
            "the same command again deletes it, or says that it is gone".into()
        }
        DeleteError::Interrupted { .. } => "the same command again does what is left".into(),
        DeleteError::Change(ChangeError::SchemaBusy { .. }) => {
            "nothing was dropped by this attempt; run the same command again".into()
        }
        DeleteError::Change(error) => return change_hint(error),
        DeleteError::Registry(error) => return registry_hint(error),
    };
    Some(text)
}

pub(super) fn dump_hint(error: &DumpError) -> Option<String> {
    match error {
        DumpError::NoTenant { .. } => Some("`tenantctl list-tenants` lists the tenants".into()),
        DumpError::Exists { .. } => {
            Some("name another file, or add `--force` to replace it".into())
        }
        DumpError::NoSchema { .. } => Some("`tenantctl status` shows what is missing".into()),
        DumpError::Unfinished { .. } => {
            Some("finish that first, with the same command that began it".into())
        }
        DumpError::NoFile { .. } | DumpError::NotWritten { .. } => {
            Some("name a file in a folder that you can write to".into())
        }
        DumpError::Pooled => {
            Some("give the server's own host and port with `--database-url`".into())
        }
        DumpError::Program(error) => client_hint(error),
        DumpError::Unknown { .. } => {
            Some("pg_dump alone can dump it: `pg_dump --format=custom --schema=NAME`".into())
        }
        DumpError::Busy { .. } | DumpError::Changed { .. } => {
            Some("nothing was written; run the same command again".into())
        }
        DumpError::Sql { source, .. } if source.is("42501") => Some(
            "nothing was written; use a role that sees every row of the schema: its owner's, with \
             `bypassrls` where policies are forced"
                .into(),
        ),
        DumpError::Sql { source, .. } => source.hint.clone(),
        DumpError::Registry(error) => registry_hint(error),
        DumpError::Connect(error) => connect_hint(error),
    }
}

pub(super) fn archive_hint(error: &ArchiveError) -> Option<String> {
    let text = match error {
        ArchiveError::Unreadable { .. } => return None,
        ArchiveError::NoDump { .. } => "`tenantctl dump-tenant SCHEMA --output FILE` writes one",
        ArchiveError::NoEnd { .. } | ArchiveError::Damaged { .. } => {
            "nothing was changed; pg_restore may read what is left of it"
        }
        ArchiveError::Newer { .. } => "nothing was changed; use the tenantctl that wrote it",
    };
    Some(text.into())
}

pub(super) fn restore_hint(error: &RestoreError) -> Option<String> {
    let text = match error {
        RestoreError::NewerServer { dumped, .. } => {
            format!("nothing was changed; restore it on a server of version {dumped} or newer")
        }
        RestoreError::Program(error) => return client_hint(error),
        RestoreError::NoSuchColumn { column, .. } => format!(
            "nothing was changed; add the column with a shared migration, or leave the value out \
             with `--without {}`",
            shell_word(column)
        ),
        RestoreError::NotInDump { .. } => "nothing was changed".into(),
        RestoreError::Hostname(_) | RestoreError::Obstacle(Obstacle::DomainTaken { .. }) => {
            "nothing was changed; give others with `--domain HOST`, or none with `--no-domains`"
                .into()
        }
        RestoreError::Obstacle(Obstacle::Exists { .. } | Obstacle::SchemaExists { .. }) => {
            "nothing was changed; restore it as another with `--as SCHEMA`".into()
        }
        RestoreError::Obstacle(obstacle) => return obstacle_hint(obstacle),
        RestoreError::Sql { source, .. } if source.is("42704") => {
            "nothing was changed; create it first: a dump of a tenant holds neither roles nor \
             extensions"
                .into()
        }
        RestoreError::Sql { source, .. } if source.is("42P01") || source.is("3F000") => {
            "nothing was changed; a dump of a tenant holds nothing of other schemas: `tenantctl \
             migrate-schemas --shared` makes what the shared one lacks"
                .into()
        }
        RestoreError::Busy { .. } => "nothing was changed; run the same command again".into(),
        RestoreError::Rows { .. } | RestoreError::Sql { .. } => "nothing was changed".into(),
        RestoreError::Text(_) | RestoreError::Differs { .. } => "nothing was changed".into(),
        RestoreError::Migrate(error) => return migrate_hint(error),
        RestoreError::Registry(error) => return registry_hint(error),
        RestoreError::Connect(error) => return connect_hint(error),
        RestoreError::Unanswered(_) => {
            "run the same command again: it says whether the tenant exists".into()
        }
    };
    Some(text)
}

pub(super) fn domain_hint(error: &DomainError) -> Option<String> {
    let text = match error {
        DomainError::Registry(error) => return registry_hint(error),
        DomainError::Selection(error) => return selection_hint(error),
        DomainError::Change(error) => return change_hint(error),
        DomainError::NoSharedRow { .. } => {
            "name a tenant's schema; `tenantctl list-tenants` lists them".into()
        }
        DomainError::Taken(domain) => {
            format!("to move it, first `tenantctl delete-domain {}`", shell_word(&domain.host))
        }
        DomainError::AlreadyThere(domain) if !domain.is_primary => format!(
            "`tenantctl set-primary-domain {}` makes it the primary one",
            shell_word(&domain.host)
        ),
        DomainError::AlreadyThere(_) => return None,
        DomainError::NoSuchDomain { .. } => "`tenantctl list-domains` lists those there are".into(),
        DomainError::Primary { another, .. } => format!(
            "first make another one primary: `tenantctl set-primary-domain {}`",
            shell_word(another)
        ),
        DomainError::Last(domain) => format!(
            "no hostname would lead to the tenant any more; if that is meant: `tenantctl \
             delete-domain {} --yes`",
            shell_word(&domain.host)
        ),
    };
    Some(text)
}

fn change_hint(error: &ChangeError) -> Option<String> {
    match error {
        ChangeError::Connect(error) => connect_hint(error),
        ChangeError::Busy { .. } | ChangeError::SchemaBusy { .. } | ChangeError::Unsettled => {
            Some("nothing was changed; run the same command again".into())
        }
        ChangeError::Sql(error) if error.is("42501") => {
            Some("the role needs `select, insert, update, delete` on the registry's tables".into())
        }
        ChangeError::Sql(_) => None,
    }
}

pub(super) fn obstacle_hint(obstacle: &Obstacle) -> Option<String> {
    let text = match obstacle {
        Obstacle::Exists { .. } => "`tenantctl list-tenants` lists the tenants".into(),
        Obstacle::SchemaExists { schema } => format!(
            "to register it as it is, add `--adopt`; to be rid of \
             it, `drop schema {}` in psql",
            crate::pg::identifier(schema.as_str())
        ),
        Obstacle::NothingToAdopt { .. } => "leave out `--adopt` to create it".into(),
        Obstacle::DomainTaken { .. } => "`tenantctl list-domains` lists the domains".into(),
        Obstacle::Required { column, .. } => format!("give it with `--set {column}=VALUE`"),
        Obstacle::NoSuchColumn { .. } => "add it with a shared migration, or leave it out".into(),
        _ => return None,
    };
    Some(text)
}
