//! What is said of a run over many schemas while it lasts: a line for each while they are few,
//! progress while they are many.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use serde_json::json;

use super::error::printable_lines;
use super::progress::Progress;
use super::report::Report;
use super::text::{count, few, length, printable};
use crate::event::{Blockage, BlockageKind, Event, Failure, Holder, Observer, Wave};
use crate::migration::{Mode, history_is_locked};
use crate::name::SchemaName;
use crate::pg::literal;

/// Up to so many schemas get a line each.
const FEW: usize = 20;
/// So many failures get a line while the work goes on, and so many different ones are explained at
/// the end.
pub(super) const SHOWN: usize = 5;
/// How often a log gets a line of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Speaks of a run while it lasts.
pub(crate) struct MigrationReport {
    report: Report,
    mode: Mode,
    progress: Progress,
    failed: Cell<usize>,
    last_line: Cell<Instant>,
    deferred: RefCell<Option<String>>,
}

impl MigrationReport {
    pub(crate) fn new(report: Report, mode: Mode) -> Self {
        Self {
            report,
            mode,
            progress: Progress::new(),
            failed: Cell::default(),
            last_line: Cell::new(Instant::now()),
            deferred: RefCell::default(),
        }
    }

    /// Ends the progress line.
    pub(crate) fn finish(&self) {
        self.progress.finish();
    }

    fn begin(&self, schemas: usize) {
        self.last_line.set(Instant::now());
        let is_shown = schemas > FEW && self.report.is_watched() && !self.report.is_json();
        self.progress.begin(schemas, is_shown);
    }

    fn shows_each(&self) -> bool {
        self.report.verbose || self.progress.total() <= FEW
    }

    fn step(&self, schema: &SchemaName, is_done: bool) {
        self.progress.step(schema, is_done);
        let is_log = !self.report.is_watched() && !self.shows_each();
        if is_log && self.last_line.get().elapsed() >= LINE_EVERY {
            self.last_line.set(Instant::now());
            self.report.say(self.progress.text());
        }
    }

    fn applied(
        &self,
        schema: &SchemaName,
        migrations: &[String],
        not_rehearsed: Option<&str>,
        elapsed: Duration,
    ) {
        if self.shows_each() {
            let verb = match self.mode {
                Mode::Apply => "applied",
                Mode::Rehearse => "could apply",
                Mode::Baseline => "recorded",
                Mode::Create => "created with",
                Mode::Adopt => "adopted with",
                Mode::Seed => "ran",
            };
            let schema = printable(schema.as_str());
            let what = match migrations.is_empty() {
                true if not_rehearsed.is_some() => None,
                true => Some(done(self.mode).to_owned()),
                false => Some(format!("{verb} {}", migrations.join(", "))),
            };
            let not = not_rehearsed.map(|it| format!("cannot rehearse {it}"));
            let text: Vec<String> = what.into_iter().chain(not).collect();
            self.report.say(format!("{schema}: {}", text.join("; ")));
        }
        let mut fields = json!({
            "schema": schema.as_str(),
            if self.mode == Mode::Seed { "seeds" } else { "migrations" }: migrations,
            "seconds": elapsed.as_secs_f64(),
        });
        if let Some(migration) = not_rehearsed {
            fields["not_rehearsed"] = migration.into();
        }
        self.report.object(event_type(self.mode), fields);
        self.step(schema, true);
    }

    fn gone(&self, schema: &SchemaName) {
        let name = printable(schema.as_str());
        self.report.warn(format!("{name}: its schema is gone since this run began"));
        self.report.object("gone", json!({ "schema": schema.as_str() }));
        self.step(schema, true);
    }

    fn failed(&self, schema: &SchemaName, failure: &Failure) {
        self.failed.set(self.failed.get() + 1);
        // Of a few, the explanation at the end comes soon enough.
        if self.progress.total() > FEW && (self.report.verbose || self.failed.get() <= SHOWN) {
            self.report.say(format!("{}: {}", printable(schema.as_str()), one_line(failure)));
        }
        self.report.object("failed", failure_fields(schema, failure));
        self.step(schema, false);
    }

