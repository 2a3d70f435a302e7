//! The one line that installs Postgres' server programs on this system.

use std::{env, fs};

/// A package manager: the systems that use it, its program, and what to type.
struct Manager {
    systems: &'static [&'static str],
    program: &'static str,
    commands: &'static [&'static str],
    as_root: bool,
}

const MANAGERS: [Manager; 6] = [
    Manager {
        systems: &["debian", "ubuntu"],
        program: "apt-get",
        commands: &["apt-get update", "apt-get install -y postgresql"],
        as_root: true,
    },
    Manager {
        systems: &["fedora", "rhel", "centos", "amzn"],
        program: "dnf",
        commands: &["dnf install -y postgresql-server"],
        as_root: true,
    },
    Manager {
        systems: &["alpine"],
        program: "apk",
        commands: &["apk add postgresql"],
        as_root: true,
    },
    Manager {
        systems: &["arch"],
        program: "pacman",
        commands: &["pacman -S --noconfirm postgresql"],
        as_root: true,
    },
    Manager {
        systems: &["suse", "opensuse"],
        program: "zypper",
        commands: &["zypper --non-interactive install postgresql-server"],
        as_root: true,
    },
    Manager {
        systems: &["macos"],
        program: "brew",
        commands: &["brew install postgresql@17"],
        as_root: false,
    },
];

/// Returns the line to type, or `None` where no known package manager was found.
pub fn command_line() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is_root = rustix::process::geteuid().is_root();
    line_for(&release, is_on_path, is_root)
}

fn line_for(release: &str, exists: impl Fn(&str) -> bool, is_root: bool) -> Option<String> {
    let systems = systems(release);
    let is_of_system = |manager: &Manager| manager.systems.iter().any(|s| systems.contains(s));
    // A foreign manager can be installed as well; the system's own comes first.
    let mut usable: Vec<_> = MANAGERS.iter().filter(|m| exists(m.program)).collect();
    usable.sort_by_key(|manager| !is_of_system(manager));

    let manager = usable.first()?;
    let sudo = if manager.as_root && !is_root { "sudo " } else { "" };
    let commands = manager.commands.iter().map(|c| format!("{sudo}{c}"));
    Some(commands.collect::<Vec<_>>().join(" && "))
}

/// Returns the words of `ID` and `ID_LIKE`: the system and those it descends from.
fn systems(release: &str) -> Vec<&str> {
    release
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| matches!(*key, "ID" | "ID_LIKE"))
        .flat_map(|(_, value)| value.trim_matches(['"', '\'']).split_whitespace())
        .collect()
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(release: &str, programs: &[&str], is_root: bool) -> Option<String> {
        line_for(release, |program| programs.contains(&program), is_root)
    }

    #[test]
    fn every_known_system_has_its_line() {
        let cases = [
            ("ID=debian", "apt-get", "apt-get update && apt-get install -y postgresql"),
            ("ID=fedora", "dnf", "dnf install -y postgresql-server"),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"",
                "dnf",
                "dnf install -y postgresql-server",
            ),
            ("ID=alpine", "apk", "apk add postgresql"),
            ("ID=arch", "pacman", "pacman -S --noconfirm postgresql"),
            (
                "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"",
                "zypper",
                "zypper --non-interactive install postgresql-server",
            ),
        ];
        for (release, program, expected) in cases {
            assert_eq!(line(release, &[program], true).as_deref(), Some(expected));
        }
    }

    #[test]
    fn who_is_not_root_needs_sudo_for_every_command() {
        assert_eq!(
            line("ID=ubuntu\nID_LIKE=debian", &["apt-get"], false).as_deref(),
            Some("sudo apt-get update && sudo apt-get install -y postgresql")
        );
    }

    #[test]
    fn homebrew_never_wants_sudo() {
        assert_eq!(line("", &["brew"], false).as_deref(), Some("brew install postgresql@17"));
    }

    #[test]
    fn the_system_decides_between_two_managers() {
        assert_eq!(
            line("ID=fedora", &["apt-get", "dnf"], true).as_deref(),
            Some("dnf install -y postgresql-server")
        );
    }

    #[test]
    fn an_unknown_system_has_no_line() {
        assert_eq!(line("ID=plan9", &[], true), None);
    }
}
