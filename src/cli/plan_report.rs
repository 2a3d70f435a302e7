//! What a run would do, as `--dry-run` prints it: for each distinct plan the schemas it concerns
//! and the exact SQL.

use std::collections::BTreeMap;

use serde_json::json;

use super::exit_code::ExitCode;
use super::migration_report::{wave_fields, wave_line};
use super::report::Report;
use super::text::{count, few, printable};
use crate::event::Wave;
use crate::migration::{
    ExecuteOptions, Found, History, Kind, MigrationSet, Mode, Origin, Script, ScriptOptions, State,
    Subject, Survey, Waves,
};
use crate::name::SchemaName;
use crate::tenant::{CreateTenants, Migrate, NewTenant, Prepared, PreparedSeeds};

/// Prints the plans, and returns what `--dry-run` ends with: some schemas could not be migrated at all.
pub(crate) fn answer(
    report: &Report,
    migrate: &Migrate<'_>,
    prepared: &Prepared,
    options: &ExecuteOptions,
) -> ExitCode {
    let (mode, options) = (options.mode, script_options(options, prepared.server_version));
    let (mut is_empty, mut cannot) = (true, 0);
    for (set, survey) in migrate.parts(prepared) {
        for (index, schemas) in survey.behind() {
            plan(report, mode, set, (survey, index), &schemas, &options);
            is_empty = false;
        }
        for (schema, state) in survey.states() {
            match state {
                State::NoSchema => report.warn(format!("schema `{schema}` is missing")),
                State::Unreadable(why) => report.warn(format!("schema `{schema}`: {why}")),
                _ => continue,
            }
            cannot += 1;
        }
    }
    match (is_empty, cannot) {
        (true, 0) => report.answer("-- nothing is pending"),
        (true, _) => report.answer("-- nothing is pending elsewhere"),
        (false, _) => {}
    }
    if prepared.tenants.is_none() && migrate.tenants.is_some() {
        report.say("the tenants are known only once the shared migrations have made the registry");
    }
    let is_clean = is_empty && cannot == 0;
    report.object("dry_run", json!({ "clean": is_clean }));
    if cannot > 0 { ExitCode::CheckFailed } else { ExitCode::Done }
}

/// Prints what seeds would do, and returns what `--dry-run` ends with.
pub(crate) fn seeds(
    report: &Report,
    seeds: &MigrationSet,
    prepared: &PreparedSeeds,
    options: &ExecuteOptions,
) -> ExitCode {
    let (mut schemas, mut missing) = (Vec::new(), Vec::new());
    for (schema, found) in &prepared.fleet.schemas {
        match found {
            Found::NoSchema => missing.push(schema),
            _ => schemas.push(schema),
        }
    }
    for schema in &missing {
        report.warn(format!("schema `{schema}` is missing"));
    }
    let files: Vec<usize> = (0..seeds.folder().files().len()).collect();
    let names: Vec<String> = files.iter().map(|&file| seeds.label(file)).collect();
    let mut sql = Vec::new();
    if let Some(first) = schemas.first() {
        let options = script_options(options, prepared.server_version);
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
    if missing.is_empty() { ExitCode::Done } else { ExitCode::CheckFailed }
}

/// Prints which tenants would be created, and with what; `to_create` has the files of each.
pub(crate) fn tenants(
    report: &Report,
    create: &CreateTenants<'_>,
    to_create: &[(&NewTenant, Vec<usize>)],
) {
    let set = create.migrations;
    let labels = |set: &MigrationSet, files: &[usize]| -> Vec<String> {
        files.iter().map(|&file| set.label(file)).collect()
    };
    let seeds = create.seeds.into_iter().flat_map(|it| it.folder().files());
    let seeds: Vec<String> = seeds.map(|it| format!("`{}`", it.name)).collect();
    let verb = if create.adopt { "adopt" } else { "create" };
    let most = if report.verbose { usize::MAX } else { 20 };
    let mut alike: BTreeMap<&[usize], Vec<&NewTenant>> = BTreeMap::new();
    for (tenant, files) in to_create {
        alike.entry(files).or_default().push(tenant);
        report.object(
            "tenant",
            json!({
                "schema": tenant.schema,
                "domains": tenant.domains,
                "adopted": create.adopt,
                "migrations": labels(set, files),
                "seeds": seeds,
                "dry_run": true,
            }),
        );
    }
    for (files, tenants) in alike {
        for tenant in tenants.iter().take(most) {
            let domains: Vec<String> =
                tenant.domains.iter().map(|it| format!(" at {it}")).collect();
            let schema = printable(tenant.schema.as_str());
            report.answer(format!("would {verb} tenant `{schema}`{}", domains.join(",")));
        }
        if tenants.len() > most {
            report.answer(format!("would {verb} {} more", count(tenants.len() - most, "tenant")));
        }
        let each = if tenants.len() == 1 { "" } else { "each " };
        for (labels, noun) in [(labels(set, files), "migration"), (seeds.clone(), "seed")] {
            if !labels.is_empty() {
                let number = count(labels.len(), noun);
                report.answer(format!("  {each}with {number}: {}", few(labels.iter(), most)));
            }
        }
    }
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
    mode: Mode,
    set: &MigrationSet,
    (survey, index): (&Survey, usize),
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
    let how = if mode == Mode::Baseline { ", recorded without being run" } else { "" };
    report.answer(format!("-- {}{how}{others}", migrations.join(", ")));
    let mut all = Vec::new();
    for (number, script) in scripts(mode, subject, options).into_iter().enumerate() {
        print(report, set, &script, number > 0);
        all.extend(script.steps.into_iter().map(|step| step.sql));
    }
    report.answer("");
    let names: Vec<&str> = schemas.iter().map(SchemaName::as_str).collect();
    report.object("plan", json!({ "schemas": names, "migrations": migrations, "sql": all }));
}

fn script_options(options: &ExecuteOptions, server_version: u32) -> ScriptOptions {
    ScriptOptions {
        lock_timeout: options.lock_timeout,
        statement_timeout: options.statement_timeout,
        path: options.path.clone(),
        rehearse: false,
        application_name: "tenantctl".into(),
        server_version,
        waits_for_disk: true,
        is_shared: false,
    }
}

/// Returns what is sent, one after the other: a transaction up to each file that cannot run in
/// one, and that file by itself.
fn scripts(mode: Mode, subject: Subject<'_>, options: &ScriptOptions) -> Vec<Script> {
    if mode == Mode::Baseline {
        return vec![Script::baseline(subject, options)];
    }
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
        Origin::Template => "what the template is made of",
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
