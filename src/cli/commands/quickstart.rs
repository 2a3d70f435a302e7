//! `quickstart`: from an empty folder to a migrated fleet, with no database given.

use std::path::Path;

use crate::cli::commands::{dev, init};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::migration_report::MigrationReport;
use crate::cli::outcome_report;
use crate::cli::status_report;
use crate::event::Silent;
use crate::migration::scaffold::FolderKind;
use crate::migration::{ExecuteOptions, MigrationSet, Mode, PlanOptions};
use crate::pg::Database;
use crate::pg::server::PrivateServer;
use crate::project::{self, InitOptions};
use crate::tenant::{CreateTenants, Migrate, NewTenant, Obstacle, Registry, Selection};

const PUBLIC_DOMAIN: &str = "mydomain.localhost";
const FIRST_TENANT: &str = "eha";
const NEXT: [&str; 3] = [
    "create-tenant --schema=acme --domain=acme.mydomain.localhost",
    "makemigrations add_orders --tenant",
    "tenant-command --schema=eha createsuperuser",
];

/// Start here: a private Postgres, a project, and a tenant, in this folder
///
/// Starts the project's private server, writes what is missing of a project, applies the
/// migrations, and creates the public tenant (`mydomain.localhost`) and a tenant `eha`
/// (`eha.mydomain.localhost`). What is there already is left as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct QuickstartArgs {}

pub(crate) async fn run(context: &mut Context, _: &QuickstartArgs) -> CommandResult {
    let root = context.root()?;
    let written = project::init(&root, InitOptions { without_users: false })?;
    context.forget_project();
    let started = dev::start_server(&root).await?;
    let mut is_new = written.iter().any(init::is_new);
    if is_new {
        init::say(&context.report, &written);
    }
    if !started.already_running {
        is_new = true;
        context.report.answer(format!("started {}", dev::place(&started.server)));
    }
    let database = private_database(&root)?;
    is_new |= fill(context, &database).await?;
    if !is_new {
        context.report.answer("everything was there already; nothing was changed");
    }
    status(context, &database).await?;
    suggest(context);
    Ok(ExitCode::Done)
}

fn private_database(root: &Path) -> Result<Database, CommandError> {
    let connection = PrivateServer::of(root).connection()?;
    let connection = connection.ok_or(CommandError::PrivateServerStopped)?;
    Ok(Database::of_private_server(&connection))
}

/// Makes what is missing of the fleet, and returns whether anything was.
async fn fill(context: &mut Context, database: &Database) -> Result<bool, CommandError> {
    let registry = context.registry()?;
    let tenant_migrations = context.migrations_or_none(FolderKind::Tenant, None)?;
    let options = ExecuteOptions { path: context.path()?, ..ExecuteOptions::default() };
    let mut is_new = migrate(context, database, &registry, &tenant_migrations, &options).await?;
    let create = CreateTenants {
        database,
        registry: &registry,
        migrations: &tenant_migrations,
        seeds: None,
        template: None,
        adopt: false,
    };
    is_new |= register_public_tenant(context, &create, &registry).await?;
    is_new |= create_first_tenant(context, &create, &options).await?;
    if is_new {
        let what = "made what was missing of the fleet".to_owned();
        let schema = registry.names().shared_schema.clone();
        context.record_done("quickstart", database, &schema, what).await;
    }
    Ok(is_new)
}

async fn migrate(
    context: &mut Context,
    database: &Database,
    registry: &Registry,
    tenant_migrations: &MigrationSet,
    options: &ExecuteOptions,
) -> Result<bool, CommandError> {
    let shared = context.migrations(FolderKind::Shared, None)?;
    let migrate = Migrate {
        database,
        registry,
        selection: &everything(),
        shared: Some(&shared),
        tenants: Some(tenant_migrations),
        plan: PlanOptions::default(),
    };
    let mut prepared = migrate.prepare().await?;
    let report = MigrationReport::new(context.report, Mode::Apply);
    let migrated = migrate.run(&mut prepared, options, &report, context.signals.heed()).await?;
    prepared.close().await;
    report.finish();
    if !migrated.is_complete() {
        outcome_report::answer(&context.report, Mode::Apply, migrated);
        return Err(not_done("the migrations could not all be applied"));
    }
    Ok(migrated.applied() > 0)
}

fn everything() -> Selection {
    Selection { shared: true, tenants: true, ..Selection::default() }
}

fn not_done(message: &str) -> CommandError {
    let hint = Some("mend what is wrong and run `tenantctl quickstart` again".to_owned());
    CommandError::NotDone { message: message.to_owned(), hint }
}

async fn register_public_tenant(
    context: &Context,
    create: &CreateTenants<'_>,
    registry: &Registry,
) -> Result<bool, CommandError> {
    let tenant = NewTenant {
        schema: registry.names().shared_schema.clone(),
        values: vec![(registry.names().name.clone(), Some("Public".into()))],
        domains: vec![PUBLIC_DOMAIN.parse()?],
    };
    let is_new = create.register_shared_schema(&tenant).await?;
    if is_new {
        let schema = &tenant.schema;
        context
            .report
            .answer(format!("registered the public tenant `{schema}` at {PUBLIC_DOMAIN}"));
    }
    Ok(is_new)
}

async fn create_first_tenant(
    context: &Context,
    create: &CreateTenants<'_>,
    options: &ExecuteOptions,
) -> Result<bool, CommandError> {
    let tenant = NewTenant {
        schema: FIRST_TENANT.parse()?,
        values: Vec::new(),
        domains: vec![format!("{FIRST_TENANT}.{PUBLIC_DOMAIN}").parse()?],
    };
    let prepared = create.prepare(std::slice::from_ref(&tenant)).await?;
    if let Some((_, obstacle)) = prepared.obstacles.first() {
        return match obstacle {
            Obstacle::Exists { .. } => Ok(false),
            other => Err(CommandError::Obstacle(other.clone())),
        };
    }
    let outcome = create.run(prepared, &[], options, &Silent, context.signals.heed()).await?;
    if !outcome.is_complete() {
        outcome_report::explain(&context.report, Mode::Create, &outcome);
        return Err(not_done("the first tenant could not be created"));
    }
    context.report.answer(format!("created tenant `{FIRST_TENANT}` at {}", tenant.domains[0]));
    Ok(true)
}

async fn status(context: &mut Context, database: &Database) -> Result<(), CommandError> {
    let registry = context.registry()?;
    let shared = context.migrations(FolderKind::Shared, None)?;
    let tenants = context.migrations_or_none(FolderKind::Tenant, None)?;
    let migrate = Migrate {
        database,
        registry: &registry,
        selection: &everything(),
        shared: Some(&shared),
        tenants: Some(&tenants),
        plan: PlanOptions::default(),
    };
    let prepared = migrate.look().await?;
    for (set, survey) in migrate.parts(&prepared) {
        status_report::answer(&context.report, set, survey);
    }
    Ok(())
}

/// Prints the three commands to try next.
fn suggest(context: &Context) {
    if std::env::var_os("DATABASE_URL").is_some() {
        context.report.warn(
            "`DATABASE_URL` is set: the other commands work on that database, not on this server",
        );
    }
    context.report.say("try next:");
    for command in NEXT {
        context.report.say(format!("  tenantctl {command}"));
    }
}
