//! `tenant-command exec`: any program, for which unqualified names mean one schema's tables.

use std::ffi::OsString;

use super::Target;
use crate::cli::child;
use crate::cli::context::Context;
use crate::cli::error::CommandResult;

/// Run a program for which unqualified names mean the schema's tables
///
/// It gets DATABASE_URL, the variables of libpq (PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE,
/// PGOPTIONS and those for TLS) and TENANT_SCHEMA. stdin, stdout and stderr are its own, and so is
/// the exit status: 128 + signal if a signal ended it, 126 if it could not be run, 127 if there is
/// no such program.
///
/// The search path is set when the program connects, so it has to connect to the server itself
/// rather than to a pooler.
#[derive(Debug, clap::Args)]
pub(crate) struct ExecArgs {
    /// The program, then its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub(in crate::cli::commands) command: Vec<OsString>,
}

pub(super) async fn run(context: &mut Context, target: &Target, args: &ExecArgs) -> CommandResult {
    let (program, arguments) = args.command.split_first().expect("clap requires one");
    target.check().await?;
    child::refuse_pooler(&target.database).await?;
    let place = (&target.database, &target.scope);
    child::run(&context.signals, place, program, arguments).await
}
