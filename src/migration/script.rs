//! The statements that take one schema from its history to the next: one transaction, from
//! `BEGIN` to `COMMIT`, as a list that can be read, sent as one message, or one by one.
//!
//! Besides the files' own statements there is a *guard* before them, which refuses to go on when
//! the schema is gone, locked by another run, or no longer at the history the plan was made from;
//! an *audit* after them, which refuses what left the schema; and the history rows. A refusal is a
//! failing cast, so that everything fits in one message and nothing is wrapped in a DO block.

mod audit;
mod guard;
mod recording;

use std::collections::BTreeSet;
use std::time::Duration;

pub(super) use self::audit::{DROPPED, own_relations, touched};
use self::audit::{audit, found_outside, note_own_relations};
pub(super) use self::guard::REFUSAL;
use self::guard::{
    PREPARE_GUARD, absence_guard, brief_guard, execute_guard, half_made_guard, history_guard,
    lock_guard,
};
pub(crate) use self::guard::{lock_key, lock_key_of};
use self::recording::history_rows_after;
pub(super) use self::recording::{create_history_table, history_rows, widening};
use super::beyond;
use super::history::History;
use super::set::MigrationSet;
use crate::name::SchemaName;
use crate::pg::{Session, identifier, literal, search_path};
use crate::structure::Template;

/// How a script is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptOptions {
    /// The longest a statement waits for a lock; for ever when `None`.
    pub lock_timeout: Option<Duration>,
    /// The longest a statement runs; for ever when `None`.
    pub statement_timeout: Option<Duration>,
    /// The schemas behind the tenant's own in the search path: the shared one, then the extra.
    pub path: Vec<String>,
    /// Roll back at the end instead of committing.
    pub rehearse: bool,
    /// What `pg_stat_activity` shows while the script runs.
    pub application_name: String,
    /// The server's version, such as 150018: settings it does not know are left out.
    pub server_version: u32,
    /// Whether the commit waits until the server has it on disk, as the role's settings have it.
    pub waits_for_disk: bool,
}

/// Where a statement comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `BEGIN` and the transaction's settings.
    Begin,
    /// The guard.
    Guard,
    /// Making the schema.
    CreateSchema,
    /// Making the history table.
    HistoryTable,
    /// The `statement`th statement of the `file`th file in the folder, both from 0.
    File {
        /// Index of the file in its folder.
        file: usize,
        /// Index of the statement in its file.
        statement: usize,
    },
    /// The same of the `file`th seed, in a schema that is being created.
    Seed {
        /// Index of the seed.
        file: usize,
        /// Index of the statement in its file.
        statement: usize,
    },
    /// What a template is made of.
    Template,
    /// What the audit needs to know from before.
    Note,
    /// The audit.
    Audit,
    /// The history rows.
    Record,
    /// The `index`th of the registry rows of a schema that is being created.
    Register(usize),
    /// `COMMIT` or `ROLLBACK`.
    End,
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The statement, without a semicolon.
    pub sql: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it must travel in a message of its own.
    pub alone: bool,
}

/// One message: statements that are sent together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// What is sent.
    pub text: String,
    /// For each statement in it: the byte at which it begins, and its index in the script.
    pub steps: Vec<(usize, usize)>,
}

/// The statements for one schema, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// In the order in which they are carried out.
    pub steps: Vec<Step>,
}

/// What a script is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The schema.
    pub schema: &'a SchemaName,
    /// Its history, which the plan was made from.
    pub history: &'a History,
    /// The folder's migrations.
    pub migrations: &'a MigrationSet,
    /// Indexes of the files to apply.
    pub files: &'a [usize],
    /// Set while the schema is being created.
    pub creation: Option<Creating<'a>>,
}

/// A step in the creation of a schema.
#[derive(Debug, Clone, Copy)]
pub struct Creating<'a> {
    /// The schema is still to be made; otherwise an earlier step made it.
    pub is_new: bool,
    /// The schema may be there without being marked as half made.
    pub may_be_there: bool,
    /// The rows to write in this step, which is then the last.
    pub register: Option<&'a [Registration]>,
    /// What is run in the last step, after the migrations.
    pub seeds: Option<&'a MigrationSet>,
    /// What a new schema is made from instead of by the files.
    pub template: Option<&'a Template>,
}

