//! The file of a dump: an archive of pg_dump's, and behind it what else there is to know of the
//! tenant. pg_restore finds everything by the offsets at the archive's beginning, and does not see
//! what follows (`docs/design/the-file-of-a-dump.md`).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::hash::Hasher as _;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::name::SchemaName;
use crate::structure::Structure;

/// How an archive of pg_dump's begins.
const ARCHIVE: &[u8] = b"PGDMP";
/// How the file of a dump ends.
const MAGIC: &[u8; 16] = b"tenantctl:dump:1";
/// Behind the manifest: its length, the checksum of everything before, and the magic.
const FOOTER: usize = 8 + 16 + MAGIC.len();
/// What a manifest may say of its own format.
const FORMAT: u32 = 1;

/// What a dump says of itself and of its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of this.
    format: u32,
    /// Which tenantctl wrote it.
    pub tenantctl: String,
    /// When, in RFC 3339.
    pub made_at: String,
    /// The server's version, such as 150018.
    pub server_version: u32,
    /// pg_dump's, such as `15.18 (Debian …)`.
    pub pg_dump: String,
    /// Its major version.
    pub pg_dump_major: u32,
    /// The tenant's schema.
    pub schema: SchemaName,
    /// What identified its registry row.
    pub id: String,
    /// The values of its registry row, as text, but for the schema's name and the row's number.
    pub values: Vec<(String, Option<String>)>,
    /// Its domains, the primary one first.
    pub domains: Vec<String>,
    /// The tables that hold rows themselves.
    pub tables: Vec<TableRows>,
    /// Where its sequences are.
    pub sequences: Vec<SequenceState>,
    /// What the schema is made of.
    pub structure: Structure,
}

/// How many rows a table has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// The table, without a schema.
    pub name: String,
    /// Its rows, without those of its children.
    pub rows: u64,
    /// The partitioned table of whose rows these are a part. Which part may be another after a
    /// restoration: of an enum's values, each server has hashes of its own.
    pub part_of: Option<String>,
}

/// Where a sequence is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceState {
    /// The sequence, without a schema.
    pub name: String,
    /// Its last value.
    pub last_value: i64,
    /// Whether that has been given out.
    pub is_called: bool,
}

impl Manifest {
    /// Returns what is known before anything is read: all else is empty.
    pub(super) fn new(schema: &SchemaName, server_version: u32) -> Self {
        let now = time::OffsetDateTime::now_utc().replace_nanosecond(0).expect("0 is one");
        let now = now.format(&time::format_description::well_known::Rfc3339);
        Self {
            format: FORMAT,
            tenantctl: env!("CARGO_PKG_VERSION").into(),
            made_at: now.unwrap_or_default(),
            server_version,
            pg_dump: String::new(),
            pg_dump_major: 0,
            schema: schema.clone(),
            id: String::new(),
            values: Vec::new(),
            domains: Vec::new(),
            tables: Vec::new(),
            sequences: Vec::new(),
            structure: Structure::default(),
        }
    }

    /// Returns how many rows there are.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

/// The file of a dump that was found whole.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// Why a file is not the file of a dump, or not one that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It could not be read.
    #[error("`{}` could not be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("`{}` is no dump of a tenant", path.display())]
    NoDump {
        /// The file.
        path: PathBuf,
    },
    /// It is pg_dump's alone, or ends too early.
    #[error("`{}` does not end as a dump of a tenant does: it was cut short, or pg_dump made it", path.display())]
    NoEnd {
        /// The file.
        path: PathBuf,
    },
    /// It is not what was written.
    #[error("`{}` is damaged: it is not what was written", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A newer tenantctl has made it.
    #[error("`{}` is of format {format}, and this tenantctl reads {FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Archive {
    /// Reads the whole file, and returns what it says of itself.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`] unless every byte is as it was written.
    pub async fn open(path: &Path) -> Result<Self, ArchiveError> {
        let path = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || Self::read(&path));
        reading.await.expect("reading does not panic")
    }

    fn read(path: &Path) -> Result<Self, ArchiveError> {
        let unreadable = |source| ArchiveError::Unreadable { path: path.to_owned(), source };
        let damaged = || ArchiveError::Damaged { path: path.to_owned() };
        let mut file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let mut start = Vec::new();
        (&mut file).take(ARCHIVE.len() as u64).read_to_end(&mut start).map_err(unreadable)?;
        if start != ARCHIVE {
            return Err(ArchiveError::NoDump { path: path.to_owned() });
        }
        let Some(footer_at) = size.checked_sub(FOOTER as u64) else {
            return Err(ArchiveError::NoEnd { path: path.to_owned() });
        };
        let mut footer = Vec::new();
        file.seek(SeekFrom::Start(footer_at)).map_err(unreadable)?;
        file.read_to_end(&mut footer).map_err(unreadable)?;
        let (length, checksum, magic) = (&footer[..8], &footer[8..24], &footer[24..]);
        if magic != MAGIC {
            return Err(ArchiveError::NoEnd { path: path.to_owned() });
        }
        if checksum_of(&mut file, footer_at).map_err(unreadable)? != *checksum {
            return Err(damaged());
        }
        let length = u64::from_le_bytes(length.try_into().expect("8 bytes"));
        let manifest_at = footer_at.checked_sub(length).ok_or_else(damaged)?;
        let mut manifest = Vec::new();
        file.seek(SeekFrom::Start(manifest_at)).map_err(unreadable)?;
        file.take(length).read_to_end(&mut manifest).map_err(unreadable)?;
        let Format { format } = serde_json::from_slice(&manifest).map_err(|_| damaged())?;
        if format != FORMAT {
            return Err(ArchiveError::Newer { path: path.to_owned(), format });
        }
        let manifest = serde_json::from_slice(&manifest).map_err(|_| damaged())?;
        Ok(Self { path: path.to_owned(), manifest })
    }
}

