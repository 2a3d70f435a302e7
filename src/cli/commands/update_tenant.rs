//! `update-tenant`: what the registry says of a tenant.

use serde_json::{Value, json};

use crate::cli::column_value::column_and_value;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::report::Report;
use crate::cli::text::printable;
use crate::name::SchemaName;
use crate::tenant::{Changed, UpdateTenant};

/// Change what the registry says of a tenant
///
/// The columns are whatever the project has; the server says which values they take. The data in the
/// tenant's schema is not touched.
#[derive(Debug, clap::Args)]
pub(crate) struct UpdateTenantArgs {
    /// The tenant's schema
    schema: String,

    /// A column and its new value; may be given more than once
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = column_and_value)]
    set: Vec<(String, String)>,

    /// A column that is to hold nothing (NULL); may be given more than once
    #[arg(long, value_name = "COLUMN")]
    unset: Vec<String>,

    /// The tenant's name as people write it
    #[arg(long)]
    name: Option<String>,

    /// Do everything but the commit, and say what it came to
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &mut Context, args: &UpdateTenantArgs) -> CommandResult {
    let (database, registry) = (context.database().await?, context.registry()?);
    let name = args.name.iter().map(|it| (registry.names().name.clone(), Some(it.clone())));
    let set = args.set.iter().map(|(column, value)| (column.clone(), Some(value.clone())));
    let unset = args.unset.iter().map(|column| (column.clone(), None));
    let values: Vec<_> = name.chain(set).chain(unset).collect();
    if values.is_empty() {
        return Err(CommandError::Usage {
            message: "nothing to change is given".into(),
            hint: "say `--set COLUMN=VALUE`; `tenantctl list-tenants` shows the columns".into(),
        });
    }
    let schema = SchemaName::registered(&args.schema);
    let update = UpdateTenant {
        database: &database,
        registry: &registry,
        schema: &schema,
        values: &values,
        rehearse: args.dry_run,
    };
    let changed = update.run().await?;
    if !args.dry_run && !changed.is_empty() {
        let what = format!("updated {}", sentence(&changed));
        context.record_done("update-tenant", &database, &schema, what).await;
    }
    answer(&context.report, &schema, &changed, args.dry_run);
    Ok(ExitCode::Done)
}

fn answer(report: &Report, schema: &SchemaName, changed: &[Changed], dry_run: bool) {
    let name = printable(schema.as_str());
    report.answer(match (changed, dry_run) {
        ([], _) => format!("tenant `{name}` is so already"),
        (_, true) => format!("would update tenant `{name}`: {}", sentence(changed)),
        (_, false) => format!("updated tenant `{name}`: {}", sentence(changed)),
    });
    let change =
        |it: &Changed| json!({ "column": it.column, "before": it.before, "after": it.after });
    let changes: Value = changed.iter().map(change).collect();
    report.object("tenant", json!({ "schema": schema, "changed": changes, "dry_run": dry_run }));
}

/// Returns `paid_until 2025-01-01 → 2099-12-31, on_trial true → false`.
fn sentence(changed: &[Changed]) -> String {
    let value = |it: &Option<String>| it.as_deref().map_or("NULL".into(), printable);
    let change = |it: &Changed| {
        format!("{} {} → {}", printable(&it.column), value(&it.before), value(&it.after))
    };
    changed.iter().map(change).collect::<Vec<_>>().join(", ")
}
