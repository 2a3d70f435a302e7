//! The Postgres of a test run: one for all test processes, gone when the last of them is.
//!
//! Every process that uses it holds a shared lock on a file, which the system lets go of however
//! the process ends. A *watcher*, in a session of its own, waits for that file's exclusive lock,
//! and then destroys the cluster.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tenantctl::pg::server::{PrivateServer, ServerConnection, ServerPrograms};

use super::quick_password;

/// Set for the watcher: the name of the cluster it watches.
const WATCH: &str = "TENANTCTL_TEST_WATCH";

/// Names the folder for the servers' data, if it is not to be the target folder's: a disk in memory
/// creates databases many times faster.
const FOLDER: &str = "TENANTCTL_TEST_FOLDER";

/// How long the cluster outlives its last user: between two tests there may be none.
const GRACE: Duration = Duration::from_secs(2);

/// Returns how to connect to the cluster of this run, which is started if need be.
pub(crate) fn connection() -> &'static ServerConnection {
    let start = || {
        let server = disposable(&Run::current().folder().join("shared"));
        let server = server.setting("max_connections", "200");
        let started = server.start().expect("the tests need a Postgres");
        let connection = server.connection().unwrap().expect("it was just started");
        if started.made {
            quick_password::set(&connection);
        }
        connection
    };
    static CONNECTION: OnceLock<ServerConnection> = OnceLock::new();
    CONNECTION.get_or_init(start)
}

/// Returns a new folder for a test that runs a server of its own; it goes with the cluster.
pub(crate) fn folder_for_a_server() -> PathBuf {
    let run = Run::current().folder();
    // It may be below the checkout's own folder, whose project would be found otherwise.
    fs::create_dir_all(run.join(".git")).unwrap();
    let folder = run.join(format!("own-{:08x}", fastrand::u32(..)));
    make_folder(&folder);
    folder
}

/// Returns the private server of a folder, set up to forget its data in a power cut.
pub(crate) fn disposable(folder: &Path) -> PrivateServer {
    make_folder(folder);
    PrivateServer::of(folder)
        .setting("fsync", "off")
        .setting("full_page_writes", "off")
        .setting("synchronous_commit", "off")
}

/// Makes a folder that the server's user may enter.
fn make_folder(folder: &Path) {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(folder).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The processes that use one cluster, by the version of its programs.
struct Run {
    name: String,
}

impl Run {
    /// Returns the run this process belongs to; it holds the shared lock from now on.
    fn current() -> &'static Run {
        static CURRENT: OnceLock<(Run, File)> = OnceLock::new();
        let (run, _lock) = CURRENT.get_or_init(|| {
            let run = Run::of(&ServerPrograms::find().expect("the tests need a Postgres"));
            let lock = run.open("users");
            lock.lock_shared().unwrap();
            run.make_sure_it_is_watched();
            (run, lock)
        });
        run
    }

    fn of(programs: &ServerPrograms) -> Run {
        let version = programs.version().text.split(' ').next().unwrap_or_default();
        Run { name: format!("postgres-{version}") }
    }

    /// Returns where the servers of this run are, each in a folder of its own.
    fn folder(&self) -> PathBuf {
        let folder = env::var_os(FOLDER).map_or(env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
        folder.join(&self.name)
    }

    fn open(&self, lock: &str) -> File {
        let path = self.folder().with_added_extension(lock);
        let mut options = OpenOptions::new();
        options.create(true).append(true).open(path).unwrap()
    }

    #[expect(clippy::zombie_processes, reason = "the watcher outlives this process")]
    fn make_sure_it_is_watched(&self) {
        if self.open("watcher").try_lock().is_ok() {
            Command::new(env::current_exe().unwrap())
                .args(["--exact", "support::cluster::watcher"])
                .env(WATCH, &self.name)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
        }
    }

    /// Waits until nobody uses the servers of this run, and destroys them.
    fn watch(&self) {
        let watcher = self.open("watcher");
        if watcher.try_lock().is_err() {
            return; // There is one already.
        }
        let users = self.open("users");
        loop {
            users.lock().unwrap();
            users.unlock().unwrap();
            thread::sleep(GRACE);
            if users.try_lock().is_ok() {
                break;
            }
        }
        self.destroy();
        // In this order: who waits for the users' lock then sees that nobody watches any more.
        drop(watcher);
        drop(users);
    }

    fn destroy(&self) {
        for server in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            let _ = PrivateServer::of(&server.path()).destroy();
        }
        let _ = fs::remove_dir_all(self.folder());
    }
}

/// Not a test: the watcher's `main`. In a test run it has nothing to do.
#[test]
fn watcher() {
    if let Ok(name) = env::var(WATCH) {
        // Whoever ends the test run with its process group does not end the watcher.
        rustix::process::setsid().unwrap();
        Run { name }.watch();
    }
}

#[tokio::test]
async fn all_processes_of_a_run_share_one_cluster() {
    let mut another = Command::new(env::current_exe().unwrap());
    another.args(["--exact", "support::cluster::tells_its_port", "--nocapture"]);
    let output = another.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("port {};", connection().port)), "{said}");
}

#[test]
fn tells_its_port() {
    println!("port {};", connection().port);
}
