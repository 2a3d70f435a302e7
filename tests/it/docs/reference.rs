//! Reference pages are what the program says of itself.

use std::fmt::Write as _;
use std::fs;

use tempfile::TempDir;
use tenantctl::migration::sql::{Context, Folder, Rule, Severity, check};

use super::markdown::{rows, section};
use super::{path, program, read};

const COMMANDS: &str = "docs/reference/commands.md";

/// With `UPDATE_DOCS=1` the page is written anew.
#[test]
fn commands_are_those_that_help_shows() {
    let page = commands_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(COMMANDS), &page).unwrap();
    }
    let hint = "write it anew with `UPDATE_DOCS=1 cargo test --test it docs::`";
    assert!(read(COMMANDS) == page, "{COMMANDS} is out of date: {hint}");
}

/// Returns the names of the commands, such as `["dev", "start"]`.
pub(super) fn commands() -> Vec<Vec<String>> {
    fn walk(parent: &[String], found: &mut Vec<Vec<String>>) {
        for name in subcommands(&help(parent)) {
            let command = [parent, &[name]].concat();
            found.push(command.clone());
            walk(&command, found);
        }
    }
    let mut found = Vec::new();
    walk(&[], &mut found);
    found
}

fn help(command: &[String]) -> String {
    let folder = TempDir::new().unwrap();
    let output = program(folder.path()).args(command).arg("--help").output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let named = lines.take_while(|line| !line.is_empty());
    named
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect()
}

fn commands_page() -> String {
    let mut page = String::from(
        "# Commands\n\n\
         <!-- Written by tests/it/docs/reference.rs from the program's own help. -->\n\n\
         What `tenantctl COMMAND --help` says, for every command. Each also takes the [options \
         that stand everywhere](#everywhere).\n",
    );
    for command in commands() {
        let help = help(&command);
        let _ = write!(page, "\n## `tenantctl {}`\n\n", command.join(" "));
        page += &to_markdown(&help, |heading| heading != "Everywhere");
    }
    page += "\n## Everywhere\n\n";
    let everywhere = to_markdown(&help(&[]), |heading| heading == "Everywhere");
    page += everywhere.split_once("**Everywhere**\n\n").expect("there is one").1;
    page
}

/// Returns a command's long help as Markdown, with those of its sections that are wanted.
fn to_markdown(help: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in sections(help) {
        let (first, rest) = part.split_once('\n').unwrap_or((&part, ""));
        match first.strip_suffix(':') {
            Some("Commands") => {}
            Some(heading) if is_wanted(heading) => {
                let items = items(rest);
                if !items.is_empty() {
                    parts.push(format!("**{heading}**\n\n{items}"));
                }
            }
            Some(_) => {}
            None if first.starts_with("Usage: ") => {
                parts.push(format!("```text\n{}\n```", first.trim_start_matches("Usage: ")));
            }
            None if first.starts_with("Exit statuses: ") => {}
            None => parts.push(part.lines().collect::<Vec<_>>().join(" ")),
        }
    }
    parts.join("\n\n") + "\n"
}

/// Returns paragraphs, and sections with all their items.
fn sections(help: &str) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    for paragraph in help.trim().split("\n\n") {
        let is_more = paragraph.starts_with(' ');
        match sections.last_mut() {
            Some(last) if is_more => *last += &format!("\n\n{paragraph}"),
            _ => sections.push(paragraph.to_owned()),
        }
    }
    sections
}

/// Returns the items of a section as a list. An item begins a line with fewer than ten spaces.
fn items(section: &str) -> String {
    let mut list = String::new();
    let mut is_shown = true;
    for line in section.lines() {
        let text = line.trim();
        let is_item = !text.is_empty() && !line.starts_with("          ");
        if is_item {
            is_shown = !text.starts_with("-h, ") && !text.starts_with("-V, ");
        }
        if !is_shown || text.is_empty() {
            continue;
        }
        if is_item {
            let _ = write!(list, "\n- `{text}`:");
        } else if text.starts_with("- ") {
            let _ = write!(list, "\n  {text}");
        } else {
            let _ = write!(list, " {text}");
        }
    }
    list.trim_start().to_owned()
}

#[test]
fn rules_are_those_of_the_grammar() {
    let page = read("docs/reference/migration-rules.md");
    let rows = rows(&page);
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, Rule::ALL.map(Rule::name));
    for (row, rule) in rows.iter().zip(Rule::ALL) {
        let can_be_allowed = if rule.can_be_allowed() { "yes" } else { "no" };
        assert_eq!(row[3], can_be_allowed, "{rule}");
    }
}

#[test]
fn examples_of_rules_break_them() {
    let page = read("docs/reference/migration-rules.md");
    let context = Context::new(Folder::Tenant, "public");
    for row in rows(&page).iter().filter(|row| !row[2].is_empty()) {
        let findings = check(&row[2], &context);
        let found = findings.iter().find(|it| it.rule().name() == row[0]);
        let found = found.unwrap_or_else(|| panic!("`{}` does not break {}", row[2], row[0]));
        assert_eq!(found.severity(), Severity::Refused, "{}", row[0]);
    }
}

#[test]
fn keys_are_those_of_the_configuration() {
    let template = read("src/project/tenantctl.toml");
    let mut keys = Vec::new();
    let mut table = "";
    for line in template.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else if let Some((key, value)) =
            line.strip_prefix("# ").and_then(|it| it.split_once(" = "))
        {
            let value = value.split("  #").next().unwrap_or_default().trim();
            keys.push((format!("{table}.{key}"), value.to_owned()));
        }
    }
    let page = read("docs/reference/configuration.md");
    let rows: Vec<_> = rows(&page).into_iter().filter(|row| row.len() == 3).collect();
    let named: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(named, keys.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>());
    for (row, (key, default)) in rows.iter().zip(&keys) {
        // What `[migrate]` leaves out is the flag's default.
        let default = match key.strip_prefix("migrate.") {
            Some(flag) => default_of_flag(flag),
            None => default.clone(),
        };
        assert_eq!(row[1].trim_matches('"'), default.trim_matches('"'), "{key}");
    }
}

fn default_of_flag(name: &str) -> String {
    let help = help(&["migrate-schemas".to_owned()]);
    let flag = format!("--{} ", name.replace('_', "-"));
    let after = help.split_once(&flag).expect("there is such a flag").1;
    let default = after.split_once("[default: ").expect("it has a default").1;
    default.split(']').next().unwrap_or_default().to_owned()
}

#[test]
fn exit_statuses_are_those_that_help_shows() {
    let help = help(&[]).replace('\n', " ");
    let sentence = help.split_once("Exit statuses: ").expect("it lists them").1;
    let numbers: Vec<&str> =
        sentence.split(", ").filter_map(|part| part.split(' ').next()).collect();
    let readme = read("README.md");
    let page = read("docs/reference/exit-statuses.md");
    for table in [section(&readme, "## Exit statuses"), &page] {
        let listed = rows(table);
        let listed: Vec<&str> = listed.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(listed, numbers);
    }
}
