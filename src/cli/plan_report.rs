//! What a run would do, as `--dry-run` prints it: for each distinct plan the schemas it concerns
//! and the exact SQL.

use serde_json::json;

use super::migration_report::{wave_fields, wave_line};
use super::report::Report;
use super::text::{count, few, printable};
use crate::event::Wave;
use crate::migration::{
    ExecuteOptions, Found, History, Kind, MigrationSet, Origin, Script, ScriptOptions, State,
    Subject, Survey, Waves,
};
use crate::name::SchemaName;
use crate::tenant::{Migrate, Prepared, PreparedSeeds};

/// Prints the plans.
pub(crate) fn answer(
    report: &Report,
    migrate: &Migrate<'_>,
    prepared: &Prepared,
    options: &ScriptOptions,
) {
    let mut is_empty = true;
    for (set, survey) in migrate.parts(prepared) {
        for (index, schemas) in survey.behind() {
            plan(report, set, survey, index, &schemas, options);
            is_empty = false;
        }
        for (schema, state) in survey.states() {
            match state {
                State::NoSchema => report.warn(format!("schema `{schema}` is missing")),
                State::Unreadable(why) => report.warn(format!("schema `{schema}`: {why}")),
                _ => {}
            }
        }
    }
    if is_empty {
        report.answer("-- nothing is pending");
    }
    if prepared.tenants.is_none() && migrate.tenants.is_some() {
        report.say("the tenants are known only once the shared migrations have made the registry");
    }
    report.object("dry_run", json!({ "clean": is_empty }));
}

/// Prints what seeds would do.
pub(crate) fn seeds(
    report: &Report,
    seeds: &MigrationSet,
    prepared: &PreparedSeeds,
    options: &ExecuteOptions,
) {
    let (mut schemas, mut missing) = (Vec::new(), Vec::new());
    for (schema, found) in &prepared.fleet.schemas {
        match found {
            Found::NoSchema => missing.push(schema),
            _ => schemas.push(schema),
        }
    }
    for schema in missing {
        report.warn(format!("schema `{schema}` is missing"));
    }
    let files: Vec<usize> = (0..seeds.folder().files().len()).collect();
    let names: Vec<String> = files.iter().map(|&file| seeds.label(file)).collect();
    let mut sql = Vec::new();
    if let Some(first) = schemas.first() {
        let options = ScriptOptions {
            lock_timeout: options.lock_timeout,
            statement_timeout: options.statement_timeout,
            path: options.path.clone(),
            rehearse: false,
            application_name: "tenantctl".into(),
            server_version: prepared.server_version,
        };
        let history = History::default();
        let (migrations, files) = (seeds, files.as_slice());
        let subject =
            Subject { schema: first, history: &history, migrations, files, creation: None };
        let script = Script::seed(subject, &options, None);
        report.answer(format!(
            "-- {}: {}",
            count(schemas.len(), "schema"),
            few(schemas.iter(), 20)
        ));
        report.answer(format!("-- {}, shown for {}", names.join(", "), printable(first.as_str())));
        print(report, seeds, &script, false);
        sql = script.steps.into_iter().map(|step| step.sql).collect();
    } else {
        report.answer("-- there is nothing to do");
    }
    report.object("plan", json!({ "schemas": schemas, "seeds": names, "sql": sql }));
}

/// Prints in which waves the tenants would be migrated, where there are several.
pub(crate) fn answer_waves(report: &Report, prepared: &Prepared, waves: &Waves) {
    let Some(survey) = &prepared.tenants else { return };
    let waves = waves.of_schemas(survey.behind_in_order().cloned().collect());
    if waves.len() < 2 {
        return;
    }
    let most = if report.verbose { usize::MAX } else { 20 };
    for (index, (is_canary, schemas)) in waves.iter().enumerate() {
        let (number, of, is_canary) = (index + 1, waves.len(), *is_canary);
        let wave = Wave { number, of, is_canary, schemas };
        report.answer(format!("-- {}", wave_line(&wave, most)));
        report.object("wave", wave_fields(&wave));
    }
}

