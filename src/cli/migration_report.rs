//! What is said of a run over many schemas: a line for each while they are few, progress while
//! they are many, and at the end a summary that names what is not done, and why.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::command_line::{self, same_command};
use super::error::{connect_hint, indent, printable_lines, sql_details};
use super::exit_code::ExitCode;
use super::progress::Progress;
use super::report::Report;
use super::text::{count, few, grouped, length, printable, shell_word, stopped_early};
use crate::event::{Blockage, BlockageKind, Cause, Event, Failure, Holder, Observer, Wave};
use crate::migration::{Mode, Outcome, Stop, history_is_locked};
use crate::name::SchemaName;
use crate::tenant::Migrated;

/// Up to so many schemas get a line each.
const FEW: usize = 20;
/// So many failures get a line while the work goes on, and so many different ones are explained at
/// the end.
const SHOWN: usize = 5;
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
                    self.report.say(format!("{}: already up to date", printable(schema.as_str())));
                }
                self.step(schema, true);
            }
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

fn event_type(mode: Mode) -> &'static str {
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
fn done(mode: Mode) -> &'static str {
    match mode {
        Mode::Apply => "migrated",
        Mode::Rehearse => "could be migrated",
        Mode::Baseline => "recorded",
        Mode::Create => "created",
        Mode::Adopt => "adopted",
        Mode::Seed => "seeded",
    }
}

/// Says how a run over the shared schema and the tenants ended, and returns its exit status.
pub(crate) fn answer(report: &Report, mode: Mode, migrated: Migrated) -> ExitCode {
    let shared_failed = migrated.shared.as_ref().is_some_and(|it| !it.is_complete());
    let mut outcome = migrated.shared.unwrap_or_default();
    // The shared schema has no name by which it is selected.
    let by_name = mode == Mode::Apply && !shared_failed;
    outcome.extend(migrated.tenants);
    let code = exit_code(&outcome, 0);
    explain(report, mode, &outcome);
    if shared_failed && !outcome.not_attempted.is_empty() {
        report.error("no tenant was started, as the shared schema comes first");
    }
    summarise(report, mode, &outcome, 0, code);
    if let Some(hint) = hint(&outcome, mode, by_name && !shared_failed) {
        report.hint(hint);
    }
    code
}

/// Says how the creation of many tenants ended, `refused` of which were not tried.
pub(crate) fn answer_created(
    report: &Report,
    mode: Mode,
    outcome: &Outcome,
    refused: usize,
) -> ExitCode {
    let code = exit_code(outcome, refused);
    explain(report, mode, outcome);
    summarise(report, mode, outcome, refused, code);
    if code != ExitCode::Done {
        report.hint(
            "mend what is wrong and give the same rows again: what is there is left alone, and a \
             tenant is there whole or not at all",
        );
    }
    code
}

/// Says how seeds that were run in many schemas ended, and returns the exit status.
pub(crate) fn answer_seeded(report: &Report, seeds: &[String], outcome: &Outcome) -> ExitCode {
    let code = exit_code(outcome, 0);
    explain(report, Mode::Seed, outcome);
    summarise(report, Mode::Seed, outcome, 0, code);
    // The same command would do again what is done.
    let left = left(outcome);
    match left.len() {
        0 => {}
        1..=SHOWN => {
            let seeds: Vec<String> = seeds.iter().map(|it| shell_word(it)).collect();
            let (seeds, schemas) = (seeds.join(" "), selected(&left));
            let is_unanswered =
                outcome.failed.iter().any(|(_, it)| matches!(it.cause, Cause::Unanswered));
            let before = if is_unanswered { "look at the data first; " } else { "" };
            report.hint(format!("{before}for what is left: `tenantctl seed {seeds}{schemas}`"));
        }
        _ => report.hint(
            "the same command would run again where it is done; for what is left, give the names, \
             which `--verbose` shows, with `--schemas-from FILE`",
        ),
    }
    code
}

/// Returns the schemas that are not done.
fn left(outcome: &Outcome) -> Vec<&SchemaName> {
    let failed = outcome.failed.iter().map(|(schema, _)| schema);
    let busy = outcome.busy.iter().map(|(schema, _)| schema);
    failed.chain(busy).chain(&outcome.not_attempted).collect()
}

