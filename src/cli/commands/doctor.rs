//! `doctor`: what is wrong with the fleet, and what to type.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::doctor_report;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;
use crate::migration::scaffold::FolderKind;
use crate::migration::{ExecuteOptions, Urgency};
use crate::run_log::{Entry, Outcome, RunLog};
use crate::tenant::doctor::{Doctor, Repair, Repaired};

/// Look for what is wrong with the fleet, and say what to type
///
/// Looks at the server and its settings, the role's rights, the registry, every schema and every
/// history, and waits for nobody. Without `--fix` nothing is changed. The exit status is 3 when
/// something is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Mend what can be mended without harm: create missing schemas, drop invalid indexes that a
    /// pending migration builds
    #[arg(long)]
    fix: bool,

    /// Say what `--fix` would do, and change nothing
    #[arg(long, requires = "fix")]
    dry_run: bool,

    /// A folder that holds `shared/` and `tenant/`, instead of the project's
    #[arg(long, value_name = "DIR")]
    migrations_dir: Option<PathBuf>,
}

pub(crate) async fn run(context: &mut Context, args: &DoctorArgs) -> CommandResult {
    let dir = args.migrations_dir.as_deref();
    let shared = context.migrations_or_none(FolderKind::Shared, dir)?;
    let tenants = context.migrations_or_none(FolderKind::Tenant, dir)?;
    let jobs = context.project()?.config.migrate.jobs;
    let (database, registry) = (context.database().await?, context.registry()?);
    let doctor = Doctor {
        database: &database,
        registry: &registry,
        shared: &shared,
        tenants: &tenants,
        jobs: jobs.map_or(ExecuteOptions::default().jobs, NonZeroUsize::get),
    };
    let mut examination = doctor.examine().await?;
    let repairs = examination.repairs();
    if args.dry_run {
        doctor_report::would_repair(&context.report, &repairs);
    } else if args.fix && !repairs.is_empty() {
        let run_log = context.begin_run("doctor", &database).await;
        let mut done = Vec::new();
        let told = |repair, repaired| {
            note(&run_log, &repair, &repaired);
            done.push((repair, repaired));
        };
        let mended = doctor.repair(repairs, context.signals.heed(), told).await;
        doctor_report::repaired(&context.report, &done);
        mended?;
        if context.signals.heed().urgency() != Urgency::None {
            return Ok(ExitCode::Interrupted);
        }
        examination = doctor.examine().await?;
    }
    doctor_report::answer(&context.report, &examination);
    Ok(if examination.findings.is_empty() { ExitCode::Done } else { ExitCode::CheckFailed })
}

fn note(run_log: &RunLog, repair: &Repair, repaired: &Repaired) {
    let what = match repair {
        Repair::CreateSchema { .. } => "created the missing schema".to_owned(),
        Repair::DropIndex { index, .. } => format!("dropped the invalid index `{index}`"),
    };
    let (outcome, what) = match repaired {
        Repaired::Done => (Outcome::Done, what),
        Repaired::NotNeeded => return,
        Repaired::Busy => (Outcome::Busy, format!("not {what}: in use")),
        Repaired::Failed(error) => (Outcome::Failed, format!("not {what}: {error}")),
    };
    run_log.note(Entry { outcome, ..Entry::done(repair.schema(), what) });
}
