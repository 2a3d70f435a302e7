//! One file a command, named as the command's own.

mod migrate_schemas;
