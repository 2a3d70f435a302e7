//! The migrations that a folder holds, or everything that is wrong with it.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    MigrationFile, VersionRule, Width,
    file_name::NameProblem,
    listing::{Duplicate, Entry, Listing},
};

/// The migrations of one folder, ordered by version.
#[derive(Debug, Clone)]
pub struct MigrationFolder {
    path: PathBuf,
    files: Vec<MigrationFile>,
}

/// Why a folder's migrations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("there is no migration folder `{}`", path.display())]
    Missing { path: PathBuf },
    #[error("migration folder `{}` is not a folder", path.display())]
    NotAFolder { path: PathBuf },
    #[error("migration folder `{}` could not be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}", lines(path, problems))]
    Files { path: PathBuf, problems: Vec<FileProblem> },
}

/// What is wrong with a file in a migration folder.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    #[error("`{}` is not named like a migration, and refinery would pass over it", file.display())]
    Misnamed {
        file: PathBuf,
        /// The file name that was probably meant.
        suggestion: Option<String>,
    },
    #[error("version {version} of `{}` {rule}", file.display())]
    Version { file: PathBuf, version: String, rule: VersionRule },
    #[error("`{}` is a migration in Rust, which only the program it is embedded in can run", file.display())]
    Rust { file: PathBuf },
    #[error("version {} is claimed by {}", .0.version, listed(&.0.files))]
    Duplicate(Duplicate),
    #[error("`{}` is not UTF-8 at byte {offset}, line {line}", file.display())]
    NotUtf8 { file: PathBuf, offset: usize, line: usize },
    #[error("`{}` has a NUL byte at byte {offset}, line {line}", file.display())]
    Nul { file: PathBuf, offset: usize, line: usize },
    #[error("`{}` is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("`{}` is a link to `{}`, which is not there", link.display(), target.display())]
    DanglingLink { link: PathBuf, target: PathBuf },
    #[error("`{}` is a link to a folder, into which refinery would not look", link.display())]
    LinkedFolder { link: PathBuf },
    #[error("`{}` could not be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

impl MigrationFolder {
    /// Reads a folder and its subfolders; one without migrations is empty, not an error.
    ///
    /// All that is wrong is found in one go. What does not end in `.sql` (and is no Rust
    /// migration) is none of our business.
    pub fn read(path: &Path) -> Result<Self, FolderError> {
        let mut listing = Listing::of(path)?;
        let mut problems = listing.take_problems();
        let mut files = Vec::with_capacity(listing.entries.len());
        for entry in listing.entries {
            match read_file(entry) {
                Ok(file) => files.push(file),
                Err(problem) => problems.push(problem),
            }
        }
        FolderError::unless_empty(path, problems)?;
        let path = path.to_owned();
        Ok(Self { path, files })
    }

    /// Returns files that were read from a folder, in the order of their versions.
    pub(super) fn of_files(path: &Path, files: Vec<MigrationFile>) -> Self {
        Self { path: path.to_owned(), files }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the migrations, ordered by version.
    pub fn files(&self) -> &[MigrationFile] {
        &self.files
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the migration of that version.
    pub fn get(&self, version: i64) -> Option<&MigrationFile> {
        let index = self.files.binary_search_by_key(&version, |it| it.version);
        index.ok().map(|index| &self.files[index])
    }

    pub fn newest(&self) -> Option<&MigrationFile> {
        self.files.last()
    }

    /// Returns the narrowest width that holds every version.
    pub fn width(&self) -> Width {
        let is_narrow = self.files.iter().all(|it| it.checksum_narrow.is_some());
        if is_narrow { Width::Int4 } else { Width::Int8 }
    }

    /// Returns the migrations for refinery's `Runner`.
    pub fn to_refinery(&self) -> Vec<refinery_core::Migration> {
        self.files.iter().map(MigrationFile::to_refinery).collect()
    }
}

fn read_file(Entry { path, name }: Entry) -> Result<MigrationFile, FileProblem> {
    match fs::read(&path) {
        Ok(bytes) => MigrationFile::new(path, name, bytes),
        Err(source) => Err(FileProblem::Unreadable { path, source }),
    }
}

impl FolderError {
    /// Refuses a folder that has problems.
    pub(crate) fn unless_empty(path: &Path, problems: Vec<FileProblem>) -> Result<(), Self> {
        let path = path.to_owned();
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Self::Files { path, problems }),
        }
    }
}

impl FileProblem {
    pub(crate) fn of_name(file: PathBuf, problem: NameProblem) -> Self {
        match problem {
            NameProblem::Misnamed { suggestion } => Self::Misnamed { file, suggestion },
            NameProblem::Version { version, rule } => Self::Version { file, version, rule },
            NameProblem::Rust => Self::Rust { file },
        }
    }
}

/// Returns "`a`, `b` and `c`".
fn listed(files: &[PathBuf]) -> String {
    let files: Vec<_> = files.iter().map(|it| format!("`{}`", it.display())).collect();
    match files.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => files.concat(),
    }
}

fn lines(path: &Path, problems: &[FileProblem]) -> String {
    if let [problem] = problems {
        return with_cause(problem);
    }
    let count = problems.len();
    let mut text = format!("{count} problems in migration folder `{}`", path.display());
    for problem in problems {
        text += "\n  ";
        text += &with_cause(problem);
    }
    text
}

