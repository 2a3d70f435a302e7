//! Takes out of a text what differs from run to run.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// Patterns and what is shown for them.
static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let patterns = [
        (
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|UTC|[+-]\d\d(:?\d\d)?))?",
            "[timestamp]",
        ),
        (r"\b\d+(\.\d+)? ?(ms|µs)\b|\b\d+\.\d+ ?s\b", "[time]"),
        (r"\bfor \d+s\b", "for [time]"),
        (r"\b(pid|process) \d+\b", "$1 [pid]"),
        (r#""transaction_seconds":[\d.]+"#, r#""transaction_seconds":[time]"#),
        (r#""seconds":[\d.e-]+"#, r#""seconds":[time]"#),
        (r#""pid":\s*\d+"#, r#""pid":[pid]"#),
    ];
    let compile = |(pattern, shown)| (Regex::new(pattern).unwrap(), shown);
    patterns.map(compile).into()
});

/// The words of one project that are not to be seen.
pub(super) struct Redactor {
    words: Vec<(String, &'static str)>,
}

impl Redactor {
    pub(super) fn new() -> Redactor {
        Redactor { words: Vec::new() }
    }

    /// Shows something else for a word, a path also in its canonical form.
    pub(super) fn word(mut self, word: &Path, shown: &'static str) -> Redactor {
        let canonical = word.canonicalize().unwrap_or_else(|_| word.to_owned());
        for word in [canonical.as_path(), word] {
            self.words.push((word.display().to_string(), shown));
        }
        self
    }

    pub(super) fn redact(&self, text: &str) -> String {
        let text = self
            .words
            .iter()
            .fold(text.to_owned(), |text, (word, shown)| text.replace(word, shown));
        PATTERNS
            .iter()
            .fold(text, |text, (pattern, shown)| pattern.replace_all(&text, *shown).into_owned())
    }
}

#[test]
fn what_differs_from_run_to_run_is_not_shown() {
    let redactor = Redactor::new().word(Path::new("/tmp/x"), "[project]");
    let text = "3 schemas in 0.31 s (12 ms each) since 2025-11-23 17:06:31 UTC, pid 77, /tmp/x/a";
    assert_eq!(
        redactor.redact(text),
        "3 schemas in [time] ([time] each) since [timestamp], pid [pid], [project]/a"
    );
}
