//! The project: the folder with `tenantctl.toml` and the migrations.

mod config;
mod init;
mod timeout;

use std::path::{Path, PathBuf};

pub use config::{
    Config, ConfigError, DatabaseConfig, HooksConfig, MigrateConfig, MigrationsConfig, Program,
    RegistryColumns, RegistryConfig, SeedsConfig,
};
pub use init::{InitError, InitOptions, Written, init};
pub use timeout::{Timeout, TimeoutError};

use crate::migration::scaffold::FolderKind;

/// What the configuration is called.
pub const FILE_NAME: &str = "tenantctl.toml";

/// A project's place and its configuration.
#[derive(Debug, Clone)]
pub struct Project {
    /// The folder that the configuration's paths start from.
    pub root: PathBuf,
    /// None if there is no configuration and the defaults hold.
    pub file: Option<PathBuf>,
    pub config: Config,
}

impl Project {
    /// Finds the project that a folder belongs to: the given configuration, or the one in the
    /// folder, or, within a git repository, the next one above it.
    ///
    /// Outside a repository nothing above the folder counts: whoever may write to `/tmp` could
    /// otherwise decide what is done in every folder below it.
    ///
    /// Paths stay as they were given, so that `""` or `"."` makes those in messages short.
    pub fn find(folder: &Path, file: Option<&Path>) -> Result<Self, ConfigError> {
        let file = file.map(Path::to_owned).or_else(|| find_file(folder));
        let config = file.as_deref().map(Config::read).transpose()?;
        let root = file.as_deref().and_then(Path::parent).unwrap_or(folder);
        Ok(Self { root: root.to_owned(), config: config.unwrap_or_default(), file })
    }

    /// Returns the folder of the shared or of the tenants' migrations.
    pub fn migrations(&self, kind: FolderKind) -> PathBuf {
        let dir = self.root.join(&self.config.migrations.dir);
        dir.join(kind.folder_name())
    }

    /// Returns the folder of the tenants' seeds.
    pub fn tenant_seeds(&self) -> PathBuf {
        self.root.join(&self.config.seeds.dir).join(FolderKind::Tenant.folder_name())
    }
}

fn find_file(folder: &Path) -> Option<PathBuf> {
    let here = folder.join(FILE_NAME);
    if is_there(&here) {
        return Some(here);
    }
    let absolute = match folder == Path::new("") {
        true => Path::new(".").canonicalize(),
        false => folder.canonicalize(),
    };
    let absolute = absolute.ok()?;
    let root = absolute.ancestors().find(|it| is_there(&it.join(".git")))?;
    absolute
        .ancestors()
        .take_while(|it| it.starts_with(root)) // the repository's root may hold it
        .map(|folder| folder.join(FILE_NAME))
        .find(|file| is_there(file))
}

/// Whether anything has that name, be it a link that leads nowhere.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder `a/b/c` below one with a configuration, whose tenants are called as the folder.
    fn tree(configured: &str) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("a/b/c")).unwrap();
        fs::write(tree.path().join(configured).join(FILE_NAME), "registry.tenants = 'x'").unwrap();
        tree
    }

    fn is_found(tree: &tempfile::TempDir, from: &str) -> bool {
        let project = Project::find(&tree.path().join(from), None).unwrap();
        assert_eq!(project.file.is_some(), project.config != Config::default());
        project.file.is_some()
    }

    #[test]
    fn in_a_repository_a_configuration_is_looked_for_upwards() {
        let tree = tree("a");
        fs::create_dir(tree.path().join(".git")).unwrap();
        assert!(is_found(&tree, "a"));
        assert!(is_found(&tree, "a/b/c"));
        assert!(is_found(&tree, "a/b/../b/c"));
        assert!(!is_found(&tree, ""));
    }

    #[test]
    fn outside_a_repository_nothing_above_counts() {
        let tree = tree("a");
        assert!(is_found(&tree, "a"));
        assert!(!is_found(&tree, "a/b"));
    }

    #[test]
    fn a_repositorys_root_is_the_end() {
        let tree = tree("a");
        fs::create_dir(tree.path().join("a/.git")).unwrap();
        assert!(is_found(&tree, "a/b"));
        fs::write(tree.path().join("a/b/.git"), "gitdir: elsewhere").unwrap();
        assert!(!is_found(&tree, "a/b/c"));
        assert!(!is_found(&tree, "a/b"));
    }

    #[test]
    fn a_given_configuration_is_the_one() {
        let tree = tree("a");
        let file = tree.path().join("a").join(FILE_NAME);
        let project = Project::find(tree.path(), Some(&file)).unwrap();
        assert_eq!(project.root, tree.path().join("a"));
        assert_eq!(project.migrations(FolderKind::Tenant), tree.path().join("a/migrations/tenant"));

        let gone = Project::find(tree.path(), Some(Path::new("gone.toml"))).unwrap_err();
        assert_eq!(gone.to_string(), "there is no configuration `gone.toml`");
    }

    #[test]
    fn without_a_configuration_the_folder_is_the_root() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        let project = Project::find(folder.path(), None).unwrap();
        assert_eq!(project.config, Config::default());
        assert_eq!(project.migrations(FolderKind::Shared), folder.path().join("migrations/shared"));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("gone", folder.path().join(FILE_NAME)).unwrap();
        let error = Project::find(folder.path(), None).unwrap_err();
        assert!(matches!(error, ConfigError::Missing { .. }));
    }
}
