//! `delete-domain`: let a hostname no longer lead to its tenant.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;
use crate::cli::text::{count, printable};
use crate::name::Hostname;
use crate::tenant::{DeletedDomain, delete_domain};

/// Let a hostname no longer lead to its tenant
///
/// The primary domain of a tenant that has others is kept: set another one first. The tenant's last
/// domain is deleted only with `--yes`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteDomainArgs {
    /// The hostname
    host: String,

    /// Delete it even if it is the tenant's last domain
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(context: &mut Context, args: &DeleteDomainArgs) -> CommandResult {
    let host: Hostname = args.host.parse()?;
    let (database, registry) = (context.database().await?, context.registry()?);
    // On a terminal, `DomainError::Last` is the question to ask before trying again with `true`.
    let deleted = delete_domain(&database, &registry, &host, args.yes).await?;
    context.report.answer(sentence(&deleted));
    context.report.object(
        "domain",
        json!({
            "domain": deleted.domain.host,
            "schema": deleted.domain.schema,
            "state": "deleted",
            "left": deleted.left,
        }),
    );
    Ok(ExitCode::Done)
}

fn sentence(deleted: &DeletedDomain) -> String {
    let host = printable(&deleted.domain.host);
    let schema = printable(deleted.domain.schema.as_str());
    let left = match deleted.left {
        0 => "no domain leads to it any more".into(),
        left => format!("it has {} left", count(left, "domain")),
    };
    format!("deleted domain `{host}` of `{schema}`; {left}")
}
