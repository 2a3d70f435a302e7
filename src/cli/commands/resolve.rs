//! `resolve`: which tenant a hostname leads to.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::text::printable;
use crate::name::Hostname;
use crate::tenant::{DomainError, Tenant, tenant_of_host};

/// Show which tenant a hostname leads to
///
/// Prints the tenant's schema. Takes what a browser sends as `Host`: any case, with or without a
/// port.
#[derive(Debug, clap::Args)]
pub(crate) struct ResolveArgs {
    /// The hostname
    host: String,
}

pub(crate) async fn run(context: &mut Context, args: &ResolveArgs) -> CommandResult {
    let host = Hostname::from_host_header(&args.host)?;
    let registry = context.registry()?;
    let mut connection = context.connection().await?;
    let tenant = tenant_of_host(&mut connection, &registry, &host).await?;
    connection.close().await;
    let tenant = tenant
        .ok_or_else(|| CommandError::from(DomainError::NoSuchDomain { host: host.clone() }))?;
    let is_primary = tenant.primary_domain.as_deref() == Some(host.as_str());
    let report = &context.report;
    report.say(sentence(&host, &tenant, is_primary));
    report.answer(printable(tenant.schema.as_str()));
    report.object(
        "domain",
        json!({
            "domain": host,
            "schema": tenant.schema,
            "name": tenant.name,
            "is_primary": is_primary,
        }),
    );
    Ok(ExitCode::Done)
}

fn sentence(host: &Hostname, tenant: &Tenant, is_primary: bool) -> String {
    let primary = if is_primary { "the primary" } else { "a" };
    let name = tenant.name.as_deref().unwrap_or(tenant.schema.as_str());
    format!("`{host}` is {primary} domain of `{}`", printable(name))
}
