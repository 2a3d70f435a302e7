//! The project's `.tenantctl` folder: its lock, and what must be remembered about the server.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{io, thread};

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::error::ServerError;

/// Where the data are kept when the server's user cannot enter the project's folder.
const SYSTEM_FOLDER: &str = "/var/lib/tenantctl";

/// How long to wait for another process that starts, stops or destroys the same server.
const LOCK_PATIENCE: Duration = Duration::from_secs(120);

/// A project's `.tenantctl` folder, which need not be there.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    project: PathBuf,
    path: PathBuf,
}

/// What `server.json` remembers.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// Where the data are, if not in the project's own folder.
    home: Option<PathBuf>,
    pub(super) database: String,
    pub(super) password: String,
    /// The port of the last start, which the next one uses again if it can.
    pub(super) port: Option<u16>,
}

impl Folder {
    pub(super) fn of(project: &Path) -> Folder {
        let absolute = || std::path::absolute(project).unwrap_or_else(|_| project.to_owned());
        let project = fs::canonicalize(project).unwrap_or_else(|_| absolute());
        Folder { path: project.join(".tenantctl"), project }
    }

    pub(super) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the folder, which git ignores and other users cannot read.
    pub(super) fn make(&self) -> Result<(), ServerError> {
        // As root, the server's user has to pass through to its own folder.
        let is_root = rustix::process::geteuid().is_root();
        make_folder(&self.path, if is_root { 0o711 } else { 0o700 })?;
        let ignore = self.path.join(".gitignore");
        fs::write(&ignore, "*\n").map_err(ServerError::io("write", &ignore))
    }

    /// Waits until no other process works on this server, and keeps others waiting.
    pub(super) fn lock(&self) -> Result<File, ServerError> {
        let path = self.path.join("lock");
        let deadline = Instant::now() + LOCK_PATIENCE;
        while Instant::now() < deadline {
            if let Some(lock) = try_lock(&path).map_err(ServerError::io("lock", &path))? {
                return Ok(lock);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(ServerError::Busy { lock: path })
    }

    /// Returns the state, if one was written.
    pub(super) fn state(&self) -> Result<Option<State>, ServerError> {
        let path = self.state_path();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|source| ServerError::StateNotUnderstood { path, source }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ServerError::io("read", &path)(error)),
        }
    }

    /// Returns the state of a server that is yet to be made.
    pub(super) fn new_state(&self) -> Result<State, ServerError> {
        let home = self.path.join("postgres");
        let account = Account::for_home(&home)?;
        let state = State {
            home: (!account.can_enter(&self.path)).then(|| self.system_home()),
            database: database_name(&self.project),
            password: random_password()?,
            port: None,
        };
        let data = state.home.as_ref().unwrap_or(&home).join("data");
        if data.exists() {
            let state = self.state_path();
            return Err(ServerError::PasswordLost { state, data });
        }
        Ok(state)
    }

    /// Returns what a state that is lost may have said of where the data are.
    pub(super) fn lost_states(&self) -> [State; 2] {
        [None, Some(self.system_home())].map(|home| State {
            home,
            database: database_name(&self.project),
            password: String::new(),
            port: None,
        })
    }

