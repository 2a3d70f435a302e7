//! Who speaks: answers to stdout, everything said on the way to stderr.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use tabled::builder::Builder;
use tabled::settings::{Padding, Style as TableStyle};

use super::exit_code::ExitCode;
use super::progress;
use super::text::printable;

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people; lists become TSV when stdout is not a terminal
    Text,
    /// One object a line, `type` first
    Json,
    /// Lists as tab-separated values with a header line
    Tsv,
}

/// How much is said, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

impl Report {
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a person is watching the way.
    pub(crate) fn is_watched(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// Writes a line of the answer for people; nothing in JSON.
    pub(crate) fn answer(&self, text: impl Display) {
        if !self.is_json() {
            to_stdout(&text);
        }
    }

    /// Writes an object of the answer; nothing for people.
    pub(crate) fn object(&self, kind: &str, fields: Value) {
        if self.is_json() {
            to_stdout(&object(kind, fields));
        }
    }

    /// Writes a list as the format demands: a table for a terminal, TSV for a pipe, or objects of
    /// type `kind`. `None` is an empty cell, and `null` in JSON.
    pub(crate) fn list(&self, kind: &str, header: &[&str], rows: &[Vec<Option<String>>]) {
        let is_table = self.format == Format::Text && std::io::stdout().is_terminal();
        if self.is_json() {
            for row in rows {
                let fields =
                    header.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), json!(cell)));
                self.object(kind, Value::Object(fields.collect()));
            }
        } else if is_table {
            to_stdout(&table(header, rows));
        } else {
            to_stdout(&separated(header, rows));
        }
    }

    /// Writes a line of the answer as it is, in whatever format it has been written.
    pub(crate) fn line(&self, text: impl Display) {
        to_stdout(&text);
    }

    /// Says something on the way.
    pub(crate) fn say(&self, text: impl Display) {
        if !self.quiet {
            to_stderr(&text);
        }
    }

    /// Says something that belongs to a warning or an error.
    pub(crate) fn always(&self, text: impl Display) {
        to_stderr(&text);
    }

    pub(crate) fn always_lines(&self, lines: &[String]) {
        for line in lines {
            self.always(line);
        }
    }

    /// Says something that should be known although the work goes on.
    pub(crate) fn warn(&self, text: impl Display) {
        to_stderr(&format_args!("{WARNING}warning:{WARNING:#} {text}"));
    }

    /// Says what went wrong.
    pub(crate) fn error(&self, text: impl Display) {
        to_stderr(&format_args!("{ERROR}error:{ERROR:#} {text}"));
    }

    /// Says what to type next.
    pub(crate) fn hint(&self, text: impl Display) {
        to_stderr(&format_args!("{HINT}hint:{HINT:#} {text}"));
    }
}

/// Returns an object as a line of JSON.
pub(crate) fn object(kind: &str, fields: Value) -> Value {
    let mut object = serde_json::Map::from_iter([("type".to_owned(), json!(kind))]);
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object)
}

/// Returns a list as tab-separated values with a header line.
pub(crate) fn separated(header: &[&str], rows: &[Vec<Option<String>>]) -> String {
    let mut lines = vec![header.join("\t")];
    for row in rows {
        let cells = row.iter().map(|cell| tsv(cell.as_deref().unwrap_or_default()));
        lines.push(cells.collect::<Vec<_>>().join("\t"));
    }
    lines.join("\n")
}

/// Writes the object of a usage error, where JSON was asked for; the words are on stderr already.
pub(crate) fn usage_error(words: impl Iterator<Item = String>, text: &str) {
    let words: Vec<String> = words.take_while(|word| word != "--").collect();
    let wants_json = words.iter().any(|word| word == "--format=json")
        || words.windows(2).any(|pair| pair == ["--format", "json"]);
    if wants_json {
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let status = ExitCode::Usage.number();
        let report = Report { format: Format::Json, quiet: true, verbose: false };
        report.object("error", json!({ "message": message, "exit_status": status }));
    }
}

/// Returns a table as it is shown in a terminal.
pub(crate) fn table(header: &[&str], rows: &[Vec<Option<String>>]) -> String {
    let mut builder = Builder::default();
    builder.push_record(header.iter().copied());
    for row in rows {
        builder.push_record(row.iter().map(|cell| printable(cell.as_deref().unwrap_or_default())));
    }
    let mut table = builder.build();
    table.with(TableStyle::blank()).with(Padding::new(0, 1, 0, 0));
    let lines = table.to_string();
    lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Returns a value that stays in its cell: tabs and line breaks are escaped as in `COPY`.
fn tsv(value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('\t', r"\t").replace('\n', r"\n");
    printable(&value.replace('\r', r"\r"))
}

// A reader that went away, as `head -1` does, must neither stop the work nor change its status.
fn to_stdout(text: &dyn Display) {
    let write = || {
        let mut stdout = anstream::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush())
    };
    if let Err(error) = progress::aside(write)
        && error.kind() != ErrorKind::BrokenPipe
    {
        UNWRITTEN.get_or_init(|| error);
    }
}

/// Why the answer, or a part of it, could not be written.
static UNWRITTEN: OnceLock<std::io::Error> = OnceLock::new();

/// Returns why the answer, or a part of it, could not be written.
pub(crate) fn unwritten() -> Option<&'static std::io::Error> {
    UNWRITTEN.get()
}

fn to_stderr(text: &dyn Display) {
    let _ = progress::aside(|| writeln!(anstream::stderr().lock(), "{text}"));
}
