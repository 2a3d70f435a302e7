//! One statement of a migration file.

use super::grammar::{self, Kind, Node, child, has};
use super::own_table::own_table;
use super::pieces::{Piece, Pieces, pieces};
use super::position::Cursor;
use super::rules::{bare_changes, sets_a_sequence};

/// One statement, exactly as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The source, without the semicolon and without what stands before and after.
    pub text: String,
    /// The line it begins on, from 1.
    pub line: usize,
    /// The character of that line it begins with, from 1.
    pub column: usize,
    /// The byte of the file it begins with.
    pub offset: usize,
    /// The parser does not understand it: it must not share a message with another statement, and
    /// the server is to say what is wrong with it, if anything is.
    pub alone: bool,
    /// While it waits for a lock, nobody who reads or writes waits behind it: it builds, drops or
    /// detaches concurrently.
    pub is_concurrent: bool,
    /// The names without a schema that it changes without a lock that would tell where they were
    /// found, as Postgres stores them.
    pub bare_changes: Vec<String>,
    /// The table that it alone changes, named without a schema, where it is known to run nobody's
    /// code: `alter table notes add column note text`. As Postgres stores its name.
    pub own_table: Option<String>,
    /// It sets a sequence's number, which no rollback undoes.
    pub sets_a_sequence: bool,
    kind: String,
    concurrent_index: Option<ConcurrentIndex>,
    table: Option<TableName>,
}

/// A table's name, as Postgres stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// The schema, if the statement names it.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

/// The index that a `CREATE INDEX CONCURRENTLY` makes, with names as Postgres stores them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcurrentIndex {
    /// The index, if the statement names it.
    pub name: Option<String>,
    /// The schema of the table, and so of the index, if the statement names it.
    pub schema: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// `CREATE UNIQUE INDEX`.
    pub unique: bool,
    /// `IF NOT EXISTS`: Postgres takes an invalid index of that name for the wanted one.
    pub if_not_exists: bool,
}

impl Statement {
    /// Returns a short description for messages, such as `CREATE TABLE`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the index, if this is `CREATE INDEX CONCURRENTLY`. An attempt that failed leaves it
    /// behind invalid ("Building Indexes Concurrently" in the page `CREATE INDEX`).
    pub fn concurrent_index(&self) -> Option<&ConcurrentIndex> {
        self.concurrent_index.as_ref()
    }

    /// Returns the table, if there is one of that name afterwards because of this statement: it
    /// creates it, or renames another. Temporary ones are none.
    pub fn table(&self) -> Option<&TableName> {
        self.table.as_ref()
    }
}

/// Returns the statements of a file. Their texts and what is between them (space, comments and
/// semicolons) are the file.
pub fn statements(text: &str) -> Vec<Statement> {
    grammar::with_tree(text, |tree| from_pieces(text, &pieces(tree)))
        .unwrap_or_else(|| unread(text))
}

pub(super) fn from_pieces(text: &str, pieces: &Pieces) -> Vec<Statement> {
    let mut cursor = Cursor::new(text);
    pieces.pieces.iter().map(|piece| statement(text, piece, &mut cursor)).collect()
}

/// A file that defeats the parser is one statement.
pub(super) fn unread(text: &str) -> Vec<Statement> {
    let start = text.len() - text.trim_start().len();
    let end = text.trim_end().len().max(start);
    let piece = Piece { range: start..end, node: None, alone: true, backslash: None };
    match piece.range.is_empty() {
        true => Vec::new(),
        false => vec![statement(text, &piece, &mut Cursor::new(text))],
    }
}

