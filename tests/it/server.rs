//! The private server, with real server programs.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::{Pid, Signal, getsid, kill_process};
use sqlx::{ConnectOptions, Connection};
use tenantctl::pg::server::{
    PrivateServer, RunningServer, ServerConnection, ServerError, ServerFinding, ServerState,
};

use crate::support::cluster::{disposable, folder_for_a_server};
use crate::support::eventually;

/// A project's folder with its server, which is destroyed at the end of the test.
struct Own {
    folder: PathBuf,
    server: PrivateServer,
}

impl Own {
    fn new() -> Own {
        let folder = folder_for_a_server();
        Own { server: disposable(&folder), folder }
    }

    fn started() -> (Own, RunningServer) {
        let own = Own::new();
        let server = own.server.start().unwrap().server;
        (own, server)
    }

    fn state(&self) -> ServerState {
        self.server.status().unwrap().state
    }

    fn findings(&self) -> Vec<ServerFinding> {
        self.server.status().unwrap().findings
    }

    fn home(&self) -> PathBuf {
        self.folder.join(".tenantctl/postgres")
    }

    fn connection(&self) -> ServerConnection {
        self.server.connection().unwrap().expect("it runs")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.server.destroy();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Kills a server and waits until its process is gone.
async fn kill(server: &RunningServer) {
    let pid = Pid::from_raw(server.pid.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    // The command line of a process that has ended is empty, also while nobody has asked for its
    // exit status.
    let command_line = format!("/proc/{}/cmdline", server.pid);
    let is_gone = async || fs::read(&command_line).unwrap_or_default().is_empty();
    eventually("the server is gone", is_gone).await;
}

async fn ask(connection: &ServerConnection, sql: &'static str) -> Result<String, sqlx::Error> {
    let mut connection = connection.options().connect().await?;
    let answer = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
    connection.close().await?;
    answer
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test]
async fn a_started_server_answers() {
    let (own, server) = Own::started();
    assert_eq!(own.state(), ServerState::Running(server));

    let database = ask(&own.connection(), "select current_database()::text").await;
    assert!(database.unwrap().starts_with("own_"));
    let encoding = ask(&own.connection(), "show server_encoding").await;
    assert_eq!(encoding.unwrap(), "UTF8");
}

#[test]
fn starting_twice_finds_it_running() {
    let own = Own::new();
    let first = own.server.start().unwrap();
    let second = own.server.start().unwrap();
    assert!(first.made && !first.already_running);
    assert!(!second.made && second.already_running);
    assert_eq!(first.server, second.server);
}

#[test]
fn two_starts_at_once_make_one_server() {
    let own = Own::new();
    let starts = [0; 4].map(|_| {
        let server = own.server.clone();
        thread::spawn(move || server.start().unwrap())
    });
    let started = starts.map(|start| start.join().unwrap());
    assert_eq!(started.iter().filter(|start| start.made).count(), 1);
    assert!(started.iter().all(|start| start.server.pid == started[0].server.pid));
}

#[tokio::test]
async fn a_stopped_server_keeps_its_data_and_its_port() {
    let (own, before) = Own::started();
    let made = ask(&own.connection(), "select lo_create(4711)::text").await;
    assert_eq!(made.unwrap(), "4711");

    assert!(own.server.stop().unwrap());
    assert!(!own.server.stop().unwrap());
    assert!(matches!(own.state(), ServerState::Stopped { .. }));
    assert_eq!(own.findings(), []);
    assert_eq!(own.server.connection().unwrap(), None);

    let after = own.server.start().unwrap();
    assert!(!after.made);
    assert_eq!(after.server.port, before.port);
    let kept = ask(&own.connection(), "select oid::text from pg_largeobject_metadata").await;
    assert_eq!(kept.unwrap(), "4711");
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    let (own, before) = Own::started();
    kill(&before).await;
    assert!(matches!(own.state(), ServerState::Stopped { .. }));
    let left_behind = ServerFinding::NotShutDown { pid: Some(before.pid) };
    assert_eq!(own.findings(), [left_behind]);

    let after = own.server.start().unwrap();
    assert!(!after.already_running && !after.made);
    assert_ne!(after.server.pid, before.pid);
    assert_eq!(own.findings(), []);
}

#[tokio::test]
async fn another_program_with_the_pid_of_a_killed_server_is_left_alone() {
    let (own, before) = Own::started();
    kill(&before).await;
    let pid_file = before.data.join("postmaster.pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    let other = std::process::id().to_string();
    fs::write(&pid_file, text.replacen(&before.pid.to_string(), &other, 1)).unwrap();

    assert!(!own.server.stop().unwrap());
    assert!(!own.server.start().unwrap().already_running);
}

#[tokio::test]
async fn an_empty_pid_file_does_not_stand_in_the_way() {
    let (own, before) = Own::started();
    kill(&before).await;
    fs::write(before.data.join("postmaster.pid"), "").unwrap();

    assert_eq!(own.findings(), [ServerFinding::NotShutDown { pid: None }]);
    own.server.start().unwrap();
}

#[test]
fn a_half_made_data_directory_is_made_again() {
    let own = Own::new();
    own.server.start().unwrap();
    own.server.stop().unwrap();
    let half_made = own.home().join("data.new-12345678");
    fs::rename(own.home().join("data"), &half_made).unwrap();
    fs::remove_file(half_made.join("PG_VERSION")).unwrap();

    assert_eq!(own.state(), ServerState::Absent);
    let path = half_made.clone();
    assert_eq!(own.findings(), [ServerFinding::HalfMade { path }]);
    assert!(own.server.start().unwrap().made);
    assert!(!half_made.exists());
}

/// Set for a process that is killed while it starts a server: the server's folder.
const START_IN: &str = "TENANTCTL_TEST_START_IN";

/// Not a test: what that process does. In a test run it has nothing to do.
#[test]
fn starts_a_server_and_may_be_killed() {
    if let Some(folder) = std::env::var_os(START_IN) {
        disposable(Path::new(&folder)).start().unwrap();
    }
}

#[tokio::test]
async fn whoever_is_killed_while_making_a_server_leaves_nothing_in_the_way() {
    let own = Own::new();
    let mut killed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::starts_a_server_and_may_be_killed"])
        .env(START_IN, &own.folder)
        .spawn()
        .unwrap();
    let is_making = async || fs::read_dir(own.home()).is_ok_and(|home| home.count() > 1);
    eventually("the data are being made", is_making).await;
    killed.kill().unwrap();
    killed.wait().unwrap();

    assert_ne!(own.findings(), []);
    assert!(own.server.start().unwrap().made);
    assert_eq!(own.findings(), []);
}

#[test]
fn it_is_in_a_session_of_its_own() {
    let (_own, server) = Own::started();
    // Not asked of this process itself: in a container the leader of its session may be outside,
    // and have no number here.
    let server = Pid::from_raw(server.pid.try_into().unwrap());
    assert_eq!(getsid(server).unwrap(), server.unwrap());
}

#[test]
fn a_taken_port_is_not_used_again() {
    let (own, before) = Own::started();
    own.server.stop().unwrap();
    let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, before.port)).unwrap();

    assert_ne!(own.server.start().unwrap().server.port, before.port);
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let (own, _) = Own::started();
    for password in ["wrong", ""] {
        let connection = ServerConnection { password: password.to_owned(), ..own.connection() };
        let error = ask(&connection, "select 'in'").await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("28P01"), "{error}");
    }
}

#[tokio::test]
async fn nothing_listens_beyond_loopback() {
    let (own, server) = Own::started();
    let connection = own.connection();
    assert_eq!(ask(&connection, "show listen_addresses").await.unwrap(), "127.0.0.1");
    assert_eq!(ask(&connection, "show unix_socket_directories").await.unwrap(), "");
    let trusted =
        "select count(*)::text from pg_hba_file_rules where auth_method <> 'scram-sha-256'";
    assert_eq!(ask(&connection, trusted).await.unwrap(), "0");

    let loopback = format!("0100007F:{:04X}", server.port);
    assert_eq!(listening(server.port), [loopback]);
}

/// Returns the addresses that are listened on at a port, as Linux tells them.
fn listening(port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let table = |name| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    (table("tcp") + &table("tcp6"))
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == LISTEN)
        .map(|fields| fields[1].to_owned())
        .filter(|address| address.ends_with(&format!(":{port:04X}")))
        .collect()
}