/// A row that registers a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The statement, which does nothing when the row is there.
    pub sql: String,
    /// What the row is, for when somebody else has it: ``domain `acme.example.com` ``.
    pub what: String,
}

const BEGIN: &str = "begin isolation level read committed, read write";

/// The comment on a schema whose creation takes more than one transaction, until it is complete.
pub const BEING_CREATED: &str = "tenantctl: being created";

impl Script {
    /// Returns the transaction that applies `subject`'s files and records them.
    pub fn apply(subject: Subject<'_>, options: &ScriptOptions) -> Self {
        Self::transaction(subject, options, None)
    }

    /// Returns the same transaction for a plan's first schema, in which the catalogs are searched
    /// for what was changed outside; on a server that has `used_up` half of the numbers of
    /// transactions, or not.
    pub(super) fn trial(subject: Subject<'_>, options: &ScriptOptions, used_up: bool) -> Self {
        Self::transaction(subject, options, Some(used_up))
    }

    /// Returns the transaction that applies `subject`'s files and records them where each of their
    /// statements changes but one of `tables` ([`MigrationSet::own_tables`]), in as few words as can
    /// be: where the schema has these tables itself, nothing is left for the audit to find, and the
    /// history is compared by the statement that adds to it. A session may have what is always the
    /// same from its start ([`session`]).
    ///
    /// What this refuses is to be tried again by [`Self::apply`], which says why.
    pub(super) fn brief(
        subject: Subject<'_>,
        options: &ScriptOptions,
        tables: &BTreeSet<&str>,
        has_session: bool,
    ) -> Self {
        let mut script = Self::default();
        if has_session {
            script.push(Origin::Begin, BEGIN);
            for table in tables {
                script.push(Origin::Guard, execute_guard(subject.schema, table));
            }
            let path = path(subject.schema, options);
            script.push(Origin::Begin, format!("set local search_path = {path}"));
            for (name, timeout) in [
                ("lock_timeout", options.lock_timeout),
                ("statement_timeout", options.statement_timeout),
            ] {
                let timeout = milliseconds(timeout);
                script.push(Origin::Begin, format!("set local {name} = '{timeout}'"));
            }
        } else {
            script.open(subject, options);
            script.push(Origin::Guard, brief_guard(subject.schema, tables));
        }
        for &file in subject.files {
            script
                .file(subject.migrations, file, None, |statement| Origin::File { file, statement });
        }
        script.push(Origin::Record, history_rows_after(subject));
        script.commit(options);
        script
    }

    fn transaction(
        subject: Subject<'_>,
        options: &ScriptOptions,
        used_up_in_trial: Option<bool>,
    ) -> Self {
        let mut script = Self::default();
        script.begin(subject, options);
        script.files(subject, options, used_up_in_trial);
        script.record(subject);
        script.register(subject);
        script.end(options);
        script
    }

    /// Returns the transaction that runs `subject`'s files and records nothing; on the first schema
    /// of all, where it is known whether the server has used up half of the numbers of transactions,
    /// with the search of the catalogs.
    pub fn seed(
        subject: Subject<'_>,
        options: &ScriptOptions,
        used_up_in_trial: Option<bool>,
    ) -> Self {
        let mut script = Self::default();
        script.open(subject, options);
        script.push(Origin::Guard, lock_guard(subject.schema));
        script.files(subject, options, used_up_in_trial);
        script.settle();
        script.end(options);
        script
    }

    /// Returns the transaction that records `subject`'s files without running them.
    pub fn baseline(subject: Subject<'_>, options: &ScriptOptions) -> Self {
        let mut script = Self::default();
        script.begin(subject, options);
        script.record(subject);
        script.end(options);
        script
    }

