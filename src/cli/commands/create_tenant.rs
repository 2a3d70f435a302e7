//! `create-tenant`: schema, migrations, registry row and domains in one go.

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::column_value::column_and_value;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult, file_finding};
use crate::cli::execution::ExecutionArgs;
use crate::cli::exit_code::ExitCode;
use crate::cli::hooks::Hooks;
use crate::cli::migration_report::MigrationReport;
use crate::cli::outcome_report;
use crate::cli::plan_report;
use crate::cli::prompt::Person;
use crate::cli::report::Report;
use crate::cli::tenant_prompts;
use crate::cli::tenant_rows::{self, TenantRow};
use crate::cli::text::{count, grouped, printable};
use crate::event::{Cause, Failure};
use crate::migration::scaffold::FolderKind;
use crate::migration::{Mode, Outcome};
use crate::name::{HostnameError, SchemaName};
use crate::pg::{Database, SqlError, identifier};
use crate::tenant::{CreateTenants, Names, NewTenant, Obstacle, PreparedTenants};

/// Create a tenant: its schema, its tables, its registry row and its domains
///
/// All in one transaction: the tenant is there whole or not at all. On a terminal it asks for what
/// the flags leave open and the registry's columns require.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateTenantArgs {
    /// The tenant's schema, 1 to 63 bytes
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,

    /// The tenant's name as people write it; the schema's where it is left out
    #[arg(long)]
    name: Option<String>,

    /// A domain that leads to the tenant; may be given more than once, the first is primary
    #[arg(long, value_name = "HOST")]
    domain: Vec<String>,

    /// A value for another column of the registry; may be given more than once
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = column_and_value)]
    set: Vec<(String, String)>,

    /// Ask nothing
    #[arg(long)]
    no_input: bool,

    /// Create many, from CSV with a header line or JSON lines; `-` is stdin. Tenants that are there with
    /// these domains are left alone, so that the same file can be given again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["schema", "name", "domain", "set"])]
    from: Option<PathBuf>,

    /// Register a schema that is there, as it is; `baseline` and `migrate-schemas` do the rest
    #[arg(long)]
    adopt: bool,

    /// Run seeds too, in the same transaction: those named, or all that are in `seeds/tenant`
    #[arg(long, value_name = "NAME", num_args = 0.., conflicts_with = "adopt")]
    seed: Option<Vec<String>>,

    /// Make it from what this tenant is made of, once that is proven to be what the migrations make
    ///
    /// For many tenants and a long history of migrations. They are run once and rolled back, and what
    /// they made is compared with the tenant, object for object; where it differs, nothing is created
    /// and the status is 3. The rows are those that the migrations wrote, and none of the tenant's.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["adopt", "seed"])]
    template: Option<String>,

    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// A folder that holds `tenant/`, instead of the project's
    #[arg(long, value_name = "DIR")]
    migrations_dir: Option<PathBuf>,

    #[command(flatten)]
    execution: ExecutionArgs,
}

pub(crate) async fn run(context: &mut Context, args: &CreateTenantArgs) -> CommandResult {
    let (database, registry) = (context.database().await?, context.registry()?);
    let migrations =
        context.migrations_or_none(FolderKind::Tenant, args.migrations_dir.as_deref())?;
    let seeds = match args.seed.as_deref() {
        Some([]) => Some(context.seeds(None)?),
        Some(names) => Some(context.seeds(Some(names))?),
        None => None,
    };
    let create = CreateTenants {
        database: &database,
        registry: &registry,
        migrations: &migrations,
        seeds: seeds.as_ref(),
        adopt: args.adopt,
        template: None,
    };
    let rows = match &args.from {
        Some(path) => tenant_rows::read(path, registry.names())?,
        None => {
            let tenant = single(context, args, &create).await?;
            let schema = tenant.schema.to_string();
            vec![TenantRow { line: 0, schema, tenant: Ok(tenant) }]
        }
    };
    carry_out(context, args, &create, rows).await
}

/// Returns the one tenant that the flags and, on a terminal, a person describe.
async fn single(
    context: &Context,
    args: &CreateTenantArgs,
    create: &CreateTenants<'_>,
) -> Result<NewTenant, CommandError> {
    let names = create.registry.names();
    let shared = names.shared_schema.as_str();
    let schema = args.schema.as_deref().map(|it| SchemaName::tenant(it, shared)).transpose()?;
    let domains = args.domain.iter().map(|it| it.parse()).collect::<Result<_, HostnameError>>()?;
    let values = values(args, names);
    let person = if args.no_input { None } else { Person::present(&context.report) };
    match (person, schema) {
        (Some(person), schema) => {
            tenant_prompts::complete(&person, create, schema, domains, values).await
        }
        (None, Some(schema)) => Ok(NewTenant { schema, values, domains }),
        (None, None) => Err(CommandError::Usage {
            message: "which schema is the tenant to have?".into(),
            hint: "say `--schema NAME`, or `--from FILE` for many".into(),
        }),
    }
}