#[test]
fn what_it_keeps_is_for_its_user_only() {
    let (own, _) = Own::started();
    let folder = own.folder.join(".tenantctl");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), if is_root() { 0o711 } else { 0o700 });
    assert_eq!(mode(&folder.join("server.json")), 0o600);
    assert_eq!(mode(&folder.join("postgres")), 0o700);
    assert_eq!(fs::read_to_string(folder.join(".gitignore")).unwrap(), "*\n");
}

#[test]
fn the_password_is_in_no_debug_output() {
    let (own, _) = Own::started();
    let connection = own.connection();
    assert!(connection.url().contains(&connection.password));
    assert!(!format!("{connection:?}").contains(&connection.password));
}

#[test]
fn looking_creates_nothing() {
    let own = Own::new();
    assert_eq!(own.state(), ServerState::Absent);
    assert_eq!(own.server.connection().unwrap(), None);
    assert!(!own.server.stop().unwrap());
    assert!(!own.server.destroy().unwrap());
    assert_eq!(fs::read_dir(&own.folder).unwrap().count(), 0);
}

#[test]
fn destroying_removes_everything() {
    let (own, server) = Own::started();
    assert!(own.server.destroy().unwrap());
    assert_eq!(fs::read_dir(&own.folder).unwrap().count(), 0);
    assert_eq!(listening(server.port), [""; 0]);
    assert_eq!(own.state(), ServerState::Absent);
}

