//! `clone-tenant`: a tenant like another one, with its rows or without.

use serde_json::json;

use crate::cli::column_value::column_and_value;
use crate::cli::context::Context;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;
use crate::cli::migration_report::MigrationReport;
use crate::cli::text::printable;
use crate::migration::Mode;
use crate::migration::history::HISTORY_TABLE;
use crate::migration::scaffold::FolderKind;
use crate::name::{HostnameError, SchemaName};
use crate::tenant::{CloneTenant, CreateTenants, Mask, NewTenant};

/// Make a tenant like another one, with its rows or without
///
/// In one transaction, from one moment of the source, which can be read and written meanwhile. The
/// new tenant is there whole or not at all, and nothing of it leads to the source.
#[derive(Debug, clap::Args)]
pub(crate) struct CloneTenantArgs {
    /// The schema of the tenant to clone
    source: String,

    /// The new tenant's schema, 1 to 63 bytes
    new: String,

    /// The new tenant's name as people write it; the schema's where it is left out
    #[arg(long)]
    name: Option<String>,

    /// A domain that leads to the new tenant; may be given more than once, the first is primary
    #[arg(long, value_name = "HOST")]
    domain: Vec<String>,

    /// A value for another column of the registry; may be given more than once
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = column_and_value)]
    set: Vec<(String, String)>,

    /// Leave the rows behind, all but those of the migrations' history
    #[arg(long)]
    no_data: bool,

    /// What stands for a column's values, an SQL expression on the row; may be given more than once
    #[arg(long, value_name = "TABLE.COLUMN=EXPRESSION", value_parser = mask, conflicts_with = "no_data")]
    mask: Vec<Mask>,

    /// Do everything but the commit, and say what it came to
    #[arg(long)]
    dry_run: bool,
}

fn mask(given: &str) -> Result<Mask, String> {
    let wrong = "it is not of the form TABLE.COLUMN=EXPRESSION";
    let (place, expression) = given.split_once('=').ok_or(wrong)?;
    let (table, column) = place.split_once('.').ok_or(wrong)?;
    if table.is_empty() || column.is_empty() || expression.trim().is_empty() {
        return Err(wrong.into());
    }
    let (table, column) = (table.to_owned(), column.to_owned());
    Ok(Mask { table, column, expression: expression.to_owned() })
}

pub(crate) async fn run(context: &mut Context, args: &CloneTenantArgs) -> CommandResult {
    let (database, registry) = (context.database().await?, context.registry()?);
    let names = registry.names();
    let schema = SchemaName::tenant(&args.new, names.shared_schema.as_str())?;
    let domains = args.domain.iter().map(|it| it.parse()).collect::<Result<_, HostnameError>>()?;
    let name = args.name.iter().map(|name| (names.name.clone(), Some(name.clone())));
    let set = args.set.iter().map(|(column, value)| (column.clone(), Some(value.clone())));
    let tenant = NewTenant { schema, values: name.chain(set).collect(), domains };
    let migrations = context.migrations_or_none(FolderKind::Tenant, None)?;
    let clone = CloneTenant {
        create: CreateTenants {
            database: &database,
            registry: &registry,
            migrations: &migrations,
            adopt: false,
            seeds: None,
            template: None,
        },
        source: &SchemaName::registered(&args.source),
        only_rows_of: args.no_data.then_some(HISTORY_TABLE),
        masks: &args.mask,
        rehearse: args.dry_run,
    };
    let report = MigrationReport::new(context.report, Mode::Create);
    let cloned = clone.run(&tenant, &report).await?;
    if !args.dry_run {
        let what = format!("cloned from `{}`", args.source);
        context.record_done("clone-tenant", &database, &tenant.schema, what).await;
    }
    let (source, new) = (printable(&args.source), printable(tenant.schema.as_str()));
    for function in &cloned.naming_source {
        let function = printable(function);
        context.report.warn(format!("the text of `{function}` names `{source}`, in `{new}` too"));
    }
    let verb = if args.dry_run { "would clone" } else { "cloned" };
    let domains: Vec<String> = tenant.domains.iter().map(|it| format!(" at {it}")).collect();
    let tables = if cloned.tables == 1 { "table" } else { "tables" };
    let rows = if cloned.rows == 1 { "row" } else { "rows" };
    context.report.answer(format!(
        "{verb} tenant `{source}` as `{new}`{}: {} {tables}, {} {rows}",
        domains.join(","),
        cloned.tables,
        cloned.rows,
    ));
    context.report.object(
        "tenant",
        json!({
            "schema": tenant.schema,
            "domains": tenant.domains,
            "source": args.source,
            "tables": cloned.tables,
            "rows": cloned.rows,
            "dry_run": args.dry_run,
        }),
    );
    Ok(ExitCode::Done)
}
