//! The system user that the server runs as: Postgres refuses to run as root.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use super::error::ServerError;

/// Who runs the server's programs and owns its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// The user who runs this program.
    Own,
    /// Somebody else, because this program runs as root.
    Other { user: u32, group: u32 },
}

impl Account {
    /// Returns the owner of `home` if there is one to run the server as, else who is to own it.
    pub(super) fn for_home(home: &Path) -> Result<Account, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Account::Own);
        }
        if let Ok(owner) = fs::metadata(home).map(|home| (home.uid(), home.gid()))
            && owner.0 != 0
        {
            let (user, group) = owner;
            return Ok(Account::Other { user, group });
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "_postgres", "nobody"]
            .into_iter()
            .find_map(|name| find_user(&users, name))
            .ok_or(ServerError::NoServerUser)
    }

    /// Returns a command that runs as this user, in `folder`, with nothing of our environment.
    ///
    /// A `PGPORT` or `PGDATA` of the caller's would be obeyed, and a locale would translate what
    /// the server says.
    pub(super) fn command(self, program: impl AsRef<OsStr>, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(folder);
        command.envs(env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", folder).env("LC_ALL", "C");
        if let Account::Other { user, group } = self {
            // Leaving root also drops root's other groups.
            command.uid(user).gid(group);
        }
        command
    }

    /// Says whether this user can go to `folder`, as the system sees it.
    pub(super) fn can_enter(self, folder: &Path) -> bool {
        let mut command = self.command("/bin/sh", folder);
        command.args(["-c", ":"]).status().is_ok_and(|status| status.success())
    }

    /// Makes this user the owner of `path`.
    pub(super) fn own(self, path: &Path) -> Result<(), ServerError> {
        match self {
            Account::Own => Ok(()),
            Account::Other { user, group } => chown(path, Some(user), Some(group))
                .map_err(ServerError::io("change the owner of", path)),
        }
    }
}

/// Finds a user in the text of `/etc/passwd`.
fn find_user(users: &str, name: &str) -> Option<Account> {
    let mut fields = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() > 3 && fields[0] == name)?
        .into_iter()
        .skip(2);
    Some(Account::Other { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:7::/:/bin/sh\n\
                     postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        let expected = Account::Other { user: 101, group: 104 };
        assert_eq!(find_user(users, "postgres"), Some(expected));
        assert_eq!(find_user(users, "nobody"), None);
    }
}
