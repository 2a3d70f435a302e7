//! `delete-domain`: let a hostname no longer lead to its tenant.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::prompt::Person;
use crate::cli::report::Report;
use crate::cli::text::{count, printable};
use crate::name::Hostname;
use crate::tenant::{DeletedDomain, Domain, DomainError, delete_domain};

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
}

pub(crate) async fn run(context: &mut Context, args: &DeleteDomainArgs) -> CommandResult {
    let host: Hostname = args.host.parse()?;
    let (database, registry) = (context.database().await?, context.registry()?);
    let delete = async |even_the_last| {
        delete_domain(&database, &registry, &host, even_the_last).await.map_err(CommandError::from)
    };
    let deleted = match delete(args.yes).await {
        Err(CommandError::Domain(DomainError::Last(domain))) => {
            confirm(&context.report, domain).await?;
            delete(true).await?
        }
        other => other?,
    };
    let what = format!("deleted domain `{host}`");
    context.record_done("delete-domain", &database, &deleted.domain.schema, what).await;
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

/// Asks whether a tenant's last domain may go.
async fn confirm(report: &Report, domain: Domain) -> Result<(), CommandError> {
    let question = format!(
        "`{}` is the last domain of `{}`. Delete it?",
        printable(&domain.host),
        printable(domain.schema.as_str())
    );
    match Person::present(report) {
        None => Err(DomainError::Last(domain).into()),
        Some(person) if person.confirm(&question, Some(false)).await? => Ok(()),
        Some(_) => Err(CommandError::NotDone { message: "nothing was deleted".into(), hint: None }),
    }
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
