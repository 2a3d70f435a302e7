//! `init`: make a folder a tenantctl project.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::CommandResult;
use crate::cli::exit_code::ExitCode;
use crate::cli::report::Report;
use crate::project::{self, InitOptions, Written};

/// Make a folder a tenantctl project
///
/// Writes what is missing of `tenantctl.toml`, `migrations/shared`, `migrations/tenant` and the
/// line in `.gitignore` for the private server. Nothing is overwritten.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The folder
    #[arg(default_value = ".")]
    dir: PathBuf,

    /// Leave out the table `users`, which `createsuperuser` needs
    #[arg(long)]
    without_users: bool,
}

pub(crate) fn run(context: &mut Context, args: &InitArgs) -> CommandResult {
    let options = InitOptions { without_users: args.without_users };
    let written = project::init(&args.dir, options)?;
    let is_new = written.iter().any(is_new);
    say(&context.report, &written);
    if is_new {
        context.report.say("next: `tenantctl quickstart`, or `tenantctl migrate-schemas --shared` with a database of yours");
    } else {
        context.report.answer("nothing was missing");
    }
    Ok(ExitCode::Done)
}

/// Whether something was missing and has been written.
pub(crate) fn is_new(written: &Written) -> bool {
    !matches!(written, Written::AlreadyThere(_))
}

/// Says what was written.
pub(crate) fn say(report: &Report, written: &[Written]) {
    for it in written {
        let path = it.path().strip_prefix("./").unwrap_or(it.path());
        let word = word(it);
        match it {
            Written::AlreadyThere(_) => {}
            _ => report.answer(format!("{word} {}", show(path))),
        }
        report.object("file", json!({ "path": path, "state": word }));
    }
}

fn word(written: &Written) -> &'static str {
    match written {
        Written::New(_) => "wrote",
        Written::Extended(_) => "extended",
        Written::AlreadyThere(_) => "kept",
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
