//! The project's private Postgres server, for development and tests.
//!
//! It runs from the server programs that are installed, keeps everything in the project's
//! `.tenantctl` folder, and can be reached from this machine only, with a password that only this
//! user can read. Every function here blocks while the server's programs do their work.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use time::OffsetDateTime;

use self::account::Account;
use self::cluster::{Cluster, START_PATIENCE};
use self::folder::{Folder, State};
use self::postmaster::{PidFile, Postmaster};

pub use self::error::{Said, ServerError};
pub(super) use self::programs::client_programs;
pub use self::programs::{ServerPrograms, ServerVersion};

mod account;
mod cluster;
mod error;
mod folder;
pub mod install;
mod postmaster;
mod programs;

/// The private server of one project, whether it has been made or not.
#[derive(Debug, Clone)]
pub struct PrivateServer {
    folder: Folder,
    settings: Vec<(String, String)>,
}

/// What [`PrivateServer::start`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// It ran before.
    pub already_running: bool,
    /// Its data are new.
    pub made: bool,
    pub server: RunningServer,
}

/// What there is of a private server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    pub state: ServerState,
    /// What a crash has left; starting the server deals with it.
    pub findings: Vec<ServerFinding>,
}

/// Whether a private server is there and runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    /// It was never made, or was destroyed.
    Absent,
    /// Its data are there.
    Stopped {
        /// The major version that made the data.
        major: u32,
        data: PathBuf,
    },
    Running(RunningServer),
}

/// A server that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningServer {
    pub pid: u32,
    pub port: u16,
    /// The major version that made the data.
    pub major: u32,
    pub since: OffsetDateTime,
    pub data: PathBuf,
    /// It accepts connections: it is neither starting nor stopping.
    pub is_ready: bool,
}

/// Something a crash or a reboot has left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFinding {
    /// The server ended without shutting down; it recovers at its next start.
    NotShutDown { pid: Option<u32> },
    /// Making the data was interrupted.
    HalfMade { path: PathBuf },
}

impl PrivateServer {
    /// Returns the private server of the project in a folder.
    pub fn of(project: &Path) -> PrivateServer {
        PrivateServer { folder: Folder::of(project), settings: Vec::new() }
    }

    /// Adds a setting of Postgres' to those the server is started with.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> PrivateServer {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server, after making it if there is none, and waits until it accepts connections.
    pub fn start(&self) -> Result<Started, ServerError> {
        self.folder.make()?;
        let _lock = self.folder.lock()?;
        if let Some(cluster) = self.cluster()?
            && let Some(postmaster) = cluster.ready(Instant::now() + START_PATIENCE)?
        {
            return started(&cluster, postmaster, true, false);
        }
        self.make_and_start()
    }

    fn make_and_start(&self) -> Result<Started, ServerError> {
        let mut state = match self.folder.state()? {
            Some(state) => state,
            None => self.folder.new_state()?,
        };
        let cluster = self.cluster_of(&state)?;
        let major = cluster.major()?;
        let programs = match major {
            Some(major) => ServerPrograms::find_for(&cluster.data(), major)?,
            None => self.make(&cluster, &state)?,
        };
        let postmaster = cluster.start(&programs, state.port)?;
        state.port = Some(postmaster.port);
        self.folder.keep(&state)?;
        started(&cluster, postmaster, false, major.is_none())
    }

    /// Makes the data, and returns the programs it was done with.
    fn make(&self, cluster: &Cluster, state: &State) -> Result<ServerPrograms, ServerError> {
        let programs = ServerPrograms::find()?;
        // The password is kept first: data without it would be of no use.
        self.folder.keep(state)?;
        self.folder.make_home(&cluster.home, cluster.account)?;
        cluster.make(&programs, &state.database, &state.password)?;
        Ok(programs)
    }

    /// Stops the server; returns whether it ran.
    pub fn stop(&self) -> Result<bool, ServerError> {
        if !self.folder.exists() {
            return Ok(false);
        }
        let _lock = self.folder.lock()?;
        self.cluster()?.map_or(Ok(false), |cluster| cluster.stop())
    }

    /// Stops the server and deletes it with all its data; returns whether there was one.
    pub fn destroy(&self) -> Result<bool, ServerError> {
        if !self.folder.exists() {
            return Ok(false);
        }
        let lock = self.folder.lock()?;
        let clusters = self.clusters()?;
        for cluster in &clusters {
            cluster.stop()?;
            cluster.remove()?;
        }
        self.folder.remove(lock)?;
        Ok(!clusters.is_empty())
    }

