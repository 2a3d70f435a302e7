//! New migration files, and new versions for files that claim one twice.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use time::OffsetDateTime;

use super::{
    FolderError,
    file_name::{self, FileName},
    listing::{Duplicate, Entry, Listing},
};

pub use super::numbering::Numbering;

/// A history table has 255 characters for a name, and a file name has 255 bytes.
const MAX_NAME_BYTES: usize = 200;

/// Which schemas a folder's migrations are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderKind {
    Shared,
    Tenant,
}

impl FolderKind {
    /// What the folder is called in a project.
    pub fn folder_name(self) -> &'static str {
        match self {
            FolderKind::Shared => "shared",
            FolderKind::Tenant => "tenant",
        }
    }
}

/// A migration to be written.
#[derive(Debug, Clone)]
pub struct NewMigration {
    pub name: String,
    pub kind: FolderKind,
    pub numbering: Numbering,
    pub now: OffsetDateTime,
    /// What the file says; without it, a comment on what to write.
    pub sql: Option<String>,
}

/// A file that was given another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renumbered {
    pub from: PathBuf,
    pub to: PathBuf,
    pub old_version: i64,
    pub new_version: i64,
}

/// Why no file was written or renamed.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("`{}` cannot be a migration's name, which is made of letters, digits and underscores, without version and ending", name.escape_debug())]
    Name {
        name: String,
        /// The name that was probably meant.
        suggestion: Option<String>,
    },
    #[error("a migration's name may have {MAX_NAME_BYTES} bytes, and this one has {bytes}")]
    LongName { bytes: usize },
    #[error("the SQL has a NUL byte at byte {offset}")]
    Nul { offset: usize },
    #[error("there is no version after {newest}, the newest in `{}`", folder.display())]
    NoNextVersion { folder: PathBuf, newest: i64 },
    #[error("`{}` is not a migration of `{}`", file.display(), folder.display())]
    NotInFolder { file: PathBuf, folder: PathBuf },
    #[error("`{}` exists already", path.display())]
    Exists { path: PathBuf },
    #[error("`{}` could not be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` could not be renamed to `{}`", from.display(), to.display())]
    Rename { from: PathBuf, to: PathBuf, source: io::Error },
}

/// Returns the version of a folder's next migration: greater than all that are there.
///
/// Where versions are timestamps already, a sequence goes on with them.
pub fn next_version(
    folder: &Path,
    numbering: Numbering,
    now: OffsetDateTime,
) -> Result<i64, ScaffoldError> {
    next_in(folder, &Listing::of(folder)?, numbering, now)
}

fn next_in(
    folder: &Path,
    listing: &Listing,
    numbering: Numbering,
    now: OffsetDateTime,
) -> Result<i64, ScaffoldError> {
    let newest = listing.newest();
    let next = numbering.version_after(newest, now);
    next.ok_or_else(|| ScaffoldError::NoNextVersion {
        folder: folder.to_owned(),
        newest: newest.unwrap_or_default(),
    })
}

/// Writes a folder's next migration and returns its path; no file is ever overwritten.
pub fn create(folder: &Path, new: &NewMigration) -> Result<PathBuf, ScaffoldError> {
    check_name(&new.name)?;
    if let Some(offset) = new.sql.as_ref().and_then(|sql| sql.find('\0')) {
        return Err(ScaffoldError::Nul { offset });
    }
    let mut listing = Listing::of(folder)?;
    FolderError::unless_empty(folder, listing.take_problems())?;

    let version = next_in(folder, &listing, new.numbering, new.now)?;
    let path = folder.join(format!("V{version}__{}.sql", new.name));
    match write_new(&path, &content(new)) {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(ScaffoldError::Exists { path })
        }
        Err(source) => Err(ScaffoldError::Write { path, source }),
    }
}

fn check_name(name: &str) -> Result<(), ScaffoldError> {
    if !is_name(name) {
        return Err(ScaffoldError::Name { name: name.to_owned(), suggestion: meant(name) });
    }
    match name.len() {
        bytes if bytes > MAX_NAME_BYTES => Err(ScaffoldError::LongName { bytes }),
        _ => Ok(()),
    }
}

/// A whole file name, `V2__add_orders`, is a name to refinery too, but not what was meant.
fn is_name(name: &str) -> bool {
    file_name::is_read(&format!("V1__{name}")) && !file_name::is_read(name)
}

