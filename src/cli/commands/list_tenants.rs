//! `list-tenants`: the registry's tenants.

use serde_json::{Map, Value, json};

use crate::cli::context::Context;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;
use crate::cli::report::Report;
use crate::cli::selection::SelectionArgs;
use crate::tenant::{Tenant, Tenants, list_tenants};

/// List the tenants
///
/// Each with its schema, name, primary domain and the registry's other columns: a table on a
/// terminal, tab-separated values in a pipe, or an object a line with `--format json`. Without a
/// selection, all of them, and the shared schema's own row if it has one.
#[derive(Debug, clap::Args)]
pub(crate) struct ListTenantsArgs {
    #[command(flatten)]
    selection: SelectionArgs,
}

pub(crate) async fn run(context: &mut Context, args: &ListTenantsArgs) -> CommandResult {
    let selection = args.selection.or_all()?;
    let registry = context.registry()?;
    let mut connection = context.connection().await?;
    let tenants = list_tenants(&mut connection, &registry, &selection).await?;
    connection.close().await;
    show(&context.report, &tenants);
    Ok(ExitCode::Done)
}

fn show(report: &Report, tenants: &Tenants) {
    if report.is_json() {
        for tenant in &tenants.tenants {
            report.object("tenant", fields(tenant));
        }
        return;
    }
    let mut header = vec!["schema", "name", "primary_domain"];
    header.extend(tenants.columns.iter().map(String::as_str));
    let rows: Vec<_> = tenants.tenants.iter().map(row).collect();
    report.list("tenant", &header, &rows);
    if rows.is_empty() {
        report.say("no tenants");
    }
}

fn row(tenant: &Tenant) -> Vec<Option<String>> {
    let mut row =
        vec![Some(tenant.schema.to_string()), tenant.name.clone(), tenant.primary_domain.clone()];
    row.extend(tenant.values.iter().map(|value| value.text.clone()));
    row
}

/// The registry's other columns are apart, so that none of them is taken for one of ours.
fn fields(tenant: &Tenant) -> Value {
    let columns = tenant.values.iter();
    let columns: Map<String, Value> =
        columns.map(|value| (value.column.clone(), value.json.clone())).collect();
    json!({
        "schema": tenant.schema.as_str(),
        "name": tenant.name,
        "primary_domain": tenant.primary_domain,
        "columns": columns,
    })
}
