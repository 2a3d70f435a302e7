//! What is said at the end of a run over many schemas: what is not done, and why, the counts, and
//! what to type next.

use std::rc::Rc;

use serde_json::json;

use super::command_line::{self, same_command};
use super::error::{connect_hint, indent, printable_lines, sql_details};
use super::exit_code::ExitCode;
use super::migration_report::{SHOWN, describe_holder, done, event_type, in_its_way};
use super::report::Report;
use super::text::{count, few, grouped, printable, shell_word, stopped_early};
use crate::event::{Cause, Failure};
use crate::migration::{Mode, Outcome, Stop};
use crate::name::SchemaName;
use crate::tenant::Migrated;

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
    let left: Vec<&SchemaName> = outcome.not_done().collect();
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

/// Says which schemas' rehearsals ended early: before a file that cannot be rolled back.
fn explain_not_rehearsed(report: &Report, outcome: &Outcome) {
    for (migration, schemas) in &outcome.rehearsed_up_to {
        let names = few(schemas.iter(), if report.verbose { usize::MAX } else { SHOWN });
        report.warn(format!(
            "not rehearsed: {migration}, which no rollback would undo, and what follows it, in {}: {names}",
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
        "up_to_date": outcome.up_to_date + outcome.made_by_others.len(),
        "failed": outcome.failed.len() + refused,
        "busy": outcome.busy.len(),
        "not_attempted": outcome.not_attempted.len(),
        "exit_status": code.number(),
    });
    if mode == Mode::Apply {
        fields["gone"] = outcome.gone.len().into();
    }
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
        (outcome.up_to_date + outcome.made_by_others.len(), unchanged(mode)),
        (outcome.gone.len(), "gone"),
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
    say_left_behind(report, &failure.left_behind);
    if let Some(advice) = advice(&failure.cause) {
        report.always(format!("    {advice}"));
    }
}

fn say_left_behind(report: &Report, left_behind: &[String]) {
    for left in left_behind {
        report.always(format!("    left behind: {}", printable(left)));
    }
    if !left_behind.is_empty() {
        report.always("    the next run begins the file anew, and keeps the concurrent indexes that are there");
    }
}

/// Returns what is known of a failure beyond the server's words.
fn advice(cause: &Cause) -> Option<&'static str> {
    match cause {
        Cause::Outside { .. } => Some(
            "the names were found outside the schema: by the search path, because they are \
             qualified, or by a trigger or function; it was rolled back, and where it is meant, say \
             so on the file's first lines: `-- tenantctl: allow other-schema`",
        ),
        Cause::OwnHistory => Some("it was rolled back; tenantctl alone writes there"),
        Cause::Beyond { .. } => Some(
            "it was rolled back; what everybody shares belongs in `migrations/shared`, or say on \
             the file's first lines that it is meant: `-- tenantctl: allow other-schema`",
        ),
        Cause::Sql(error) if error.is("55P04") => Some(
            "a new enum value cannot be used in the transaction that adds it, which all pending \
             files share: add it in a file of its own that begins with `-- tenantctl: no-transaction`",
        ),
        Cause::Sql(error) if error.is("42501") => {
            Some("the role lacks a privilege: grant it, or connect as the owner of the schema")
        }
        Cause::NoSchema => Some(
            "unless it has just been deleted or renamed, the registry still has a row for it: make \
             the schema anew with `create schema` in psql, or remove the row there",
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
        say_left_behind(report, &blockage.left_behind);
    }
    if outcome.busy.len() > most {
        let rest: Vec<&SchemaName> = outcome.busy.iter().skip(most).map(|(it, _)| it).collect();
        report.always(format!("also busy: {}", few(rest.iter(), 20)));
    }
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
    let done = outcome.done();
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
    let left: Vec<&SchemaName> = outcome.not_done().collect();
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
