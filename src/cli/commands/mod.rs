//! The commands, one a file.

mod all_tenants_command;
mod baseline;
mod clone_tenant;
mod completions;
mod create_domain;
mod create_tenant;
mod delete_domain;
mod delete_tenant;
mod dev;
mod doctor;
mod dump_tenant;
mod history;
mod init;
mod list_domains;
mod list_tenants;
mod makemigrations;
mod man;
mod migrate_schemas;
mod quickstart;
mod rename_tenant;
mod resolve;
mod restore_tenant;
mod seed;
mod set_primary_domain;
mod show_tenant;
mod status;
mod tenant_command;
mod update_tenant;

use super::context::Context;
use super::error::CommandResult;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    Quickstart(quickstart::QuickstartArgs),
    Init(init::InitArgs),
    #[command(subcommand)]
    Dev(dev::DevCommand),
    Makemigrations(makemigrations::MakemigrationsArgs),
    MigrateSchemas(migrate_schemas::MigrateSchemasArgs),
    #[command(visible_alias = "show-migrations")]
    Status(status::StatusArgs),
    Baseline(baseline::BaselineArgs),
    CreateTenant(create_tenant::CreateTenantArgs),
    Seed(seed::SeedArgs),
    CloneTenant(clone_tenant::CloneTenantArgs),
    DumpTenant(dump_tenant::DumpTenantArgs),
    RestoreTenant(restore_tenant::RestoreTenantArgs),
    ListTenants(list_tenants::ListTenantsArgs),
    ShowTenant(show_tenant::ShowTenantArgs),
    UpdateTenant(update_tenant::UpdateTenantArgs),
    RenameTenant(rename_tenant::RenameTenantArgs),
    DeleteTenant(delete_tenant::DeleteTenantArgs),
    CreateDomain(create_domain::CreateDomainArgs),
    ListDomains(list_domains::ListDomainsArgs),
    SetPrimaryDomain(set_primary_domain::SetPrimaryDomainArgs),
    DeleteDomain(delete_domain::DeleteDomainArgs),
    Resolve(resolve::ResolveArgs),
    TenantCommand(tenant_command::TenantCommandArgs),
    AllTenantsCommand(all_tenants_command::AllTenantsCommandArgs),
    History(history::HistoryArgs),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Subcommand {
    pub(crate) async fn run(&self, context: &mut Context) -> CommandResult {
        match self {
            Self::Quickstart(args) => quickstart::run(context, args).await,
            Self::Init(args) => init::run(context, args),
            Self::Dev(command) => dev::run(context, command).await,
            Self::Makemigrations(args) => makemigrations::run(context, args),
            Self::MigrateSchemas(args) => migrate_schemas::run(context, args).await,
            Self::Status(args) => status::run(context, args).await,
            Self::Baseline(args) => baseline::run(context, args).await,
            Self::CreateTenant(args) => create_tenant::run(context, args).await,
            Self::Seed(args) => seed::run(context, args).await,
            Self::CloneTenant(args) => clone_tenant::run(context, args).await,
            Self::DumpTenant(args) => dump_tenant::run(context, args).await,
            Self::RestoreTenant(args) => restore_tenant::run(context, args).await,
            Self::ListTenants(args) => list_tenants::run(context, args).await,
            Self::ShowTenant(args) => show_tenant::run(context, args).await,
            Self::UpdateTenant(args) => update_tenant::run(context, args).await,
            Self::RenameTenant(args) => rename_tenant::run(context, args).await,
            Self::DeleteTenant(args) => delete_tenant::run(context, args).await,
            Self::CreateDomain(args) => create_domain::run(context, args).await,
            Self::ListDomains(args) => list_domains::run(context, args).await,
            Self::SetPrimaryDomain(args) => set_primary_domain::run(context, args).await,
            Self::DeleteDomain(args) => delete_domain::run(context, args).await,
            Self::Resolve(args) => resolve::run(context, args).await,
            Self::TenantCommand(args) => tenant_command::run(context, args).await,
            Self::AllTenantsCommand(args) => all_tenants_command::run(context, args).await,
            Self::History(args) => history::run(context, args).await,
            Self::Doctor(args) => doctor::run(context, args).await,
            Self::Completions(args) => completions::run(args),
            Self::Man(args) => man::run(context, args),
        }
    }
}
