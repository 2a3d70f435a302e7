//! One file a command, named as the command's own.

mod domains;
mod list_tenants;
mod migrate_schemas;
mod tenant_command;
