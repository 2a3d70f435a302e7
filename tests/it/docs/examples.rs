//! Commands in pages are commands that the program has, and examples say what it prints.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use regex::Regex;
use tempfile::TempDir;

use super::markdown::{Example, code_spans, section, split};
use super::{pages, program, read};
use crate::support::Project;
use crate::support::cluster::{disposable, folder_for_a_server};

/// Runs it on a private server, as it says.
#[test]
fn the_readmes_example_is_true() {
    let readme = read("README.md");
    let example = section(&readme, "## From an empty folder to a migrated fleet");
    let server = Destroyed(folder_for_a_server());
    run(&console(example), &server.0, &[]);
}

/// A folder whose private server is destroyed at the end.
struct Destroyed(std::path::PathBuf);

impl Drop for Destroyed {
    fn drop(&mut self) {
        let _ = disposable(&self.0).destroy();
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs it on a database of its own, which is made and named beforehand.
#[tokio::test]
async fn the_first_guide_is_true() {
    let project = Project::empty().await;
    let guide = read("docs/guides/getting-started.md");
    let examples = console(&guide);
    let is_ours = |it: &&Example| it.command.contains("tenantctl");
    let csv = examples.iter().find(|it| it.command == "cat tenants.csv");
    project.write("tenants.csv", csv.expect("it is shown").output.join("\n"));
    let ours: Vec<&Example> = examples.iter().filter(is_ours).collect();
    let url = project.database().url();
    run(&ours, &project.path(""), &[("DATABASE_URL", &url)]);
    assert!(guide.contains(project.run("status").trim()));
}

fn console(page: &str) -> Vec<Example> {
    let (blocks, _) = split(page);
    let console = blocks.iter().filter(|block| block.language == "console");
    console.flat_map(|block| block.examples()).collect()
}

/// Runs commands one after the other in one shell, and compares what they print. A command that
/// is shown without output may print anything.
fn run<E: std::borrow::Borrow<Example>>(examples: &[E], folder: &Path, variables: &[(&str, &str)]) {
    const END: char = '\x1e';
    let mut script = String::new();
    for example in examples {
        let command = &example.borrow().command;
        // The next command is to see this one's status.
        script += &format!("{command}\nstatus=$?\nprintf '\\036'\n(exit $status)\n");
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_tenantctl")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 2>&1\n{script}")]);
    shell.current_dir(folder).env_clear();
    shell.env("PATH", format!("{}:{path}", programs.display()));
    shell.env("HOME", folder).envs(variables.iter().copied());
    // Where the tests' own Postgres comes from.
    shell.envs(std::env::var_os("TENANTCTL_PG_BIN").map(|bin| ("TENANTCTL_PG_BIN", bin)));
    shell.stdin(std::process::Stdio::null());
    let output = shell.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<&str> = printed.split(END).collect();
    assert_eq!(printed.len(), examples.len() + 1, "{printed:#?}");
    for (example, printed) in examples.iter().zip(printed) {
        let Example { command, output } = example.borrow();
        let shown = output.join("\n");
        let is_same = output.is_empty() || loosely(&shown) == loosely(printed);
        assert!(is_same, "`{command}` is shown with:\n{shown}\nand prints:\n{printed}");
    }
}

/// Returns a text's words, without what differs from run to run, nor the order in which several
/// workers are done, nor how a table is drawn.
fn loosely(text: &str) -> Vec<Vec<String>> {
    static DIFFERS: LazyLock<Regex> = LazyLock::new(|| {
        let patterns = [
            r"\d{4}-\d\d-\d\d([T ][\d:.]+Z?)?",
            r"127\.0\.0\.1:\d+",
            r"pid \d+",
            r"Postgres \d+",
            // A cell with a number: ids follow the order in which workers are done.
            r"(\t|  )\d+(\t|  )",
        ];
        Regex::new(&patterns.join("|")).unwrap()
    });
    let text = DIFFERS.replace_all(text, " DIFFERS ");
    let words = |line: &str| {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut words: Vec<String> = words.filter(|it| !it.is_empty()).map(str::to_owned).collect();
        words.sort();
        words
    };
    let mut lines: Vec<_> = text.lines().map(words).filter(|it| !it.is_empty()).collect();
    lines.sort();
    lines
}

#[test]
fn commands_in_pages_are_understood() {
    let folder = TempDir::new().unwrap();
    let mut wrong = Vec::new();
    for page in pages() {
        for words in invocations(&read(&page)) {
            if let Err(said) = is_understood(&words, folder.path()) {
                wrong.push(format!("{page}: tenantctl {}\n{said}", words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn invocations_are_found_in_shell_lines() {
    let page = "```console\n$ A=b tenantctl status | jq; tenantctl --quiet init\nerror: tenantctl x\n\
        $ tenantctl y <<'SQL'\n> tenantctl z\n> SQL\n```\n`tenantctl dev\nstop`";
    let found: Vec<String> = invocations(page).iter().map(|it| it.join(" ")).collect();
    assert_eq!(found, ["status", "--quiet init", "y", "dev stop"]);
}

/// Returns the arguments of every `tenantctl …` in a page's shell lines and code spans.
fn invocations(page: &str) -> Vec<Vec<String>> {
    let (blocks, _) = split(page);
    let mut lines: Vec<String> = Vec::new();
    for block in &blocks {
        match block.language.as_str() {
            "console" => lines.extend(block.examples().into_iter().map(|it| it.command)),
            "sh" | "yaml" => lines.extend(block.lines.iter().cloned()),
            _ => {}
        }
    }
    // What a page says about any command is none.
    let spans = code_spans(page).into_iter();
    lines.extend(spans.filter(|it| it.starts_with("tenantctl ") && !it.contains("COMMAND")));
    lines.iter().flat_map(|line| in_line(line)).collect()
}

fn in_line(line: &str) -> Vec<Vec<String>> {
    // A here-document's text is not the shell's.
    let line = line.lines().next().unwrap_or_default();
    let line = line.split(" #").next().unwrap_or_default().replace(';', " ; ");
    let words = shell_words::split(&line).unwrap_or_default();
    let is_operator = |word: &String| {
        ["|", "&&", "||", ";"].contains(&word.as_str()) || word.starts_with(['<', '>'])
    };
    let commands = words.split(is_operator);
    commands
        .filter_map(|command| {
            let at = command.iter().position(|word| word == "tenantctl")?;
            Some(command[at + 1..].to_vec())
        })
        .collect()
}

/// Asks for help with these arguments: they are parsed before it is given.
fn is_understood(words: &[String], folder: &Path) -> Result<(), String> {
    let own = words.iter().position(|word| word == "--");
    let mut arguments = words.to_vec();
    arguments.insert(own.unwrap_or(words.len()), "--help".to_owned());
    let output = program(folder).args(&arguments).output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
