//! The statements that take one schema from its history to the next: one transaction, from
//! `BEGIN` to `COMMIT`, as a list that can be read, sent as one message, or one by one.
//!
//! Besides the files' own statements there is a *guard* before them, which refuses to go on when
//! the schema is gone, locked by another run, or no longer at the history the plan was made from;
//! an *audit* after them, which refuses what left the schema; and the history rows. A refusal is a
//! failing cast, so that everything fits in one message and nothing is wrapped in a DO block.

use std::fmt::Write as _;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Width;
use super::history::{HISTORY_TABLE, History, digest};
use super::set::MigrationSet;
use crate::name::SchemaName;
use crate::pg::{identifier, literal, qualified, search_path};

/// What a refusal by the guard or the audit begins with, inside the server's error message.
pub(super) const REFUSAL: &str = "tenantctl:";

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
    /// The rows to write in this step, which is then the last.
    pub register: Option<&'a [Registration]>,
}

/// A row that registers a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The statement, which does nothing when the row is there.
    pub sql: String,
    /// What the row is, for when somebody else has it: ``domain `acme.example.com` ``.
    pub what: String,
}

/// The comment on a schema whose creation takes more than one transaction, until it is complete.
pub const BEING_CREATED: &str = "tenantctl: being created";

impl Script {
    /// Returns the transaction that applies `subject`'s files and records them.
    pub fn apply(subject: Subject<'_>, options: &ScriptOptions) -> Self {
        let mut script = Self::default();
        script.begin(subject, options);
        script.own_relations(subject);
        for &file in subject.files {
            script.file(subject.migrations, file);
        }
        script.audit(subject);
        script.record(subject);
        script.register(subject);
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

    /// Returns the messages that carry this script: as few as can be, or one a statement.
    pub fn messages(&self, one_by_one: bool) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::new();
        let mut apart = true;
        for (index, step) in self.steps.iter().enumerate() {
            if apart || step.alone || one_by_one {
                messages.push(Message::default());
            }
            apart = step.alone || one_by_one;
            messages
                .last_mut()
                .expect("the first is apart")
                .push(index, &step.sql);
        }
        messages
    }

    fn push(&mut self, origin: Origin, sql: impl Into<String>) {
        self.steps.push(Step {
            sql: sql.into(),
            origin,
            alone: false,
        });
    }

    fn begin(&mut self, subject: Subject<'_>, options: &ScriptOptions) {
        self.push(
            Origin::Begin,
            "begin isolation level read committed, read write",
        );
        self.push(Origin::Begin, settings(subject.schema, options, true));
        self.guard(subject);
        // A schema to which no file is ever applied needs no history.
        if subject.history.width.is_none() && !subject.files.is_empty() {
            let width = subject.migrations.new_table_width();
            self.push(
                Origin::HistoryTable,
                create_history_table(subject.schema, width),
            );
        }
    }

