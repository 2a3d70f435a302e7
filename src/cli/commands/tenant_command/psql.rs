//! `tenant-command psql`: psql, for which unqualified names mean one schema's tables.

use std::ffi::OsString;

use super::Target;
use crate::cli::child;
use crate::cli::context::Context;
use crate::cli::error::CommandResult;
use crate::pg::server::ServerPrograms;

/// Open psql, for which unqualified names mean the schema's tables
///
/// It gets the same environment as the program that `exec` runs. A file, or what comes on stdin, ends
/// at the first error, with status 3, unless psql is given `--set ON_ERROR_STOP=0`.
#[derive(Debug, clap::Args)]
pub(crate) struct PsqlArgs {
    /// Arguments for psql
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(in crate::cli::commands) arguments: Vec<OsString>,
}

pub(super) async fn run(context: &mut Context, target: &Target, args: &PsqlArgs) -> CommandResult {
    target.check().await?;
    child::refuse_pooler(&target.database).await?;
    let place = (&target.database, &target.scope);
    child::run(&context.signals, place, &program(), &arguments(&args.arguments)).await
}

/// Returns what psql is given besides what was asked for. Of its own accord it goes on after an error
/// in a file or in what comes on stdin, and ends as if there had been none (psql, "Exit Status").
pub(in crate::cli::commands) fn arguments(given: &[OsString]) -> Vec<OsString> {
    let stops = OsString::from("--set=ON_ERROR_STOP=1");
    std::iter::once(stops).chain(given.iter().cloned()).collect()
}

/// Returns the psql that is on the PATH, or the one beside the newest server programs.
pub(in crate::cli::commands) fn program() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join("psql").is_file()) {
        return "psql".into();
    }
    let beside = ServerPrograms::find().ok().and_then(|it| it.program("psql"));
    beside.map_or_else(|| "psql".into(), Into::into)
}