/// Returns ` --schema=acme --schema=globex`.
fn selected(schemas: &[&SchemaName]) -> String {
    let flags = schemas.iter().map(|name| format!(" --schema={}", shell_word(name.as_str())));
    flags.collect()
}

/// Explains what is not done, and why.
pub(crate) fn explain(report: &Report, mode: Mode, outcome: &Outcome) {
    explain_failures(report, mode, outcome);
    explain_busy(report, outcome);
    explain_stop(report, outcome);
    explain_not_rehearsed(report, outcome);
}

/// Says which schemas' rehearsals ended early: what runs in no transaction cannot be rolled back.
fn explain_not_rehearsed(report: &Report, outcome: &Outcome) {
    for (migration, schemas) in &outcome.rehearsed_up_to {
        let names = few(schemas.iter(), if report.verbose { usize::MAX } else { SHOWN });
        report.warn(format!(
            "not rehearsed: {migration}, which runs in no transaction, and what follows it, in {}: {names}",
            count(schemas.len(), "schema")
        ));
    }
}

fn summarise(report: &Report, mode: Mode, outcome: &Outcome, refused: usize, code: ExitCode) {
    report.answer(summary(mode, outcome, refused));
    for schema in &outcome.not_attempted {
        report.object("not_attempted", json!({ "schema": schema.as_str() }));
    }
    let mut fields = json!({
        event_type(mode): outcome.applied,
        "up_to_date": outcome.up_to_date,
        "failed": outcome.failed.len() + refused,
        "busy": outcome.busy.len(),
        "not_attempted": outcome.not_attempted.len(),
        "exit_status": code.number(),
    });
    if mode == Mode::Rehearse {
        fields["ended_early"] = outcome.ended_early().into();
    }
    report.object("summary", fields);
}

fn participle(mode: Mode) -> &'static str {
    match mode {
        Mode::Rehearse => "migrated",
        other => done(other),
    }
}

/// Returns what is said of what needed nothing.
fn unchanged(mode: Mode) -> &'static str {
    match mode {
        Mode::Create | Mode::Adopt => "already there",
        Mode::Apply | Mode::Rehearse | Mode::Baseline | Mode::Seed => "up to date",
    }
}

fn noun(mode: Mode) -> &'static str {
    match mode {
        Mode::Create | Mode::Adopt => "tenant",
        Mode::Apply | Mode::Rehearse | Mode::Baseline | Mode::Seed => "schema",
    }
}

/// Returns `3 schemas migrated, 1 up to date, 1 failed`.
fn summary(mode: Mode, outcome: &Outcome, refused: usize) -> String {
    let noun = noun(mode);
    let ended_early = outcome.ended_early();
    let parts = [
        (outcome.applied - ended_early, done(mode)),
        (ended_early, "not rehearsed to the end"),
        (outcome.up_to_date, unchanged(mode)),
        (outcome.failed.len() + refused, "failed"),
        (outcome.busy.len(), "busy"),
        (outcome.not_attempted.len(), "not attempted"),
    ];
    let mut said = Vec::new();
    for (number, what) in parts.into_iter().filter(|(number, _)| *number > 0) {
        said.push(match said.is_empty() {
            true => format!("{} {what}", count(number, noun)),
            false => format!("{} {what}", grouped(number)),
        });
    }
    match said.is_empty() {
        true => format!("{}: there is nothing to do", count(0, noun)),
        false => said.join(", "),
    }
}

/// Explains each different failure once, with the schemas that had it.
fn explain_failures(report: &Report, mode: Mode, outcome: &Outcome) {
    let mut groups: Vec<(&Rc<Failure>, Vec<&SchemaName>)> = Vec::new();
    for (schema, failure) in &outcome.failed {
        match groups.iter_mut().find(|(known, _)| Rc::ptr_eq(known, failure)) {
            Some((_, schemas)) => schemas.push(schema),
            None => groups.push((failure, vec![schema])),
        }
    }
    let most = if report.verbose { usize::MAX } else { SHOWN };
    for (failure, schemas) in groups.iter().take(most) {
        explain_failure(report, mode, failure, schemas);
    }
    if groups.len() > most {
        let rest = count(groups.len() - most, "more failure");
        report.always(format!("and {rest} of other kinds; `--verbose` shows them all"));
    }
}

