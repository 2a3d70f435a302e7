//! `seed`: run SQL files with data in tenants' schemas.

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult, file_finding};
use crate::cli::execution::ExecutionArgs;
use crate::cli::migration_report::MigrationReport;
use crate::cli::outcome_report;
use crate::cli::plan_report;
use crate::cli::selection::{SelectionArgs, warn_of_nobody};
use crate::migration::Mode;
use crate::run_log::RunLog;
use crate::tenant::{RunSeeds, Selection};

/// Run seeds in tenants' schemas
///
/// Seeds are the files in `seeds/tenant`, each called as its file without `.sql`. Those that are
/// named run in the order of their names, in one transaction a schema, under the rules of the
/// tenants' migrations. No history records them: running a seed again runs it again.
/// `create-tenant --seed` runs them in the transaction that makes the tenant.
#[derive(Debug, clap::Args)]
#[command(mut_arg("shared", |it| it.hide(true)), mut_arg("all", |it| it.hide(true)))]
pub(crate) struct SeedArgs {
    /// The seeds
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    /// Print what would be done, with the exact SQL, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    selection: SelectionArgs,

    #[command(flatten)]
    execution: ExecutionArgs,
}

impl SeedArgs {
    fn tenants(&self) -> Result<Selection, CommandError> {
        let usage = |message: &str, hint: &str| {
            Err(CommandError::Usage { message: message.into(), hint: hint.into() })
        };
        match self.selection.required() {
            Ok(selection) if selection.shared => usage(
                "seeds are for tenants, and the shared schema is none",
                "say `--tenants` for every tenant; a shared migration may hold data",
            ),
            Err(CommandError::NoSelection) => usage(
                "in which schemas?",
                "say `--tenants`, `--schema NAME`, `--match GLOB`, `--where SQL` or \
                 `--schemas-from FILE`",
            ),
            other => other,
        }
    }
}

pub(crate) async fn run(context: &mut Context, args: &SeedArgs) -> CommandResult {
    let selection = args.tenants()?;
    let seeds = context.seeds(Some(&args.names))?;
    let (database, registry) = (context.database().await?, context.registry()?);
    let run =
        RunSeeds { database: &database, registry: &registry, selection: &selection, seeds: &seeds };
    let prepared = run.prepare().await?;
    for finding in &prepared.warnings {
        context.report.warn(file_finding(finding).trim_start());
    }
    let total = prepared.fleet.schemas.len();
    warn_of_nobody(&context.report, &selection, total);
    let options = args.execution.options(context, Mode::Seed, total)?;
    if args.dry_run {
        return Ok(plan_report::seeds(&context.report, &seeds, &prepared, &options));
    }
    let report = MigrationReport::new(context.report, Mode::Seed);
    let run_log = match total {
        0 => RunLog::default(),
        _ => context.begin_run("seed", &database).await,
    };
    let observer = run_log.listening("ran", &report);
    let outcome = run.run(prepared, &options, &observer, context.signals.heed()).await;
    report.finish();
    let outcome = outcome?;
    run_log.note_not_attempted(&outcome.not_attempted);
    Ok(outcome_report::answer_seeded(&context.report, &args.names, &outcome))
}
