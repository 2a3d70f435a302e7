//! `create-domain`: make a hostname lead to a tenant.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;
use crate::cli::text::printable;
use crate::name::Hostname;
use crate::tenant::ChangeDomains;

/// Make a hostname lead to a tenant
///
/// It is stored in one form: lower case, punycode, without a trailing dot. A tenant's first domain
/// becomes its primary one.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateDomainArgs {
    /// The hostname, without scheme and port
    host: String,

    /// The tenant's schema; the shared schema's name for the public site
    #[arg(long, value_name = "NAME")]
    schema: String,

    /// Make it the domain that is shown for the tenant, instead of the present one
    #[arg(long)]
    primary: bool,

    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &mut Context, args: &CreateDomainArgs) -> CommandResult {
    let host: Hostname = args.host.parse()?;
    let (database, registry) = (context.database().await?, context.registry()?);
    let domains = ChangeDomains { database: &database, registry: &registry, dry_run: args.dry_run };
    let domain = domains.create(&host, &args.schema, args.primary).await?;
    let primary = if domain.is_primary { "primary " } else { "" };
    if !args.dry_run {
        let what = format!("created {primary}domain `{host}`");
        context.record_done("create-domain", &database, &domain.schema, what).await;
    }
    let verb = if args.dry_run { "would create" } else { "created" };
    let schema = printable(domain.schema.as_str());
    context.report.answer(format!("{verb} {primary}domain `{host}` of `{schema}`"));
    context.report.object(
        "domain",
        json!({
            "domain": domain.host,
            "schema": domain.schema,
            "is_primary": domain.is_primary,
            "state": "created",
            "dry_run": args.dry_run,
        }),
    );
    Ok(ExitCode::Done)
}
