//! How the state of a fleet is written: grouped by state and version, so that 10,000 schemas read
//! as well as 10.

use std::collections::BTreeMap;

use serde_json::json;

use super::report::Report;
use super::text::{count, grouped, printable};
use crate::migration::sql::Folder;
use crate::migration::{Found, MigrationSet, State, Survey};
use crate::name::SchemaName;

/// So many schemas of a group are named.
const NAMED: usize = 5;

/// Returns `at V12`, or `with nothing applied`.
fn at(version: Option<i64>) -> String {
    version.map_or("with nothing applied".into(), |it| format!("at V{it}"))
}

/// Returns `acme V11`, or `acme (nothing applied)`.
fn name_at(name: &str, version: Option<i64>) -> String {
    match version {
        Some(version) => format!("{name} V{version}"),
        None => format!("{name} (nothing applied)"),
    }
}

/// Writes the line of a folder's schemas.
pub(crate) fn answer(report: &Report, set: &MigrationSet, survey: &Survey) {
    match set.kind() {
        Folder::Shared => report.answer(shared_line(survey)),
        Folder::Tenant => report.answer(line(survey)),
    }
}

/// Returns what there is beside up to date, in words, with the schemas.
pub(crate) fn not_clean(set: &MigrationSet, survey: &Survey) -> Vec<(String, Vec<SchemaName>)> {
    let mut groups: BTreeMap<String, Vec<SchemaName>> = BTreeMap::new();
    for (schema, state) in survey.states() {
        let what = match state {
            State::UpToDate(_) => continue,
            State::Behind { version, pending } => {
                let pending = format!("{} pending", count(pending, "migration"));
                vec![match version {
                    Some(version) => format!("{pending} after V{version}"),
                    None => format!("{pending}, none applied"),
                }]
            }
            State::Disagrees(findings) => findings.iter().map(|it| set.describe(it)).collect(),
            State::NoSchema => vec!["the schema is missing".into()],
            State::BeingDeleted => vec!["being deleted".into()],
            State::Unreadable(why) => vec![format!("unreadable: {why}")],
        };
        for what in what {
            groups.entry(what).or_default().push(schema.clone());
        }
    }
    groups.into_iter().collect()
}

/// Returns `9,998 schemas at V12 · 2 behind: acme V11, zeta V11 · 1 schema missing: ghost`.
pub(crate) fn line(survey: &Survey) -> String {
    let mut at_version: BTreeMap<Option<i64>, usize> = BTreeMap::new();
    let (mut behind, mut disagrees) = (Vec::new(), Vec::new());
    let (mut missing, mut unreadable) = (Vec::new(), Vec::new());
    let mut being_deleted = Vec::new();
    for (schema, state) in survey.states() {
        let name = printable(schema.as_str());
        match state {
            State::UpToDate(version) => *at_version.entry(version).or_default() += 1,
            State::Behind { version, .. } => behind.push(name_at(&name, version)),
            State::Disagrees(_) => disagrees.push(name),
            State::NoSchema => missing.push(name),
            State::BeingDeleted => being_deleted.push(name),
            State::Unreadable(_) => unreadable.push(name),
        }
    }
    let mut parts: Vec<String> = at_version
        .iter()
        .rev()
        .map(|(version, number)| format!("{} {}", count(*number, "schema"), at(*version)))
        .collect();
    let mut group = |names: Vec<String>, what: &str| {
        if !names.is_empty() {
            parts.push(named(&names, what));
        }
    };
    group(behind, "behind");
    group(disagrees, "in disagreement with the files");
    group(missing, "missing");
    group(being_deleted, "being deleted");
    group(unreadable, "unreadable");
    match parts.is_empty() {
        true => "no tenants".into(),
        false => parts.join(" · "),
    }
}

/// Returns ``shared schema `public` at V2``, or what it lacks.
pub(crate) fn shared_line(survey: &Survey) -> String {
    match survey.states().next() {
        Some((schema, _)) => format!("shared schema `{schema}` {}", of_one(survey)),
        None => String::new(),
    }
}