    fn deferred(&self, schema: &SchemaName, blockage: &Blockage, attempts: u32) {
        self.progress.defer(schema);
        let text = format!(
            "{}: busy, will be tried again: {}",
            printable(schema.as_str()),
            in_the_way(blockage)
        );
        // The same again and again is said once.
        let is_new = self.deferred.borrow().as_ref() != Some(&text);
        if is_new && (self.report.verbose || attempts == 1 && self.shows_each()) {
            *self.deferred.borrow_mut() = Some(text.clone());
            self.report.say(text);
        }
    }

    fn wave(&self, wave: &Wave<'_>) {
        self.report.say(wave_line(wave, if self.report.verbose { usize::MAX } else { SHOWN }));
        self.report.object("wave", wave_fields(wave));
    }

    fn pausing(&self, pause: Duration, next: &Wave<'_>) {
        let Wave { number, of, .. } = next;
        self.progress.pause(pause);
        self.report.say(format!(
            "pausing for {} before wave {number} of {of}; Ctrl-C stops here",
            humantime::format_duration(pause)
        ));
        let fields = json!({ "seconds": pause.as_secs_f64(), "before": number });
        self.report.object("pause", fields);
    }

    fn busy(&self, schema: &SchemaName, blockage: &Blockage) {
        self.report.object("busy", busy_fields(schema, blockage));
        self.step(schema, false);
    }
}

impl Observer for MigrationReport {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Begun { schemas } => self.begin(*schemas),
            Event::Wave(wave) => self.wave(wave),
            Event::Pausing { pause, next } => self.pausing(*pause, next),
            Event::Applied { schema, migrations, not_rehearsed, elapsed, .. } => {
                self.applied(schema, migrations, *not_rehearsed, *elapsed)
            }
            Event::UpToDate { schema } => {
                if self.shows_each() {
                    let what = match self.mode {
                        Mode::Create | Mode::Adopt => "there",
                        _ => "up to date",
                    };
                    self.report.say(format!("{}: already {what}", printable(schema.as_str())));
                }
                self.step(schema, true);
            }
            Event::Gone { schema } => self.gone(schema),
            Event::Failed { schema, failure, .. } => self.failed(schema, failure),
            Event::Deferred { schema, blockage, attempts } => {
                self.deferred(schema, blockage, *attempts)
            }
            Event::Busy { schema, blockage, .. } => self.busy(schema, blockage),
            Event::Reconnecting { reason } => {
                self.report.warn(format!("{reason}; connecting again"));
            }
            Event::Dropping { .. } => {}
            // Of one schema's work, which speaks for itself.
            Event::Step { .. } => {}
            Event::Warning(text) => self.report.warn(text),
        }
    }
}

/// Returns `wave 1 of 3, the canaries: acme, globex`.
pub(crate) fn wave_line(wave: &Wave<'_>, most: usize) -> String {
    let Wave { number, of, is_canary, schemas } = *wave;
    let what = match (is_canary, schemas.len()) {
        (true, 1) => ", the canary".to_owned(),
        (true, canaries) => format!(", {}", count(canaries, "canary")),
        (false, schemas) => format!(", {}", count(schemas, "schema")),
    };
    format!("wave {number} of {of}{what}: {}", few(schemas.iter(), most))
}

pub(crate) fn wave_fields(wave: &Wave<'_>) -> serde_json::Value {
    let names: Vec<&str> = wave.schemas.iter().map(|it| it.as_str()).collect();
    let Wave { number, of, is_canary, .. } = wave;
    json!({ "number": number, "of": of, "canary": is_canary, "schemas": names })
}

pub(super) fn event_type(mode: Mode) -> &'static str {
    match mode {
        Mode::Apply => "applied",
        Mode::Rehearse => "rehearsed",
        Mode::Baseline => "recorded",
        Mode::Create => "created",
        Mode::Adopt => "adopted",
        Mode::Seed => "seeded",
    }
}

