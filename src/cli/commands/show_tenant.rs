//! `show-tenant`: all there is to say of one tenant.

use indicatif::HumanBytes;
use serde_json::{Map, Value, json};

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::report::Report;
use crate::cli::status_report;
use crate::migration::scaffold::FolderKind;
use crate::migration::{FolderError, PlanOptions, Survey};
use crate::name::SchemaName;
use crate::tenant::{TenantDetails, tenant_details};

/// Show one tenant
///
/// Its registry row, its domains, how far it is migrated, and what its schema holds: a table on a
/// terminal, tab-separated values in a pipe, or one object with `--format json`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowTenantArgs {
    /// The tenant's schema
    schema: String,
}

pub(crate) async fn run(context: &mut Context, args: &ShowTenantArgs) -> CommandResult {
    let (database, registry) = (context.database().await?, context.registry()?);
    let schema = SchemaName::registered(&args.schema);
    let mut connection = context.connection().await?;
    let details = tenant_details(&mut connection, &registry, &schema).await?;
    connection.close().await;
    let kind = match schema == registry.names().shared_schema {
        true => FolderKind::Shared,
        false => FolderKind::Tenant,
    };
    let survey = match context.migrations_or_none(kind, None) {
        Ok(set) => Some(
            Survey::take(&database, &set, std::slice::from_ref(&schema), PlanOptions::default())
                .await?,
        ),
        // The tenant is there, whether or not this folder is a project.
        Err(CommandError::Folder(FolderError::Missing { .. })) => None,
        Err(error) => return Err(error),
    };
    match context.report.is_json() {
        true => context.report.object("tenant", fields(&details, survey.as_ref())),
        false => show(&context.report, &details, survey.as_ref()),
    }
    Ok(ExitCode::Done)
}

fn show(report: &Report, details: &TenantDetails, survey: Option<&Survey>) {
    let tenant = &details.tenant;
    let row = |name: &str, value: Option<String>| vec![Some(name.to_owned()), value];
    let mut rows =
        vec![row("schema", Some(tenant.schema.to_string())), row("name", tenant.name.clone())];
    rows.extend(details.domains.iter().map(|domain| {
        row(if domain.is_primary { "primary domain" } else { "domain" }, Some(domain.host.clone()))
    }));
    rows.extend(tenant.values.iter().map(|it| row(&it.column, it.text.clone())));
    rows.extend(survey.map(|survey| row("migrations", Some(status_report::of_one(survey)))));
    if let Some(contents) = &details.contents {
        rows.push(row("owner", Some(contents.owner.clone())));
        rows.push(row("tables", Some(contents.tables.to_string())));
        let size = contents.bytes.map(|bytes| HumanBytes(bytes).to_string());
        rows.push(row("size", size.or(Some("not known: a table is locked".into()))));
    }
    report.list("tenant", &["field", "value"], &rows);
}

/// The registry's other columns are apart, so that none of them is taken for one of ours.
fn fields(details: &TenantDetails, survey: Option<&Survey>) -> Value {
    let tenant = &details.tenant;
    let columns = tenant.values.iter();
    let columns: Map<String, Value> =
        columns.map(|value| (value.column.clone(), value.json.clone())).collect();
    let domain =
        |it: &crate::tenant::Domain| json!({ "domain": it.host, "is_primary": it.is_primary });
    let contents = details.contents.as_ref();
    json!({
        "schema": tenant.schema,
        "name": tenant.name,
        "primary_domain": tenant.primary_domain,
        "domains": details.domains.iter().map(domain).collect::<Vec<_>>(),
        "columns": columns,
        "migrations": survey.map(status_report::one),
        "owner": contents.map(|it| &it.owner),
        "tables": contents.map(|it| it.tables),
        "bytes": contents.and_then(|it| it.bytes),
    })
}