/// Returns `at V2`, or what the one schema that was looked at lacks.
pub(crate) fn of_one(survey: &Survey) -> String {
    let Some((_, state)) = survey.states().next() else {
        return String::new();
    };
    match state {
        State::UpToDate(version) => at(version),
        State::Behind { version, pending } => {
            format!("{}, {} pending", at(version), count(pending, "migration"))
        }
        State::Disagrees(_) => "in disagreement with the files".into(),
        State::NoSchema => "missing".into(),
        State::BeingDeleted => "being deleted".into(),
        State::Unreadable(why) => format!("unreadable: {why}"),
    }
}

fn named(names: &[String], what: &str) -> String {
    let number = match what {
        "behind" => grouped(names.len()),
        _ => count(names.len(), "schema"),
    };
    let rest = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        rest => format!(" and {} more", grouped(rest)),
    };
    let shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    format!("{number} {what}: {}{rest}", shown.join(", "))
}

/// Writes an object for each schema, in JSON only.
pub(crate) fn objects(report: &Report, survey: &Survey) {
    for (schema, state) in survey.states() {
        let mut fields = json!({ "schema": schema.as_str() });
        if let (Some(fields), Some(more)) = (fields.as_object_mut(), fields_of(&state).as_object())
        {
            fields.extend(more.clone());
        }
        report.object("schema", fields);
    }
}

/// Returns the state of the one schema that was looked at, for JSON.
pub(crate) fn one(survey: &Survey) -> serde_json::Value {
    survey.states().next().map_or(serde_json::Value::Null, |(_, state)| fields_of(&state))
}

fn fields_of(state: &State) -> serde_json::Value {
    let (word, version, pending) = words(state);
    json!({ "state": word, "version": version, "pending": pending })
}

/// Returns a row for each schema: its name, state, version and number of pending migrations.
pub(crate) fn rows(survey: &Survey) -> Vec<Vec<Option<String>>> {
    let row = |(schema, state): (&SchemaName, State)| {
        let (word, version, pending) = words(&state);
        let version = version.map(|version| format!("V{version}"));
        vec![Some(schema.to_string()), Some(word.to_owned()), version, Some(pending.to_string())]
    };
    survey.states().map(row).collect()
}

fn words(state: &State) -> (&'static str, Option<i64>, usize) {
    match state {
        State::UpToDate(version) => ("up to date", *version, 0),
        State::Behind { version, pending } => ("behind", *version, *pending),
        State::Disagrees(_) => ("disagrees", None, 0),
        State::NoSchema => ("missing", None, 0),
        State::BeingDeleted => ("being deleted", None, 0),
        State::Unreadable(_) => ("unreadable", None, 0),
    }
}

/// Returns why histories cannot be read, each reason with its schemas.
pub(crate) fn unreadable(survey: &Survey) -> BTreeMap<String, Vec<SchemaName>> {
    let mut reasons: BTreeMap<String, Vec<SchemaName>> = BTreeMap::new();
    for (schema, state) in survey.states() {
        if let State::Unreadable(why) = state {
            reasons.entry(why).or_default().push(schema.clone());
        }
    }
    reasons
}

/// The header of [`migrations`].
pub(crate) const MIGRATION_HEADER: [&str; 4] = ["version", "name", "state", "applied_on"];

/// Returns a row for each migration of the one schema that was looked at, in the order of
/// versions; none where its history cannot be read.
pub(crate) fn migrations(set: &MigrationSet, survey: &Survey) -> Option<Vec<Vec<Option<String>>>> {
    let Some((_, Found::History(index))) = survey.fleet.schemas.first() else {
        return None;
    };
    let (history, plan) = (&survey.fleet.histories[*index], &survey.plans[*index]);
    let mut rows = BTreeMap::new();
    for (index, file) in set.folder().files().iter().enumerate() {
        let state = if plan.pending.contains(&index) { "pending" } else { "not applied" };
        rows.insert(file.version, (file.name.clone(), state, None));
    }
    for applied in &history.rows {
        let time = Some(applied.applied_on.clone());
        rows.insert(applied.version, (applied.name.clone(), "applied", time));
    }
    for finding in &plan.findings {
        let (version, word) = set.version_and_word(finding);
        if let Some(row) = rows.get_mut(&version) {
            row.1 = word;
        }
    }
    let row = |(version, (name, state, time)): (i64, (String, &str, Option<String>))| {
        vec![Some(format!("V{version}")), Some(name), Some(state.to_owned()), time]
    };
    Some(rows.into_iter().map(row).collect())
}