#[test]
fn as_root_it_runs_as_somebody_else_in_a_folder_of_roots() {
    let own = Own::new();
    if !is_root() {
        return;
    }
    fs::set_permissions(&own.folder, fs::Permissions::from_mode(0o700)).unwrap();
    let server = own.server.start().unwrap().server;
    assert!(server.data.starts_with("/var/lib/tenantctl"));
    let process = fs::metadata(format!("/proc/{}", server.pid)).unwrap();
    assert_ne!(process.uid(), 0);

    own.server.destroy().unwrap();
    assert!(!server.data.parent().unwrap().exists());
    assert_eq!(fs::read_dir(&own.folder).unwrap().count(), 0);
}

#[test]
fn data_of_a_version_that_is_not_installed_are_refused() {
    let (own, server) = Own::started();
    own.server.stop().unwrap();
    fs::write(server.data.join("PG_VERSION"), "99\n").unwrap();
    let error = own.server.start().unwrap_err();
    assert!(matches!(error, ServerError::DataOfOtherVersion { data_major: 99, .. }));
}

#[test]
fn data_without_their_password_are_refused() {
    let (own, _) = Own::started();
    own.server.stop().unwrap();
    fs::remove_file(own.folder.join(".tenantctl/server.json")).unwrap();
    let error = own.server.start().unwrap_err();
    assert!(matches!(error, ServerError::PasswordLost { .. }));
    assert!(own.server.destroy().unwrap());
    own.server.start().unwrap();
}

#[test]
fn a_running_server_whose_state_is_damaged_can_be_destroyed() {
    let (own, server) = Own::started();
    fs::write(own.folder.join(".tenantctl/server.json"), "{ half").unwrap();
    let error = own.server.start().unwrap_err();
    assert!(matches!(error, ServerError::StateNotUnderstood { .. }));
    assert!(own.server.destroy().unwrap());
    assert_eq!(listening(server.port), [""; 0]);
    assert_eq!(fs::read_dir(&own.folder).unwrap().count(), 0);
}

#[test]
fn a_server_that_cannot_start_shows_its_log() {
    let own = Own::new();
    let broken = own.server.clone().setting("shared_buffers", "plenty");
    let error = broken.start().unwrap_err();
    assert!(matches!(error, ServerError::NotStarted { .. }), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("shared_buffers"), "{cause}");
}
