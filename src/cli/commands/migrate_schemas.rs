//! `migrate-schemas`: apply what is pending.

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult, file_finding};
use crate::cli::execution::{self, ExecutionArgs};
use crate::cli::exit_code::ExitCode;
use crate::cli::hooks::{self, Hook, Hooks};
use crate::cli::migration_report::MigrationReport;
use crate::cli::outcome_report;
use crate::cli::selection::{SelectionArgs, warn_of_nobody};
use crate::cli::text::{count, few, printable, shell_word};
use crate::cli::waves::{self, WavesArgs};
use crate::cli::{plan_report, status_report};
use crate::migration::scaffold::FolderKind;
use crate::migration::{ExecuteOptions, Mode, PlanOptions, State, Waves};
use crate::name::SchemaName;
use crate::run_log::{self, Failed, RunLog};
use crate::tenant::{Migrate, Prepared, Selection};

/// Apply pending migrations
///
/// The shared schema comes first and must succeed. Each schema is migrated in one transaction
/// under its own lock: it is at its old version or at its new one, whatever happens. One schema's
/// failure does not stop the others; the exit status is then 4. Running it again does only what is
/// left.
#[derive(Debug, clap::Args)]
pub(crate) struct MigrateSchemasArgs {
    /// Stop at this version
    #[arg(long, value_name = "VERSION", value_parser = execution::version)]
    to: Option<i64>,

    /// A folder that holds `shared/` and `tenant/`, instead of the project's
    #[arg(long, value_name = "DIR")]
    migrations_dir: Option<PathBuf>,

    /// Print what would be done, with the exact SQL, and change nothing
    #[arg(long, conflicts_with_all = ["check", "rehearse"])]
    dry_run: bool,

    /// Fail with status 3 if anything is pending, divergent or missing, and change nothing
    #[arg(long, conflicts_with = "rehearse")]
    check: bool,

    /// Do everything and roll it back, to know beforehand what would fail
    #[arg(long)]
    rehearse: bool,

    /// Go on although an applied file has changed since
    #[arg(long)]
    allow_divergent: bool,

    /// Go on although an applied file is gone, or a file is older than the newest applied; such a
    /// file is passed over
    #[arg(long)]
    allow_missing: bool,

    /// The schemas that the last recorded run did not do: failed, busy or not attempted
    #[arg(long, help_heading = "Which schemas", conflicts_with_all = SelectionArgs::NAMES)]
    failed_last_run: bool,

    #[command(flatten)]
    selection: SelectionArgs,

    #[command(flatten)]
    waves: WavesArgs,

    #[command(flatten)]
    execution: ExecutionArgs,
}

pub(crate) async fn run(context: &mut Context, args: &MigrateSchemasArgs) -> CommandResult {
    let selection = match args.failed_last_run {
        true => failed_last_run(context).await?,
        false => args.selection.required()?,
    };
    let selection = Selection { order: args.waves.order(), ..selection };
    let waves = args.waves.waves()?;
    let dir = args.migrations_dir.as_deref();
    let shared =
        selection.shared.then(|| context.migrations(FolderKind::Shared, dir)).transpose()?;
    let tenants = selection
        .wants_tenants()
        .then(|| context.migrations(FolderKind::Tenant, dir))
        .transpose()?;
    if args.to.is_some() && shared.is_some() && tenants.is_some() {
        return Err(CommandError::Usage {
            message: "`--to` names a version of one folder, and two are selected".into(),
            hint: "say `--shared --to VERSION`, then `--tenants --to VERSION`".into(),
        });
    }
    let (database, registry) = (context.database().await?, context.registry()?);
    let migrate = Migrate {
        database: &database,
        registry: &registry,
        selection: &selection,
        shared: shared.as_ref(),
        tenants: tenants.as_ref(),
        plan: PlanOptions {
            to: args.to,
            allow_divergent: args.allow_divergent,
            allow_missing: args.allow_missing,
        },
    };
    if args.check {
        return check(context, &migrate).await;
    }
    let prepared = migrate.prepare_over(args.execution.jobs(context)?).await?;
    warn_of_nobody(&context.report, &selection, prepared.tenants().count());
    waves::refuse_strangers(&waves, &prepared)?;
    for finding in &prepared.warnings {
        context.report.warn(file_finding(finding).trim_start());
    }
    for schema in &prepared.being_deleted {
        let word = shell_word(schema.as_str());
        context.report.warn(format!(
            "`{}` is being deleted and left alone; `tenantctl delete-tenant {word}` finishes it",
            printable(schema.as_str())
        ));
    }
    warn_of_newer(context, args, &migrate, &prepared);
    if args.dry_run {
        return dry_run(context, args, &migrate, &prepared, &waves);
    }
    apply(context, args, &migrate, prepared, waves).await
}

