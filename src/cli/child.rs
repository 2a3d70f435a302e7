//! Another program, run on somebody's behalf in one schema.
//!
//! It is a child that is waited for, not this process made into another by exec(2): a program that
//! a signal ended is told by its status, 128 + signal, to whoever started this one, be it a shell
//! or not. Its stdin, stdout and stderr are ours.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::error::{CommandError, CommandResult};
use super::exit_code::ExitCode;
use super::signals::Signals;
use crate::pg::{Database, Scope};

/// What a program that is ended has after Ctrl-C, before it is ended by force.
const LEAVE_WITHIN: Duration = Duration::from_millis(1500);

/// Runs a program for which unqualified names mean the tables of `scope`'s schema, and returns its
/// status.
pub(crate) async fn run(
    signals: &Signals,
    place: (&Database, &Scope),
    program: &OsStr,
    arguments: &[OsString],
) -> CommandResult {
    let mut child = command(place, program, arguments);
    let mut child = child.spawn().map_err(|source| not_run(program, source))?;
    let status = signals.leave_to(child.id(), child.wait()).await;
    let status = status.map_err(|source| not_run(program, source))?;
    Ok(ExitCode::Child(number(status)))
}

/// Returns a program for which unqualified names mean the tables of `scope`'s schema. The password
/// is in its environment, and not in its arguments, which everybody on the machine can see.
pub(crate) fn command(
    (database, scope): (&Database, &Scope),
    program: &OsStr,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, value) in database.environment(&scope.search_path()) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("TENANT_SCHEMA", scope.schema.as_str());
    command
}

/// Takes the database from a program's environment again.
pub(crate) fn take_database(command: &mut Command, (database, scope): (&Database, &Scope)) {
    for (name, _) in database.environment(&scope.search_path()) {
        command.env_remove(name);
    }
}

/// A program in a process group of its own: Ctrl-C in the terminal reaches this program alone,
/// which decides when to pass it on.
pub(crate) struct Apart {
    pub(crate) child: Child,
    group: Option<Pid>,
}

impl Apart {
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let group = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        Ok(Self { child, group })
    }

    /// Waits for the end. When `stop` comes about, the program is ended with all it has started: as
    /// Ctrl-C does it, and soon by force.
    pub(crate) async fn end(&mut self, stop: impl Future<Output = ()>) -> io::Result<ExitStatus> {
        tokio::select! {
            biased;
            status = self.child.wait() => return status,
            () = stop => {}
        }
        self.signal(Signal::INT);
        if let Ok(status) = tokio::time::timeout(LEAVE_WITHIN, self.child.wait()).await {
            return status;
        }
        self.signal(Signal::KILL);
        self.child.wait().await
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An error means that it has just ended.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// Refuses a pooler: it does not give a program the search path that its environment asks for, and
/// names without a schema would mean the shared schema's tables.
pub(crate) async fn refuse_pooler(database: &Database) -> Result<(), CommandError> {
    match database.connect_directly("tenantctl", &[]).await? {
        Some(connection) => {
            connection.close().await;
            Ok(())
        }
        None => Err(CommandError::NotDone {
            message: "another program needs a connection to the server itself, and there is a \
                      pooler in between"
                .into(),
            hint: Some("give the server's own host and port with `--database-url`".into()),
        }),
    }
}

/// Refuses a program that is not there, for where it would be found missing once a schema.
pub(crate) fn check(program: &OsStr) -> Result<(), CommandError> {
    match is_there(program, Path::new(".")) {
        true => Ok(()),
        false => Err(CommandError::NoProgram { program: program.to_string_lossy().into_owned() }),
    }
}

/// Whether a program is there: as seen from `folder`, or for a mere name in `PATH`.
fn is_there(program: &OsStr, folder: &Path) -> bool {
    match program.as_bytes().contains(&b'/') {
        true => folder.join(program).exists(),
        false => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        }
    }
}

/// Whether a program could not be run in `folder` because it is not there.
///
/// Of a script whose interpreter is missing the system says that it is not found; of a name that is
/// nowhere in `PATH`, where a folder of it may not be searched, that permission is denied (POSIX,
/// `exec`).
pub(crate) fn is_missing(program: &OsStr, folder: &Path, source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        && !is_there(program, folder)
}

/// Returns a status as a shell tells it.
pub(crate) fn number(status: ExitStatus) -> u8 {
    let number = status.code().or(status.signal().map(|signal| 128 + signal));
    number.and_then(|it| it.try_into().ok()).unwrap_or(u8::MAX)
}

pub(crate) fn not_run(program: &OsStr, source: io::Error) -> CommandError {
    let is_missing = is_missing(program, Path::new("."), &source);
    let program = program.to_string_lossy().into_owned();
    match is_missing {
        true => CommandError::NoProgram { program },
        false => CommandError::ProgramNotRun { program, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nowhere_is_missing_whatever_the_system_says() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("text"), "").unwrap();
        let is_missing = |program: &str, kind| {
            is_missing(program.as_ref(), folder.path(), &io::Error::from(kind))
        };
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied] {
            assert!(is_missing("no-such-program", kind));
            assert!(is_missing("./gone", kind));
            assert!(!is_missing("./text", kind));
            assert!(!is_missing("sh", kind));
        }
        assert!(!is_missing("no-such-program", io::ErrorKind::ArgumentListTooLong));
    }
}
