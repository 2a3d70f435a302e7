//! A server of a test's own: to be crashed, or set up in another way.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use tenantctl::pg::server::{PrivateServer, ServerConnection};

use super::{cluster, quick_password};

/// A server that is destroyed at the end of the test.
pub(crate) struct OwnServer {
    folder: PathBuf,
    server: PrivateServer,
}

impl OwnServer {
    /// Starts a server with these settings of Postgres'.
    pub(crate) fn start(settings: &[(&str, &str)]) -> OwnServer {
        let folder = cluster::folder_for_a_server();
        // What was committed is there after a crash.
        let server = cluster::disposable(&folder).setting("synchronous_commit", "on");
        let server = settings.iter().fold(server, |it, (name, value)| it.setting(name, value));
        server.start().expect("the test needs a Postgres");
        let own = OwnServer { folder, server };
        quick_password::set(&own.connection());
        own
    }

    pub(crate) fn connection(&self) -> ServerConnection {
        self.server.connection().unwrap().expect("it runs")
    }

    /// Returns the folder with the server's data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join(".tenantctl/postgres/data")
    }

    /// Ends the server as `pg_ctl -m immediate stop` does, without a checkpoint.
    pub(crate) fn crash(&self) {
        let pid_file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let pid = pid_file.lines().next().and_then(|line| line.parse().ok());
        let pid = Pid::from_raw(pid.unwrap()).unwrap();
        kill_process(pid, Signal::QUIT).unwrap();
        while rustix::process::test_kill_process(pid).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Lets the server, which is stopped, start as a standby.
    pub(crate) fn make_standby(&self) {
        fs::write(self.data().join("standby.signal"), "").unwrap();
    }

    /// Lets the server, which is stopped, start as a primary.
    pub(crate) fn make_primary(&self) {
        fs::remove_file(self.data().join("standby.signal")).unwrap();
    }

    /// Starts the server again, on the same port.
    pub(crate) fn start_again(&self) {
        self.server.start().expect("it recovers");
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.server.destroy();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
