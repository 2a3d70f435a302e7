//! `baseline`: record migrations as applied without running them.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::execution::{self, ExecutionArgs};
use crate::cli::migration_report::MigrationReport;
use crate::cli::outcome_report;
use crate::cli::plan_report;
use crate::cli::selection::{SelectionArgs, warn_of_nobody};
use crate::migration::scaffold::FolderKind;
use crate::migration::{Mode, PlanOptions};
use crate::run_log::RunLog;
use crate::tenant::Migrate;

/// Record migrations as applied without running them
///
/// For adopting a database whose tables are already there: every migration up to `--to` is put in
/// the history, as refinery's `Target::Fake` does, and none of its SQL is run.
#[derive(Debug, clap::Args)]
pub(crate) struct BaselineArgs {
    /// The newest version to record, or `latest`
    #[arg(long, value_name = "VERSION")]
    to: Target,

    /// A folder that holds `shared/` and `tenant/`, instead of the project's
    #[arg(long, value_name = "DIR")]
    migrations_dir: Option<PathBuf>,

    /// Print what would be done, with the exact SQL, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    selection: SelectionArgs,

    #[command(flatten)]
    execution: ExecutionArgs,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Latest,
    Version(i64),
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match given {
            "latest" => Ok(Self::Latest),
            version => execution::version(version)
                .map(Self::Version)
                .map_err(|_| "it is neither a version nor `latest`".into()),
        }
    }
}

pub(crate) async fn run(context: &mut Context, args: &BaselineArgs) -> CommandResult {
    let selection = args.selection.required()?;
    let dir = args.migrations_dir.as_deref();
    let shared =
        selection.shared.then(|| context.migrations(FolderKind::Shared, dir)).transpose()?;
    let tenants = selection
        .wants_tenants()
        .then(|| context.migrations(FolderKind::Tenant, dir))
        .transpose()?;
    let to = match args.to {
        Target::Latest => None,
        Target::Version(_) if shared.is_some() && tenants.is_some() => {
            return Err(CommandError::Usage {
                message: "`--to` names a version of one folder, and two are selected".into(),
                hint: "say `--shared --to VERSION`, then `--tenants --to VERSION`".into(),
            });
        }
        Target::Version(version) => Some(version),
    };
    let (database, registry) = (context.database().await?, context.registry()?);
    let migrate = Migrate {
        database: &database,
        registry: &registry,
        selection: &selection,
        shared: shared.as_ref(),
        tenants: tenants.as_ref(),
        plan: PlanOptions { to, ..PlanOptions::default() },
    };
    let mut prepared = migrate.prepare_baseline(args.execution.jobs(context)?).await?;
    warn_of_nobody(&context.report, &selection, prepared.tenants().count());
    let options = args.execution.options(context, Mode::Baseline, prepared.total())?;
    if args.dry_run {
        prepared.close().await;
        return Ok(plan_report::answer(&context.report, &migrate, &prepared, &options));
    }
    let report = MigrationReport::new(context.report, Mode::Baseline);
    let run_log = match prepared.has_work() {
        true => context.begin_run_over("baseline", &database, prepared.spare(&database)).await,
        false => RunLog::default(),
    };
    let observer = run_log.listening("recorded", &report);
    let recorded = migrate.run(&mut prepared, &options, &observer, context.signals.heed()).await;
    context.keep_spare(prepared.take_spare());
    report.finish();
    let recorded = recorded?;
    run_log.note_not_attempted(recorded.not_attempted());
    Ok(outcome_report::answer(&context.report, Mode::Baseline, recorded))
}
