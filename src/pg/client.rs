//! Postgres' client programs: one that is new enough, and running it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;

use super::connect::Database;
use super::server::{ServerVersion, client_programs};

/// How many of a program's last lines are kept for a message.
const LINES_KEPT: usize = 12;

/// A client program such as `pg_dump`, and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientProgram {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub version: ServerVersion,
}

/// Why a client program cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is none.
    #[error("there is no program `{name}`")]
    Missing {
        /// `pg_dump` or the like.
        name: &'static str,
    },
    /// All there are, are older than what they are needed for.
    #[error(
        "`{}` is of version {version}, and {} {needed}", path.display(), needed_by
    )]
    TooOld {
        /// Where the first of them is.
        path: PathBuf,
        /// Its version.
        version: String,
        /// What needs a newer one: `the server is of version`.
        needed_by: &'static str,
        /// The version of that.
        needed: String,
    },
    /// It could not be run.
    #[error("`{}` could not be run", path.display())]
    NotRun {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It did not do what it was to do.
    #[error("`{}` ended with {status}", path.display())]
    Ended {
        /// Where it is.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// Its last words.
        said: Vec<String>,
    },
}

/// What a client program has to be as new as.
#[derive(Debug, Clone)]
pub struct Needed {
    /// The major version.
    pub major: u32,
    /// The version, as it is written.
    pub version: String,
    /// Of what: `the server is of version`.
    pub by: &'static str,
}

impl ClientProgram {
    /// Returns the first program of this name that is new enough: in the folder that
    /// `TENANTCTL_PG_BIN` names, or else on the PATH, or else where packages put it.
    pub(crate) fn find(name: &'static str, needed: &Needed) -> Result<Self, ClientError> {
        let found = client_programs(name).into_iter().filter_map(|path| {
            let version = ServerVersion::of(&path).ok()?;
            Some(Self { path, version })
        });
        let mut first = None;
        for program in found {
            if program.version.major >= needed.major {
                return Ok(program);
            }
            first.get_or_insert(program);
        }
        match first {
            None => Err(ClientError::Missing { name }),
            Some(program) => Err(ClientError::TooOld {
                path: program.path,
                version: program.version.text,
                needed_by: needed.by,
                needed: needed.version.clone(),
            }),
        }
    }

    /// Returns a command that is ended when it is no longer waited for. Ctrl-C in the terminal does
    /// not reach it.
    pub(crate) fn command(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let mut command = Command::new(&self.path);
        command.args(arguments).env("LC_ALL", "C").kill_on_drop(true).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns a command that reaches this database. The password is in its environment, and not
    /// in its arguments, which everybody on the machine can see.
    pub(crate) fn command_at(
        &self,
        database: &Database,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let mut command = self.command(arguments);
        for (name, value) in database.environment("pg_catalog") {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("PGAPPNAME", "tenantctl");
        command
    }

    pub(crate) fn not_run(&self, source: std::io::Error) -> ClientError {
        ClientError::NotRun { path: self.path.clone(), source }
    }

    /// Returns whether it did what it was to do.
    pub(crate) fn ended(&self, status: ExitStatus, said: Said) -> Result<(), ClientError> {
        match status.success() {
            true => Ok(()),
            false => Err(ClientError::Ended { path: self.path.clone(), status, said: said.0 }),
        }
    }
}

/// The last words of a program.
#[derive(Debug, Default)]
pub(crate) struct Said(Vec<String>);

impl Said {
    /// Reads a program's stderr to its end; lines that `is_progress` are not kept.
    pub(crate) async fn read(
        stderr: Option<impl AsyncRead + Unpin>,
        mut is_progress: impl FnMut(&str) -> bool,
    ) -> Self {
        let mut said = Self::default();
        let Some(stderr) = stderr else { return said };
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        while stderr.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line);
            if !is_progress(text.trim_end()) {
                said.0.push(text.trim_end().to_owned());
            }
            if said.0.len() > LINES_KEPT {
                said.0.remove(0);
            }
            line.clear();
        }
        said
    }

    /// Whether one of the lines holds `words`.
    pub(crate) fn has(&self, words: &str) -> bool {
        self.0.iter().any(|line| line.contains(words))
    }
}
