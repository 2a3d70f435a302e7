//! Which files of a folder are migrations, by their names alone.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{FileProblem, FolderError, file_name::FileName};

/// The names in a migration folder and its subfolders.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Ordered by version, then by path.
    pub(crate) entries: Vec<Entry>,
    pub(crate) problems: Vec<FileProblem>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) name: FileName,
}

/// Two or more files that claim one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    pub version: i64,
    pub files: Vec<PathBuf>,
}

impl Listing {
    /// Lists the folder as refinery walks it, subfolders included, also hidden ones.
    pub(crate) fn of(folder: &Path) -> Result<Self, FolderError> {
        let path = || folder.to_owned();
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(FolderError::NotAFolder { path: path() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::Missing { path: path() });
            }
            Err(source) => {
                return Err(FolderError::Unreadable { path: path(), source });
            }
        }

        let mut listing = Self::default();
        listing.walk(folder).map_err(|source| FolderError::Unreadable { path: path(), source })?;
        listing.entries.sort_by_key(|entry| entry.name.version);
        Ok(listing)
    }

    pub(crate) fn newest(&self) -> Option<i64> {
        self.entries.last().map(|entry| entry.name.version)
    }

    pub(crate) fn duplicates(&self) -> Vec<Duplicate> {
        let mut claims: BTreeMap<i64, Vec<PathBuf>> = BTreeMap::new();
        for Entry { path, name } in &self.entries {
            claims.entry(name.version).or_default().push(path.clone());
        }
        claims
            .into_iter()
            .filter(|(_, files)| files.len() > 1)
            .map(|(version, files)| Duplicate { version, files })
            .collect()
    }

    /// Returns all that is wrong with the names, duplicates included.
    pub(crate) fn take_problems(&mut self) -> Vec<FileProblem> {
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(self.duplicates().into_iter().map(FileProblem::Duplicate));
        problems
    }

    fn walk(&mut self, folder: &Path) -> io::Result<()> {
        let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        let mut paths: Vec<_> = entries.collect::<io::Result<_>>()?;
        paths.sort();
        for path in paths {
            self.look_at(path);
        }
        Ok(())
    }

    fn look_at(&mut self, path: PathBuf) {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {
                if let Err(source) = self.walk(&path) {
                    self.problems.push(FileProblem::Unreadable { path, source });
                }
            }
            // Neither refinery nor anybody else takes a hidden file for a migration; Emacs marks
            // a file in use with the dangling link `.#V1__a.sql`.
            _ if is_hidden(&path) => {}
            Ok(found) if found.is_symlink() => self.follow(path),
            Ok(found) => self.add(path, found.is_file()),
            Err(source) => self.problems.push(FileProblem::Unreadable { path, source }),
        }
    }

    fn follow(&mut self, link: PathBuf) {
        let problem = match fs::metadata(&link) {
            Ok(found) if found.is_dir() => FileProblem::LinkedFolder { link },
            Ok(found) => return self.add(link, found.is_file()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let target = fs::read_link(&link).unwrap_or_default();
                FileProblem::DanglingLink { link, target }
            }
            Err(source) => FileProblem::Unreadable { path: link, source },
        };
        self.problems.push(problem);
    }

    fn add(&mut self, path: PathBuf, is_file: bool) {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        match FileName::parse(&file_name) {
            Ok(None) => {}
            Ok(Some(name)) if is_file => self.entries.push(Entry { path, name }),
            // To read a pipe would be to wait for ever.
            Ok(Some(_)) => self.problems.push(FileProblem::NotAFile { path }),
            Err(problem) => self.problems.push(FileProblem::of_name(path, problem)),
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}