    /// Returns what is sent for `subject`'s one file that cannot run in a transaction.
    pub fn no_transaction(subject: Subject<'_>, options: &ScriptOptions) -> Self {
        let mut script = Self::default();
        let lock = format!("select pg_try_advisory_lock({})", lock_key(subject.schema));
        script.push(Origin::Guard, lock);
        script.push(Origin::Begin, settings(subject.schema, options, false));
        for &file in subject.files {
            let origin = |statement| Origin::File { file, statement };
            script.file(subject.migrations, file, None, origin);
        }
        script.finish_files(Origin::Record);
        script.record(subject);
        script
    }

    /// Returns the messages that carry this script: as few as can be, or one a statement.
    pub fn messages(&self, one_by_one: bool) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::new();
        let mut apart = true;
        for (index, step) in self.steps.iter().enumerate() {
            if apart || step.alone || one_by_one {
                messages.push(Message::default());
            }
            apart = step.alone || one_by_one;
            messages.last_mut().expect("the first is apart").push(index, &step.sql);
        }
        messages
    }

    fn push(&mut self, origin: Origin, sql: impl Into<String>) {
        self.steps.push(Step { sql: sql.into(), origin, alone: false });
    }

    fn open(&mut self, subject: Subject<'_>, options: &ScriptOptions) {
        self.push(Origin::Begin, BEGIN);
        self.push(Origin::Begin, settings(subject.schema, options, true));
    }

    fn begin(&mut self, subject: Subject<'_>, options: &ScriptOptions) {
        self.open(subject, options);
        self.guard(subject);
        // A schema to which no file is ever applied needs no history.
        if subject.history.width.is_none() && !subject.files.is_empty() {
            let width = subject.migrations.new_table_width();
            self.push(Origin::HistoryTable, create_history_table(subject.schema, width));
        }
    }

    fn guard(&mut self, subject: Subject<'_>) {
        let Some(creating) = subject.creation.filter(|it| it.is_new) else {
            self.push(Origin::Guard, lock_guard(subject.schema));
            if subject.creation.is_some_and(|it| !it.may_be_there) {
                self.push(Origin::Guard, half_made_guard(subject.schema));
            }
            self.push(Origin::Guard, history_guard(subject));
            return;
        };
        let schema = identifier(subject.schema.as_str());
        self.push(Origin::Guard, absence_guard(subject.schema));
        self.push(Origin::CreateSchema, format!("create schema {schema}"));
        if creating.register.is_none() {
            let mark = format!("comment on schema {schema} is {}", literal(BEING_CREATED));
            self.push(Origin::CreateSchema, mark);
        }
    }

    /// What is to be run, between what has to be known from before and the audit.
    fn files(
        &mut self,
        subject: Subject<'_>,
        options: &ScriptOptions,
        used_up_in_trial: Option<bool>,
    ) {
        let used_up = used_up_in_trial.filter(|_| is_audited(subject));
        self.own_relations(subject);
        if let Some(used_up) = used_up {
            for note in beyond::notes(subject.schema, &options.path, used_up) {
                self.push(Origin::Note, note);
            }
        }
        let checked_in = is_audited(subject).then_some(subject.schema);
        match subject.creation.filter(|it| it.is_new).and_then(|it| it.template) {
            Some(template) => {
                for statement in template.statements(subject.schema) {
                    self.push(Origin::Template, statement);
                }
            }
            None => {
                for &file in subject.files {
                    let origin = |statement| Origin::File { file, statement };
                    self.file(subject.migrations, file, checked_in, origin);
                }
            }
        }
        for (seeds, file) in seeds_of(subject) {
            self.file(seeds, file, checked_in, |statement| Origin::Seed { file, statement });
        }
        self.finish_files(if is_audited(subject) { Origin::Audit } else { Origin::Record });
        self.audit(subject);
        if used_up.is_some() {
            for check in beyond::check(subject.schema, &options.path) {
                self.push(Origin::Audit, check);
            }
        }
    }

    fn own_relations(&mut self, subject: Subject<'_>) {
        if is_audited(subject) && may_drop(subject) {
            self.push(Origin::Note, note_own_relations(subject.schema));
        }
    }

    /// Pushes a file's statements. Where they are checked, a check comes before each that changes
    /// something without a lock, by a name that the search path may find outside the schema.
    fn file(
        &mut self,
        set: &MigrationSet,
        file: usize,
        checked_in: Option<&SchemaName>,
        origin: impl Fn(usize) -> Origin,
    ) {
        for (statement, it) in set.statements(file).iter().enumerate() {
            for (schema, name) in checked_in
                .iter()
                .flat_map(|schema| it.bare_changes.iter().map(move |name| (schema, name)))
            {
                self.push(Origin::Audit, found_outside(schema, it.kind(), name));
            }
            let origin = origin(statement);
            self.steps.push(Step { sql: it.text.clone(), origin, alone: it.alone });
        }
    }

    fn audit(&mut self, subject: Subject<'_>) {
        if is_audited(subject) {
            let schema = identifier(subject.schema.as_str());
            // A temporary table must not hide one of the schema's own.
            let path = format!("set local search_path = {schema}, pg_catalog, pg_temp");
            self.push(Origin::Audit, path);
            self.push(Origin::Audit, audit(subject.schema, may_drop(subject)));
        }
    }

    /// Lets the files come to their end: deferred triggers run, while the settings are still the
    /// files'. A role that a function took in spite of the grammar may not use the schema, which the
    /// audit would then not find in the path, and must not decide who writes the history.
    fn finish_files(&mut self, origin: Origin) {
        self.push(origin, "set constraints all immediate");
        self.push(origin, "reset role");
    }

    /// Leaves no temporary table to whoever the session serves next.
    fn settle(&mut self) {
        self.push(Origin::Record, "discard temp");
    }

    fn record(&mut self, subject: Subject<'_>) {
        self.settle();
        for statement in widening(subject) {
            self.push(Origin::Record, statement);
        }
        if !subject.files.is_empty() {
            self.push(Origin::Record, history_rows(subject));
        }
    }

    /// Registers the schema, at last: until then nobody finds it.
    fn register(&mut self, subject: Subject<'_>) {
        let Some(creating) = subject.creation else {
            return;
        };
        let Some(registrations) = creating.register else {
            return;
        };
        if !creating.is_new {
            let schema = identifier(subject.schema.as_str());
            self.push(Origin::Record, format!("comment on schema {schema} is null"));
        }
        for (index, registration) in registrations.iter().enumerate() {
            self.push(Origin::Register(index), registration.sql.clone());
        }
    }

    fn end(&mut self, options: &ScriptOptions) {
        self.push(Origin::End, "reset all");
        self.commit(options);
    }

    fn commit(&mut self, options: &ScriptOptions) {
        if !options.waits_for_disk {
            self.push(Origin::End, "set local synchronous_commit = off");
        }
        self.push(Origin::End, if options.rehearse { "rollback" } else { "commit" });
    }
}

