//! A network that can be cut: a proxy between the program and the server that counts the
//! protocol's messages, and loses the one it was told to lose (Postgres documentation, "Message
//! Formats"), or holds it up.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tenantctl::pg::server::ServerConnection;

/// A proxy before a server.
pub(crate) struct Proxy {
    server: ServerConnection,
    port: u16,
    wire: Arc<Wire>,
}

/// Which message is lost, and with it its connection.
#[derive(Clone, Copy)]
pub(crate) enum Lose {
    /// The `n`th message (from 0) of the connections that migrate, in either direction.
    Nth(usize),
    /// The server's first answer that it has committed.
    Committed,
    /// The answer to the first statement that writes down what a run has done.
    WrittenDown,
    /// Every start-up message of a connection that wants to know whether it leads straight to the
    /// server, as a pooler might.
    Direct,
    /// None; but the first question with these words in it is held up until [`Proxy::release`].
    Nothing { hold: &'static str },
}

struct Wire {
    target: (Ipv4Addr, u16),
    lose: Lose,
    /// Messages so far, of those that are counted.
    seen: AtomicUsize,
    lost: AtomicUsize,
    held: AtomicBool,
    released: AtomicBool,
}

impl Proxy {
    /// Starts a proxy that loses one message.
    pub(crate) fn start(server: &ServerConnection, lose: Lose) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Arc::new(Wire {
            target: (Ipv4Addr::LOCALHOST, server.port),
            lose,
            seen: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            held: AtomicBool::new(false),
            released: AtomicBool::new(false),
        });
        let shared = wire.clone();
        // It ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let wire = shared.clone();
                thread::spawn(move || wire.serve(client));
            }
        });
        Proxy { server: server.clone(), port, wire }
    }

    /// Returns the database's URL by way of the proxy.
    pub(crate) fn url(&self) -> String {
        let server = ServerConnection { port: self.port, ..self.server.clone() };
        // In the clear, so that messages can be told apart.
        format!("{}?sslmode=disable", server.url())
    }

    pub(crate) fn port(&self) -> String {
        self.port.to_string()
    }

    /// Returns whether the message came, and was lost.
    pub(crate) fn has_lost(&self) -> bool {
        self.wire.lost.load(Ordering::SeqCst) > 0
    }

    /// Returns whether the message came, and is held up.
    pub(crate) fn holds(&self) -> bool {
        self.wire.held.load(Ordering::SeqCst)
    }

    /// Returns how many questions the connections that migrate have asked, where none is lost.
    pub(crate) fn asked(&self) -> usize {
        self.wire.seen.load(Ordering::SeqCst)
    }

    /// Lets the message go on its way.
    pub(crate) fn release(&self) {
        self.wire.released.store(true, Ordering::SeqCst);
    }
}

impl Wire {
    fn serve(self: Arc<Self>, mut client: TcpStream) -> Option<()> {
        let start_up = read_body(&mut client, Vec::new()).ok()?;
        let migrates = Arc::new(AtomicBool::new(names_worker(&start_up)));
        let mut server = TcpStream::connect(self.target).ok()?;
        // Each message is sent as it comes.
        client.set_nodelay(true).ok()?;
        server.set_nodelay(true).ok()?;
        if self.lets_through(migrates.load(Ordering::SeqCst), &start_up) {
            server.write_all(&start_up).ok()?;
            let (from, to) = (client.try_clone().ok()?, server.try_clone().ok()?);
            let (wire, shared) = (self.clone(), migrates.clone());
            let requests = thread::spawn(move || wire.carry(&shared, from, to));
            let (from, to) = (server.try_clone().ok()?, client.try_clone().ok()?);
            self.carry(&migrates, from, to);
            let _ = requests.join();
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
        Some(())
    }

    /// Carries messages in one direction until there are no more or one is lost.
    fn carry(&self, migrates: &AtomicBool, mut from: TcpStream, mut to: TcpStream) {
        while let Ok(message) = read(&mut from) {
            // The connection that has looked becomes a worker's.
            if message.windows(RENAMES.len()).any(|it| it == RENAMES) && names_worker(&message) {
                migrates.store(true, Ordering::SeqCst);
            }
            let passes = self.lets_through(migrates.load(Ordering::SeqCst), &message);
            if !passes || to.write_all(&message).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn lets_through(&self, migrates: bool, message: &[u8]) -> bool {
        let count = || self.seen.fetch_add(1, Ordering::SeqCst);
        let is_lost = match self.lose {
            Lose::Nothing { hold } => {
                if migrates && message[0] == b'Q' {
                    count();
                }
                let is_meant = String::from_utf8_lossy(message).contains(hold);
                if is_meant && !self.held.swap(true, Ordering::SeqCst) {
                    while !self.released.load(Ordering::SeqCst) {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
                false
            }
            // The first row that is written is that of the run.
            Lose::WrittenDown => {
                !migrates
                    && message[0] == b'C'
                    && message[5..].starts_with(b"INSERT")
                    && count() == 1
            }
            // What the server says of its settings (`S`) comes in one go, as one message might.
            _ if !migrates || message[0] == b'S' => false,
            Lose::Nth(lost) => count() == lost,
            Lose::Committed => {
                message == b"C\0\0\0\x0bCOMMIT\0" && self.lost.load(Ordering::SeqCst) == 0
            }
            Lose::Direct => String::from_utf8_lossy(message).contains("tenantctl.session"),
        };
        if is_lost {
            self.lost.fetch_add(1, Ordering::SeqCst);
        }
        !is_lost
    }
}

/// What a message says that gives its session another name.
const RENAMES: &[u8] = b"set_config('application_name'";

/// Whether a message names a worker: `tenantctl 1f0c3a52 0`.
fn names_worker(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message);
    let is_worker = |name: &str| {
        let words: Vec<&str> = name.split(' ').collect();
        matches!(words[..], ["tenantctl", run, worker]
            if run.len() == 8 && worker.parse::<usize>().is_ok())
    };
    text.split(['\0', '\'']).any(is_worker)
}

fn read(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut kind = vec![0];
    from.read_exact(&mut kind)?;
    read_body(from, kind)
}

/// Reads a length and what it counts, which includes itself.
fn read_body(from: &mut TcpStream, mut message: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    message.extend(length);
    let start = message.len();
    message.resize(start + u32::from_be_bytes(length) as usize - 4, 0);
    from.read_exact(&mut message[start..])?;
    Ok(message)
}
