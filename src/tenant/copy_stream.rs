//! The rows in what pg_restore writes. Nothing else of it is read, and nothing of it is run.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// What ends a table's rows.
const END: &[u8] = b"\\.\n";

/// Which table's rows come next, and of which columns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CopyHead {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) columns: Vec<String>,
}

/// Reads `COPY "acme"."notes" ("id", "body") FROM stdin;` and the rows after it.
pub(super) struct CopyStream<R> {
    text: R,
    line: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> CopyStream<R> {
    pub(super) fn new(text: R) -> Self {
        Self { text, line: Vec::new() }
    }

    /// Goes on to the next table; `None` at the end.
    pub(super) async fn next_table(&mut self) -> io::Result<Option<CopyHead>> {
        loop {
            self.line.clear();
            if self.text.read_until(b'\n', &mut self.line).await? == 0 {
                return Ok(None);
            }
            if !self.line.starts_with(b"COPY ") {
                continue;
            }
            // A name may hold a line break.
            while !quotes_are_closed(&self.line) {
                if self.text.read_until(b'\n', &mut self.line).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let head = std::str::from_utf8(&self.line).ok().and_then(CopyHead::parse);
            let unknown = || io::Error::other("a table's rows begin in an unknown way");
            return Ok(Some(head.ok_or_else(unknown)?));
        }
    }

    /// Adds rows of this table to `rows`, until it holds `enough` bytes; returns whether there may
    /// be more.
    pub(super) async fn rows(&mut self, rows: &mut Vec<u8>, enough: usize) -> io::Result<bool> {
        while rows.len() < enough {
            let start = rows.len();
            if self.text.read_until(b'\n', rows).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // In this format no value has a line of its own.
            if rows[start..] == *END {
                rows.truncate(start);
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn quotes_are_closed(line: &[u8]) -> bool {
    line.iter().filter(|it| **it == b'"').count().is_multiple_of(2)
}

impl CopyHead {
    fn parse(line: &str) -> Option<Self> {
        let mut rest = line.strip_prefix("COPY ")?;
        let schema = quoted(&mut rest)?;
        rest = rest.strip_prefix('.')?;
        let table = quoted(&mut rest)?;
        rest = rest.trim_start_matches(' ');
        let mut columns = Vec::new();
        if let Some(list) = rest.strip_prefix('(') {
            rest = list;
            loop {
                columns.push(quoted(&mut rest)?);
                match rest.strip_prefix(", ") {
                    Some(more) => rest = more,
                    None => break,
                }
            }
            rest = rest.strip_prefix(") ")?;
        }
        (rest == "FROM stdin;\n").then_some(Self { schema, table, columns })
    }
}

/// Takes a quoted name from the beginning of `rest`.
fn quoted(rest: &mut &str) -> Option<String> {
    let text = rest.strip_prefix('"')?;
    let mut name = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character != '"' {
            name.push(character);
        } else if characters.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            *rest = &text[at + 1..];
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str) -> io::Result<Vec<(CopyHead, String)>> {
        let mut stream = CopyStream::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(head) = stream.next_table().await? {
            let mut rows = Vec::new();
            while stream.rows(&mut rows, usize::MAX).await? {}
            all.push((head, String::from_utf8(rows).unwrap()));
        }
        Ok(all)
    }

    #[tokio::test]
    async fn rows_are_found_among_other_text() {
        let text = "\\restrict x\n-- Data\n\nCOPY \"acme\".\"notes\" (\"id\", \"a \"\"b\"\"\nc\") FROM stdin;\n\
                    1\tCOPY x\n2\t\\\\.\n\\.\n\nselect 1;\nCOPY \"acme\".\"none\"  FROM stdin;\n\n\n\\.\n";
        let all = read(text).await.unwrap();
        let columns = vec!["id".to_owned(), "a \"b\"\nc".to_owned()];
        let head = CopyHead { schema: "acme".into(), table: "notes".into(), columns };
        assert_eq!(all[0], (head, "1\tCOPY x\n2\t\\\\.\n".to_owned()));
        assert_eq!((all[1].0.table.as_str(), all[1].1.as_str()), ("none", "\n\n"));
        assert_eq!(all.len(), 2);
    }

    #[tokio::test]
    async fn rows_that_do_not_end_are_an_error() {
        assert!(read("COPY \"a\".\"b\" (\"c\") FROM stdin;\n1\n").await.is_err());
        assert!(read("COPY a.b (c) FROM stdin;\n\\.\n").await.is_err());
        assert!(read("COPY \"a\".\"b\" (\"c\") FROM program 'rm';\n\\.\n").await.is_err());
    }
}
