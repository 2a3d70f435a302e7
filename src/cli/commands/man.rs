//! `man`: the manual pages.

use std::io::Write as _;
use std::path::PathBuf;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;

/// Print the manual page, or write one for each command
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Write the pages of all commands into this folder instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, args: &ManArgs) -> CommandResult {
    match &args.dir {
        Some(dir) => {
            let failed = |source| CommandError::NotWritten { path: dir.clone(), source };
            std::fs::create_dir_all(dir).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
            context.report.answer(format!("wrote the pages to {}", dir.display()));
        }
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            rendered.expect("memory does not fail");
            let _ = std::io::stdout().write_all(&page);
        }
    }
    Ok(ExitCode::Done)
}