fn explain_failure(report: &Report, mode: Mode, failure: &Failure, schemas: &[&SchemaName]) {
    let names = few(schemas.iter(), if report.verbose { usize::MAX } else { SHOWN });
    let noun = if failure.site.is_some() { "schema" } else { noun(mode) };
    let to = match schemas.len() {
        1 => format!("{noun} `{names}`"),
        number => format!("{}: {names}", count(number, noun)),
    };
    match &failure.site {
        Some(site) => {
            report.error(match site.migration.starts_with("seed ") {
                true => format!("{} could not be run in {to}", site.migration),
                false => format!("migration {} could not be applied to {to}", site.migration),
            });
        }
        None => report.error(format!("{to} could not be {}", participle(mode))),
    }
    report.always(format!("  caused by: {}", printable_lines(&failure.cause.to_string())));
    match &failure.site {
        Some(site) if site.excerpt.is_empty() => {
            report.always(format!("     --> {}:{}", site.path, site.line));
        }
        Some(site) => report.always(indent(&site.excerpt)),
        None => {}
    }
    if let Some(error) = failure.cause.sql() {
        report.always_lines(&sql_details(error));
    }
    for left in &failure.left_behind {
        report.always(format!("    left behind: {}", printable(left)));
    }
    if !failure.left_behind.is_empty() {
        report.always("    the next run begins the file anew, and keeps the concurrent indexes that are there");
    }
    if let Some(advice) = advice(&failure.cause) {
        report.always(format!("    {advice}"));
    }
}

/// Returns what is known of a failure beyond the server's words.
fn advice(cause: &Cause) -> Option<&'static str> {
    match cause {
        Cause::Outside { .. } => Some(
            "the names were found outside the schema, by the search path or because they are \
             qualified; nothing was changed there",
        ),
        Cause::Beyond { .. } => Some(
            "it was rolled back; what everybody shares belongs in `migrations/shared`, or say on \
             the file's first lines that it is meant: `-- tenantctl: allow other-schema`",
        ),
        Cause::Sql(error) if error.is("55P04") => Some(
            "a new enum value cannot be used in the transaction that adds it: split the file in two",
        ),
        Cause::Sql(error) if error.is("42501") => {
            Some("the role lacks a privilege: grant it, or connect as the owner of the schema")
        }
        Cause::NoSchema => Some(
            "the registry has a row for it: make the schema anew with `create schema` in psql, or \
             remove the row there",
        ),
        Cause::TimedOut(_) => Some("give it longer with `--statement-timeout`, or `off`"),
        _ => None,
    }
}

fn explain_busy(report: &Report, outcome: &Outcome) {
    let most = if report.verbose { usize::MAX } else { SHOWN };
    for (schema, blockage) in outcome.busy.iter().take(most) {
        report.error(format!("schema `{}` is busy", printable(schema.as_str())));
        report.always(format!("  caused by: {}", in_its_way(blockage, false)));
        if let Some(site) = &blockage.site {
            report.always(indent(&site.excerpt));
        }
        for holder in &blockage.holders {
            report.always(format!("    held by {}", describe_holder(holder)));
        }
    }
    if outcome.busy.len() > most {
        let rest: Vec<&SchemaName> = outcome.busy.iter().skip(most).map(|(it, _)| it).collect();
        report.always(format!("also busy: {}", few(rest.iter(), 20)));
    }
}

fn in_the_way(blockage: &Blockage) -> String {
    in_its_way(blockage, true)
}

fn in_its_way(blockage: &Blockage, with_place: bool) -> String {
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
    }
}

