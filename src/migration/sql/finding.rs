//! What a file may not say, as data and in words.

use std::fmt;

/// A rule, by the name that `-- tenantctl: allow …` uses. Released names stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Ending or steering the transaction (page `BEGIN`).
    TransactionControl,
    /// Pointing unqualified names elsewhere ("The Schema Search Path").
    SearchPath,
    /// Becoming another role (pages `SET ROLE`, `SET SESSION AUTHORIZATION`).
    Role,
    /// A setting that outlives the migration (page `SET`).
    SessionSetting,
    /// Something else that stays with the connection: prepared statements, cursors, channels.
    SessionState,
    /// A temporary object that stays with the connection (page `CREATE TABLE`).
    TemporaryObject,
    /// A lock that stays with the connection ("Advisory Locks").
    AdvisoryLock,
    /// Creating, renaming or dropping a schema (page `CREATE SCHEMA`).
    SchemaChange,
    /// Naming another schema in a file that runs for every tenant.
    OtherSchema,
    /// Changing the table that says what was applied.
    History,
    /// Extensions, which a database has once (page `CREATE EXTENSION`).
    Extension,
    /// Whatever else belongs to no schema: roles, databases, languages, publications.
    DatabaseWide,
    /// What Postgres does not do in a transaction block (page `CREATE INDEX` and others).
    NeedsNoTransaction,
    /// Commands of the program psql (page `psql`).
    PsqlCommand,
    /// Data on the connection (page `COPY`).
    CopyFromStdin,
    /// A comment for tenantctl that it does not understand.
    Directive,
    /// A file that defeats the parser.
    Unread,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Rule; 17] = [
        Rule::TransactionControl,
        Rule::SearchPath,
        Rule::Role,
        Rule::SessionSetting,
        Rule::SessionState,
        Rule::TemporaryObject,
        Rule::AdvisoryLock,
        Rule::SchemaChange,
        Rule::OtherSchema,
        Rule::History,
        Rule::Extension,
        Rule::DatabaseWide,
        Rule::NeedsNoTransaction,
        Rule::PsqlCommand,
        Rule::CopyFromStdin,
        Rule::Directive,
        Rule::Unread,
    ];

    /// Returns the name of the rule.
    pub fn name(self) -> &'static str {
        match self {
            Rule::TransactionControl => "transaction-control",
            Rule::SearchPath => "search-path",
            Rule::Role => "role",
            Rule::SessionSetting => "session-setting",
            Rule::SessionState => "session-state",
            Rule::TemporaryObject => "temporary-object",
            Rule::AdvisoryLock => "advisory-lock",
            Rule::SchemaChange => "schema-change",
            Rule::OtherSchema => "other-schema",
            Rule::History => "history",
            Rule::Extension => "extension",
            Rule::DatabaseWide => "database-wide",
            Rule::NeedsNoTransaction => "needs-no-transaction",
            Rule::PsqlCommand => "psql-command",
            Rule::CopyFromStdin => "copy-from-stdin",
            Rule::Directive => "directive",
            Rule::Unread => "unread",
        }
    }

    /// Returns the rule of this name.
    pub fn named(name: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Returns whether a file may set the rule aside. What breaks the promise that a schema is
    /// wholly before or wholly after a migration, and what no server understands, stays refused.
    pub fn can_be_allowed(self) -> bool {
        !matches!(
            self,
            Rule::TransactionControl
                | Rule::History
                | Rule::NeedsNoTransaction
                | Rule::PsqlCommand
                | Rule::CopyFromStdin
                | Rule::Directive
                | Rule::Unread
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is applied while the file says this.
    Refused,
    /// People are told.
    Warned,
}

/// Something a file says that it may not, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The line, from 1.
    pub line: usize,
    /// The character of that line, from 1.
    pub column: usize,
    /// What it says.
    pub problem: Problem,
}

impl Finding {
    /// Returns the rule that the file breaks.
    pub fn rule(&self) -> Rule {
        self.problem.rule()
    }

    /// Returns whether the file is refused.
    pub fn severity(&self) -> Severity {
        self.problem.severity()
    }

    /// Returns what is wrong, in lower case and without a full stop.
    pub fn message(&self) -> String {
        self.problem.to_string()
    }

    /// Returns what to write instead.
    pub fn advice(&self) -> String {
        self.problem.advice()
    }
}

/// What a file says that it may not. A `command` is a kind of statement, such as `SET ROLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// `COMMIT` and its like; in the middle of a `do` block, or a statement of its own.
    TransactionControl { command: String, in_block: bool },
    /// `SET search_path` and its like.
    SearchPath { command: String },
    /// `SET ROLE` and its like.
    Role { command: String },
    /// `SET standard_conforming_strings = off`, be it for the transaction.
    Backslashes,
    /// `SET name = …` for the session.
    SessionSetting { name: String, in_transaction: bool },
    /// `RESET name`, `DISCARD ALL`.
    SettingReset { command: String },
    /// `SET LOCAL` where there is no transaction.
    SettingWithoutEffect { name: String },
    /// `PREPARE`, `DECLARE … WITH HOLD`, `LISTEN`, not undone further down.
    SessionState { command: String, name: String, undo: String },
    /// `LOAD`.
    LibraryLoaded,
    /// A temporary object, not dropped further down.
    TemporaryObject { name: String },
    /// `pg_advisory_lock` and its like.
    AdvisoryLock { function: String },
    /// `DROP SCHEMA` and its like.
    SchemaChange { command: String, folder_is_shared: bool },
    /// Something in another schema is changed, or in a schema that is not shared, used.
    OtherSchema { schema: String, object: String, changed: bool, is_shared: bool },
    /// `refinery_schema_history` is changed.
    History,
    /// `CREATE EXTENSION` and its like.
    Extension { command: String },
    /// `CREATE ROLE` and its like.
    DatabaseWide { command: String },
    /// `CREATE CAST` and its like: they belong to no schema, but their types may.
    PerhapsDatabaseWide { command: String },
    /// `ANALYZE` and its like without a table.
    EveryTable { command: String },
    /// `CREATE INDEX CONCURRENTLY` and its like.
    NeedsNoTransaction { command: String },
    /// `\i other.sql`, `:variable`.
    PsqlCommand { text: String },
    /// `COPY … FROM STDIN`, `COPY … TO STDOUT`.
    CopyFromStdin { into_table: bool },
    /// A comment for tenantctl.
    Directive(Directive),
    /// The file as a whole.
    Unread,
}

