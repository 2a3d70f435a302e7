//! The server process of a data directory, as its `postmaster.pid` and the system tell it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use time::OffsetDateTime;

use super::error::ServerError;

/// What a `postmaster.pid` says; the process may have died long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: u32,
    pub(super) since: OffsetDateTime,
    pub(super) port: u16,
    pub(super) is_ready: bool,
}

/// What a data directory's `postmaster.pid` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PidFile {
    /// There is none: no server, and the last one shut down.
    None,
    /// Its server runs.
    Running(Postmaster),
    /// Its process is gone; Postgres notices that by itself.
    OfDead { pid: u32 },
    /// Another program has got its process id, or nothing legible was written before a crash.
    ///
    /// Postgres would take the server for running and refuse to start.
    Misleading { pid: Option<u32> },
}

impl PidFile {
    pub(super) fn read(data: &Path) -> Result<PidFile, ServerError> {
        let path = path(data);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(PidFile::None),
            read => read.map_err(ServerError::io("read", &path))?,
        };
        Ok(match Postmaster::parse(&text) {
            None => PidFile::Misleading { pid: None },
            Some(postmaster) if postmaster.serves(data) => PidFile::Running(postmaster),
            Some(Postmaster { pid, .. }) if is_alive(pid) => PidFile::Misleading { pid: Some(pid) },
            Some(Postmaster { pid, .. }) => PidFile::OfDead { pid },
        })
    }

    /// Removes a pid file that would keep Postgres from starting.
    pub(super) fn remove_misleading(data: &Path) -> Result<(), ServerError> {
        let path = path(data);
        match PidFile::read(data)? {
            PidFile::Misleading { .. } => {
                fs::remove_file(&path).map_err(ServerError::io("remove", &path))
            }
            _ => Ok(()),
        }
    }
}

impl Postmaster {
    fn parse(text: &str) -> Option<Postmaster> {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let line = |number: usize| lines.get(number - 1).copied().unwrap_or_default();
        // While the server starts, only the first lines are there.
        let since = OffsetDateTime::from_unix_timestamp(line(3).parse().ok()?).ok()?;
        Some(Postmaster {
            // A stand-alone backend writes its pid as a negative number.
            pid: line(1).trim_start_matches('-').parse().ok()?,
            since,
            port: line(4).parse().ok()?,
            is_ready: line(8) == "ready",
        })
    }

    /// Says whether the process still is the server of this data directory.
    pub(super) fn serves(&self, data: &Path) -> bool {
        let words = command_line_of(self.pid);
        let is_postgres = words.first().is_some_and(|w| Path::new(w).ends_with("postgres"));
        // Where its data directory cannot be told, it is taken for ours: nothing is removed then.
        is_postgres && data_of(self.pid, &words).is_none_or(|other| other == data)
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pid(self.pid).map(|pid| kill_process(pid, signal)) {
            None | Some(Ok(()) | Err(Errno::SRCH)) => Ok(()),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(number.try_into().ok()?)
}

fn is_alive(number: u32) -> bool {
    let answer = pid(number).map(test_kill_process);
    matches!(answer, Some(Ok(()) | Err(Errno::PERM)))
}

/// Returns the words of a process's command line, none if it has ended.
fn command_line_of(pid: u32) -> Vec<String> {
    if Path::new("/proc/self/cmdline").exists() {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        return words.map(|word| String::from_utf8_lossy(word).into()).collect();
    }
    let mut ps = Command::new("ps");
    let output = ps.args(["-ww", "-o", "args=", "-p", &pid.to_string()]).output();
    let line = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&line).split_whitespace().map(str::to_owned).collect()
}

/// Returns the data directory a server process works in: a server goes there when it starts.
fn data_of(pid: u32, words: &[String]) -> Option<PathBuf> {
    // Reading the link needs the same user or a capability that containers often lack.
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).ok();
    folder.or_else(|| {
        let flag = words.iter().position(|word| word == "-D")?;
        let named = Path::new(words.get(flag + 1)?);
        fs::canonicalize(named).ok().filter(|_| named.is_absolute())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = "8123\n/srv/app/data\n1764000000\n40123\n\n127.0.0.1\n 1001 5\nready   \n";

    #[test]
    fn a_ready_server_is_read_from_its_pid_file() {
        let postmaster = Postmaster::parse(READY).unwrap();
        assert_eq!(postmaster.pid, 8123);
        assert_eq!(postmaster.port, 40123);
        assert_eq!(postmaster.since.unix_timestamp(), 1_764_000_000);
        assert!(postmaster.is_ready);
    }

    #[test]
    fn a_server_that_is_starting_or_stopping_is_not_ready() {
        let starting = READY.replace("ready   ", "starting");
        assert!(!Postmaster::parse(&starting).unwrap().is_ready);
        let without_status = READY.split_inclusive('\n').take(5).collect::<String>();
        assert!(!Postmaster::parse(&without_status).unwrap().is_ready);
    }

    #[test]
    fn what_a_crash_left_of_a_pid_file_is_no_server() {
        assert_eq!(Postmaster::parse(""), None);
        assert_eq!(Postmaster::parse("\0\0\0\0"), None);
    }

    #[test]
    fn another_program_with_the_same_pid_is_not_the_server() {
        let mut postmaster = Postmaster::parse(READY).unwrap();
        postmaster.pid = std::process::id();
        assert!(is_alive(postmaster.pid));
        assert!(!postmaster.serves(Path::new("/srv/app/data")));
    }
}
