//! `rename-tenant`: another name for a tenant's schema.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;
use crate::cli::text::printable;
use crate::migration::scaffold::FolderKind;
use crate::name::SchemaName;
use crate::run_log::Entry;
use crate::tenant::{CreateTenants, RenameTenant};

/// Give a tenant's schema another name
///
/// The schema and the registry row change in one transaction; the domains follow. It waits a while for
/// transactions that are open in the schema. What an app keeps of the old name it has to look up again.
#[derive(Debug, clap::Args)]
pub(crate) struct RenameTenantArgs {
    /// The tenant's schema
    old: String,

    /// What it is to be called, 1 to 63 bytes
    new: String,

    /// Do everything but the commit, and say what it came to
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &mut Context, args: &RenameTenantArgs) -> CommandResult {
    let (database, registry) = (context.database().await?, context.registry()?);
    let old = SchemaName::registered(&args.old);
    let new = SchemaName::tenant(&args.new, registry.names().shared_schema.as_str())?;
    let migrations = context.migrations_or_none(FolderKind::Tenant, None)?;
    let rename = RenameTenant {
        create: CreateTenants {
            database: &database,
            registry: &registry,
            migrations: &migrations,
            adopt: false,
            seeds: None,
            template: None,
        },
        old: &old,
        new: &new,
        rehearse: args.dry_run,
    };
    let renamed = rename.run().await?;
    if !args.dry_run {
        let run_log = context.begin_run("rename-tenant", &database).await;
        run_log.note(Entry::done(&old, format!("renamed to `{new}`")));
        run_log.note(Entry::done(&new, format!("renamed from `{old}`")));
    }
    let (from, to) = (printable(old.as_str()), printable(new.as_str()));
    for function in &renamed.naming_old {
        let function = printable(function);
        context.report.warn(format!("the text of `{function}` still says `{from}`"));
    }
    let verb = if args.dry_run { "would rename" } else { "renamed" };
    context.report.answer(format!("{verb} tenant `{from}` to `{to}`"));
    context.report.object(
        "tenant",
        json!({
            "schema": new,
            "before": old,
            "naming_old": renamed.naming_old,
            "dry_run": args.dry_run,
        }),
    );
    Ok(ExitCode::Done)
}