/// An error has one source, but a folder's problems may have many causes.
fn with_cause(problem: &FileProblem) -> String {
    match problem.source() {
        Some(cause) => format!("{problem}: {cause}"),
        None => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        os::unix::{ffi::OsStrExt, fs::symlink},
    };

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, sql) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, sql).unwrap();
        }
        folder
    }

    /// Returns what is wrong with a folder, without the folder's own path.
    fn problems(folder: &tempfile::TempDir) -> Vec<String> {
        let error = MigrationFolder::read(folder.path()).unwrap_err();
        let FolderError::Files { path, problems } = error else {
            panic!("{error}");
        };
        let path = format!("{}/", path.display());
        let problems = problems.iter().map(|it| with_cause(it).replace(&path, ""));
        problems.collect()
    }

    #[test]
    fn migrations_come_in_the_order_of_their_versions() {
        let folder = folder(&[
            ("V10__c.sql", ""),
            ("V2__a.sql", "select 2;\r\n"),
            ("2026/U9__b.sql", ""),
            (".hidden/V11__d.sql", ""),
            ("README.md", ""),
            (".gitkeep", ""),
            (".V3__x.sql", ""),
            ("V2__a.sql~", ""),
            (".V2__a.sql.swp", ""),
            ("mod.rs", ""),
        ]);
        symlink("me@host.1234", folder.path().join(".#V2__a.sql")).unwrap();
        symlink("V10__c.sql", folder.path().join("V12__linked.sql")).unwrap();

        let folder = MigrationFolder::read(folder.path()).unwrap();
        let names: Vec<_> = folder.files().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["V2__a", "U9__b", "V10__c", "V11__d", "V12__linked"]);
        assert_eq!(folder.get(2).unwrap().sql, "select 2;\n");
        assert!(folder.get(3).is_none());
        assert_eq!(folder.newest().unwrap().version, 12);
        assert_eq!(folder.width(), Width::Int4);
        assert_eq!(folder.to_refinery().len(), 5);
    }

    #[test]
    fn refinery_reads_the_same_files() {
        let folder = folder(&[("V10__c.sql", "c"), ("V2__a.sql", "a"), ("x/U9__b.sql", "b")]);
        let ours = MigrationFolder::read(folder.path()).unwrap().to_refinery();
        let refinerys = refinery_core::load_sql_migrations(folder.path()).unwrap();
        assert_eq!(ours, refinerys);
    }

    #[test]
    fn an_empty_folder_is_empty() {
        let folder = folder(&[(".gitkeep", "")]);
        assert!(MigrationFolder::read(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn a_long_version_needs_the_wide_history() {
        let folder = folder(&[("V1__a.sql", ""), ("V20260101120000__b.sql", "")]);
        assert_eq!(MigrationFolder::read(folder.path()).unwrap().width(), Width::Int8);
    }

    #[test]
    fn a_missing_folder_is_named() {
        for (path, error) in [
            ("/nowhere/tenant", "there is no migration folder `/nowhere/tenant`"),
            ("/dev/null", "migration folder `/dev/null` is not a folder"),
        ] {
            let found = MigrationFolder::read(Path::new(path)).unwrap_err();
            assert_eq!(found.to_string(), error);
        }
    }

    #[test]
    fn all_problems_are_found_at_once() {
        let folder = folder(&[
            ("V3__a.sql", ""),
            ("V03__a.sql", ""),
            ("sub/U3__b.sql", ""),
            ("v1_x.sql", ""),
            ("V1.1__x.sql", ""),
            ("V9223372036854775808__x.sql", ""),
            ("V4__x.rs", ""),
            ("V5__nul.sql", "select 1;\n\0"),
        ]);
        let path = folder.path();
        symlink("gone", path.join("V6__gone.sql")).unwrap();
        symlink("sub", path.join("linked")).unwrap();
        symlink("/dev/null", path.join("V7__device.sql")).unwrap();
        symlink("loop", path.join("loop")).unwrap();

        assert_eq!(
            problems(&folder),
            [
                "version 1.1 of `V1.1__x.sql` is not a whole number",
                "`V4__x.rs` is a migration in Rust, which only the program it is embedded in can run",
                "`V6__gone.sql` is a link to `gone`, which is not there",
                "`V7__device.sql` is not a regular file",
                "version 9223372036854775808 of `V9223372036854775808__x.sql` is greater than \
                 9223372036854775807",
                "`linked` is a link to a folder, into which refinery would not look",
                "`loop` could not be read: Too many levels of symbolic links (os error 40)",
                "`v1_x.sql` is not named like a migration, and refinery would pass over it",
                "version 3 is claimed by `V03__a.sql`, `V3__a.sql` and `sub/U3__b.sql`",
                "`V5__nul.sql` has a NUL byte at byte 10, line 2",
            ]
        );
    }

    #[test]
    fn a_file_name_that_is_not_unicode_is_misnamed() {
        let folder = folder(&[]);
        let name = OsStr::from_bytes(b"V1__\xff.sql");
        fs::write(folder.path().join(name), "").unwrap();
        assert!(problems(&folder)[0].contains("is not named like a migration"));
    }

    #[test]
    fn one_problem_is_its_own_message() {
        let folder = folder(&[("V1__a b.sql", "")]);
        let error = MigrationFolder::read(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with(
            "V1__a b.sql` is not named like a migration, and refinery would pass over it"
        ));
        let FolderError::Files { problems, .. } = error else { panic!() };
        assert!(
            matches!(&problems[..], [FileProblem::Misnamed { suggestion: Some(it), .. }] if it == "V1__a_b.sql")
        );
    }
}