/// Returns `pid 4711 (myapp, 10.0.0.7), idle in transaction, its transaction open for 12 s; last
/// statement: select …`.
pub(crate) fn describe_holder(holder: &Holder) -> String {
    let Holder { pid, application_name, client, state, transaction_age, query } = holder;
    let name = if application_name.is_empty() { "no name" } else { application_name };
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

fn explain_stop(report: &Report, outcome: &Outcome) {
    match &outcome.stop {
        Some(Stop::Unreachable(error)) => {
            report.error(printable_lines(&error.to_string()));
            if let Some(hint) = connect_hint(error) {
                report.hint(hint);
            }
        }
        Some(Stop::OutOfResources) => {
            report.error("stopped early: the server has run out of something the others need too");
        }
        Some(Stop::Budget { most }) => {
            report.error(stopped_early(*most, outcome.failed.len()));
        }
        Some(Stop::Canary { not_done, of }) => {
            let verb = if *not_done == 1 { "is" } else { "are" };
            let canaries = count(*of, "canary");
            report.error(match (not_done, of) {
                (1, 1) => "stopped early: the canary is not done".to_owned(),
                _ => format!("stopped early: {not_done} of {canaries} {verb} not done"),
            });
        }
        Some(Stop::Beyond) => report
            .error("stopped early: the same migrations would do the same from every other schema"),
        Some(Stop::Syntax) => report
            .error("stopped early: the server would not understand it in any other schema either"),
        Some(Stop::Interrupted) => report.error("interrupted"),
        None => {}
    }
    if !outcome.not_attempted.is_empty() {
        let most = if report.verbose { usize::MAX } else { SHOWN };
        let names = few(outcome.not_attempted.iter(), most);
        report.always(format!("not attempted: {names}"));
    }
}

/// Returns the exit status of a run of which `refused` more were not tried.
pub(crate) fn exit_code(outcome: &Outcome, refused: usize) -> ExitCode {
    let done = outcome.applied + outcome.up_to_date;
    match &outcome.stop {
        Some(Stop::Interrupted) => return ExitCode::Interrupted,
        Some(Stop::Unreachable(_)) => return ExitCode::Unreachable,
        _ => {}
    }
    match (outcome.failed.len() + refused, outcome.busy.len(), outcome.not_attempted.len()) {
        (0, 0, 0) => ExitCode::Done,
        (0, 1.., _) => ExitCode::Busy,
        _ if done > 0 => ExitCode::Partly,
        _ => ExitCode::NotDone,
    }
}

/// Returns the command that goes on from here, with the schemas' names where they are few.
fn hint(outcome: &Outcome, mode: Mode, by_name: bool) -> Option<String> {
    let left = left(outcome);
    let left_behind = outcome.failed.iter().any(|(_, it)| !it.left_behind.is_empty());
    let needs_mending = outcome.failed.iter().any(|(_, it)| needs_mending(it));
    let before = match (needs_mending, left_behind) {
        (false, _) => "",
        (true, true) => "mend what failed and ",
        (true, false) => "what failed is as it was; mend it and ",
    };
    match left.len() {
        0 => None,
        _ if mode == Mode::Rehearse && needs_mending => {
            Some("every schema is as it was; mend what failed and rehearse again".into())
        }
        _ if mode == Mode::Rehearse => {
            Some(format!("run {} again: it rehearses every schema", same_command()))
        }
        _ if matches!(outcome.stop, Some(Stop::Canary { .. })) => Some(format!(
            "{before}run {} again: the canaries come first again, and what is done is not done twice",
            same_command()
        )),
        1..=SHOWN if by_name => {
            let names = selected(&left);
            Some(format!("{before}run {}", command_line::migrate(&names)))
        }
        _ => Some(format!("{before}run {} again: it does only what is left", same_command())),
    }
}

/// Whether trying again alone will not do.
fn needs_mending(failure: &Failure) -> bool {
    !matches!(
        failure.cause,
        Cause::Interrupted
            | Cause::Cancelled(_)
            | Cause::Unknown
            | Cause::Unanswered
            | Cause::Lost(_)
            | Cause::Unsettled
    ) || !failure.left_behind.is_empty()
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
        })
    });
    json!({
        "schema": schema.as_str(),
        "message": in_the_way(blockage),
        "file": blockage.site.as_ref().map(|it| &it.path),
        "line": blockage.site.as_ref().map(|it| it.line),
        "held_by": holders.collect::<Vec<_>>(),
    })
}