fn values(args: &CreateTenantArgs, names: &Names) -> Vec<(String, Option<String>)> {
    let name = args.name.iter().map(|name| (names.name.clone(), Some(name.clone())));
    let set = args.set.iter().map(|(column, value)| (column.clone(), Some(value.clone())));
    name.chain(set).collect()
}

async fn carry_out(
    context: &mut Context,
    args: &CreateTenantArgs,
    create: &CreateTenants<'_>,
    rows: Vec<TenantRow>,
) -> CommandResult {
    let (lines, tenants, mut refused) = sort(rows);
    let prepared = create.prepare(&tenants).await?;
    let is_one = args.from.is_none();
    if let (Some((_, obstacle)), true) = (prepared.obstacles.first(), is_one) {
        return Err(CommandError::Obstacle(obstacle.clone()));
    }
    let is_any_left = prepared.obstacles.len() < tenants.len();
    for finding in prepared.warnings.iter().filter(|_| is_any_left) {
        context.report.warn(file_finding(finding).trim_start());
    }
    let mode = if args.adopt { Mode::Adopt } else { Mode::Create };
    let obstacles = prepared.obstacles.iter();
    let (there, obstacles): (Vec<_>, Vec<_>) = obstacles.partition(|(_, it)| is_there(it));
    let there = there.len();
    refused.extend(obstacles.into_iter().map(|(index, obstacle)| {
        (lines[*index], tenants[*index].schema.to_string(), obstacle.to_string())
    }));
    refused.sort_by_key(|(line, ..)| *line);
    let options = args.execution.options(context, mode, tenants.len())?;
    let report = MigrationReport::new(context.report, mode);
    let template = match &args.template {
        Some(name) if prepared.obstacles.len() < tenants.len() => {
            Some(create.prove_template(&SchemaName::registered(name), &options).await?)
        }
        _ => None,
    };
    let create = &CreateTenants { template: template.as_ref(), ..*create };
    let refused_tenants: HashSet<usize> =
        prepared.obstacles.iter().map(|(index, _)| *index).collect();
    let tried = tenants.iter().enumerate().filter(|(index, _)| !refused_tenants.contains(index));
    if args.dry_run {
        create.check_server(&options, &report).await?;
        let tried = tried.map(|(index, tenant)| (lines[index], tenant));
        let to_create = foreseen(create, &prepared, tried, &mut refused);
        return Ok(answer_dry_run(context, create, &to_create, there, &refused));
    }
    let hooks = Hooks::of(context, create.database)?;
    let run_log = context.begin_run("create-tenant", create.database).await;
    let verb = if args.adopt { "adopted" } else { "created, applied" };
    let observer = run_log.listening(verb, &report);
    let given_again = if is_one { &[] } else { tenants.as_slice() };
    let interrupt = context.signals.heed();
    let outcome = create.run(prepared, given_again, &options, &observer, interrupt).await;
    report.finish();
    let mut outcome = outcome?;
    outcome.up_to_date += there;
    run_log.note_not_attempted(&outcome.not_attempted);
    let code = match is_one {
        true => one(context, create, &tenants[0], &outcome),
        false => many(context, mode, &refused, &outcome),
    };
    let created = created(tried.map(|(_, tenant)| tenant), &outcome);
    hooks.created(context, &created, &facts(create), code).await
}

/// Whether nothing is missing of what a row asks for: the same file may be given again.
fn is_there(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Exists { has_domains: true, .. })
}

/// Returns the tenants that would be created, with the files that would be applied; what cannot be
/// gone on with is added to the refused.
fn foreseen<'a>(
    create: &CreateTenants<'_>,
    prepared: &PreparedTenants,
    tried: impl Iterator<Item = (usize, &'a NewTenant)>,
    refused: &mut Vec<RefusedRow>,
) -> Vec<(&'a NewTenant, Vec<usize>)> {
    let mut to_create = Vec::new();
    for ((line, tenant), (schema, files)) in tried.zip(create.foresee(prepared)) {
        match files {
            Ok(files) => to_create.push((tenant, files)),
            Err(why) => refused.push((line, schema.to_string(), why.to_string())),
        }
    }
    to_create
}

/// Says what would be done, and what would not.
fn answer_dry_run(
    context: &Context,
    create: &CreateTenants<'_>,
    to_create: &[(&NewTenant, Vec<usize>)],
    there: usize,
    refused: &[RefusedRow],
) -> ExitCode {
    let report = &context.report;
    say_refused(report, refused);
    plan_report::tenants(report, create, to_create);
    if there > 0 || to_create.len() + refused.len() > 1 {
        let verb = if create.adopt { "adopt" } else { "create" };
        let number = count(to_create.len(), "tenant");
        let refused = match refused.len() {
            0 => String::new(),
            refused => format!(", and refuse {}", count(refused, "row")),
        };
        let found = match there {
            0 => String::new(),
            there => format!(", and find {} there", grouped(there)),
        };
        report.answer(format!("would {verb} {number}{found}{refused}"));
    }
    let fields =
        json!({ "tenants": to_create.len(), "already_there": there, "refused": refused.len() });
    report.object("dry_run", fields);
    let outcome = Outcome { applied: to_create.len(), up_to_date: there, ..Outcome::default() };
    outcome_report::exit_code(&outcome, refused.len())
}