/// What is wrong with a comment for tenantctl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// Neither `no-transaction` nor `allow`.
    UnknownWord(String),
    /// `allow` with a rule that does not exist.
    UnknownRule(String),
    /// `allow` with a rule that cannot be set aside.
    NotAllowable(Rule),
    /// `no-transaction` further down.
    NotFirstLine,
    /// `allow` beside, inside or after a statement.
    AboveNothing,
    /// `/* tenantctl: … */`.
    BlockComment,
}

impl Problem {
    pub(super) fn rule(&self) -> Rule {
        match self {
            // Behind what is a string to us, and none to the server, a `COMMIT` could hide.
            Problem::TransactionControl { .. } | Problem::Backslashes => Rule::TransactionControl,
            Problem::SearchPath { .. } => Rule::SearchPath,
            Problem::Role { .. } => Rule::Role,
            Problem::SessionSetting { .. }
            | Problem::SettingReset { .. }
            | Problem::SettingWithoutEffect { .. } => Rule::SessionSetting,
            Problem::SessionState { .. } | Problem::LibraryLoaded => Rule::SessionState,
            Problem::TemporaryObject { .. } => Rule::TemporaryObject,
            Problem::AdvisoryLock { .. } => Rule::AdvisoryLock,
            Problem::SchemaChange { .. } => Rule::SchemaChange,
            Problem::OtherSchema { .. } => Rule::OtherSchema,
            Problem::History => Rule::History,
            Problem::Extension { .. } => Rule::Extension,
            Problem::DatabaseWide { .. }
            | Problem::PerhapsDatabaseWide { .. }
            | Problem::EveryTable { .. } => Rule::DatabaseWide,
            Problem::NeedsNoTransaction { .. } => Rule::NeedsNoTransaction,
            Problem::PsqlCommand { .. } => Rule::PsqlCommand,
            Problem::CopyFromStdin { .. } => Rule::CopyFromStdin,
            Problem::Directive(_) => Rule::Directive,
            Problem::Unread => Rule::Unread,
        }
    }

    fn severity(&self) -> Severity {
        match self {
            Problem::SettingWithoutEffect { .. }
            | Problem::LibraryLoaded
            | Problem::PerhapsDatabaseWide { .. }
            | Problem::Unread => Severity::Warned,
            _ => Severity::Refused,
        }
    }
}