/// Finds damage, and is no proof against forgery.
fn checksum_of(file: &mut File, length: u64) -> io::Result<[u8; 16]> {
    file.rewind()?;
    let mut hasher = SipHasher13::new();
    let mut rest = file.take(length);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(hasher.finish128().as_bytes()),
            read => hasher.write(&buffer[..read]),
        }
    }
}

/// A file that becomes `target` when it is whole, and is removed if it does not.
#[derive(Debug)]
pub(super) struct Draft {
    target: PathBuf,
    path: PathBuf,
    /// Locked for as long as somebody works on it.
    _file: File,
}

/// A draft that nobody has locked is left over, unless it has just been made.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(60);

impl Draft {
    /// Makes an empty file beside `target` that its owner alone can read.
    pub(super) fn create(target: &Path) -> io::Result<Self> {
        remove_left_over(target);
        let mut name = draft_prefix(target);
        name.push(format!("{:08x}", fastrand::u32(..)));
        let path = target.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let draft = Self { target: target.to_owned(), path, _file: file };
        // Where files cannot be locked, none is taken for left over.
        let _ = flock(&draft._file, FlockOperation::NonBlockingLockExclusive);
        Ok(draft)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the manifest to the archive that was written here, and gives it its name once it is on
    /// the disk. Returns its size.
    pub(super) async fn finish(self, manifest: Manifest, overwrite: bool) -> io::Result<u64> {
        let path = self.path.clone();
        let completing = tokio::task::spawn_blocking(move || complete(&path, &manifest));
        let size = completing.await.expect("writing does not panic")?;
        self.publish(overwrite)?;
        Ok(size)
    }

    fn publish(&self, overwrite: bool) -> io::Result<()> {
        match overwrite {
            true => fs::rename(&self.path, &self.target)?,
            // Unlike a rename, fails where somebody else has been quicker.
            false => match fs::hard_link(&self.path, &self.target) {
                // Not every file system has links.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    fs::rename(&self.path, &self.target)?;
                }
                linked => linked?,
            },
        }
        File::open(folder_of(&self.target))?.sync_all()
    }
}

fn folder_of(target: &Path) -> &Path {
    let folder = target.parent().filter(|it| !it.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn draft_prefix(target: &Path) -> OsString {
    let mut prefix = target.file_name().unwrap_or_default().to_owned();
    prefix.push(".tmp-");
    prefix
}

/// Removes the drafts of those who were killed.
fn remove_left_over(target: &Path) {
    let prefix = draft_prefix(target);
    let is_draft = |name: &OsStr| {
        let rest = name.as_bytes().strip_prefix(prefix.as_bytes());
        rest.is_some_and(|it| it.len() == 8 && it.iter().all(u8::is_ascii_hexdigit))
    };
    let is_left_over = |path: &Path| {
        let file = File::open(path)?;
        let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        io::Result::Ok(age > LEFT_OVER_AFTER)
    };
    for entry in fs::read_dir(folder_of(target)).into_iter().flatten().flatten() {
        if is_draft(&entry.file_name()) && is_left_over(&entry.path()).unwrap_or(false) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn complete(archive: &Path, manifest: &Manifest) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(archive)?;
    let manifest = serde_json::to_vec(manifest)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&manifest)?;
    let length = file.stream_position()?;
    let checksum = checksum_of(&mut file, length)?;
    let mut footer = (manifest.len() as u64).to_le_bytes().to_vec();
    footer.extend_from_slice(&checksum);
    footer.extend_from_slice(MAGIC);
    file.seek(SeekFrom::End(0))?;
    file.write_all(&footer)?;
    file.sync_all()?;
    Ok(length + FOOTER as u64)
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It may have been given its name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path) -> PathBuf {
        let target = folder.join("acme.dump");
        let draft = Draft::create(&target).unwrap();
        fs::write(draft.path(), b"PGDMP and more").unwrap();
        let manifest = Manifest::new(&SchemaName::registered("acme"), 150_000);
        complete(draft.path(), &manifest).unwrap();
        draft.publish(false).unwrap();
        target
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        assert_eq!(Archive::read(&path).unwrap().manifest.schema.as_str(), "acme");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_byte_can_be_changed_or_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let whole = fs::read(&path).unwrap();
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(Archive::read(&path).is_err(), "byte {index} changed");
            fs::write(&path, &whole[..index]).unwrap();
            assert!(Archive::read(&path).is_err(), "cut after {index} bytes");
        }
    }

    #[test]
    fn what_somebody_who_was_killed_has_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("acme.dump");
        let old = std::time::SystemTime::now() - 2 * LEFT_OVER_AFTER;
        let left_over = folder.path().join("acme.dump.tmp-0123abcd");
        for name in ["acme.dump.tmp-0123abcd", "acme.dump.tmp-mine", "other.dump.tmp-0123abcd"] {
            File::create(folder.path().join(name)).unwrap().set_modified(old).unwrap();
        }
        let others = Draft::create(&target).unwrap();
        others._file.set_modified(old).unwrap();
        assert!(!left_over.exists());

        let mine = Draft::create(&target).unwrap();
        assert!(others.path().exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
        drop((others, mine));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_is_there_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("acme.dump");
        let draft = Draft::create(&target).unwrap();
        fs::write(&target, "mine").unwrap();
        assert_eq!(draft.publish(false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(draft);
        assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