impl Message {
    fn push(&mut self, index: usize, sql: &str) {
        self.steps.push((self.text.len(), index));
        self.text.push_str(sql);
        // On a line of its own: a statement may end in a `--` comment.
        self.text.push_str("\n;\n");
    }

    /// Returns the index in the script of the statement that holds byte `offset`, and the byte
    /// within that statement.
    pub fn step_at(&self, offset: usize) -> Option<(usize, usize)> {
        let (start, index) = self.steps.iter().rev().find(|(start, _)| *start <= offset)?;
        Some((*index, offset - start))
    }
}

/// Returns the statement that sets what a schema's statements run with, for this transaction or,
/// where there is none, for the session.
pub(super) fn settings(
    schema: &SchemaName,
    options: &ScriptOptions,
    for_transaction: bool,
) -> String {
    let mut settings = vec![
        ("search_path", path(schema, options)),
        ("application_name", options.application_name.clone()),
        ("lock_timeout", milliseconds(options.lock_timeout)),
    ];
    settings.push(("statement_timeout", milliseconds(options.statement_timeout)));
    settings.extend(lasting(options.server_version));
    let calls = settings.iter().map(|(name, value)| {
        format!("set_config('{name}', {}, {for_transaction})", literal(value))
    });
    format!("select {}", calls.collect::<Vec<_>>().join(",\n       "))
}

/// Returns what is always the same, on a server of this version.
pub(super) fn session(server_version: u32) -> Session {
    Session { settings: lasting(server_version), prepare: PREPARE_GUARD }
}