fn plan(
    report: &Report,
    set: &MigrationSet,
    survey: &Survey,
    index: usize,
    schemas: &[SchemaName],
    options: &ScriptOptions,
) {
    let (history, plan) = (&survey.fleet.histories[index], &survey.plans[index]);
    let subject = Subject {
        schema: &schemas[0],
        history,
        migrations: set,
        files: &plan.pending,
        creation: None,
    };
    let migrations: Vec<String> = plan.pending.iter().map(|&file| set.label(file)).collect();
    let most = if report.verbose { usize::MAX } else { 20 };
    let others = match schemas.len() {
        1 => String::new(),
        _ => format!(", shown for {}", printable(schemas[0].as_str())),
    };
    report.answer(format!("-- {}: {}", count(schemas.len(), "schema"), few(schemas.iter(), most)));
    report.answer(format!("-- {}{others}", migrations.join(", ")));
    let mut all = Vec::new();
    for (number, script) in scripts(subject, options).into_iter().enumerate() {
        print(report, set, &script, number > 0);
        all.extend(script.steps.into_iter().map(|step| step.sql));
    }
    report.answer("");
    let names: Vec<&str> = schemas.iter().map(SchemaName::as_str).collect();
    report.object("plan", json!({ "schemas": names, "migrations": migrations, "sql": all }));
}

/// Returns what is sent, one after the other: a transaction up to each file that cannot run in
/// one, and that file by itself.
fn scripts(subject: Subject<'_>, options: &ScriptOptions) -> Vec<Script> {
    let (set, mut left, mut scripts) = (subject.migrations, subject.files, Vec::new());
    while !left.is_empty() {
        let is_transaction = |file: &&usize| !set.is_no_transaction(**file);
        let together = left.iter().take_while(is_transaction).count();
        let (files, rest) = left.split_at(together.max(1));
        let part = Subject { files, ..subject };
        scripts.push(match together {
            0 => Script::no_transaction(part, options),
            _ => Script::apply(part, options),
        });
        left = rest;
    }
    scripts
}

fn print(report: &Report, set: &MigrationSet, script: &Script, is_later: bool) {
    let mut last = String::new();
    for step in &script.steps {
        if is_later && step.origin == Origin::HistoryTable {
            continue;
        }
        // What a later part finds in the history is known only by then.
        let is_known = step.origin != Origin::Guard;
        let heading = heading(set, step.origin, is_later);
        if heading != last {
            report.answer(format!("\n-- {heading}"));
            last = heading;
        }
        if is_known || !is_later {
            report.answer(ended(&step.sql));
        }
    }
}

/// Returns a statement with its semicolon, which a comment at the end must not swallow.
fn ended(sql: &str) -> String {
    let last = sql.lines().last().unwrap_or_default();
    let apart = if last.contains("--") { "\n" } else { "" };
    format!("{sql}{apart};")
}

fn heading(set: &MigrationSet, origin: Origin, is_later: bool) -> String {
    match origin {
        Origin::Guard if is_later => "the same checks again, on the history as it is by then",
        Origin::Guard if of_seeds(set) => {
            "go on only where the schema is there and nobody else works on it"
        }
        Origin::Guard => {
            "go on only where the schema is there, nobody else works on it, and its history is \
             what this was made from"
        }
        Origin::Begin => "what everything below runs with",
        Origin::CreateSchema => "the schema",
        Origin::HistoryTable => "where to record what is applied",
        Origin::File { file, .. } | Origin::Seed { file, .. } => {
            return set.file(file).path.display().to_string();
        }
        Origin::Note => "what belongs to the schema, for the check below",
        Origin::Audit => "fail if anything outside the schema was changed",
        Origin::Record | Origin::End if of_seeds(set) => "commit it",
        Origin::Record | Origin::Register(_) | Origin::End => "record it",
    }
    .to_owned()
}

fn of_seeds(set: &MigrationSet) -> bool {
    set.folder().files().iter().any(|it| it.kind == Kind::Seed)
}