/// Returns the name in `add orders`, or in a whole file name such as `V2__add-orders.sql`.
fn meant(name: &str) -> Option<String> {
    let word = file_name::word(name.strip_suffix(".sql").unwrap_or(name));
    let name = match word.split_once("__") {
        Some((_, rest)) if file_name::is_read(&word) => rest,
        _ => &word,
    };
    is_name(name).then(|| name.to_owned())
}

fn content(new: &NewMigration) -> String {
    let mut content = match (&new.sql, new.kind) {
        (Some(sql), _) => sql.clone(),
        (None, FolderKind::Shared) => format!("{}\n", include_str!("templates/shared.sql")),
        (None, FolderKind::Tenant) => format!("{}\n", include_str!("templates/tenant.sql")),
    };
    if !content.is_empty() && !content.ends_with('\n') {
        content.push('\n');
    }
    content
}

/// Writes a file that is not there yet, whole or not at all.
pub(crate) fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(content.as_bytes()).inspect_err(|_| {
        // Half a migration must not be taken for one.
        let _ = fs::remove_file(path);
    })
}

/// Returns the versions that two files of a folder claim, by their names alone: what else may be
/// wrong with the files is for [`MigrationFolder::read`](super::MigrationFolder::read).
pub fn check(folders: &[&Path]) -> Result<Vec<Duplicate>, FolderError> {
    let mut duplicates = Vec::new();
    for folder in folders {
        let mut listing = Listing::of(folder)?;
        if !listing.problems.is_empty() {
            let problems = listing.take_problems();
            return Err(FolderError::Files { path: folder.to_path_buf(), problems });
        }
        duplicates.extend(listing.duplicates());
    }
    Ok(duplicates)
}

/// Gives a file the next version of its folder.
///
/// The file may be given as its path or as its place in the folder.
pub fn renumber(
    folder: &Path,
    file: &Path,
    numbering: Numbering,
    now: OffsetDateTime,
) -> Result<Renumbered, ScaffoldError> {
    let Entry { path, name } = entry(folder, file)?;
    let old_version = name.version;
    let version = next_version(folder, numbering, now)?;
    let to = path.with_file_name(format!("{}.sql", FileName { version, ..name }));
    rename_new(&path, &to)?;

    Ok(Renumbered { from: path, to, old_version, new_version: version })
}

fn entry(folder: &Path, file: &Path) -> Result<Entry, ScaffoldError> {
    let places = [place(file), place(&folder.join(file))];
    let mut entries = Listing::of(folder)?.entries.into_iter();
    let is_it = |entry: &Entry| {
        let it = place(&entry.path);
        it.is_some() && places.contains(&it)
    };
    entries.find(is_it).ok_or_else(|| ScaffoldError::NotInFolder {
        file: file.to_owned(),
        folder: folder.to_owned(),
    })
}

/// Returns a file's path without links on the way, the file itself not followed.
fn place(file: &Path) -> Option<PathBuf> {
    let parent = match file.parent()? {
        parent if parent == Path::new("") => Path::new("."),
        parent => parent,
    };
    Some(parent.canonicalize().ok()?.join(file.file_name()?))
}

