//! `status`: the fleet at a glance.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::command_line;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult, disagreement_advice, worst_disagreement};
use crate::cli::exit_code::ExitCode;
use crate::cli::report::{Format, Report};
use crate::cli::selection::{SelectionArgs, warn_of_nobody};
use crate::cli::status_report;
use crate::cli::text::few;
use crate::migration::scaffold::FolderKind;
use crate::migration::{MigrationSet, PlanOptions, State, Survey};
use crate::name::SchemaName;
use crate::tenant::{Migrate, Prepared};

/// Show what each schema has and lacks
///
/// Grouped by state and version. With `--schema NAME`, that schema's migrations one by one, with
/// the times at which they were applied. Without a selection, everything. Nothing is changed.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// A folder that holds `shared/` and `tenant/`, instead of the project's
    #[arg(long, value_name = "DIR")]
    migrations_dir: Option<PathBuf>,

    /// Fail with status 3 if anything is pending, divergent or missing
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    selection: SelectionArgs,
}

pub(crate) async fn run(context: &mut Context, args: &StatusArgs) -> CommandResult {
    let selection = args.selection.or_all()?;
    let dir = args.migrations_dir.as_deref();
    let shared = selection
        .shared
        .then(|| context.migrations_or_none(FolderKind::Shared, dir))
        .transpose()?;
    let tenants = selection
        .wants_tenants()
        .then(|| context.migrations_or_none(FolderKind::Tenant, dir))
        .transpose()?;
    let (database, registry) = (context.database().await?, context.registry()?);
    let migrate = Migrate {
        database: &database,
        registry: &registry,
        selection: &selection,
        shared: shared.as_ref(),
        tenants: tenants.as_ref(),
        plan: PlanOptions::default(),
    };
    let prepared = migrate.look().await?;
    warn_of_nobody(&context.report, &selection, prepared.tenants().count());
    show(&context.report, &migrate.parts(&prepared), &args.selection);
    refuse_without_registry(&migrate, &prepared).await?;
    Ok(conclude(&context.report, &migrate, &prepared, args))
}

fn show(report: &Report, parts: &[(&MigrationSet, &Survey)], selection: &SelectionArgs) {
    for (_, survey) in parts {
        status_report::objects(report, survey);
    }
    let is_list = report.verbose || report.format == Format::Tsv;
    if is_list && !report.is_json() && selection.single().is_none() {
        let header = ["schema", "state", "version", "pending"];
        let rows = parts.iter().flat_map(|(_, it)| status_report::rows(it));
        report.list("schema", &header, &rows.collect::<Vec<_>>());
        return;
    }
    for (set, survey) in parts {
        match status_report::migrations(set, survey) {
            Some(rows) if selection.single().is_some() => {
                report.list("migration", &status_report::MIGRATION_HEADER, &rows);
            }
            _ => status_report::answer(report, set, survey),
        }
    }
}

/// Without a registry the tenants are not known, which is not the same as that there are none.
async fn refuse_without_registry(
    migrate: &Migrate<'_>,
    prepared: &Prepared,
) -> Result<(), CommandError> {
    if prepared.tenants.is_some() || migrate.tenants.is_none() {
        return Ok(());
    }
    let mut connection = migrate.database.connect("tenantctl").await?;
    migrate.registry.schemas(&mut connection).await?;
    Ok(())
}

fn conclude(
    report: &Report,
    migrate: &Migrate<'_>,
    prepared: &Prepared,
    args: &StatusArgs,
) -> ExitCode {
    let mut is_clean = true;
    let mut needs_migrating = false;
    let mut disagreements = Vec::new();
    for (set, survey) in migrate.parts(prepared) {
        is_clean &= survey.is_clean();
        needs_migrating |= survey.states().any(|(_, state)| matches!(state, State::Behind { .. }));
        for (why, schemas) in status_report::unreadable(survey) {
            explain(report, &format!("unreadable: {why}"), &schemas);
        }
        for disagreement in survey.disagreements() {
            let (what, schemas) = (set.describe(&disagreement.finding), disagreement.schemas);
            explain(report, &what, &schemas);
            disagreements.push(what);
        }
    }
    report.object("summary", json!({ "clean": is_clean, "schemas": prepared.total() }));
    if !disagreements.is_empty() {
        let kind = worst_disagreement(disagreements.iter().map(String::as_str));
        let advice = disagreement_advice(kind);
        report.hint(format!("`tenantctl migrate-schemas` would refuse that: {advice}"));
    } else if needs_migrating {
        let command = command_line::migrate(&args.selection.typed());
        let given = if args.selection.reads_stdin() { ", given the same names," } else { "" };
        report.hint(format!("{command}{given} applies what is pending"));
    }
    if args.check && !is_clean { ExitCode::CheckFailed } else { ExitCode::Done }
}

/// Says what is wrong with some schemas; a list of tab-separated values has no place for it.
fn explain(report: &Report, what: &str, schemas: &[SchemaName]) {
    let text = format!("  {what}\n    in {}", few(schemas.iter(), 5));
    match report.format {
        Format::Tsv => report.always(text),
        Format::Text | Format::Json => report.answer(text),
    }
}
