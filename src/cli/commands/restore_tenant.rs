//! `restore-tenant`: a tenant from a file that `dump-tenant` has written.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::column_value::column_and_value;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::report::Report;
use crate::cli::step_report::StepReport;
use crate::cli::text::{count, printable};
use crate::migration::scaffold::FolderKind;
use crate::name::{Hostname, HostnameError, SchemaName};
use crate::run_log::{Entry, Outcome, RunLog};
use crate::tenant::{Archive, CreateTenants, Manifest, RestoreTenant, RestoreWishes, Restored};

/// Make a tenant from a file that `dump-tenant` has written
///
/// In one transaction, which compares what it made with what the file says: the tenant is there
/// whole or not at all. A dump is run as SQL: restore only what you trust.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreTenantArgs {
    /// The file
    file: PathBuf,

    /// The tenant's schema, if it is to be another than in the file
    #[arg(long = "as", value_name = "SCHEMA")]
    new: Option<String>,

    /// A domain that leads to the tenant, instead of those in the file; may be given more than
    /// once, the first is primary. A tenant restored as another has none but these
    #[arg(long, value_name = "HOST")]
    domain: Vec<String>,

    /// Leave out the domains in the file
    #[arg(long, conflicts_with = "domain")]
    no_domains: bool,

    /// A value for a column of the registry; may be given more than once
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = column_and_value)]
    set: Vec<(String, String)>,

    /// A column of the registry whose value in the file is left out; may be given more than once
    #[arg(long, value_name = "COLUMN")]
    without: Vec<String>,

    /// Do everything but the commit, and say what it came to
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &mut Context, args: &RestoreTenantArgs) -> CommandResult {
    let (database, registry) = (context.database().await?, context.registry()?);
    let shared = registry.names().shared_schema.as_str();
    let wishes = args.wishes(shared)?;
    let migrations = context.migrations_or_none(FolderKind::Tenant, None)?;
    let archive = Archive::open(&args.file).await?;
    SchemaName::tenant(archive.manifest.schema.as_str(), shared)?;
    let restore = RestoreTenant {
        create: CreateTenants {
            database: &database,
            registry: &registry,
            migrations: &migrations,
            adopt: false,
            seeds: None,
            template: None,
        },
        archive: &archive,
        wishes: &wishes,
        rehearse: args.dry_run,
    };
    let tenant = restore.prepare().await?;
    let run_log = match args.dry_run {
        true => RunLog::default(),
        false => context.begin_run("restore-tenant", &database).await,
    };
    let schema = tenant.schema.clone();
    let restored = restore.run(tenant, &StepReport::new(context.report)).await;
    let (outcome, what) = match &restored {
        Ok(_) => (Outcome::Done, format!("restored from `{}`", args.file.display())),
        Err(error) => (Outcome::Failed, error.to_string()),
    };
    run_log.note(Entry { outcome, ..Entry::done(&schema, what) });
    args.answer(&context.report, &archive.manifest, &restored?);
    Ok(ExitCode::Done)
}

impl RestoreTenantArgs {
    fn wishes(&self, shared: &str) -> Result<RestoreWishes, CommandError> {
        let schema = self.new.as_ref().map(|new| SchemaName::tenant(new, shared)).transpose()?;
        let domains = self.domain.iter().map(|it| it.parse());
        let domains = domains.collect::<Result<Vec<Hostname>, HostnameError>>()?;
        Ok(RestoreWishes {
            schema,
            domains: (self.no_domains || !domains.is_empty()).then_some(domains),
            values: self.set.clone(),
            without: self.without.clone(),
        })
    }

    fn answer(&self, report: &Report, dumped: &Manifest, restored: &Restored) {
        let tenant = &restored.tenant;
        let (source, schema) =
            (printable(dumped.schema.as_str()), printable(tenant.schema.as_str()));
        for function in &restored.naming_source {
            let function = printable(function);
            report.warn(format!("the text of `{function}` names `{source}`, in `{schema}` too"));
        }
        let verb = if self.dry_run { "would restore" } else { "restored" };
        let renamed = if source == schema { String::new() } else { format!(" as `{schema}`") };
        let domains: Vec<String> = tenant.domains.iter().map(|it| format!(" at {it}")).collect();
        report.answer(format!(
            "{verb} tenant `{source}`{renamed}{}: {}, {}",
            domains.join(","),
            count(restored.tables, "table"),
            count(restored.rows.try_into().unwrap_or(usize::MAX), "row"),
        ));
        report.object(
            "tenant",
            json!({
                "schema": tenant.schema,
                "domains": tenant.domains,
                "file": self.file.display().to_string(),
                "dumped_as": dumped.schema,
                "dumped_id": dumped.id,
                "dumped_at": dumped.made_at,
                "tables": restored.tables,
                "rows": restored.rows,
                "dry_run": self.dry_run,
            }),
        );
    }
}
