//! Making, starting and stopping the server of one data directory.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::account::Account;
use super::error::{Said, ServerError};
use super::postmaster::{PidFile, Postmaster};
use super::programs::ServerPrograms;

/// How long a server may take to accept connections: after a crash it first replays its log.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(60);

/// How a server is told to stop, and how long it then may take: a fast shutdown, then an
/// immediate one.
const SHUTDOWNS: [(Signal, Duration); 2] =
    [(Signal::INT, Duration::from_secs(30)), (Signal::QUIT, Duration::from_secs(10))];

const POLL: Duration = Duration::from_millis(20);

/// The folder of the server's user, with the data and the log, and what the server is started with.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) home: PathBuf,
    pub(super) account: Account,
    pub(super) settings: Vec<(String, String)>,
}

impl Cluster {
    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    /// Returns the major version that made the data, if there are any.
    pub(super) fn major(&self) -> Result<Option<u32>, ServerError> {
        let path = self.data().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(major) => Ok(major.trim().parse().ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ServerError::io("read", &path)(error)),
        }
    }

    /// Makes the data with one database in it.
    ///
    /// They get their name when they are complete, so that whatever is called `data` is whole.
    pub(super) fn make(
        &self,
        programs: &ServerPrograms,
        database: &str,
        password: &str,
    ) -> Result<(), ServerError> {
        self.remove_half_made();
        let new = self.home.join(format!("{HALF_MADE}{:08x}", fastrand::u32(..)));
        self.initdb(programs, &new, password)
            .and_then(|()| self.create_database(programs, &new, database))
            .and_then(|()| fs::rename(&new, self.data()).map_err(ServerError::io("rename", &new)))
            // A full disk should not stay full.
            .inspect_err(|_| self.remove_half_made())
    }

    /// Returns what was left when somebody was killed while making the data.
    pub(super) fn half_made(&self) -> Vec<PathBuf> {
        let is_half_made = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(HALF_MADE);
        let entries = fs::read_dir(&self.home).into_iter().flatten().flatten();
        entries.filter(|entry| is_half_made(&entry.file_name())).map(|entry| entry.path()).collect()
    }

    /// Removes what can be removed of it: a killed program's `initdb` may still be writing there.
    fn remove_half_made(&self) {
        for path in self.half_made() {
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }

    fn initdb(
        &self,
        programs: &ServerPrograms,
        new: &Path,
        password: &str,
    ) -> Result<(), ServerError> {
        let password = self.password_file(new, password)?;
        let made = match self.initdb_in(programs, new, &password, "C.UTF-8") {
            Err(ServerError::ProgramFailed { said, .. }) if said.contains("locale") => {
                self.initdb_in(programs, new, &password, "C")
            }
            made => made,
        };
        fs::remove_file(&password).map_err(ServerError::io("remove", &password))?;
        made
    }

    fn initdb_in(
        &self,
        programs: &ServerPrograms,
        new: &Path,
        password: &Path,
        locale: &str,
    ) -> Result<(), ServerError> {
        let mut command = self.command(programs, "initdb");
        command.args(["--username", "postgres", "--auth", "scram-sha-256"]);
        command.args(["--encoding", "UTF8", "--locale", locale]);
        command.arg("--pwfile").arg(password);
        command.arg("--pgdata").arg(new);
        if self.is_disposable() {
            command.arg("--no-sync");
        }
        run(command)
    }

    /// Writes the file `initdb` takes the password from, which only the server's user can read.
    fn password_file(&self, new: &Path, password: &str) -> Result<PathBuf, ServerError> {
        let path = new.with_added_extension("password");
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(password.as_bytes()))
            .map_err(ServerError::io("write", &path))?;
        self.account.own(&path)?;
        Ok(path)
    }

    /// Creates a database without a server: `psql` need not be there.
    fn create_database(
        &self,
        programs: &ServerPrograms,
        data: &Path,
        database: &str,
    ) -> Result<(), ServerError> {
        let mut command = self.command(programs, "postgres");
        command.arg("--single").arg("-D").arg(data);
        // Otherwise a failed statement still ends with status 0.
        command.args(["-c", "exit_on_error=on", "postgres"]);
        run_with_input(command, &format!("create database \"{database}\"\n"))
    }

    /// Returns the server if it runs.
    pub(super) fn running(&self) -> Result<Option<Postmaster>, ServerError> {
        Ok(match PidFile::read(&self.data())? {
            PidFile::Running(postmaster) => Some(postmaster),
            _ => None,
        })
    }

    /// Starts the server and waits until it accepts connections.
    pub(super) fn start(
        &self,
        programs: &ServerPrograms,
        last_port: Option<u16>,
    ) -> Result<Postmaster, ServerError> {
        PidFile::remove_misleading(&self.data())?;
        let deadline = Instant::now() + START_PATIENCE;
        let mut port = free_port(last_port)?;
        loop {
            self.begin_log();
            let started = run(self.pg_ctl(programs, port));
            // Somebody killed in the middle of starting it may have left one that is under way.
            if let Some(postmaster) = self.ready(deadline)? {
                return Ok(postmaster);
            }
            if Instant::now() > deadline || !self.may_try_again(port) {
                return Err(match started {
                    // It did not come as far as the log.
                    Err(error) if self.said().is_empty() => error,
                    _ => self.not_started(),
                });
            }
            port = free_port(Some(port))?;
            thread::sleep(POLL);
        }
    }

    /// Returns the server when it accepts connections, and nothing if none runs.
    pub(super) fn ready(&self, deadline: Instant) -> Result<Option<Postmaster>, ServerError> {
        loop {
            match self.running()? {
                Some(postmaster) if !postmaster.is_ready && Instant::now() > deadline => {
                    return Err(self.not_ready(postmaster.pid));
                }
                Some(postmaster) if !postmaster.is_ready => thread::sleep(POLL),
                ready => return Ok(ready),
            }
        }
    }

    /// Says whether a failed start was due to something that passes.
    fn may_try_again(&self, port: u16) -> bool {
        // A killed server's last processes hold its memory for a moment.
        !is_free(port) || self.said().contains("shared memory block")
    }

    /// Returns the command that starts the server in a session of its own.
    fn pg_ctl(&self, programs: &ServerPrograms, port: u16) -> Command {
        let mut command = self.command(programs, "pg_ctl");
        let seconds = START_PATIENCE.as_secs().to_string();
        command.args(["start", "--wait", "--silent", "--timeout", &seconds]);
        command.arg("--pgdata").arg(self.data());
        command.arg("--log").arg(self.log());
        command.arg("--options").arg(self.options(port));
        command
    }

    /// Returns the server's command line, as a shell reads it.
    ///
    /// The password is the only way in: no sockets, and loopback addresses are open to every user
    /// of this machine. What stands here wins over the files.
    fn options(&self, port: u16) -> String {
        let fixed = [
            ("port", port.to_string()),
            ("listen_addresses", Ipv4Addr::LOCALHOST.to_string()),
            ("unix_socket_directories", String::new()),
            ("shared_buffers", "64MB".to_owned()),
            ("max_connections", "100".to_owned()),
        ];
        let fixed = fixed.map(|(name, value)| (name.to_owned(), value));
        let settings = fixed.iter().chain(&self.settings);
        let option = |(name, value): &(String, String)| {
            format!("-c '{}'", format!("{name}={value}").replace('\'', r"'\''"))
        };
        settings.map(option).collect::<Vec<_>>().join(" ")
    }

    /// Stops the server; returns whether there was one to stop.
    pub(super) fn stop(&self) -> Result<bool, ServerError> {
        let Some(postmaster) = self.running()? else {
            return Ok(false);
        };
        for (signal, patience) in SHUTDOWNS {
            let sent = postmaster.signal(signal);
            sent.map_err(ServerError::io("stop the server of", &self.home))?;
            if self.has_ended(postmaster, patience) {
                return Ok(true);
            }
        }
        Err(ServerError::NotStopped { pid: postmaster.pid })
    }

    fn has_ended(&self, postmaster: Postmaster, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while postmaster.serves(&self.data()) {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    /// Removes the data, the log and everything else in the server's folder.
    pub(super) fn remove(&self) -> Result<(), ServerError> {
        match fs::remove_dir_all(&self.home) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(ServerError::io("remove", &self.home)),
        }
    }

    fn command(&self, programs: &ServerPrograms, name: &str) -> Command {
        self.account.command(programs.folder().join(name), &self.home)
    }

    /// Says whether nobody would miss the data, as in tests.
    fn is_disposable(&self) -> bool {
        let off = |(name, value): &(String, String)| name == "fsync" && value == "off";
        self.settings.iter().any(off)
    }

    /// Lets the log begin anew; the one before is kept.
    fn begin_log(&self) {
        // There is none before the first start, and the log is not worth failing for.
        let _ = fs::rename(self.log(), self.log().with_added_extension("old"));
    }

    fn said(&self) -> Said {
        let log = fs::read(self.log()).unwrap_or_default();
        Said::last_lines_of(&String::from_utf8_lossy(&log))
    }

    fn not_started(&self) -> ServerError {
        ServerError::NotStarted { log: self.log(), said: self.said() }
    }

    fn not_ready(&self, pid: u32) -> ServerError {
        ServerError::NotReady {
            pid,
            seconds: START_PATIENCE.as_secs(),
            log: self.log(),
            said: self.said(),
        }
    }
}

/// How the names of things begin that are not complete yet.
const HALF_MADE: &str = "data.new-";

/// Returns a free loopback port, `wanted` if it is free.
fn free_port(wanted: Option<u16>) -> Result<u16, ServerError> {
    if let Some(port) = wanted.filter(|port| is_free(*port)) {
        return Ok(port);
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(ServerError::io("find a free port on", Path::new("127.0.0.1")))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Runs a program to its end.
fn run(command: Command) -> Result<(), ServerError> {
    run_with_input(command, "")
}

fn run_with_input(mut command: Command, input: &str) -> Result<(), ServerError> {
    let program = PathBuf::from(command.get_program());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command
        .spawn()
        .and_then(|mut child| {
            // It may end without reading; what it then says matters more than this error.
            let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
            child.wait_with_output()
        })
        .map_err(|source| ServerError::ProgramNotRun { program: program.clone(), source })?;
    succeeded(program, &output)
}

fn succeeded(program: PathBuf, output: &Output) -> Result<(), ServerError> {
    let said = || Said::last_lines_of(&String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => Ok(()),
        false => Err(ServerError::ProgramFailed { program, said: said() }),
    }
}