/// Returns the tenants of those that were tried which this run has created.
fn created<'a>(
    tried: impl Iterator<Item = &'a NewTenant>,
    outcome: &Outcome,
) -> Vec<&'a NewTenant> {
    let others: HashSet<&SchemaName> = outcome.not_done().chain(&outcome.made_by_others).collect();
    tried.filter(|tenant| !others.contains(&tenant.schema)).collect()
}

/// Returns what a hook is told of every tenant that was created.
fn facts(create: &CreateTenants<'_>) -> Value {
    let newest = create.migrations.folder().newest().filter(|_| !create.adopt);
    let seeds = create.seeds.into_iter().flat_map(|it| it.folder().files());
    json!({
        "version": newest.map(|it| it.version),
        "seeds": seeds.map(|it| &it.name).collect::<Vec<_>>(),
        "adopted": create.adopt,
    })
}

/// A row that was not tried: its line, its schema, and why.
type RefusedRow = (usize, String, String);

/// Sorts rows into tenants, with their lines, and what cannot be one.
fn sort(rows: Vec<TenantRow>) -> (Vec<usize>, Vec<NewTenant>, Vec<RefusedRow>) {
    let (mut lines, mut tenants, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for TenantRow { line, schema, tenant } in rows {
        match tenant {
            Ok(tenant) => {
                lines.push(line);
                tenants.push(tenant);
            }
            Err(why) => refused.push((line, schema, why)),
        }
    }
    (lines, tenants, refused)
}

fn one(
    context: &Context,
    create: &CreateTenants<'_>,
    tenant: &NewTenant,
    outcome: &Outcome,
) -> ExitCode {
    let report = &context.report;
    let mode = if create.adopt { Mode::Adopt } else { Mode::Create };
    let (verb, name) = match mode {
        Mode::Adopt => ("adopted", printable(tenant.schema.as_str())),
        _ => ("created", printable(tenant.schema.as_str())),
    };
    let code = outcome_report::exit_code(outcome, 0);
    if code == ExitCode::Done {
        let domains: Vec<String> = tenant.domains.iter().map(|it| format!(" at {it}")).collect();
        report.answer(format!("{verb} tenant `{name}`{}", domains.join(",")));
        let fields =
            json!({ "schema": tenant.schema, "domains": tenant.domains, "dry_run": false });
        report.object("tenant", fields);
        return code;
    }
    outcome_report::explain(report, mode, outcome);
    let files = 0..create.migrations.folder().files().len();
    let has_steps = files.into_iter().any(|it| create.migrations.is_no_transaction(it));
    let is_unknown = |failure: &Failure| matches!(failure.cause, Cause::Unknown);
    if outcome.failed.iter().any(|(_, it)| is_unknown(it)) {
        report.hint("run the same command again: it says whether the tenant exists");
        return code;
    }
    report.always(match (mode, has_steps) {
        (Mode::Adopt, false) => format!("`{name}` is as it was"),
        (_, false) => format!("nothing was created for `{name}`"),
        (_, true) => format!(
            "`{name}` is not registered; the same command again goes on where this one stopped"
        ),
    });
    if let Some(grant) = missing_grant(create.database, outcome) {
        report.hint(grant);
    }
    code
}

/// Returns the `GRANT` without which this role can create no schema.
fn missing_grant(database: &Database, outcome: &Outcome) -> Option<String> {
    let place = database.place();
    let is_denied = |error: &SqlError| error.is("42501") && error.message.contains(&place.database);
    let mut errors = outcome.failed.iter().filter_map(|(_, it)| it.cause.sql());
    errors.any(is_denied).then(|| {
        format!(
            "let the database's owner run `grant create on database {} to {}`",
            identifier(&place.database),
            identifier(&place.user)
        )
    })
}

fn many(context: &Context, mode: Mode, refused: &[RefusedRow], outcome: &Outcome) -> ExitCode {
    say_refused(&context.report, refused);
    outcome_report::answer_created(&context.report, mode, outcome, refused.len())
}

fn say_refused(report: &Report, refused: &[RefusedRow]) {
    for (line, schema, why) in refused {
        let name = match schema.is_empty() {
            true => String::new(),
            false => format!("`{}`: ", printable(schema)),
        };
        // A tenant that the flags describe is in no file.
        let place = if *line == 0 { String::new() } else { format!("line {line}: ") };
        report.error(format!("{place}{name}{}", printable(why)));
        report.object("failed", json!({ "line": line, "schema": schema, "message": why }));
    }
}
