//! Finding Postgres' server programs on this system.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::error::{Said, ServerError};
use super::install;

/// The oldest major version that is supported.
pub(super) const OLDEST_MAJOR: u32 = 13;

/// What a folder must hold to run a server from it.
const NEEDED: [&str; 3] = ["postgres", "initdb", "pg_ctl"];

/// Where packages put the programs: a folder, how the names in it begin, and the folder in there.
const PACKAGE_FOLDERS: [(&str, &str, &str); 7] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A folder with Postgres' server programs, all of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPrograms {
    folder: PathBuf,
    version: ServerVersion,
}

impl ServerPrograms {
    /// Returns the newest server programs of this system.
    ///
    /// `TENANTCTL_PG_BIN`, if set, names the folder and nothing else is looked at.
    pub fn find() -> Result<ServerPrograms, ServerError> {
        let newest = ServerPrograms::installed()?
            .into_iter()
            .next()
            .ok_or_else(|| ServerError::NoServerPrograms { install: install::command_line() })?;
        if newest.version.major < OLDEST_MAJOR {
            return Err(ServerError::ServerProgramsTooOld {
                folder: newest.folder,
                version: newest.version.text,
            });
        }
        Ok(newest)
    }

    /// Returns the server programs that can open `data`, which a server of `major` has made.
    pub(super) fn find_for(data: &Path, major: u32) -> Result<ServerPrograms, ServerError> {
        let newest = ServerPrograms::find()?;
        ServerPrograms::installed()?
            .into_iter()
            .find(|programs| programs.version.major == major)
            .ok_or_else(|| ServerError::DataOfOtherVersion {
                data: data.to_owned(),
                data_major: major,
                programs_major: newest.version.major,
            })
    }

    /// Returns all server programs that may be used, the newest first.
    fn installed() -> Result<Vec<ServerPrograms>, ServerError> {
        if let Some(folder) = env::var_os("TENANTCTL_PG_BIN") {
            return Ok(vec![ServerPrograms::named(Path::new(&folder))?]);
        }
        let mut found: Vec<_> = folders()
            .iter()
            .filter(|folder| missing_from(folder).is_none())
            .filter_map(|folder| ServerPrograms::in_folder(folder).ok())
            .collect();
        found.sort_by_key(|programs| std::cmp::Reverse(programs.version.order()));
        Ok(found)
    }

    /// Returns the programs in a folder somebody named, which therefore must be right.
    fn named(folder: &Path) -> Result<ServerPrograms, ServerError> {
        match missing_from(folder) {
            // The programs are run from other folders than the one this path may be relative to.
            None => ServerPrograms::in_folder(&fs::canonicalize(folder).unwrap_or(folder.into())),
            Some(missing) => {
                Err(ServerError::NotServerPrograms { folder: folder.to_owned(), missing })
            }
        }
    }

    fn in_folder(folder: &Path) -> Result<ServerPrograms, ServerError> {
        Ok(ServerPrograms {
            version: ServerVersion::of(&folder.join("postgres"))?,
            folder: folder.to_owned(),
        })
    }

    /// Returns the folder the programs are in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the programs' version.
    pub fn version(&self) -> &ServerVersion {
        &self.version
    }

    /// Returns the path of one of the programs; not every installation has `psql` or `pg_dump`.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name)).filter(|path| path.is_file())
    }
}

/// A version as `postgres --version` or `pg_dump --version` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion {
    /// `15`
    pub major: u32,
    /// `15.14 (Debian 15.14-0+deb12u1)`
    pub text: String,
}

impl ServerVersion {
    pub(in crate::pg) fn of(program: &Path) -> Result<ServerVersion, ServerError> {
        let output = Command::new(program)
            .arg("--version")
            .output()
            .map_err(|source| ServerError::ProgramNotRun { program: program.to_owned(), source })?;
        let said = String::from_utf8_lossy(&output.stdout);
        ServerVersion::parse(&said).ok_or_else(|| ServerError::NoVersion {
            program: program.to_owned(),
            said: Said::last_lines_of(&(said + String::from_utf8_lossy(&output.stderr))),
        })
    }

