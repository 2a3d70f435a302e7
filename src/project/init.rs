//! Makes a folder a project: writes what is missing, and overwrites nothing.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{Config, ConfigError, FILE_NAME, RegistryConfig};
use crate::migration::{
    FolderError,
    listing::Listing,
    scaffold::{FolderKind, write_new},
};

const CONFIG: &str = include_str!("tenantctl.toml");
const REGISTRY: Template = (
    "V1__create_tenants_and_domains.sql",
    include_str!("../../migrations/shared/V1__create_tenants_and_domains.sql"),
);
const SHARED_USERS: Template =
    ("V2__create_users.sql", include_str!("../../migrations/shared/V2__create_users.sql"));
const TENANT_USERS: Template =
    ("V1__create_users.sql", include_str!("../../migrations/tenant/V1__create_users.sql"));
/// git keeps no empty folder.
const NOTHING: Template = (".gitkeep", "");
/// Where the private development server lives.
const IGNORED: &str = "/.tenantctl/";

/// A file's name and content.
type Template = (&'static str, &'static str);

#[derive(Debug, Clone, Copy, Default)]
pub struct InitOptions {
    /// Leave out the `users` tables, which `createsuperuser` needs.
    pub without_users: bool,
}

/// What became of a file or folder that a project has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    New(PathBuf),
    Extended(PathBuf),
    AlreadyThere(PathBuf),
}

/// Why a project could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("`{}` could not be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` could not be written", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Makes a folder a project and returns what was written and what was there.
///
/// A configuration that is there is followed. A migration folder in use is left as it is.
pub fn init(dir: &Path, options: InitOptions) -> Result<Vec<Written>, InitError> {
    let file = dir.join(FILE_NAME);
    let config = match file.symlink_metadata() {
        Ok(_) => Config::read(&file)?,
        Err(_) => Config::default(),
    };
    let migrations = dir.join(&config.migrations.dir);

    let mut written = vec![write(file, CONFIG)?];
    for kind in [FolderKind::Shared, FolderKind::Tenant] {
        let folder = migrations.join(kind.folder_name());
        written.extend(fill(folder, kind, &templates(kind, &config, options))?);
    }
    written.push(ignore(dir.join(".gitignore"))?);
    Ok(written)
}

fn templates(kind: FolderKind, config: &Config, options: InitOptions) -> Vec<Template> {
    let mut templates = match kind {
        FolderKind::Shared if is_ours(&config.registry) => vec![REGISTRY],
        _ => Vec::new(),
    };
    if !options.without_users {
        templates.push(match kind {
            FolderKind::Shared => SHARED_USERS,
            FolderKind::Tenant => TENANT_USERS,
        });
    }
    if templates.is_empty() {
        templates.push(NOTHING);
    }
    templates
}

/// Other tables or columns than ours mean that the project has its registry already.
fn is_ours(registry: &RegistryConfig) -> bool {
    let ours = RegistryConfig::default();
    (&registry.tenants, &registry.domains, &registry.columns)
        == (&ours.tenants, &ours.domains, &ours.columns)
}

fn fill(
    folder: PathBuf,
    kind: FolderKind,
    templates: &[Template],
) -> Result<Vec<Written>, InitError> {
    if is_in_use(&folder, kind)? {
        return Ok(vec![Written::AlreadyThere(folder)]);
    }
    let files = templates.iter();
    files.map(|(name, content)| write(folder.join(name), content)).collect()
}

