//! `delete-domain`: let a hostname no longer lead to its tenant.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::prompt::Person;
use crate::cli::report::Report;
use crate::cli::text::{count, printable};
use crate::name::Hostname;
use crate::tenant::{ChangeDomains, DeletedDomain, Domain, DomainError};

/// Let a hostname no longer lead to its tenant
///
/// The primary domain of a tenant that has others is kept: set another one first. The tenant's last
/// domain is deleted only when a person at the terminal says so, or with `--yes`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteDomainArgs {
    /// The hostname
    host: String,

    /// Delete it even if it is the tenant's last domain, and do not ask
    #[arg(long, short)]
    yes: bool,

    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &mut Context, args: &DeleteDomainArgs) -> CommandResult {
    let host: Hostname = args.host.parse()?;
    let (database, registry) = (context.database().await?, context.registry()?);
    let domains = ChangeDomains { database: &database, registry: &registry, dry_run: args.dry_run };
    let deleted = match domains.delete(&host, args.yes).await {
        Err(DomainError::Last(domain)) => {
            confirm(&context.report, domain, args.dry_run).await?;
            domains.delete(&host, true).await?
        }
        other => other?,
    };
    if !args.dry_run {
        let what = format!("deleted domain `{host}`");
        context.record_done("delete-domain", &database, &deleted.domain.schema, what).await;
    }
    context.report.answer(sentence(&deleted, args.dry_run));
    context.report.object(
        "domain",
        json!({
            "domain": deleted.domain.host,
            "schema": deleted.domain.schema,
            "state": "deleted",
            "left": deleted.left,
            "dry_run": args.dry_run,
        }),
    );
    Ok(ExitCode::Done)
}

/// Asks whether a tenant's last domain may go; of a dry run only whether anybody could be asked.
async fn confirm(report: &Report, domain: Domain, dry_run: bool) -> Result<(), CommandError> {
    let question = format!(
        "`{}` is the last domain of `{}`. Delete it?",
        printable(&domain.host),
        printable(domain.schema.as_str())
    );
    match Person::present(report) {
        None => Err(DomainError::Last(domain).into()),
        Some(_) if dry_run => Ok(()),
        Some(person) if person.confirm(&question, Some(false)).await? => Ok(()),
        Some(_) => Err(CommandError::NotDone { message: "nothing was deleted".into(), hint: None }),
    }
}

fn sentence(deleted: &DeletedDomain, dry_run: bool) -> String {
    let host = printable(&deleted.domain.host);
    let schema = printable(deleted.domain.schema.as_str());
    let (verb, has) = if dry_run { ("would delete", "would have") } else { ("deleted", "has") };
    let left = match deleted.left {
        0 if dry_run => "no domain would lead to it any more".into(),
        0 => "no domain leads to it any more".into(),
        left => format!("it {has} {} left", count(left, "domain")),
    };
    format!("{verb} domain `{host}` of `{schema}`; {left}")
}
