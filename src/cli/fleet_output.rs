//! What is said in many schemas at once: behind the schema's name, a line at a time, or in files.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Mutex, MutexGuard, watch};

use super::error::CommandError;
use super::report::{Report, object};
use super::text::printable;
use crate::name::SchemaName;

/// A line is cut where it is longer, so that memory does not grow with what a program says.
const LONGEST_LINE: usize = 64 * 1024;

/// How long a program's output is still read after its end, when what it has started keeps it open
/// and says nothing.
const LINGER: Duration = Duration::from_millis(500);

/// The two ways to say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Where it goes.
pub(crate) struct FleetOutput {
    is_json: bool,
    folder: Option<OutputFolder>,
    stdout: Mutex<tokio::io::Stdout>,
    stderr: Mutex<tokio::io::Stderr>,
    /// Whose turn it is to say several things one after the other.
    turn: Mutex<()>,
}

/// What is said in one schema.
pub(crate) struct Voice<'a> {
    output: &'a FleetOutput,
    schema: &'a SchemaName,
    files: Option<(File, File)>,
}

impl FleetOutput {
    pub(crate) fn new(report: &Report, folder: Option<OutputFolder>) -> Self {
        Self {
            is_json: report.is_json(),
            folder,
            stdout: Mutex::new(tokio::io::stdout()),
            stderr: Mutex::new(tokio::io::stderr()),
            turn: Mutex::default(),
        }
    }

    /// Whether a person sees what is said to stdout.
    pub(crate) fn is_terminal(&self) -> bool {
        self.folder.is_none() && io::IsTerminal::is_terminal(&io::stdout())
    }

    /// Whether nothing is seen of it while the work goes on.
    pub(crate) fn is_in_files(&self) -> bool {
        self.folder.is_some()
    }

    /// Returns the files in which a schema's output is, for stdout and stderr.
    pub(crate) fn files(&self, schema: &SchemaName) -> Option<[PathBuf; 2]> {
        self.folder.as_ref().map(|folder| folder.files(schema))
    }

    /// Begins what is said in a schema.
    pub(crate) fn of<'a>(&'a self, schema: &'a SchemaName) -> Result<Voice<'a>, CommandError> {
        let open = |path: PathBuf| {
            let file = OpenOptions::new().append(true).create_new(true).open(&path);
            file.map_err(|source| CommandError::NotWritten { path, source })
        };
        let files = match self.files(schema) {
            Some([stdout, stderr]) => Some((open(stdout)?, open(stderr)?)),
            None => None,
        };
        Ok(Voice { output: self, schema, files })
    }

    /// Writes whole lines, all of them or none before anybody else's.
    async fn write(&self, stream: Stream, lines: &[u8]) {
        // A reader that went away must neither stop the work nor change its status.
        match stream {
            Stream::Stdout => {
                let mut stdout = self.stdout.lock().await;
                let _ = stdout.write_all(lines).await;
                let _ = stdout.flush().await;
            }
            Stream::Stderr => {
                let mut stderr = self.stderr.lock().await;
                let _ = stderr.write_all(lines).await;
                let _ = stderr.flush().await;
            }
        }
    }
}