    /// Returns the cluster, or where its state is lost or damaged what may be left of one.
    fn clusters(&self) -> Result<Vec<Cluster>, ServerError> {
        match self.cluster() {
            Ok(Some(cluster)) => return Ok(vec![cluster]),
            Ok(None) | Err(ServerError::StateNotUnderstood { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut clusters = Vec::new();
        for state in self.folder.lost_states() {
            if self.folder.home(&state)?.exists() {
                clusters.push(self.cluster_of(&state)?);
            }
        }
        Ok(clusters)
    }

    /// Returns what there is of the server, without changing anything.
    pub fn status(&self) -> Result<ServerStatus, ServerError> {
        let Some(cluster) = self.cluster()? else {
            return Ok(ServerStatus { state: ServerState::Absent, findings: Vec::new() });
        };
        Ok(ServerStatus { state: state_of(&cluster)?, findings: findings(&cluster)? })
    }

    /// Returns how to connect to the server, if it runs.
    pub fn connection(&self) -> Result<Option<ServerConnection>, ServerError> {
        let Some(state) = self.folder.state()? else {
            return Ok(None);
        };
        let postmaster = self.cluster_of(&state)?.running()?;
        Ok(postmaster.map(|postmaster| ServerConnection {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: postmaster.port,
            user: "postgres".to_owned(),
            password: state.password,
            database: state.database,
        }))
    }

    fn cluster(&self) -> Result<Option<Cluster>, ServerError> {
        let state = self.folder.state()?;
        state.map(|state| self.cluster_of(&state)).transpose()
    }

    fn cluster_of(&self, state: &State) -> Result<Cluster, ServerError> {
        let home = self.folder.home(state)?;
        Ok(Cluster { account: Account::for_home(&home)?, home, settings: self.settings.clone() })
    }
}

fn started(
    cluster: &Cluster,
    postmaster: Postmaster,
    already_running: bool,
    made: bool,
) -> Result<Started, ServerError> {
    Ok(Started {
        already_running,
        made,
        server: running(cluster, postmaster, cluster.major()?.unwrap_or_default()),
    })
}

fn running(cluster: &Cluster, postmaster: Postmaster, major: u32) -> RunningServer {
    RunningServer {
        pid: postmaster.pid,
        port: postmaster.port,
        major,
        since: postmaster.since,
        data: cluster.data(),
        is_ready: postmaster.is_ready,
    }
}

fn state_of(cluster: &Cluster) -> Result<ServerState, ServerError> {
    Ok(match (cluster.major()?, cluster.running()?) {
        (None, _) => ServerState::Absent,
        (Some(major), Some(postmaster)) => {
            ServerState::Running(running(cluster, postmaster, major))
        }
        (Some(major), None) => ServerState::Stopped { major, data: cluster.data() },
    })
}

fn findings(cluster: &Cluster) -> Result<Vec<ServerFinding>, ServerError> {
    let half_made = cluster.half_made().into_iter();
    let mut findings: Vec<_> = half_made.map(|path| ServerFinding::HalfMade { path }).collect();
    match PidFile::read(&cluster.data())? {
        PidFile::None | PidFile::Running(_) => {}
        PidFile::OfDead { pid } => findings.push(ServerFinding::NotShutDown { pid: Some(pid) }),
        PidFile::Misleading { pid } => findings.push(ServerFinding::NotShutDown { pid }),
    }
    Ok(findings)
}

/// How to connect to a private server.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerConnection {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
}

impl ServerConnection {
    /// Returns the connection as a URL, with its password.
    ///
    /// Nothing in it needs escaping: the names and the password are letters, digits, `-` and `_`.
    pub fn url(&self) -> String {
        let ServerConnection { host, port, user, password, database } = self;
        format!("postgres://{user}:{password}@{host}:{port}/{database}")
    }

    /// Returns the connection as sqlx takes it.
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .password(&self.password)
            .database(&self.database)
            .ssl_mode(PgSslMode::Disable)
    }
}

impl fmt::Debug for ServerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServerConnection { host, port, user, database, .. } = self;
        write!(f, "ServerConnection({user}@{host}:{port}/{database})")
    }
}
