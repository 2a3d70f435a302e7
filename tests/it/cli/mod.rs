//! One file a command, named as the command's own.

mod all_tenants_command;
mod baseline;
mod clone_tenant;
mod connecting;
mod create_tenant;
mod create_tenant_from_template;
mod delete_tenant;
mod dev;
mod doctor;
mod domains;
mod dump_tenant;
mod history;
mod init;
mod list_tenants;
mod makemigrations;
mod migrate_schemas;
mod rename_tenant;
mod seed;
mod status;
mod tenant_command;
