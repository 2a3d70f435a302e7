//! `set-primary-domain`: choose the domain that is shown for a tenant.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;
use crate::cli::text::printable;
use crate::name::Hostname;
use crate::tenant::{NewPrimary, set_primary_domain};

/// Choose the domain that is shown for its tenant
///
/// The tenant's present primary domain goes on leading to it.
#[derive(Debug, clap::Args)]
pub(crate) struct SetPrimaryDomainArgs {
    /// One of the tenant's domains
    host: String,
}

pub(crate) async fn run(context: &mut Context, args: &SetPrimaryDomainArgs) -> CommandResult {
    let host: Hostname = args.host.parse()?;
    let (database, registry) = (context.database().await?, context.registry()?);
    let new = set_primary_domain(&database, &registry, &host).await?;
    if !new.is_unchanged() {
        let what = format!("made `{host}` the primary domain");
        context.record_done("set-primary-domain", &database, &new.domain.schema, what).await;
    }
    context.report.answer(sentence(&new));
    context.report.object(
        "domain",
        json!({
            "domain": new.domain.host,
            "schema": new.domain.schema,
            "is_primary": true,
            "before": new.before.first(),
        }),
    );
    Ok(ExitCode::Done)
}

fn sentence(new: &NewPrimary) -> String {
    let host = printable(&new.domain.host);
    let schema = printable(new.domain.schema.as_str());
    match new.before.first() {
        _ if new.is_unchanged() => format!("`{host}` is the primary domain of `{schema}` already"),
        Some(before) => {
            let before = printable(before);
            format!("`{host}` is now the primary domain of `{schema}`, instead of `{before}`")
        }
        None => format!("`{host}` is now the primary domain of `{schema}`"),
    }
}