impl Voice<'_> {
    /// Returns copies of the files, for a program to write to.
    pub(crate) fn files(&self) -> io::Result<Option<(File, File)>> {
        let clone =
            |(stdout, stderr): &(File, File)| Ok((stdout.try_clone()?, stderr.try_clone()?));
        self.files.as_ref().map(clone).transpose()
    }

    /// Waits until nobody else is saying several things, so that they stay together.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.output.turn.lock().await
    }

    /// Says a text of one or more lines.
    pub(crate) async fn say(&self, stream: Stream, text: &str) {
        let text = format!("{text}\n");
        if let Some((stdout, stderr)) = &self.files {
            let mut file = if stream == Stream::Stdout { stdout } else { stderr };
            let _ = io::Write::write_all(&mut file, text.as_bytes());
            return;
        }
        let mut lines = self.lines(stream);
        self.output.write(stream, &lines.take(text.as_bytes())).await;
    }

    /// Says an object, which names the schema itself.
    pub(crate) async fn say_object(&self, text: &str) {
        match &self.files {
            Some(_) => self.say(Stream::Stdout, text).await,
            None => self.output.write(Stream::Stdout, format!("{text}\n").as_bytes()).await,
        }
    }

    /// Says what a program says, until it has nothing more to say.
    pub(crate) async fn pass_on(
        &self,
        stream: Stream,
        mut from: impl AsyncRead + Unpin,
        ended: watch::Receiver<bool>,
    ) {
        let mut lines = self.lines(stream);
        let mut buffer = vec![0; LONGEST_LINE];
        loop {
            let read = tokio::select! {
                biased;
                read = from.read(&mut buffer) => read.unwrap_or_default(),
                () = lingered(ended.clone()) => 0,
            };
            if read == 0 {
                break;
            }
            let whole = lines.take(&buffer[..read]);
            if !whole.is_empty() {
                self.output.write(stream, &whole).await;
            }
        }
        let last = lines.take_rest();
        if !last.is_empty() {
            self.output.write(stream, &last).await;
        }
    }

    fn lines(&self, stream: Stream) -> Lines {
        let style = match self.output.is_json && stream == Stream::Stdout {
            true => Style::Object { schema: self.schema.clone() },
            false => Style::Prefix(format!("{}: ", printable(self.schema.as_str())).into_bytes()),
        };
        Lines { style, rest: Vec::new() }
    }
}

async fn lingered(mut ended: watch::Receiver<bool>) {
    // The sender is there until the program has ended.
    let _ = ended.wait_for(|ended| *ended).await;
    tokio::time::sleep(LINGER).await;
}

/// Cuts bytes into lines, and marks each as a schema's.
struct Lines {
    style: Style,
    /// A line of which the end has not come yet.
    rest: Vec<u8>,
}

enum Style {
    Prefix(Vec<u8>),
    Object { schema: SchemaName },
}

impl Lines {
    /// Returns the lines that these bytes complete.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(line) => {
                    self.rest.extend_from_slice(line);
                    self.end_line(&mut whole);
                }
                None => self.rest.extend_from_slice(piece),
            }
            while self.rest.len() >= LONGEST_LINE {
                let beyond = self.rest.split_off(LONGEST_LINE);
                self.end_line(&mut whole);
                self.rest = beyond;
            }
        }
        whole
    }

    /// Returns the last line, which has no line feed.
    fn take_rest(&mut self) -> Vec<u8> {
        let mut last = Vec::new();
        if !self.rest.is_empty() {
            self.end_line(&mut last);
        }
        last
    }

    fn end_line(&mut self, whole: &mut Vec<u8>) {
        match &self.style {
            Style::Prefix(prefix) => {
                whole.extend_from_slice(prefix);
                whole.append(&mut self.rest);
            }
            Style::Object { schema } => {
                let line = String::from_utf8_lossy(&self.rest);
                let fields = json!({ "schema": schema, "line": line });
                whole.extend_from_slice(object("output", fields).to_string().as_bytes());
                self.rest.clear();
            }
        }
        whole.push(b'\n');
    }
}

/// A folder with two files for each schema.
pub(crate) struct OutputFolder {
    folder: PathBuf,
    names: HashMap<SchemaName, String>,
}

impl OutputFolder {
    /// Makes the folder, which must be new or empty: what is in it is somebody's.
    pub(crate) fn make(folder: &Path, schemas: &[SchemaName]) -> Result<Self, CommandError> {
        let path = || folder.to_owned();
        let not_written = |source| CommandError::NotWritten { path: path(), source };
        std::fs::create_dir_all(folder).map_err(not_written)?;
        let mut entries = std::fs::read_dir(folder).map_err(not_written)?;
        if entries.next().is_some() {
            return Err(CommandError::Usage {
                message: format!("`{}` is not empty", folder.display()),
                hint: "nothing was run; name a folder that is empty or not there yet".into(),
            });
        }
        Ok(Self { folder: path(), names: file_names(schemas) })
    }