    fn guard(&mut self, subject: Subject<'_>) {
        let Some(creating) = subject.creation.filter(|it| it.is_new) else {
            self.push(Origin::Guard, lock_guard(subject.schema));
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

    fn own_relations(&mut self, subject: Subject<'_>) {
        if subject.migrations.is_confined() {
            self.push(Origin::Audit, note_own_relations(subject.schema));
        }
    }

    fn file(&mut self, migrations: &MigrationSet, file: usize) {
        for (statement, it) in migrations.statements(file).iter().enumerate() {
            let origin = Origin::File { file, statement };
            self.steps.push(Step {
                sql: it.text.clone(),
                origin,
                alone: it.alone,
            });
        }
    }

    fn audit(&mut self, subject: Subject<'_>) {
        if subject.migrations.is_confined() && !subject.migrations.may_leave(subject.files) {
            self.push(Origin::Audit, audit(subject.schema));
        }
    }

    fn record(&mut self, subject: Subject<'_>) {
        // What a file's functions may have changed in spite of its grammar must not decide who
        // writes the history, nor be found by whoever the session serves next. Deferred triggers
        // run while the settings are still the file's.
        self.push(Origin::Record, "set constraints all immediate");
        self.push(Origin::Record, "reset role");
        self.push(Origin::Record, "discard temp");
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
            self.push(
                Origin::Record,
                format!("comment on schema {schema} is null"),
            );
        }
        for (index, registration) in registrations.iter().enumerate() {
            self.push(Origin::Register(index), registration.sql.clone());
        }
    }

    fn end(&mut self, options: &ScriptOptions) {
        self.push(Origin::End, "reset all");
        self.push(
            Origin::End,
            if options.rehearse {
                "rollback"
            } else {
                "commit"
            },
        );
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
        let (start, index) = self
            .steps
            .iter()
            .rev()
            .find(|(start, _)| *start <= offset)?;
        Some((*index, offset - start))
    }
}

/// Returns the 64-bit key of a schema's advisory lock, as an SQL expression that any client can
/// write: `hashtextextended('tenantctl:acme', 0)`.
pub(crate) fn lock_key(schema: &SchemaName) -> String {
    format!(
        "hashtextextended({}, 0)",
        literal(&format!("{REFUSAL}{schema}"))
    )
}

/// Returns the statement that sets what a schema's statements run with, for this transaction or,
/// where there is none, for the session.
pub(super) fn settings(
    schema: &SchemaName,
    options: &ScriptOptions,
    for_transaction: bool,
) -> String {
    let milliseconds = |timeout: Option<Duration>| {
        timeout.map_or_else(|| "0".into(), |it| format!("{}ms", it.as_millis().max(1)))
    };
    let tail = options.path.iter().map(String::as_str);
    let path = search_path(std::iter::once(schema.as_str()).chain(tail));
    let mut settings = vec![
        ("search_path", path),
        ("lock_timeout", milliseconds(options.lock_timeout)),
        ("statement_timeout", milliseconds(options.statement_timeout)),
        ("idle_in_transaction_session_timeout", "60s".into()),
        ("application_name", options.application_name.clone()),
    ];
    if options.server_version >= 140_000 {
        // The server notices within half a second that its client was killed, and lets go of the
        // locks; without it a backend finishes its statement first.
        settings.push(("client_connection_check_interval", "500ms".into()));
    }
    if options.server_version >= 170_000 {
        settings.push(("transaction_timeout", "0".into()));
    }
    let calls = settings.iter().map(|(name, value)| {
        format!(
            "set_config('{name}', {}, {for_transaction})",
            literal(value)
        )
    });
    format!("select {}", calls.collect::<Vec<_>>().join(", "))
}

/// Fails unless the schema exists and nobody else works on it. The lock ends with the transaction.
fn lock_guard(schema: &SchemaName) -> String {
    refuse_when(&[
        (
            format!(
                "not exists (select from pg_catalog.pg_namespace where nspname = {})",
                literal(schema.as_str())
            ),
            "no-schema",
        ),
        (
            format!(
                "not pg_catalog.pg_try_advisory_xact_lock({})",
                lock_key(schema)
            ),
            "locked",
        ),
    ])
}

/// Fails when the schema exists, or somebody else works on it.
fn absence_guard(schema: &SchemaName) -> String {
    refuse_when(&[
        (
            format!(
                "not pg_catalog.pg_try_advisory_xact_lock({})",
                lock_key(schema)
            ),
            "locked",
        ),
        (
            format!(
                "exists (select from pg_catalog.pg_namespace where nspname = {})",
                literal(schema.as_str())
            ),
            "schema-exists",
        ),
    ])
}

/// Fails unless the history is what the plan was made from. Its own statement, so that its
/// snapshot is taken after the lock.
fn history_guard(subject: Subject<'_>) -> String {
    let table = qualified(subject.schema, HISTORY_TABLE);
    let changed = match subject.history.width {
        Some(_) => format!("{} <> {}", digest(&table), literal(&subject.history.digest)),
        None => format!("pg_catalog.to_regclass({}) is not null", literal(&table)),
    };
    refuse_when(&[(changed, "history-changed")])
}

/// Returns a statement that fails with `tenantctl:WORD` in its message when a condition holds.
fn refuse_when(conditions: &[(String, &str)]) -> String {
    let mut sql = String::from("select cast(case");
    for (condition, word) in conditions {
        let _ = write!(sql, " when {condition} then '{REFUSAL}{word}'");
    }
    sql + " else '0' end as integer)"
}

/// Returns the statement that makes a history table as refinery makes it.
pub(super) fn create_history_table(schema: &SchemaName, width: Width) -> String {
    let table = qualified(schema, HISTORY_TABLE);
    let version = match width {
        Width::Int4 => "int4",
        Width::Int8 => "int8",
    };
    format!(
        "create table {table} (version {version} primary key, name varchar(255), \
         applied_on varchar(255), checksum varchar(255))"
    )
}

/// Notes the oids of the schema's own relations, with their indexes and TOAST tables, and the
/// newest oid there is: after a drop, the audit could no longer tell whose it was.
///
/// By way of `pg_depend`, as `pg_class` has no index by namespace and would be read whole.
fn note_own_relations(schema: &SchemaName) -> String {
    format!(
        "with tables as (select d.objid as oid from pg_catalog.pg_depend d \
             where d.refclassid = 'pg_catalog.pg_namespace'::regclass \
               and d.refobjid = {}::regnamespace and d.classid = 'pg_catalog.pg_class'::regclass), \
           heaps as (select oid from tables union all select c.reltoastrelid \
             from tables join pg_catalog.pg_class c using (oid) where c.reltoastrelid <> 0), \
           own as (select oid from heaps union all select i.indexrelid \
             from heaps join pg_catalog.pg_index i on i.indrelid = heaps.oid) \
         select set_config('tenantctl.own', coalesce(string_agg(oid::text, ','), ''), true), \
           set_config('tenantctl.mark', (select max(oid)::text from pg_catalog.pg_class), true) \
         from own",
        literal(&identifier(schema.as_str()))
    )
}

/// Fails when this transaction touched a relation outside the schema otherwise than by reading it
/// or pointing a foreign key at it, however it was reached, or when the schema itself is gone.
fn audit(schema: &SchemaName) -> String {
    let name = literal(schema.as_str());
    format!(
        "select cast(case when not exists (select from pg_catalog.pg_namespace \
             where nspname = {name}) then '{REFUSAL}no-schema' \
           when count(*) > 0 then '{REFUSAL}outside:' || string_agg(touched, ', ' order by touched) \
           else '0' end as integer) from (\
         select distinct coalesce(n.nspname || '.' || c.relname, 'a dropped relation') as touched \
           from pg_catalog.pg_locks l \
           left join pg_catalog.pg_class c on c.oid = l.relation \
           left join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
          where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted \
            and l.relation >= 16384 \
            and l.mode not in ('AccessShareLock', 'RowShareLock', 'ShareRowExclusiveLock') \
            and case when c.oid is null \
                then l.relation <= current_setting('tenantctl.mark')::oid and l.relation <> all \
                  (string_to_array(current_setting('tenantctl.own'), ',')::oid[]) \
                else n.nspname <> {name} and n.nspname !~ '^pg_' end) as outside"
    )
}

/// Returns the statement that records the files as applied, as refinery records them, in the
/// width of this history table.
pub(super) fn history_rows(subject: Subject<'_>) -> String {
    let width = subject
        .history
        .width
        .unwrap_or_else(|| subject.migrations.new_table_width());
    let now = OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .expect("a year of four digits");
    let rows: Vec<String> = subject
        .files
        .iter()
        .map(|&index| {
            let file = subject.migrations.file(index);
            let (version, name) = (file.version, literal(&file.name));
            let checksum = file
                .checksum(width)
                .expect("the plan refuses what does not fit");
            format!("({version}, {name}, '{now}', '{checksum}')")
        })
        .collect();
    format!(
        "insert into {} (version, name, applied_on, checksum) values {}",
        qualified(subject.schema, HISTORY_TABLE),
        rows.join(", ")
    )
}
