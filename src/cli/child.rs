//! Another program, run on somebody's behalf in one schema.
//!
//! It is a child that is waited for, not this process made into another by exec(2): a program that
//! a signal ended is told by its status, 128 + signal, to whoever started this one, be it a shell
//! or not. Its stdin, stdout and stderr are ours.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use tokio::process::Command;

use super::error::{CommandError, CommandResult};
use super::exit_code::ExitCode;
use super::signals::Signals;
use crate::pg::{Database, Scope};

/// Runs a program for which unqualified names mean the tables of `scope`'s schema, and returns its
/// status.
pub(crate) async fn run(
    signals: &Signals,
    (database, scope): (&Database, &Scope),
    program: &OsStr,
    arguments: &[OsString],
) -> CommandResult {
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, value) in database.environment(&scope.search_path()) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("TENANT_SCHEMA", scope.schema.as_str());
    let mut child = command.spawn().map_err(|source| not_run(program, source))?;
    let status = signals.leave_to(child.id(), child.wait()).await;
    let status = status.map_err(|source| not_run(program, source))?;
    Ok(ExitCode::Child(number(status)))
}

/// Returns a status as a shell tells it.
fn number(status: ExitStatus) -> u8 {
    let number = status.code().or(status.signal().map(|signal| 128 + signal));
    number.and_then(|it| it.try_into().ok()).unwrap_or(u8::MAX)
}

fn not_run(program: &OsStr, source: io::Error) -> CommandError {
    let program = program.to_string_lossy().into_owned();
    // A script whose interpreter is missing is not found either, although it is there.
    let is_there = program.contains('/') && Path::new(&program).exists();
    match source.kind() {
        io::ErrorKind::NotFound if !is_there => CommandError::NoProgram { program },
        _ => CommandError::ProgramNotRun { program, source },
    }
}