    /// Writes the state whole or not at all, readable by this user only.
    pub(super) fn keep(&self, state: &State) -> Result<(), ServerError> {
        let path = self.state_path();
        let new = path.with_extension("json.new");
        let text = serde_json::to_vec_pretty(state).expect("strings and numbers are always JSON");
        write_private(&new, &text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(ServerError::io("write", &path))
    }

    /// Returns the folder of the server's user, with the data and the log.
    ///
    /// The state's word is checked: a project may come with somebody else's state, and what is in
    /// this folder is deleted on request.
    pub(super) fn home(&self, state: &State) -> Result<PathBuf, ServerError> {
        match &state.home {
            None => Ok(self.path.join("postgres")),
            Some(home) if *home == self.system_home() => Ok(home.clone()),
            Some(home) => {
                Err(ServerError::MadeElsewhere { state: self.state_path(), home: home.clone() })
            }
        }
    }

    /// Makes the folder of the server's user.
    pub(super) fn make_home(&self, home: &Path, account: Account) -> Result<(), ServerError> {
        if home.starts_with(SYSTEM_FOLDER) {
            make_folder(Path::new(SYSTEM_FOLDER), 0o711)?;
        }
        make_folder(home, 0o700)?;
        account.own(home)
    }

    /// Removes what this module has made; what others put into the folder stays.
    pub(super) fn remove(&self, lock: File) -> Result<(), ServerError> {
        remove_if_there(&self.state_path())?;
        remove_if_there(&self.path.join("lock"))?;
        drop(lock);
        let entries = fs::read_dir(&self.path).map_err(ServerError::io("read", &self.path))?;
        if entries.flatten().all(|entry| entry.file_name() == ".gitignore") {
            remove_if_there(&self.path.join(".gitignore"))?;
            // Somebody may be making the next server already.
            let _ = fs::remove_dir(&self.path);
        }
        Ok(())
    }

    fn state_path(&self) -> PathBuf {
        self.path.join("server.json")
    }

    fn system_home(&self) -> PathBuf {
        let hash = stable_hash(self.project.as_os_str().as_encoded_bytes());
        Path::new(SYSTEM_FOLDER).join(format!("{hash:016x}"))
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<(), ServerError> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.map_err(ServerError::io("make the folder", path))?,
    }
    // A umask may have taken more away than was asked for.
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(ServerError::io("set the permissions of", path))
}

/// Locks a file unless somebody else has.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let lock = options.create(true).append(true).mode(0o600).open(path)?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    // Whoever held it may have removed the file, and then others lock another one.
    let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let is_current = fs::metadata(path)
        .is_ok_and(|now| lock.metadata().is_ok_and(|locked| inode(now) == inode(locked)));
    Ok(is_current.then_some(lock))
}

fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn remove_if_there(path: &Path) -> Result<(), ServerError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(ServerError::io("remove", path)),
    }
}

/// Returns 32 letters, digits, hyphens and underscores from the system's random numbers.
fn random_password() -> Result<String, ServerError> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let source = Path::new("/dev/urandom");
    let mut random = [0; 32];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut random))
        .map_err(ServerError::io("read", source))?;
    let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 64)]);
    Ok(random.into_iter().map(letter).collect())
}

/// Returns a name for the project's database that needs no quoting anywhere.
fn database_name(project: &Path) -> String {
    let folder = project.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }
    };
    let name: String = folder.chars().map(plain).take(40).collect();
    let name = name.trim_matches('_');
    match name {
        "" | "postgres" | "template0" | "template1" => "app".to_owned(),
        _ if name.starts_with(|c: char| c.is_ascii_digit()) => format!("app_{name}"),
        _ => name.to_owned(),
    }
}

/// FNV-1a: the same for a path in every version of this program.
fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_named_after_the_folder() {
        let cases = [
            ("/srv/notes", "notes"),
            ("/srv/My Shop (v2)", "my_shop__v2"),
            ("/srv/2024-app", "app_2024_app"),
            ("/srv/postgres", "app"),
            ("/srv/日本", "app"),
            ("/", "app"),
        ];
        for (folder, name) in cases {
            assert_eq!(database_name(Path::new(folder)), name, "{folder}");
        }
    }

    #[test]
    fn no_two_passwords_are_alike() {
        let password = random_password().unwrap();
        assert_eq!(password.len(), 32);
        assert_ne!(password, random_password().unwrap());
    }

    #[test]
    fn a_state_from_another_folder_is_refused() {
        let folder = Folder::of(Path::new("/srv/notes"));
        let state = State {
            home: Some(PathBuf::from("/etc")),
            database: "notes".to_owned(),
            password: String::new(),
            port: None,
        };
        let error = folder.home(&state).unwrap_err();
        assert!(matches!(error, ServerError::MadeElsewhere { .. }));
    }
}
