//! A PgBouncer in transaction mode before the tests' server.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tenantctl::pg::server::ServerConnection;

use super::{cluster, eventually};

/// A PgBouncer that ends with the test. It has few connections to the server, which all of its
/// clients share.
pub(crate) struct PgBouncer {
    child: Child,
    folder: PathBuf,
    server: ServerConnection,
    port: u16,
}

impl PgBouncer {
    /// Starts one; says so and returns `None` where it is not installed.
    pub(crate) async fn start(server: &ServerConnection) -> Option<PgBouncer> {
        Self::start_with(server, "").await
    }

    /// Starts one with more in its configuration.
    pub(crate) async fn start_with(server: &ServerConnection, more: &str) -> Option<PgBouncer> {
        let program = program()?;
        loop {
            let mut pooler = PgBouncer::spawn(program, server, more);
            if pooler.listens().await {
                return Some(pooler);
            }
        }
    }

    fn spawn(program: &str, server: &ServerConnection, more: &str) -> PgBouncer {
        let folder = cluster::folder_for_a_server();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = port.local_addr().unwrap().port();
        let file = folder.join("pgbouncer.ini");
        fs::write(&file, configuration(server, port) + more).unwrap();
        let mut command = Command::new(program);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        let log = fs::File::create(folder.join("log")).unwrap();
        let child = command.arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        PgBouncer {
            child: child.stderr(log).spawn().unwrap(),
            folder,
            server: server.clone(),
            port,
        }
    }

    /// Waits until it listens; returns false when somebody else had taken the port meanwhile, and
    /// it ended for that.
    async fn listens(&mut self) -> bool {
        let port = self.port;
        let mut is_running = true;
        eventually("PgBouncer listens, or has ended", async || {
            is_running = self.child.try_wait().unwrap().is_none();
            // Whoever answers at the port may be somebody else.
            let log = fs::read_to_string(self.folder.join("log")).unwrap();
            !is_running || log.contains(&format!("listening on 127.0.0.1:{port}"))
        })
        .await;
        is_running && self.child.try_wait().unwrap().is_none()
    }

    /// Returns the database's URL by way of the pooler.
    pub(crate) fn url(&self) -> String {
        let port = self.port;
        ServerConnection { port, ..self.server.clone() }.url()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Debian keeps it where only root's PATH leads.
fn program() -> Option<&'static str> {
    let found = ["pgbouncer", "/usr/sbin/pgbouncer"].into_iter().find(|program| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null());
        command.status().is_ok()
    });
    if found.is_none() {
        println!("skipped: pgbouncer is not installed");
    }
    found
}

fn configuration(server: &ServerConnection, port: u16) -> String {
    let ServerConnection { host, port: server_port, user, password, database } = server;
    format!(
        "[databases]\n\
         {database} = host={host} port={server_port} user={user} password={password}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         pool_mode = transaction\n\
         default_pool_size = 3\n"
    )
}
