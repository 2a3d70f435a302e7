//! `list-domains`: which hostname leads to which tenant.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;
use crate::cli::report::Report;
use crate::tenant::{Domain, list_domains};

/// List the domains of all tenants, or of one
///
/// Each tenant's primary domain comes first.
#[derive(Debug, clap::Args)]
pub(crate) struct ListDomainsArgs {
    /// Only those of the tenant with this schema
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
}

pub(crate) async fn run(context: &mut Context, args: &ListDomainsArgs) -> CommandResult {
    let registry = context.registry()?;
    let mut connection = context.connection().await?;
    let domains = list_domains(&mut connection, &registry, args.schema.as_deref()).await?;
    connection.close().await;
    show(&context.report, &domains);
    Ok(ExitCode::Done)
}

fn show(report: &Report, domains: &[Domain]) {
    if report.is_json() {
        for it in domains {
            let (domain, schema, is_primary) = (&it.host, &it.schema, it.is_primary);
            let fields = json!({ "domain": domain, "schema": schema, "is_primary": is_primary });
            report.object("domain", fields);
        }
        return;
    }
    let rows: Vec<_> = domains.iter().map(row).collect();
    report.list("domain", &["domain", "schema", "is_primary"], &rows);
    if rows.is_empty() {
        report.say("no domains");
    }
}

fn row(domain: &Domain) -> Vec<Option<String>> {
    vec![
        Some(domain.host.clone()),
        Some(domain.schema.to_string()),
        Some(domain.is_primary.to_string()),
    ]
}
