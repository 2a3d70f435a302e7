//! Seeds: SQL files with data for tenants. They run in a tenant's schema under the rules of its
//! migrations, and no history records them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{FileProblem, Kind, MigrationFile, MigrationFolder, file_name::FileName};

/// Why seeds cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeedsError {
    /// There is no such folder.
    #[error("there is no folder `{}` with seeds", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The folder could not be read.
    #[error("folder `{}` could not be read", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No file in the folder is a seed.
    #[error("there are no seeds in `{}`", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has no seeds of these names.
    #[error("there is no seed {} in `{}`", quoted(names), path.display())]
    Unknown {
        /// The names.
        names: Vec<String>,
        /// The folder.
        path: PathBuf,
        /// The names of those that are there.
        known: Vec<String>,
    },
    /// A file cannot be a seed.
    #[error(transparent)]
    File(#[from] FileProblem),
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|it| format!("`{}`", it.escape_debug())).collect();
    names.join(", ")
}

/// Returns the seeds of a folder, those called `names` or all of them, ordered by name: the files
/// in it that end in `.sql`, each called as its file without that.
pub fn read(path: &Path, names: Option<&[String]>) -> Result<MigrationFolder, SeedsError> {
    let files = list(path)?;
    let known: Vec<String> = files.iter().map(|it| name(it)).collect();
    let unknown: Vec<String> =
        names.unwrap_or_default().iter().filter(|it| !known.contains(it)).cloned().collect();
    if !unknown.is_empty() {
        return Err(SeedsError::Unknown { names: unknown, path: path.to_owned(), known });
    }
    if files.is_empty() {
        return Err(SeedsError::Empty { path: path.to_owned() });
    }
    let is_meant = |file: &&PathBuf| names.is_none_or(|names| names.contains(&name(file)));
    let files = files.iter().filter(is_meant).zip(1..).map(|(file, version)| {
        let name = FileName { kind: Kind::Seed, version, name: name(file) };
        match fs::read(file) {
            Ok(bytes) => MigrationFile::new(file.clone(), name, bytes),
            Err(source) => Err(FileProblem::Unreadable { path: file.clone(), source }),
        }
    });
    Ok(MigrationFolder::of_files(path, files.collect::<Result<_, _>>()?))
}

fn list(path: &Path) -> Result<Vec<PathBuf>, SeedsError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => SeedsError::Missing { path: path.to_owned() },
        _ => SeedsError::Unreadable { path: path.to_owned(), source },
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if !is_seed(&file) {
            continue;
        }
        // To read a pipe would be to wait for ever.
        match fs::metadata(&file) {
            Ok(found) if found.is_file() => files.push(file),
            Ok(_) => return Err(FileProblem::NotAFile { path: file }.into()),
            Err(source) => return Err(FileProblem::Unreadable { path: file, source }.into()),
        }
    }
    files.sort_by_key(|file| name(file));
    Ok(files)
}

fn is_seed(file: &Path) -> bool {
    let is_sql = file.extension().is_some_and(|it| it.eq_ignore_ascii_case("sql"));
    // An editor's leftovers are hidden.
    let is_hidden = file.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"."));
    is_sql && !is_hidden
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(folder.path().join(file), "select 1").unwrap();
        }
        folder
    }

    fn names(folder: &tempfile::TempDir, names: Option<&[&str]>) -> String {
        let names: Option<Vec<String>> =
            names.map(|names| names.iter().map(|it| (*it).to_owned()).collect());
        match read(folder.path(), names.as_deref()) {
            Ok(seeds) => {
                let names: Vec<&str> = seeds.files().iter().map(|it| it.name.as_str()).collect();
                names.join(", ")
            }
            Err(error) => {
                error.to_string().replace(&folder.path().display().to_string(), "[folder]")
            }
        }
    }

    #[test]
    fn seeds_are_called_as_their_files_and_come_in_that_order() {
        let folder =
            folder(&["b.sql", "10 a.sql", "9.sql", "Z.SQL", "README.md", ".#b.sql", "x.sql~"]);
        fs::create_dir(folder.path().join("data")).unwrap();
        assert_eq!(names(&folder, None), "10 a, 9, Z, b");
        assert_eq!(names(&folder, Some(&["b", "9"])), "9, b");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let folder = folder(&["a.sql"]);
        assert_eq!(
            names(&folder, Some(&["a", "x", "y.sql"])),
            "there is no seed `x`, `y.sql` in `[folder]`"
        );
        let gone = read(Path::new("/nowhere"), None).unwrap_err();
        assert_eq!(gone.to_string(), "there is no folder `/nowhere` with seeds");
        fs::remove_file(folder.path().join("a.sql")).unwrap();
        assert_eq!(names(&folder, None), "there are no seeds in `[folder]`");
        fs::create_dir(folder.path().join("a.sql")).unwrap();
        assert_eq!(names(&folder, None), "`[folder]/a.sql` is not a regular file");
    }
}