    /// Returns the schemas whose files are called otherwise than they are, with what for.
    pub(crate) fn renamed(&self) -> Vec<(&SchemaName, &str)> {
        let renamed = self.names.iter().filter(|(schema, name)| schema.as_str() != *name);
        let mut renamed: Vec<_> = renamed.map(|(schema, name)| (schema, name.as_str())).collect();
        renamed.sort();
        renamed
    }

    fn files(&self, schema: &SchemaName) -> [PathBuf; 2] {
        let name = &self.names[schema];
        ["out", "err"].map(|ending| self.folder.join(format!("{name}.{ending}")))
    }
}

/// Names that are longer get a number instead of their end; a file's name has at most 255 bytes.
const LONGEST_NAME: usize = 200;

/// Returns what each schema's files are called, distinct also where upper and lower case are not
/// told apart.
fn file_names(schemas: &[SchemaName]) -> HashMap<SchemaName, String> {
    let mut taken = HashSet::new();
    let mut names = HashMap::new();
    for schema in schemas {
        let mut plain = file_name(schema.as_str());
        let is_whole = plain.len() <= LONGEST_NAME;
        plain.truncate(LONGEST_NAME);
        let numbered = (2..).map(|number| format!("{plain}~{number}"));
        let mut candidates = is_whole.then(|| plain.clone()).into_iter().chain(numbered);
        let name = candidates.find(|name| taken.insert(name.to_lowercase()));
        names.insert(schema.clone(), name.expect("there is always another number"));
    }
    names
}

/// Returns a name with which no path can be made, and no hidden file: the bytes that are neither
/// letters nor digits nor one of `-_.` as in a URL.
fn file_name(schema: &str) -> String {
    let mut name = String::new();
    for (index, byte) in schema.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        match is_plain && !(index == 0 && byte == b'.') {
            true => name.push(char::from(byte)),
            false => name += &format!("%{byte:02X}"),
        }
    }
    if name.is_empty() { "%".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        Lines { style: Style::Prefix(b"acme: ".to_vec()), rest: Vec::new() }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_said_when_it_is_whole() {
        let mut lines = lines();
        assert_eq!(text(lines.take(b"one\ntw")), "acme: one\n");
        assert_eq!(text(lines.take(b"o\n\nthr")), "acme: two\nacme: \n");
        assert_eq!(text(lines.take_rest()), "acme: thr\n");
        assert_eq!(text(lines.take_rest()), "");
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let mut lines = lines();
        let whole = lines.take(&vec![b'x'; LONGEST_LINE * 2 + 1]);
        assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 2);
        assert_eq!(text(lines.take_rest()), "acme: x\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_an_object_all_the_same() {
        let style = Style::Object { schema: SchemaName::registered("a\"b") };
        let mut lines = Lines { style, rest: Vec::new() };
        let expected = "{\"type\":\"output\",\"schema\":\"a\\\"b\",\"line\":\"\u{fffd}\"}\n";
        assert_eq!(text(lines.take(b"\xff\n")), expected);
    }

    #[test]
    fn odd_names_are_safe_and_distinct() {
        let long = "ü".repeat(60);
        let also_long = format!("{}x", "ü".repeat(59));
        let schemas =
            ["acme", "Acme", "ACME~2", "a/b", "..", ".x", "", "a b", "a%2Fb", &long, &also_long]
                .map(SchemaName::registered);
        let names = file_names(&schemas);
        let shown = schemas.each_ref().map(|it| {
            let name = &names[it];
            if name.len() > 100 {
                format!("{}…{}", &name[..6], &name[LONGEST_NAME..])
            } else {
                name.clone()
            }
        });
        assert_eq!(
            shown.join(" "),
            "acme Acme~2 ACME%7E2 a%2Fb %2E. %2Ex % a%20b a%252Fb %C3%BC…~2 %C3%BC…~3"
        );
    }
}
