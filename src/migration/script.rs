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
mod settings;
mod step;

use std::time::Duration;

pub(super) use self::audit::{DROPPED, dropped, own_relations, touched};
use self::audit::{audit, found_outside, note_own_relations};
pub(super) use self::guard::REFUSAL;
use self::guard::{
    absence_guard, execute_guard, half_made_guard, history_guard, lock_guard, own_history,
};
pub(crate) use self::guard::{lock_key, lock_key_of};
use self::recording::history_rows_after;
pub(super) use self::recording::{create_history_table, history_rows, widening};
use self::settings::{milliseconds, path};
pub(super) use self::settings::{session, settings};
pub use self::step::{Message, Origin, Step};
use super::beyond;
use super::history::History;
use super::set::MigrationSet;
use crate::name::SchemaName;
use crate::pg::{identifier, literal};
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
    /// Whether a pooler may lend the session to others, who may have left temporary tables in it: these
    /// would be found before the schema's own.
    pub is_shared: bool,
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

const DISCARD: &str = "discard temp";

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
    /// statements changes but one table ([`MigrationSet::own_tables`]), in as few words as can be: the
    /// search path holds the schema alone, nothing is left for the audit to find, and the history is
    /// compared by the statement that adds to it. A session may have what is always the same from its
    /// start ([`session`]).
    ///
    /// What this refuses, as where the schema has no such table, is to be tried again by
    /// [`Self::apply`], which says why.
    pub(super) fn brief(subject: Subject<'_>, options: &ScriptOptions, has_session: bool) -> Self {
        let options = &ScriptOptions { path: Vec::new(), ..options.clone() };
        let mut script = Self::default();
        if has_session {
            script.push(Origin::Begin, BEGIN);
            script.push(Origin::Guard, execute_guard(subject.schema));
            let path = path(subject.schema, options);
            script.push(Origin::Begin, format!("set local search_path = {path}"));
            let timeout = milliseconds(options.lock_timeout);
            script.push(Origin::Begin, format!("set local lock_timeout = '{timeout}'"));
            if options.statement_timeout.is_some() {
                let timeout = milliseconds(options.statement_timeout);
                script.push(Origin::Begin, format!("set local statement_timeout = '{timeout}'"));
            }
        } else {
            script.open(subject, options);
            script.push(Origin::Guard, lock_guard(subject.schema));
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

    /// Returns one message that carries several scripts, none of which has a statement that must travel
    /// alone; its statements are theirs, one script after the other.
    pub(super) fn message_of_all(scripts: &[Self]) -> Message {
        let mut message = Message::default();
        for (index, step) in scripts.iter().flat_map(|script| &script.steps).enumerate() {
            message.push(index, &step.sql);
        }
        message
    }

    fn push(&mut self, origin: Origin, sql: impl Into<String>) {
        self.steps.push(Step { sql: sql.into(), origin, alone: false });
    }

    fn open(&mut self, subject: Subject<'_>, options: &ScriptOptions) {
        self.push(Origin::Begin, BEGIN);
        if options.is_shared {
            self.push(Origin::Begin, DISCARD);
        }
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
            if subject.creation.is_none() {
                for check in own_history(subject) {
                    self.push(Origin::Audit, check);
                }
            }
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
        self.push(Origin::Record, DISCARD);
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
mod tests;
