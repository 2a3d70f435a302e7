//! `completions`: what makes a shell complete tenantctl's commands.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;

/// Print completions for a shell
///
/// For bash: `tenantctl completions bash > /etc/bash_completion.d/tenantctl`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tenantctl", &mut script);
    // A reader that went away is nobody's fault.
    let _ = std::io::stdout().write_all(&script);
    Ok(ExitCode::Done)
}
