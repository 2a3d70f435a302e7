//! What can go wrong with the private server.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::programs::OLDEST_MAJOR;

/// Why the private server could not be made, started, stopped or looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// No folder with the server programs was found.
    #[error("no Postgres server programs were found")]
    NoServerPrograms {
        /// The line that installs them on this system, where it is known.
        install: Option<String>,
    },

    /// The folder named by `TENANTCTL_PG_BIN` is not one with the server programs.
    #[error("`TENANTCTL_PG_BIN` names `{}`, which has no `{missing}`", folder.display())]
    NotServerPrograms { folder: PathBuf, missing: &'static str },

    /// The newest programs found are older than what is supported.
    #[error("Postgres {version} in `{}` is older than {OLDEST_MAJOR}", folder.display())]
    ServerProgramsTooOld { folder: PathBuf, version: String },

    /// `postgres --version` said something that is not a version.
    #[error("`{}` does not tell its version", program.display())]
    NoVersion {
        program: PathBuf,
        #[source]
        said: Said,
    },

    /// A program of the server's could not be run at all.
    #[error("`{}` could not be run", program.display())]
    ProgramNotRun { program: PathBuf, source: io::Error },

    /// A program of the server's ended with an error.
    #[error("`{}` failed", program.display())]
    ProgramFailed {
        program: PathBuf,
        #[source]
        said: Said,
    },

    /// The data were made by a major version whose programs are not installed.
    #[error(
        "the data in `{}` belong to Postgres {data_major}, the programs found are Postgres {programs_major}",
        data.display()
    )]
    DataOfOtherVersion { data: PathBuf, data_major: u32, programs_major: u32 },

    /// There are data, but the file with their password is gone.
    #[error("`{}` is missing, and with it the password of the data in `{}`", state.display(), data.display())]
    PasswordLost { state: PathBuf, data: PathBuf },

    /// The state names a folder for the data that is not this project's.
    #[error("`{}` names data in `{}`, made for a project in another folder", state.display(), home.display())]
    MadeElsewhere { state: PathBuf, home: PathBuf },

    /// The state file does not hold what was written to it.
    #[error("`{}` could not be understood", path.display())]
    StateNotUnderstood { path: PathBuf, source: serde_json::Error },

    /// The server ended while it was starting.
    #[error("the private server did not start; its log is `{}`", log.display())]
    NotStarted {
        log: PathBuf,
        #[source]
        said: Said,
    },

    /// The server runs, but did not become ready in time.
    #[error("the private server (pid {pid}) was not ready after {seconds} seconds; its log is `{}`", log.display())]
    NotReady {
        pid: u32,
        seconds: u64,
        log: PathBuf,
        #[source]
        said: Said,
    },

    /// The server was told to stop and did not.
    #[error("the private server (pid {pid}) did not stop")]
    NotStopped { pid: u32 },

    /// Another process has been working on the private server for too long.
    #[error("another process holds `{}`", lock.display())]
    Busy { lock: PathBuf },

    /// This program runs as root, and there is no other user to run the server as.
    #[error("Postgres does not run as root, and there is neither a user `postgres` nor `nobody`")]
    NoServerUser,

    /// The operating system refused something.
    #[error("could not {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl ServerError {
    /// Returns a closure for `map_err` that says what was tried with which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ServerError {
        move |source| ServerError::Io { action, path: path.to_owned(), source }
    }
}

/// The last lines of what a program said or logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said(String);

impl Said {
    const LINES: usize = 12;

    pub(super) fn last_lines_of(text: &str) -> Said {
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        Said(lines[lines.len().saturating_sub(Said::LINES)..].join("\n"))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, words: &str) -> bool {
        self.0.contains(words)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "it said nothing" } else { &self.0 })
    }
}

impl std::error::Error for Said {}