fn lasting(server_version: u32) -> Vec<(&'static str, String)> {
    let mut settings = vec![("idle_in_transaction_session_timeout", "60s".into())];
    if server_version >= 140_000 {
        // The server notices within half a second that its client was killed, and lets go of the
        // locks; without it a backend finishes its statement first.
        settings.push(("client_connection_check_interval", "500ms".into()));
    }
    if server_version >= 170_000 {
        settings.push(("transaction_timeout", "0".into()));
    }
    settings
}

fn path(schema: &SchemaName, options: &ScriptOptions) -> String {
    let tail = options.path.iter().map(String::as_str);
    search_path(std::iter::once(schema.as_str()).chain(tail))
}

fn milliseconds(timeout: Option<Duration>) -> String {
    timeout.map_or_else(|| "0".into(), |it| format!("{}ms", it.as_millis().max(1)))
}

/// Whether the transaction must stay within its schema, and is made to prove it.
fn is_audited(subject: Subject<'_>) -> bool {
    let seeds_may_leave = seeds_of(subject).any(|(seeds, file)| seeds.may_leave(&[file]));
    subject.migrations.is_confined()
        && !subject.migrations.may_leave(subject.files)
        && !seeds_may_leave
}

/// Returns the seeds that are run in this step of a schema's creation.
fn seeds_of(subject: Subject<'_>) -> impl Iterator<Item = (&MigrationSet, usize)> {
    let seeds = subject.creation.filter(|it| it.register.is_some()).and_then(|it| it.seeds);
    seeds
        .into_iter()
        .flat_map(|seeds| (0..seeds.folder().files().len()).map(move |file| (seeds, file)))
}