/// Returns what the last recorded run did not do and the registry still has.
async fn failed_last_run(context: &mut Context) -> Result<Selection, CommandError> {
    let registry = context.registry()?;
    let mut connection = context.connection().await?;
    let failed = run_log::failed_in_last_run(&mut connection).await?;
    let registered: HashSet<_> = registry.schemas(&mut connection).await?.into_iter().collect();
    connection.close().await;
    let all = "`tenantctl migrate-schemas --all` does whatever is left";
    let (run, schemas) = match failed {
        Failed::Schemas(run, schemas) => (run, schemas),
        Failed::NoRun => {
            let message = "no run of `migrate-schemas` is recorded".into();
            return Err(CommandError::NotDone { message, hint: Some(all.into()) });
        }
        Failed::NotEnded(run) => {
            let message = format!(
                "run {}, begun {}, has not ended, and what it left is not known",
                run.id, run.began_at
            );
            return Err(CommandError::NotDone { message, hint: Some(all.into()) });
        }
    };
    let left = match schemas.len() {
        0 => "left nothing".to_owned(),
        number => format!("did not do {}", count(number, "schema")),
    };
    context.report.say(format!("run {}, begun {}, {left}", run.id, run.began_at));
    let shared = schemas.contains(&registry.names().shared_schema);
    let is_tenant = |schema: &&SchemaName| **schema != registry.names().shared_schema;
    let (left, gone): (Vec<_>, Vec<_>) =
        schemas.iter().filter(is_tenant).partition(|it| registered.contains(it));
    if !gone.is_empty() {
        let names = few(gone.iter(), 5);
        context.report.warn(format!("no longer tenants, deleted or renamed since: {names}"));
    }
    let names = left.into_iter().map(ToString::to_string).collect();
    Ok(Selection { shared, names, ..Selection::default() })
}

/// Says which schemas are beyond the version that was asked for, and stay there.
fn warn_of_newer(
    context: &Context,
    args: &MigrateSchemasArgs,
    migrate: &Migrate<'_>,
    prepared: &Prepared,
) {
    let Some(to) = args.to else { return };
    let parts = migrate.parts(prepared).into_iter();
    let newer: Vec<&SchemaName> = parts
        .flat_map(|(_, survey)| survey.states())
        .filter(|(_, state)| matches!(state, State::UpToDate(Some(version)) if *version > to))
        .map(|(schema, _)| schema)
        .collect();
    if !newer.is_empty() {
        context.report.warn(format!(
            "{} beyond V{to}, and nothing is undone: {}",
            count(newer.len(), "schema"),
            few(newer.iter(), 5)
        ));
    }
}

async fn apply(
    context: &mut Context,
    args: &MigrateSchemasArgs,
    migrate: &Migrate<'_>,
    mut prepared: Prepared,
    waves: Waves,
) -> CommandResult {
    let mode = if args.rehearse { Mode::Rehearse } else { Mode::Apply };
    let options = args.execution.options(context, mode, prepared.total())?;
    let options = ExecuteOptions { waves, ..options };
    let report = MigrationReport::new(context.report, mode);
    let hooks = Hooks::of(context, migrate.database)?;
    let has_hooks = hooks.has(Hook::PreMigrate) || hooks.has(Hook::PostMigrate);
    let before = match mode {
        Mode::Apply if has_hooks => hooks::pre_migrate(migrate, &prepared),
        _ => None,
    };
    let scope = context.scope(migrate.registry.names().shared_schema.clone())?;
    if let Some(event) = &before {
        // A hook may take long.
        prepared.close().await;
        hooks.run(Hook::PreMigrate, &scope, event).await?;
    }
    // What is rolled back changes nothing, and neither does what has nothing to do.
    let run_log = match mode == Mode::Apply && prepared.has_work() {
        true => {
            let spare = prepared.spare(migrate.database);
            context.begin_run_over("migrate-schemas", migrate.database, spare).await
        }
        false => RunLog::default(),
    };
    let observer = run_log.listening("applied", &report);
    let migrated = migrate.run(&mut prepared, &options, &observer, context.signals.heed()).await;
    report.finish();
    // A hook may take long.
    match before {
        Some(_) => prepared.close().await,
        None => context.keep_spare(prepared.take_spare()),
    }
    let (event, result) = match migrated {
        Ok(migrated) => {
            run_log.note_not_attempted(migrated.not_attempted());
            let event = before.map(|before| hooks::post_migrate(before, &migrated));
            (event, Ok(outcome_report::answer(&context.report, mode, migrated)))
        }
        Err(error) => {
            let error = CommandError::from(error);
            let event = before.map(|before| hooks::post_migrate_error(before, &error));
            (event, Err(error))
        }
    };
    match event {
        Some(event) => hooks.migrated(&scope, &event, result).await,
        None => result,
    }
}

fn dry_run(
    context: &mut Context,
    args: &MigrateSchemasArgs,
    migrate: &Migrate<'_>,
    prepared: &Prepared,
    waves: &Waves,
) -> CommandResult {
    let options = args.execution.options(context, Mode::Apply, prepared.total())?;
    let code = plan_report::answer(&context.report, migrate, prepared, &options);
    plan_report::answer_waves(&context.report, prepared, waves);
    Ok(code)
}

async fn check(context: &mut Context, migrate: &Migrate<'_>) -> CommandResult {
    let prepared = migrate.look().await?;
    let report = &context.report;
    warn_of_nobody(report, migrate.selection, prepared.tenants().count());
    let mut is_clean = true;
    for (set, survey) in migrate.parts(&prepared) {
        is_clean &= survey.is_clean();
        for (what, schemas) in status_report::not_clean(set, survey) {
            report.answer(format!("{what}: {}", few(schemas.iter(), 20)));
            let names: Vec<&str> = schemas.iter().map(|it| it.as_str()).collect();
            report.object("not_clean", json!({ "what": what, "schemas": names }));
        }
    }
    // Without a registry there is nothing to ask of the tenants, but the shared schema is behind.
    let schemas: usize =
        migrate.parts(&prepared).iter().map(|(_, it)| it.fleet.schemas.len()).sum();
    if is_clean {
        report.answer(format!("{} up to date", count(schemas, "schema")));
    }
    report.object("check", json!({ "clean": is_clean, "schemas": schemas }));
    Ok(if is_clean { ExitCode::Done } else { ExitCode::CheckFailed })
}
