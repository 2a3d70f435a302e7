//! What a run would do, as `--dry-run` prints it: for each distinct plan the schemas it concerns
//! and the exact SQL.

use serde_json::json;

use super::report::Report;
use super::text::{count, few};
use crate::migration::{MigrationSet, Script, ScriptOptions, State, Subject, Survey};
use crate::name::SchemaName;
use crate::tenant::{Migrate, Prepared};

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
    let script = Script::apply(subject, options);
    let migrations: Vec<String> = plan.pending.iter().map(|&file| set.label(file)).collect();
    let most = if report.verbose { usize::MAX } else { 20 };
    let others = match schemas.len() {
        1 => String::new(),
        _ => format!(", shown for `{}`", schemas[0]),
    };
    report.answer(format!(
        "-- {}: {}",
        count(schemas.len(), "schema"),
        few(schemas.iter(), most)
    ));
    report.answer(format!("-- {}{others}", migrations.join(", ")));
    for step in &script.steps {
        report.answer(format!("{};", step.sql));
    }
    report.answer("");
    let names: Vec<&str> = schemas.iter().map(SchemaName::as_str).collect();
    let sql: Vec<&str> = script.steps.iter().map(|step| step.sql.as_str()).collect();
    report.object(
        "plan",
        json!({ "schemas": names, "migrations": migrations, "sql": sql }),
    );
}