fn statement(text: &str, piece: &Piece, cursor: &mut Cursor) -> Statement {
    let position = cursor.advance(piece.range.start);
    let text = &text[piece.range.clone()];
    Statement {
        text: text.to_owned(),
        line: position.line,
        column: position.column,
        offset: piece.range.start,
        alone: piece.alone,
        is_concurrent: piece.node.as_ref().is_some_and(is_concurrent),
        bare_changes: piece.node.as_ref().map_or_else(Vec::new, bare_changes),
        sets_a_sequence: piece.node.as_ref().is_some_and(sets_a_sequence),
        own_table: piece.node.as_ref().filter(|_| !piece.alone).and_then(own_table),
        kind: piece.node.as_ref().map_or_else(|| first_words(text), kind),
        concurrent_index: piece.node.as_ref().and_then(concurrent_index),
        table: piece.node.as_ref().and_then(table),
    }
}

/// Returns what kind of statement a node is, in the words that begin it.
pub(super) fn kind(node: &Node) -> String {
    match node.kind() {
        Kind::COMMIT_TRANSACTION | Kind::ROLLBACK_TRANSACTION | Kind::BEGIN => first_word(node),
        Kind::COMPOUND_SELECT | Kind::PAREN_SELECT | Kind::SELECT_INTO => "SELECT".to_owned(),
        Kind::SET_SESSION_AUTH => "SET SESSION AUTHORIZATION".to_owned(),
        Kind::RESET_SESSION_AUTH => "RESET SESSION AUTHORIZATION".to_owned(),
        Kind::REASSIGN => "REASSIGN OWNED".to_owned(),
        Kind::REFRESH => "REFRESH MATERIALIZED VIEW".to_owned(),
        kind => format!("{kind:?}").replace('_', " "),
    }
}

fn first_word(node: &Node) -> String {
    node.first_token().map(|token| token.text().to_uppercase()).unwrap_or_default()
}

fn first_words(text: &str) -> String {
    let is_word = |word: &&str| word.chars().all(|c| c.is_alphanumeric() || c == '_');
    let words = text.split_whitespace().take(2).take_while(is_word);
    words.map(str::to_uppercase).collect::<Vec<_>>().join(" ")
}

fn is_concurrent(node: &Node) -> bool {
    match node.kind() {
        Kind::CREATE_INDEX | Kind::DROP_INDEX => has(node, Kind::CONCURRENTLY_KW),
        Kind::REINDEX => {
            grammar::contains(node, &[Kind::REINDEX_OPTION_CONCURRENTLY])
                || node.children().any(|it| has(&it, Kind::CONCURRENTLY_KW))
        }
        Kind::ALTER_TABLE => grammar::contains(node, &[Kind::DETACH_CONCURRENTLY]),
        _ => false,
    }
}

fn concurrent_index(node: &Node) -> Option<ConcurrentIndex> {
    if node.kind() != Kind::CREATE_INDEX || !has(node, Kind::CONCURRENTLY_KW) {
        return None;
    }
    let mut table =
        child(node, Kind::TABLE_RELATION_NAME).map_or_else(Vec::new, |n| grammar::path(&n));
    Some(ConcurrentIndex {
        name: child(node, Kind::INDEX).and_then(|name| grammar::path(&name).pop()),
        table: table.pop(),
        schema: table.pop(),
        unique: has(node, Kind::UNIQUE_KW),
        if_not_exists: has(node, Kind::IF_NOT_EXISTS),
    })
}

fn table(node: &Node) -> Option<TableName> {
    let naming = match node.kind() {
        Kind::CREATE_TABLE | Kind::CREATE_TABLE_AS | Kind::CREATE_FOREIGN_TABLE => node.clone(),
        Kind::SELECT_INTO => child(node, Kind::INTO_CLAUSE)?,
        Kind::ALTER_TABLE => child(node, Kind::TABLE_RENAME_TO)?,
        _ => return None,
    };
    let mut parts = grammar::path(&child(&naming, Kind::TABLE_NAME)?);
    let is_temporary = has(&naming, Kind::TEMP);
    let name = parts.pop().filter(|_| !is_temporary)?;
    Some(TableName { name, schema: parts.pop() })
}

#[cfg(test)]
mod tests;