/// Returns what is said of a schema with which it is done.
pub(super) fn done(mode: Mode) -> &'static str {
    match mode {
        Mode::Apply => "migrated",
        Mode::Rehearse => "could be migrated",
        Mode::Baseline => "recorded",
        Mode::Create => "created",
        Mode::Adopt => "adopted",
        Mode::Seed => "seeded",
    }
}

fn in_the_way(blockage: &Blockage) -> String {
    in_its_way(blockage, true)
}

/// Returns what is in a schema's way, `with_place` with the file and the line where it was met.
pub(super) fn in_its_way(blockage: &Blockage, with_place: bool) -> String {
    let migration = match &blockage.site {
        Some(site) if with_place => {
            format!("{} at {}:{}: ", site.migration, site.path, site.line)
        }
        Some(site) => format!("{}: ", site.migration),
        None => String::new(),
    };
    match &blockage.kind {
        BlockageKind::SchemaLock => "another run, or somebody else, holds its lock".into(),
        BlockageKind::HistoryLock => history_is_locked(),
        BlockageKind::Lock(error) | BlockageKind::Conflict(error) => {
            format!("{migration}{}", printable_lines(&error.message))
        }
        BlockageKind::Locks => format!("{migration}waited for its locks for as long as it may"),
    }
}

/// Returns `pid 4711 (myapp, 10.0.0.7), idle in transaction, its transaction open for 12 s; last
/// statement: select …`.
pub(crate) fn describe_holder(holder: &Holder) -> String {
    let Holder { pid, application_name, client, state, transaction_age, query, prepared } = holder;
    if let Some(name) = prepared {
        let age = transaction_age.map(length).unwrap_or_default();
        let statement = printable(&literal(name));
        return format!(
            "prepared transaction {statement}, which no session holds, prepared {age} ago: it stays \
             until `commit prepared {statement}` or `rollback prepared {statement}`"
        );
    }
    let name = if application_name.is_empty() { "no name" } else { application_name };
    if query.is_empty() && state.is_empty() {
        return format!(
            "pid {pid} ({}); this role may not see what it does: `grant pg_read_all_stats` to it shows it",
            printable(name)
        );
    }
    let since = match transaction_age {
        Some(age) => format!("its transaction open for {}", length(*age)),
        None => "in no transaction".to_owned(),
    };
    format!(
        "pid {pid} ({}, {client}), {state}, {since}; last statement: {}",
        printable(name),
        printable(query)
    )
}

fn one_line(failure: &Failure) -> String {
    let cause = printable(&failure.cause.to_string());
    match &failure.site {
        Some(site) => format!("{} could not be applied: {cause}", site.migration),
        None => cause,
    }
}

fn failure_fields(schema: &SchemaName, failure: &Failure) -> serde_json::Value {
    let site = failure.site.as_ref();
    let sql = failure.cause.sql();
    json!({
        "schema": schema.as_str(),
        "message": failure.cause.to_string(),
        "migration": site.map(|it| &it.migration),
        "file": site.map(|it| &it.path),
        "line": site.map(|it| it.line),
        "column": site.and_then(|it| it.column),
        "sqlstate": sql.map(|it| &it.code),
        "detail": sql.and_then(|it| it.detail.as_ref()),
        "hint": sql.and_then(|it| it.hint.as_ref()),
        "left_behind": failure.left_behind,
    })
}

fn busy_fields(schema: &SchemaName, blockage: &Blockage) -> serde_json::Value {
    let holders = blockage.holders.iter().map(|holder| {
        json!({
            "pid": holder.pid,
            "application_name": holder.application_name,
            "client": holder.client,
            "state": holder.state,
            "transaction_seconds": holder.transaction_age.map(|it| it.as_secs_f64()),
            "query": holder.query,
            "prepared": holder.prepared,
        })
    });
    json!({
        "schema": schema.as_str(),
        "message": in_the_way(blockage),
        "file": blockage.site.as_ref().map(|it| &it.path),
        "line": blockage.site.as_ref().map(|it| it.line),
        "held_by": holders.collect::<Vec<_>>(),
        "left_behind": blockage.left_behind,
    })
}
