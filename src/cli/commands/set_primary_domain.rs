//! `set-primary-domain`: choose the domain that is shown for a tenant.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;
use crate::cli::text::printable;
use crate::name::Hostname;
use crate::tenant::{ChangeDomains, NewPrimary};

/// Choose the domain that is shown for its tenant
///
/// The tenant's present primary domain goes on leading to it.
#[derive(Debug, clap::Args)]
pub(crate) struct SetPrimaryDomainArgs {
    /// One of the tenant's domains
    host: String,

    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &mut Context, args: &SetPrimaryDomainArgs) -> CommandResult {
    let host: Hostname = args.host.parse()?;
    let (database, registry) = (context.database().await?, context.registry()?);
    let domains = ChangeDomains { database: &database, registry: &registry, dry_run: args.dry_run };
    let new = domains.set_primary(&host).await?;
    if !new.is_unchanged() && !args.dry_run {
        let what = format!("made `{host}` the primary domain");
        context.record_done("set-primary-domain", &database, &new.domain.schema, what).await;
    }
    context.report.answer(sentence(&new, args.dry_run));
    context.report.object(
        "domain",
        json!({
            "domain": new.domain.host,
            "schema": new.domain.schema,
            "is_primary": true,
            "before": new.before.first(),
            "dry_run": args.dry_run,
        }),
    );
    Ok(ExitCode::Done)
}

fn sentence(new: &NewPrimary, dry_run: bool) -> String {
    let host = printable(&new.domain.host);
    let schema = printable(new.domain.schema.as_str());
    let is_now = if dry_run { "would become" } else { "is now" };
    match new.before.first() {
        _ if new.is_unchanged() => format!("`{host}` is the primary domain of `{schema}` already"),
        Some(before) => {
            let before = printable(before);
            format!("`{host}` {is_now} the primary domain of `{schema}`, instead of `{before}`")
        }
        None => format!("`{host}` {is_now} the primary domain of `{schema}`"),
    }
}