/// Whether one of the files may drop a relation, be it an index that is built anew. What may not
/// is what migrations mostly are, and then there is nothing to note beforehand.
fn may_drop(subject: Subject<'_>) -> bool {
    let statements = subject.files.iter().flat_map(|&file| subject.migrations.statements(file));
    let seeds = seeds_of(subject).flat_map(|(seeds, file)| seeds.statements(file));
    statements.chain(seeds).any(|statement| match statement.kind() {
        "CREATE TABLE" | "CREATE INDEX" | "CREATE SEQUENCE" | "CREATE VIEW" | "CREATE TYPE"
        | "CREATE FUNCTION" | "CREATE TRIGGER" | "INSERT" | "UPDATE" | "DELETE" => false,
        "ALTER TABLE" => {
            let text = statement.text.to_lowercase();
            text.contains("drop") || text.contains("type")
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::history::HISTORY_TABLE;
    use crate::migration::sql::{Context, Folder};
    use crate::migration::{MigrationFolder, PlanOptions, Width, plan::Plan};

    fn set(files: &[(&str, &str)]) -> MigrationSet {
        let folder = tempfile::tempdir().unwrap();
        for (name, sql) in files {
            std::fs::write(folder.path().join(name), sql).unwrap();
        }
        let context = Context {
            folder: Folder::Tenant,
            shared_schema: "public".into(),
            extra_schemas: Vec::new(),
        };
        MigrationSet::new(MigrationFolder::read(folder.path()).unwrap(), context)
    }

    fn options() -> ScriptOptions {
        ScriptOptions {
            lock_timeout: Some(Duration::from_millis(200)),
            statement_timeout: None,
            path: vec!["public".into(), "extra".into()],
            rehearse: false,
            application_name: "tenantctl".into(),
            server_version: 150_000,
            waits_for_disk: true,
        }
    }

    fn script(set: &MigrationSet, schema: &str, options: &ScriptOptions) -> Script {
        let history = History::default();
        let plan = Plan::new(set.folder(), &history, PlanOptions::default());
        let subject = Subject {
            schema: &SchemaName::registered(schema),
            history: &history,
            migrations: set,
            files: &plan.pending,
            creation: None,
        };
        Script::apply(subject, options)
    }

    fn text(script: &Script) -> String {
        script.messages(false).iter().map(|it| it.text.as_str()).collect()
    }

    const NOTES: (&str, &str) = (
        "V1__notes.sql",
        "create table notes (id int); -- last\ninsert into notes values (1) -- no semicolon",
    );

    #[test]
    fn it_is_one_message_or_one_a_statement() {
        let script = script(&set(&[NOTES]), "acme", &options());
        assert_eq!(script.messages(false).len(), 1);
        let one_by_one = script.messages(true);
        assert_eq!(one_by_one.len(), script.steps.len());
        assert!(one_by_one.iter().all(|it| it.steps.len() == 1));
    }

    #[test]
    fn a_statement_that_is_not_understood_travels_alone() {
        let odd = ("V1__odd.sql", "select 1;\nfrobnicate the tables;\nselect 2;");
        let script = script(&set(&[odd]), "acme", &options());
        let alone: Vec<_> = script.steps.iter().filter(|it| it.alone).collect();
        let messages = script.messages(false);
        assert_eq!(messages.len(), 1 + 2 * alone.len(), "{messages:#?}");
    }

    #[test]
    fn the_guard_comes_first_and_the_commit_last() {
        let script = script(&set(&[NOTES]), "acme", &options());
        let origins: Vec<Origin> = script.steps.iter().map(|it| it.origin).collect();
        let file = |statement| Origin::File { file: 0, statement };
        use Origin::*;
        let begin = [Begin, Begin, Guard, Guard, HistoryTable];
        let end = [Audit, Audit, Audit, Audit, Record, Record, End, End];
        assert_eq!(origins, [&begin[..], &[file(0), file(1)], &end].concat());
        assert_eq!(script.steps.last().unwrap().sql, "commit");
    }

    fn creation<'a>(seeds: &'a MigrationSet, register: Option<&'a [Registration]>) -> Creating<'a> {
        Creating { is_new: true, may_be_there: false, register, seeds: Some(seeds), template: None }
    }

    #[test]
    fn seeds_come_after_the_migrations_of_the_last_step_and_before_the_audit() {
        let (set, seeds) = (set(&[NOTES]), set(&[("V1__seed.sql", "delete from notes")]));
        let history = History::default();
        let origins = |register| {
            let subject = Subject {
                schema: &SchemaName::registered("acme"),
                history: &history,
                migrations: &set,
                files: &[0],
                creation: Some(creation(&seeds, register)),
            };
            let script = Script::apply(subject, &options());
            script.steps.iter().map(|it| it.origin).collect::<Vec<_>>()
        };
        let seed = Origin::Seed { file: 0, statement: 0 };
        let last = origins(Some(&[]));
        let at = last.iter().position(|it| *it == seed).unwrap();
        assert_eq!(last[at - 1], Origin::File { file: 0, statement: 1 });
        assert_eq!(last[at + 1], Origin::Audit);
        assert!(!origins(None).contains(&seed));
    }

    #[test]
    fn a_seed_is_neither_guarded_by_the_history_nor_recorded_in_it() {
        let seeds = set(&[("V1__seed.sql", "insert into notes values (1)")]);
        let subject = Subject {
            schema: &SchemaName::registered("acme"),
            history: &History::default(),
            migrations: &seeds,
            files: &[0],
            creation: None,
        };
        let script = Script::seed(subject, &options(), None);
        assert!(!text(&script).contains(HISTORY_TABLE));
        assert_eq!(script.steps.last().unwrap().sql, "commit");
        assert!(script.steps.iter().any(|it| it.origin == Origin::Audit));
    }

    #[test]
    fn what_is_the_schemas_own_is_noted_only_where_something_may_be_dropped() {
        for (sql, is_noted) in [
            ("create table a (id int); insert into a values (1)", false),
            ("alter table a add column b int", false),
            ("alter table a drop column b", true),
            ("alter table a alter column b type text", true),
            ("drop table a", true),
            ("do $$ begin execute 'drop table a'; end $$", true),
            ("select 1", true),
        ] {
            let script = script(&set(&[("V1__a.sql", sql)]), "acme", &options());
            let noted = script.steps.iter().any(|it| it.origin == Origin::Note);
            assert_eq!(noted, is_noted, "{sql}");
        }
    }

    #[test]
    fn a_rehearsal_ends_in_a_rollback() {
        let options = ScriptOptions { rehearse: true, ..options() };
        let script = script(&set(&[NOTES]), "acme", &options);
        assert_eq!(script.steps.last().unwrap().sql, "rollback");
        assert!(!script.steps.iter().any(|it| it.sql == "commit"));
    }

    #[test]
    fn in_few_words_it_is_guarded_and_recorded_all_the_same() {
        let set = set(&[NOTES, ("V2__a.sql", "alter table \"No\"\"tes\" add column a int")]);
        let history =
            History { width: Some(Width::Int4), digest: "42".into(), ..History::default() };
        let subject = Subject {
            schema: &SchemaName::registered("o'brien"),
            history: &history,
            migrations: &set,
            files: &[1],
            creation: None,
        };
        let tables = set.own_tables(&[1]).unwrap();
        for has_session in [true, false] {
            let script = Script::brief(subject, &options(), &tables, has_session);
            let text = text(&script);
            for part in [
                "'\"o''brien\".\"No\"\"tes\"'",
                "'tenantctl:o''brien'",
                "\"o'brien\", \"public\", \"extra\"",
                "is not distinct from '42'",
                "else '2' end as bigint) from \"o'brien\".\"refinery_schema_history\"), 'a', ",
            ] {
                let part = part.replace(
                    "o'brien\", \"p",
                    if has_session { "o'brien\", \"p" } else { "o''brien\", \"p" },
                );
                assert!(text.contains(&part), "{part}: {text}");
            }
            assert_eq!(script.messages(false).len(), 1);
            assert_eq!(text.contains("set_config"), !has_session);
            assert_eq!(script.steps.last().unwrap().sql, "commit");
        }
        assert_eq!(set.own_tables(&[0, 1]), None);
    }

    #[test]
    fn files_without_a_statement_have_no_table_to_be_guarded_by() {
        let set = set(&[("V1__later.sql", "-- nothing yet")]);
        assert_eq!(set.own_tables(&[0]), None);
    }

    #[test]
    fn odd_names_are_quoted_everywhere() {
        for (name, as_identifier, as_literal) in [
            ("eha-meetup", "\"eha-meetup\"", "'eha-meetup'"),
            ("x\", \"y", "\"x\"\", \"\"y\"", "'x\", \"y'"),
            ("o'brien; drop", "\"o'brien; drop\"", "'o''brien; drop'"),
            ("back\\slash", "\"back\\slash\"", " E'back\\\\slash'"),
        ] {
            let text = text(&script(&set(&[NOTES]), name, &options()));
            let table = format!("create table {as_identifier}.\"refinery_schema_history\"");
            assert!(text.contains(&table), "{text}");
            let is_there = format!("to_regnamespace({})", literal(as_identifier));
            assert!(text.contains(&is_there), "{text}");
            let is_locked =
                format!("'tenantctl:{}", &as_literal.trim_start_matches([' ', 'E'])[1..]);
            assert!(text.contains(&is_locked), "{text}");
            let path = format!("{as_identifier}, \"public\", \"extra\"");
            assert!(text.contains(&literal(&path)), "{text}");
        }
    }

    #[test]
    fn a_setting_that_the_server_does_not_know_is_left_out() {
        for (server_version, known) in
            [(130_000, [false, false]), (150_000, [true, false]), (170_000, [true, true])]
        {
            let options = ScriptOptions { server_version, ..options() };
            let text = text(&script(&set(&[NOTES]), "acme", &options));
            let settings = ["client_connection_check_interval", "transaction_timeout"];
            // `idle_in_transaction_session_timeout` is another one.
            assert_eq!(settings.map(|it| text.contains(&format!("'{it}'"))), known);
        }
    }

    #[test]
    fn a_byte_of_a_message_belongs_to_a_statement() {
        let mut message = Message::default();
        message.push(4, "select 1");
        message.push(5, "select 2");
        let second = message.text.find("select 2").unwrap();
        assert_eq!(message.step_at(0), Some((4, 0)));
        assert_eq!(message.step_at(second + 7), Some((5, 7)));
    }
}
