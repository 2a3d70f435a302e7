//! The commands, one a file.

mod baseline;
mod dev;
mod init;
mod list_tenants;
mod makemigrations;
mod migrate_schemas;
mod quickstart;
mod status;

use super::context::Context;
use super::error::CommandResult;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Quickstart(quickstart::QuickstartArgs),
    Init(init::InitArgs),
    #[command(subcommand)]
    Dev(dev::DevCommand),
    Makemigrations(makemigrations::MakemigrationsArgs),
    MigrateSchemas(migrate_schemas::MigrateSchemasArgs),
    #[command(visible_alias = "show-migrations")]
    Status(status::StatusArgs),
    Baseline(baseline::BaselineArgs),
    ListTenants(list_tenants::ListTenantsArgs),
}

impl Command {
    pub(crate) async fn run(&self, context: &mut Context) -> CommandResult {
        match self {
            Self::Quickstart(args) => quickstart::run(context, args).await,
            Self::Init(args) => init::run(context, args),
            Self::Dev(command) => dev::run(context, command),
            Self::Makemigrations(args) => makemigrations::run(context, args),
            Self::MigrateSchemas(args) => migrate_schemas::run(context, args).await,
            Self::Status(args) => status::run(context, args).await,
            Self::Baseline(args) => baseline::run(context, args).await,
            Self::ListTenants(args) => list_tenants::run(context, args).await,
        }
    }
}
