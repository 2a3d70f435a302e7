//! This run's command line, as the run log keeps it.

use super::text::shell_word;

/// What is longer is not typed again but looked for in the shell's history.
const LONG: usize = 160;

/// Commands inside a tenant whose words are not kept: SQL and other programs' arguments may hold
/// anything.
const DISCREET: [&str; 3] = ["sql", "psql", "exec"];

/// Returns the words of this run's command line, the program's name first; what is no text in them is
/// shown as such.
pub(crate) fn words() -> impl Iterator<Item = String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned())
}

/// Returns the words as a person would type them again, the program's name left out. A database URL
/// may hold a password, and is left out.
pub(crate) fn command_line(words: impl IntoIterator<Item = String>) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--database-url" {
            words.next();
        } else if !word.starts_with("--database-url=") {
            let runs_others = |it: &String| it == "tenant-command" || it == "all-tenants-command";
            let is_last = kept.iter().any(runs_others) && DISCREET.contains(&word.as_str());
            kept.push(shell_word(&word));
            if is_last {
                kept.extend(words.next().map(|_| "…".into()));
                break;
            }
        }
    }
    kept.join(" ")
}

/// Flags that say which schemas, and which of them first.
const SELECTING: [&str; 13] = [
    "--shared",
    "--tenants",
    "--all",
    "--schema",
    "--match",
    "--exclude",
    "--where",
    "--schemas-from",
    "--failed-last-run",
    "--canary",
    "--wave-size",
    "--pause-between",
    "--order",
];

/// Flags that say where.
const PLACE: [&str; 3] = ["--config", "--migrations-dir", "--database-url"];

/// Returns `tenantctl migrate-schemas` for the schemas that `selected` names, such as
/// ` --schema=acme`, otherwise as this run was.
pub(crate) fn migrate(selected: &str) -> String {
    migrate_as(&words().skip(1).collect::<Vec<_>>(), selected)
}

fn migrate_as(words: &[String], selected: &str) -> String {
    let kept = match words.iter().any(|it| it == "migrate-schemas") {
        true => flags(words, true, |name| !SELECTING.contains(&name)),
        false => format!(" migrate-schemas{}", flags(words, false, |name| PLACE.contains(&name))),
    };
    format!("`tenantctl{kept}{selected}`")
}

/// Returns the flags that are to be kept, with their values, and what stands before all flags or not.
/// A database's URL, which may hold a password, is only hinted at.
fn flags(words: &[String], before: bool, is_kept: impl Fn(&str) -> bool) -> String {
    let mut kept = String::new();
    let mut keeping = before;
    for word in words {
        // A `-` alone is a value: standard input.
        if word.starts_with('-') && word != "-" {
            let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
            keeping = is_kept(name);
            if keeping && name == "--database-url" {
                kept.push_str(" --database-url=…");
                keeping = false;
            }
        }
        if keeping {
            kept.push(' ');
            kept.push_str(&shell_word(word));
        }
    }
    kept
}

/// Returns this run's command line, to be typed again; or words for it, where it is long or holds what
/// is not to be shown.
pub(crate) fn same_command() -> String {
    same_command_as(words().skip(1).collect())
}

fn same_command_as(words: Vec<String>) -> String {
    let all: Vec<String> = words.iter().map(|it| shell_word(it)).collect();
    match command_line(words) {
        shown if shown == all.join(" ") && shown.len() <= LONG => format!("`tenantctl {shown}`"),
        _ => "the same command".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(words: &[&str]) -> String {
        command_line(words.iter().map(|it| (*it).to_owned()))
    }

    #[test]
    fn a_command_line_can_be_typed_again() {
        assert_eq!(
            kept(&["create-tenant", "--schema=acme", "--name", "Acme Corp"]),
            "create-tenant --schema=acme --name 'Acme Corp'"
        );
    }

    #[test]
    fn what_is_to_be_typed_again_is_whole() {
        let same = |words: &[&str]| same_command_as(words.iter().map(|it| (*it).into()).collect());
        assert_eq!(same(&["status", "--match", "a*"]), "`tenantctl status --match 'a*'`");
        assert_eq!(same(&["status", "--database-url=postgres://b"]), "the same command");
        assert_eq!(same(&["status", "--schema", &"x".repeat(200)]), "the same command");
    }

    #[test]
    fn what_goes_on_is_done_in_the_same_place() {
        let migrate = |line: &str| migrate_as(&shell_words::split(line).unwrap(), " --schema=acme");
        for (line, goes_on) in [
            ("migrate-schemas --all", "migrate-schemas --schema=acme"),
            (
                "--config a.toml migrate-schemas --canary acme eha --jobs 2 --match 'a*' -v",
                "--config a.toml migrate-schemas --jobs 2 -v --schema=acme",
            ),
            ("migrate-schemas --schemas-from - --jobs 1", "migrate-schemas --jobs 1 --schema=acme"),
            (
                "migrate-schemas --database-url postgres://a:secret@b --tenants --lock-timeout=5s",
                "migrate-schemas --database-url=… --lock-timeout=5s --schema=acme",
            ),
            (
                "status --match 'b*' --migrations-dir 'my own' --check",
                "migrate-schemas --migrations-dir 'my own' --schema=acme",
            ),
        ] {
            assert_eq!(migrate(line), format!("`tenantctl {goes_on}`"));
        }
    }

    #[test]
    fn what_may_be_secret_is_left_out() {
        for words in [
            &["--database-url", "postgres://a:secret@b", "status"][..],
            &["--database-url=postgres://a:secret@b", "status"],
        ] {
            assert_eq!(kept(words), "status");
        }
        assert_eq!(
            kept(&["tenant-command", "--schema", "acme", "sql", "select 'secret'"]),
            "tenant-command --schema acme sql …"
        );
        assert_eq!(
            kept(&["all-tenants-command", "exec", "--", "curl", "secret"]),
            "all-tenants-command exec …"
        );
    }
}