    fn parse(said: &str) -> Option<ServerVersion> {
        let (_, text) = said.trim().split_once(" (PostgreSQL) ")?;
        Some(ServerVersion { major: leading_number(text)?, text: text.to_owned() })
    }

    /// Returns what versions are compared by: the numbers before and after the first dot.
    fn order(&self) -> (u32, u32) {
        let minor = self.text.split_once('.');
        let minor = minor.and_then(|(_, minor)| leading_number(minor));
        (self.major, minor.unwrap_or(0))
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

/// Returns where a client program is, in the order in which to look. Debian's `pg_wrapper` is left
/// out, which runs a program of a version of its own choice.
pub(in crate::pg) fn client_programs(name: &str) -> Vec<PathBuf> {
    let folders = match env::var_os("TENANTCTL_PG_BIN") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => {
            let path = env::var_os("PATH").unwrap_or_default();
            let packages = PACKAGE_FOLDERS.into_iter().flat_map(package_folders);
            env::split_paths(&path).chain(pg_config_folder()).chain(packages).collect()
        }
    };
    let is_it = |path: &PathBuf| {
        fs::canonicalize(path).is_ok_and(|it| it.is_file() && !it.ends_with("pg_wrapper"))
    };
    folders.iter().map(|folder| folder.join(name)).filter(is_it).collect()
}

/// Returns the first of the needed programs that a folder does not have.
fn missing_from(folder: &Path) -> Option<&'static str> {
    let is_missing = |name: &&str| !folder.join(name).is_file();
    NEEDED.into_iter().find(is_missing)
}

/// Returns the folders to look in, in this order.
fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> =
        env::split_paths(&path).filter_map(|folder| real_folder(&folder)).collect();
    folders.extend(pg_config_folder());
    folders.extend(PACKAGE_FOLDERS.into_iter().flat_map(package_folders));
    folders
}

/// Returns the folder that the `postgres` in a folder of the PATH really is in.
///
/// Through a link `initdb` would look for its share folder in the wrong place.
fn real_folder(folder: &Path) -> Option<PathBuf> {
    let postgres = fs::canonicalize(folder.join("postgres")).ok()?;
    postgres.parent().map(Path::to_owned)
}

fn pg_config_folder() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(folder.trim()))
}

fn package_folders((parent, start, inner): (&str, &str, &str)) -> Vec<PathBuf> {
    let starts_so = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(start));
    fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| starts_so(&entry.file_name()))
        .map(|entry| entry.path().join(inner))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ServerVersion {
        ServerVersion::parse(&format!("postgres (PostgreSQL) {text}\n")).unwrap()
    }

    #[test]
    fn versions_of_every_packager_are_understood() {
        let debian = version("15.14 (Debian 15.14-0+deb12u1)");
        assert_eq!(debian.order(), (15, 14));
        assert_eq!(debian.text, "15.14 (Debian 15.14-0+deb12u1)");
        assert_eq!(version("18beta2").order(), (18, 0));
        assert_eq!(version("19devel").order(), (19, 0));
        assert_eq!(version("9.6.24").order(), (9, 6));
    }

    #[test]
    fn what_is_no_version_is_not_taken_for_one() {
        assert_eq!(ServerVersion::parse("psql 15.1"), None);
        assert_eq!(ServerVersion::parse("postgres (PostgreSQL) x"), None);
        assert_eq!(ServerVersion::parse(""), None);
    }

    #[test]
    fn a_folder_without_the_programs_is_refused_by_name() {
        let error = ServerPrograms::named(Path::new("/nowhere")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`TENANTCTL_PG_BIN` names `/nowhere`, which has no `postgres`"
        );
    }
}
