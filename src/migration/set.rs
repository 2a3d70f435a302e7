//! The migrations of one folder together with what is needed to run them.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::plan;
use super::script::DROPPED;
use super::sql::{self, Context, Finding, Folder, Header, Position, Rule, Statement};
use super::{Kind, MigrationFile, MigrationFolder, Width};
use crate::event::Site;

/// What a schema's history adds to [`MigrationSet::weight`], whatever the files are.
const HISTORY_WEIGHT: usize = 4;

/// The least that files weigh of which it is not known what they change.
const UNKNOWN_WEIGHT: usize = 20;

/// The migrations of one folder. Their SQL is parsed when it is first asked for, so that looking
/// at a fleet that is up to date parses nothing.
#[derive(Debug)]
pub struct MigrationSet {
    folder: MigrationFolder,
    context: Context,
    sources: Vec<OnceCell<sql::Script>>,
}

impl MigrationSet {
    /// Returns the migrations of `folder`, which run as `context` says.
    pub fn new(folder: MigrationFolder, context: Context) -> Self {
        let sources = folder.files().iter().map(|_| OnceCell::new()).collect();
        Self { folder, context, sources }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &MigrationFolder {
        &self.folder
    }

    /// Returns whether these run in the shared schema or in every tenant's.
    pub fn kind(&self) -> Folder {
        self.context.folder
    }

    /// Returns the `index`th file, from 0.
    pub fn file(&self, index: usize) -> &MigrationFile {
        &self.folder.files()[index]
    }

    /// Returns how a migration is called in messages: ``V2 `add_orders` ``.
    pub fn label(&self, index: usize) -> String {
        let file = self.file(index);
        match file.kind {
            Kind::Seed => format!("seed `{}`", file.name),
            kind => format!("{kind}{} `{}`", file.version, file.name),
        }
    }

    /// Returns the statements of the `index`th file.
    pub fn statements(&self, index: usize) -> &[Statement] {
        &self.source(index).statements
    }

    /// Returns what the `index`th file says that it may not.
    pub fn findings(&self, index: usize) -> &[Finding] {
        &self.source(index).findings
    }

    /// Whether the `index`th file says that it cannot run in a transaction.
    pub fn is_no_transaction(&self, index: usize) -> bool {
        // From the first line alone: asked of every pending file before one of them is parsed.
        Header::of(&self.file(index).sql).no_transaction
    }

    /// Whether no rollback would undo all of the `index`th file.
    pub(super) fn cannot_be_rehearsed(&self, index: usize) -> bool {
        self.is_no_transaction(index)
            || self.statements(index).iter().any(|statement| statement.sets_a_sequence)
    }

    /// Whether these are to stay within the schema they run in.
    pub(super) fn is_confined(&self) -> bool {
        self.context.folder == Folder::Tenant
    }

    /// Whether one of `files` was deliberately allowed to reach outside its schema.
    pub(crate) fn may_leave(&self, files: &[usize]) -> bool {
        let leaves = |rule: &Rule| {
            matches!(
                rule,
                Rule::OtherSchema
                    | Rule::SchemaChange
                    | Rule::SearchPath
                    | Rule::Extension
                    | Rule::DatabaseWide
            )
        };
        files.iter().any(|&file| self.source(file).allowed.iter().any(leaves))
    }

    /// Returns the tables that `files` change, each once and at least one, where every statement is
    /// known to change such a table and nothing else ([`Statement::own_table`]).
    pub(super) fn own_tables(&self, files: &[usize]) -> Option<BTreeSet<&str>> {
        let statements = files.iter().flat_map(|&file| self.statements(file));
        let tables: Option<BTreeSet<&str>> = statements.map(|it| it.own_table.as_deref()).collect();
        tables.filter(|it| !it.is_empty())
    }

    /// Returns roughly how many tables and indexes a backend gets to know by running `files` in a
    /// schema, which it never forgets.
    pub(super) fn weight(&self, files: &[usize]) -> usize {
        let statements: usize = files.iter().map(|&file| self.statements(file).len()).sum();
        match self.own_tables(files) {
            Some(_) => HISTORY_WEIGHT + statements,
            None => statements.max(UNKNOWN_WEIGHT),
        }
    }

    /// Returns the width of a history table that is made now: refinery's default, unless a version
    /// needs more.
    pub(super) fn new_table_width(&self) -> Width {
        self.folder.width()
    }

    /// Returns where a statement stands, or the character `offset` (from 0) of it.
    pub(super) fn site(&self, index: usize, statement: usize, offset: Option<usize>) -> Site {
        let file = self.file(index);
        let statement = &self.statements(index)[statement];
        let position = offset.map(|offset| offset.min(end(&file.sql, statement)));
        let position =
            position.map(|offset| Position::of_byte(&file.sql, statement.offset + offset));
        let line = position.as_ref().map_or(statement.line, |position| position.line);
        let column = position.map(|position| position.column);
        self.site_at(index, line, column)
    }

    /// Returns where `files` speak of the first of some relations, `schema.relation` with commas
    /// between; `None` where it is not plain which of the files it was.
    pub(super) fn mention(&self, files: &[usize], relations: &str) -> Option<Site> {
        let mut mentions = self.mentions(files, relations);
        match (mentions.len(), files) {
            (1, _) => mentions.pop(),
            (0, [file]) => Some(self.site_at(*file, 1, None)),
            _ => None,
        }
    }

    /// Returns where each of `files` that speaks of the first of some relations does so.
    pub(super) fn mentions(&self, files: &[usize], relations: &str) -> Vec<Site> {
        let first = relations.split(", ").next().unwrap_or_default().to_ascii_lowercase();
        let (schema, name) = match first.split_once('.') {
            _ if first == DROPPED => ("drop", "drop"),
            Some(of_schema) => of_schema,
            None => ("", first.as_str()),
        };
        // Who drops a schema says nothing of its tables.
        match self.words(files, name) {
            none if none.is_empty() && !schema.is_empty() => self.words(files, schema),
            found => found,
        }
    }

    /// Returns where each of `files` that has `word` in a statement has it first.
    fn words(&self, files: &[usize], word: &str) -> Vec<Site> {
        let site = |&file: &usize| {
            let mut statements = self.statements(file).iter().enumerate();
            statements.find_map(|(index, it)| {
                let offset = word_at(&it.text.to_ascii_lowercase(), word)?;
                Some(self.site(file, index, Some(offset)))
            })
        };
        files.iter().filter_map(site).collect()
    }

    /// Whether one of `files` says `name`, such as `public.users`, in so many letters.
    pub(super) fn says(&self, files: &[usize], name: &str) -> bool {
        let name = name.to_lowercase();
        let says = |file: &usize| self.file(*file).sql.to_lowercase().contains(&name);
        name.contains('.') && files.iter().any(says)
    }

    /// Returns a place in the `index`th file.
    pub fn site_at(&self, index: usize, line: usize, column: Option<usize>) -> Site {
        let file = self.file(index);
        let path = file.path.display().to_string();
        let excerpt = sql::excerpt(&path, &file.sql, line, column);
        Site { migration: self.label(index), path, line, column, excerpt }
    }

    /// Returns what a finding means, in words.
    pub fn describe(&self, finding: &plan::Finding) -> String {
        match finding {
            plan::Finding::Divergent { file, name } if *name == self.file(*file).name => format!(
                "divergent: {} was applied, and `{}` has changed since",
                self.label(*file),
                self.path(*file)
            ),
            plan::Finding::Divergent { file, name } => format!(
                "divergent: V{} `{name}` was applied, and the file of that version is `{}` now",
                self.file(*file).version,
                self.path(*file)
            ),
            plan::Finding::Missing { version, name } => format!(
                "missing: V{version} `{name}` was applied, and there is no such file in `{}`",
                self.folder.path().display()
            ),
            plan::Finding::OutOfOrder { file, newest } => format!(
                "out of order: `{}` was not applied, and is older than V{newest}, which was",
                self.path(*file)
            ),
            plan::Finding::Broken { version, what } => {
                format!("broken: refinery cannot read the history row of version {version}: {what}")
            }
        }
    }

    /// Returns why a plan is refused, in words.
    pub(crate) fn refusal(&self, plan: &plan::Plan) -> String {
        let what = plan.findings.first().map_or_else(String::new, |it| self.describe(it));
        format!("it does not agree with the migration files ({what})")
    }

    /// Returns the version a finding is about, and its name: `divergent`, `missing` and so on.
    pub fn version_and_word(&self, finding: &plan::Finding) -> (i64, &'static str) {
        match finding {
            plan::Finding::Divergent { file, .. } => (self.file(*file).version, "divergent"),
            plan::Finding::Missing { version, .. } => (*version, "missing"),
            plan::Finding::OutOfOrder { file, .. } => (self.file(*file).version, "out of order"),
            plan::Finding::Broken { version, .. } => (*version, "broken"),
        }
    }

    fn path(&self, file: usize) -> String {
        self.file(file).path.display().to_string()
    }

    fn source(&self, index: usize) -> &sql::Script {
        self.sources[index].get_or_init(|| sql::Script::read(&self.file(index).sql, &self.context))
    }
}

/// Returns where `word` stands in a text by itself.
fn word_at(text: &str, word: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .find(|(start, found)| {
            let (before, after) = (&text[..*start], &text[start + found.len()..]);
            !before.ends_with(is_part) && !after.starts_with(is_part)
        })
        .map(|(start, _)| start)
}

/// Returns the last byte of a statement at which something can be wrong: its semicolon, or what stands
/// there instead of one.
fn end(file: &str, statement: &Statement) -> usize {
    let text = statement.text.trim_end();
    let is_closed = file.get(statement.offset + text.len()..).is_some_and(|it| it.starts_with(';'));
    let last = text.char_indices().next_back().map_or(0, |(byte, _)| byte);
    if is_closed { text.len() } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_by_itself() {
        assert_eq!(word_at("alter table superusers, users", "users"), Some(24));
        assert_eq!(word_at("alter table users_old", "users"), None);
        assert_eq!(word_at("\"users\"", "users"), Some(1));
    }
}