fn is_in_use(folder: &Path, kind: FolderKind) -> Result<bool, InitError> {
    // What `without_users` wrote is a decision, which no later `init` takes back.
    let is_kept = kind == FolderKind::Tenant && folder.join(NOTHING.0).exists();
    match Listing::of(folder) {
        Ok(listing) => Ok(is_kept || !listing.entries.is_empty() || !listing.problems.is_empty()),
        Err(FolderError::Missing { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn write(path: PathBuf, content: &str) -> Result<Written, InitError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let done = fs::create_dir_all(folder).and_then(|()| write_new(&path, content));
    match done {
        Ok(()) => Ok(Written::New(path)),
        Err(_) if path.is_file() => Ok(Written::AlreadyThere(path)),
        Err(source) => Err(InitError::Write { path, source }),
    }
}

/// Adds a line to a `.gitignore`, in the file's own line ends.
fn ignore(path: PathBuf) -> Result<Written, InitError> {
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return write(path, &format!("{IGNORED}\n"));
        }
        Err(source) => return Err(InitError::Read { path, source }),
    };
    if is_ignored(&content) {
        return Ok(Written::AlreadyThere(path));
    }
    let line_end = match content.windows(2).any(|it| it == b"\r\n") {
        true => "\r\n",
        false => "\n",
    };
    let gap = match content.last() {
        None | Some(b'\n') => "",
        Some(_) => line_end,
    };
    let line = format!("{gap}{IGNORED}{line_end}");
    let file = OpenOptions::new().append(true).open(&path);
    match file.and_then(|mut file| file.write_all(line.as_bytes())) {
        Ok(()) => Ok(Written::Extended(path)),
        Err(source) => Err(InitError::Write { path, source }),
    }
}

fn is_ignored(content: &[u8]) -> bool {
    content.split(|byte| *byte == b'\n').any(|line| {
        let line = line.trim_ascii();
        let line = line.strip_prefix(b"/").unwrap_or(line);
        line.strip_suffix(b"/").unwrap_or(line) == b".tenantctl"
    })
}

impl Written {
    pub fn path(&self) -> &Path {
        match self {
            Written::New(path) | Written::Extended(path) | Written::AlreadyThere(path) => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{migration::MigrationFolder, project::Project};

    /// Runs `init` and returns a line for each step.
    fn steps(dir: &tempfile::TempDir, without_users: bool) -> Vec<String> {
        let written = init(dir.path(), InitOptions { without_users }).unwrap();
        let step = |written: &Written| {
            let path = written.path().strip_prefix(dir.path()).unwrap().display();
            match written {
                Written::New(_) => format!("new {path}"),
                Written::Extended(_) => format!("extended {path}"),
                Written::AlreadyThere(_) => format!("there {path}"),
            }
        };
        written.iter().map(step).collect()
    }

    fn read(dir: &tempfile::TempDir, path: &str) -> String {
        fs::read_to_string(dir.path().join(path)).unwrap()
    }

    const UNCHANGED: [&str; 4] = [
        "there tenantctl.toml",
        "there migrations/shared",
        "there migrations/tenant",
        "there .gitignore",
    ];

    #[test]
    fn an_empty_folder_becomes_a_project() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            steps(&dir, false),
            [
                "new tenantctl.toml",
                "new migrations/shared/V1__create_tenants_and_domains.sql",
                "new migrations/shared/V2__create_users.sql",
                "new migrations/tenant/V1__create_users.sql",
                "new .gitignore",
            ]
        );
        assert_eq!(read(&dir, ".gitignore"), "/.tenantctl/\n");

        let project = Project::find(dir.path(), None).unwrap();
        assert_eq!(project.config, Config::default());
        for kind in [FolderKind::Shared, FolderKind::Tenant] {
            MigrationFolder::read(&project.migrations(kind)).unwrap();
        }
        assert_eq!(steps(&dir, false), UNCHANGED);
        assert_eq!(read(&dir, ".gitignore"), "/.tenantctl/\n");
    }

    #[test]
    fn without_users_stays_without() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            steps(&dir, true),
            [
                "new tenantctl.toml",
                "new migrations/shared/V1__create_tenants_and_domains.sql",
                "new migrations/tenant/.gitkeep",
                "new .gitignore",
            ]
        );
        assert_eq!(steps(&dir, false), UNCHANGED);
    }

    #[test]
    fn what_is_there_is_followed_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let config = "migrations.dir = 'db'\nregistry.tenants = 'clients'\n";
        fs::write(dir.path().join(FILE_NAME), config).unwrap();
        fs::write(dir.path().join(".gitignore"), "/target\r\n*.log").unwrap();
        fs::create_dir_all(dir.path().join("db/tenant")).unwrap();
        fs::write(dir.path().join("db/tenant/V7__mine.sql"), "").unwrap();
        assert_eq!(
            steps(&dir, false),
            [
                "there tenantctl.toml",
                "new db/shared/V2__create_users.sql",
                "there db/tenant",
                "extended .gitignore",
            ]
        );
        assert_eq!(read(&dir, FILE_NAME), config);
        assert_eq!(read(&dir, ".gitignore"), "/target\r\n*.log\r\n/.tenantctl/\r\n");
    }

    #[test]
    fn a_bad_configuration_stops_it_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE_NAME), "x = 1").unwrap();
        let error = init(dir.path(), InitOptions::default()).unwrap_err();
        assert!(matches!(error, InitError::Config(ConfigError::Invalid { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_where_a_folder_should_be_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("migrations"), "").unwrap();
        let error = init(dir.path(), InitOptions::default()).unwrap_err();
        assert!(error.to_string().contains("migrations"), "{error}");
    }

    #[test]
    fn the_line_is_found_however_it_is_spelled() {
        for line in [".tenantctl", "/.tenantctl", ".tenantctl/\r", "a\n /.tenantctl/ \nb"] {
            assert!(is_ignored(line.as_bytes()), "{line}");
        }
        for line in ["", "#/.tenantctl/", ".tenantctl2", "!/.tenantctl/"] {
            assert!(!is_ignored(line.as_bytes()), "{line}");
        }
    }

    /// Every key that the written configuration shows in a comment can be used.
    #[test]
    fn the_configuration_shows_the_defaults() {
        let shown: String = CONFIG
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|it| it.contains(" = ")).unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let mut config: Config = toml::from_str(&shown).unwrap();
        assert!(config.migrate.jobs.take().is_some());
        assert!(config.migrate.lock_timeout.take().is_some());
        assert!(config.migrate.statement_timeout.take().is_some());
        assert_eq!(config, Config::default());
    }

    /// A database need not be UTF-8, and what it cannot spell it refuses, even in a comment.
    #[test]
    fn the_sql_is_plain_ascii() {
        assert!([REGISTRY, SHARED_USERS, TENANT_USERS].iter().all(|it| it.1.is_ascii()));
    }

    #[test]
    fn users_are_the_same_in_both_folders() {
        let table = |template: Template| template.1.split_once("create table").unwrap().1;
        assert_eq!(table(SHARED_USERS), table(TENANT_USERS));
    }
}