fn rename_new(from: &Path, to: &Path) -> Result<(), ScaffoldError> {
    if to.symlink_metadata().is_ok() {
        return Err(ScaffoldError::Exists { path: to.into() });
    }
    fs::rename(from, to).map_err(|source| ScaffoldError::Rename {
        from: from.into(),
        to: to.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::migration::{FileProblem, MigrationFolder};

    const NOW: OffsetDateTime = datetime!(2026-01-31 14:05:09 +2);
    const THEN: i64 = 20_260_131_120_509;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        folder
    }

    fn new(name: &str) -> NewMigration {
        NewMigration {
            name: name.into(),
            kind: FolderKind::Tenant,
            numbering: Numbering::Sequence,
            now: NOW,
            sql: None,
        }
    }

    #[test]
    fn no_version_comes_after_the_last() {
        let folder = folder(&["V9223372036854775807__a.sql"]);
        let error = next_version(folder.path(), Numbering::Sequence, NOW).unwrap_err();
        let text = "there is no version after 9223372036854775807, the newest in `";
        assert!(error.to_string().starts_with(text));
    }

    #[test]
    fn a_new_file_says_what_to_write_and_is_no_more_than_comments() {
        for kind in [FolderKind::Shared, FolderKind::Tenant] {
            let folder = folder(&["V1__a.sql"]);
            let path = create(folder.path(), &NewMigration { kind, ..new("add_orders") }).unwrap();
            assert_eq!(path, folder.path().join("V2__add_orders.sql"));

            let content = fs::read_to_string(path).unwrap();
            assert!(content.lines().all(|line| line.is_empty() || line.starts_with("-- ")));
            assert!(content.contains("tenantctl: no-transaction"));
            assert!(content.is_ascii());
            assert!(!content.starts_with("-- tenantctl:"));
            MigrationFolder::read(folder.path()).unwrap();
        }
    }

    #[test]
    fn given_sql_is_all_that_is_written() {
        let folder = folder(&[]);
        let sql = |sql: &str| NewMigration { sql: Some(sql.into()), ..new("a") };
        let path = create(folder.path(), &sql("select 1")).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "select 1\n");

        let error = create(folder.path(), &sql("a\0")).unwrap_err();
        assert_eq!(error.to_string(), "the SQL has a NUL byte at byte 1");
    }

    #[test]
    fn a_name_that_refinery_would_not_read_is_refused() {
        for (name, suggestion) in [
            ("add orders", Some("add_orders")),
            ("add-orders!", Some("add_orders")),
            ("../orders", Some("orders")),
            ("V2__add-orders.sql", Some("add_orders")),
            ("V2__add_orders", Some("add_orders")),
            ("add_orders.sql", Some("add_orders")),
            ("", None),
            ("--", None),
        ] {
            let folder = folder(&[]);
            let error = create(folder.path(), &new(name)).unwrap_err();
            let ScaffoldError::Name { suggestion: found, .. } = error else { panic!("{error}") };
            assert_eq!(found.as_deref(), suggestion, "{name}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_name_has_a_length() {
        let folder = folder(&[]);
        create(folder.path(), &new(&"a".repeat(200))).unwrap();
        let error = create(folder.path(), &new(&"a".repeat(201))).unwrap_err();
        let text = "a migration's name may have 200 bytes, and this one has 201";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn nothing_is_added_to_a_folder_that_cannot_be_read() {
        let folder = folder(&["V1__a.sql", "V01__b.sql"]);
        assert!(matches!(
            create(folder.path(), &new("c")),
            Err(ScaffoldError::Folder(FolderError::Files { problems, .. }))
                if matches!(problems[..], [FileProblem::Duplicate(_)])
        ));
        assert!(matches!(
            create(&folder.path().join("gone"), &new("c")),
            Err(ScaffoldError::Folder(FolderError::Missing { .. }))
        ));
    }

    #[test]
    fn two_claims_are_found_and_mended() {
        let folder = folder(&["V1__a.sql", "V2__b.sql", "sub/U02__c.sql"]);
        let path = folder.path();
        let duplicates = check(&[path]).unwrap();
        let files = vec![path.join("V2__b.sql"), path.join("sub/U02__c.sql")];
        assert_eq!(duplicates, [Duplicate { version: 2, files: files.clone() }]);

        let renumbered = renumber(path, &files[1], Numbering::Sequence, NOW).unwrap();
        assert_eq!((renumbered.old_version, renumbered.new_version), (2, 3));
        assert_eq!(renumbered.to, path.join("sub/U3__c.sql"));
        assert_eq!(fs::read_to_string(renumbered.to).unwrap(), "sub/U02__c.sql");
        assert_eq!(check(&[path]).unwrap(), []);
    }

    #[test]
    fn a_file_to_renumber_is_found_by_its_place_in_the_folder() {
        let folder = folder(&["V1__a.sql", "V1__b.sql"]);
        let file = Path::new("V1__b.sql");
        let renumbered = renumber(folder.path(), file, Numbering::Timestamp, NOW).unwrap();
        assert_eq!(renumbered.new_version, THEN);
    }

    #[test]
    fn only_a_migration_of_the_folder_is_renumbered() {
        let (here, elsewhere) = (folder(&["V1__a.sql", "README.md"]), folder(&["V1__b.sql"]));
        for file in
            [elsewhere.path().join("V1__b.sql"), "README.md".into(), "V3__a.sql".into(), "/".into()]
        {
            let error = renumber(here.path(), &file, Numbering::Sequence, NOW).unwrap_err();
            assert!(matches!(error, ScaffoldError::NotInFolder { .. }), "{error}");
        }
    }

    #[test]
    fn a_file_in_the_way_stays() {
        let folder = folder(&["V1__a.sql", "V2__a.sql/x"]);
        for error in [
            create(folder.path(), &new("a")).unwrap_err(),
            renumber(folder.path(), Path::new("V1__a.sql"), Numbering::Sequence, NOW).unwrap_err(),
        ] {
            assert!(matches!(error, ScaffoldError::Exists { .. }), "{error}");
        }
    }
}
