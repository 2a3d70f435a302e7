//! What is said of a fleet's troubles: each in a line, with what to type.

use std::collections::BTreeMap;

use serde_json::json;

use super::error::disagreement_advice;
use super::report::Report;
use super::text::{count, few, grouped, printable, shell_word};
use crate::migration::ConnectionLimit;
use crate::migration::history::HISTORY_TABLE;
use crate::pg::{SqlError, identifier, qualified};
use crate::tenant::doctor::{Examination, Finding, Repair, Repaired};

/// So many names are shown of many.
const NAMED: usize = 5;

/// Writes what was found, or that nothing was.
pub(crate) fn answer(report: &Report, examination: &Examination) {
    let most = if report.verbose { usize::MAX } else { NAMED };
    for finding in &examination.findings {
        let (what, advice) = (what(finding, most), advice(finding));
        report.object(
            "finding",
            json!({
                "finding": finding.kind(),
                "what": what,
                "advice": advice,
                "schemas": finding.schemas(),
                "fixable": !finding.repairs().is_empty(),
            }),
        );
        report.answer(format!("{what}: {advice}"));
    }
    let (tenants, findings) = (examination.tenants, examination.findings.len());
    report.object("summary", json!({ "tenants": tenants, "findings": findings }));
    if findings == 0 {
        let tenants = count(tenants.unwrap_or_default(), "tenant");
        report.answer(format!("nothing is wrong with {tenants}"));
    }
}

/// Writes what would be mended.
pub(crate) fn would_repair(report: &Report, repairs: &[Repair]) {
    objects(report, repairs.iter().map(|it| (it, "would be done", None)));
    for (verb, names) in by_verb(repairs.iter(), "would create", "would drop") {
        report.answer(in_words(report, verb, &names));
    }
}

/// Writes what was mended and what was not, and why.
pub(crate) fn repaired(report: &Report, done: &[(Repair, Repaired)]) {
    objects(report, done.iter().map(|(repair, repaired)| (repair, word(repaired), why(repaired))));
    let those = |is_so: fn(&Repaired) -> bool| {
        done.iter().filter(move |(_, it)| is_so(it)).map(|(repair, _)| repair)
    };
    let is_done = |it: &Repaired| *it == Repaired::Done;
    for (verb, names) in by_verb(those(is_done), "created", "dropped") {
        report.answer(in_words(report, verb, &names));
    }
    let is_busy = |it: &Repaired| *it == Repaired::Busy;
    for (verb, names) in by_verb(those(is_busy), "could not create", "could not drop") {
        report.warn(format!("{}: somebody is working there", in_words(report, verb, &names)));
    }
    let mut failed: BTreeMap<&str, Vec<&Repair>> = BTreeMap::new();
    for (repair, repaired) in done {
        if let Some(error) = why(repaired) {
            failed.entry(&error.message).or_default().push(repair);
        }
    }
    for (message, repairs) in failed {
        for (verb, names) in by_verb(repairs.into_iter(), "could not create", "could not drop") {
            report.error(format!("{}: {}", in_words(report, verb, &names), printable(message)));
        }
    }
}

fn word(repaired: &Repaired) -> &'static str {
    match repaired {
        Repaired::Done => "done",
        Repaired::NotNeeded => "not needed",
        Repaired::Busy => "busy",
        Repaired::Failed(_) => "failed",
    }
}

fn why(repaired: &Repaired) -> Option<&SqlError> {
    match repaired {
        Repaired::Failed(error) => Some(error),
        _ => None,
    }
}

fn objects<'a>(
    report: &Report,
    repairs: impl Iterator<Item = (&'a Repair, &'static str, Option<&'a SqlError>)>,
) {
    for (repair, outcome, error) in repairs {
        let (what, index) = match repair {
            Repair::CreateSchema { .. } => ("create schema", None),
            Repair::DropIndex { index, .. } => ("drop index", Some(index)),
        };
        report.object(
            "repair",
            json!({
                "what": what,
                "schema": repair.schema(),
                "index": index,
                "outcome": outcome,
                "error": error.map(|it| &it.message),
            }),
        );
    }
}

/// Returns `created` with the schemas, and `dropped` with the indexes, if there are any.
fn by_verb<'a>(
    repairs: impl Iterator<Item = &'a Repair>,
    create: &'static str,
    drop: &'static str,
) -> Vec<((&'static str, &'static str), Vec<String>)> {
    let (mut schemas, mut indexes) = (Vec::new(), Vec::new());
    for repair in repairs {
        match repair {
            Repair::CreateSchema { schema } => schemas.push(schema.to_string()),
            Repair::DropIndex { schema, index, .. } => indexes.push(format!("{schema}.{index}")),
        }
    }
    let groups = [((create, "missing schema"), schemas), ((drop, "invalid index"), indexes)];
    groups.into_iter().filter(|(_, names)| !names.is_empty()).collect()
}

fn in_words(
    report: &Report,
    (verb, noun): (&'static str, &'static str),
    names: &[String],
) -> String {
    let most = if report.verbose { usize::MAX } else { NAMED };
    format!("{verb} {} ({})", count(names.len(), noun), few(names.iter(), most))
}

/// Returns what is wrong, naming at most so many of the schemas.
fn what(finding: &Finding, most: usize) -> String {
    let schemas = finding.schemas();
    let names = || few(schemas.iter(), most);
    let tenants = |one: &str, several: &str| match schemas.len() {
        1 => format!("1 tenant {one} ({})", names()),
        number => format!("{} tenants {several} ({})", grouped(number), names()),
    };
    let number = || count(schemas.len(), "schema");
    match finding {
        Finding::UnsupportedServer { major } => format!("the server is Postgres {major}"),
        Finding::Standby => "the server is a standby, which accepts no changes".into(),
        Finding::Pooler => "a pooler stands between here and the server".into(),
        Finding::SmallLockTable(small) => small.to_string(),
        Finding::FewConnections { free, jobs, .. } => {
            format!("{free}, too few for {jobs} jobs at once")
        }
        Finding::NoCreate { role, database } => {
            format!("role `{role}` may not create schemas in database `{database}`")
        }
        Finding::SharedSchemaRights { role, schema, lacking } => {
            format!("role `{role}` lacks {} on the shared schema `{schema}`", listed(lacking))
        }
        Finding::RegistryRights { role, schema, table, lacking } => {
            format!("role `{role}` lacks {} on the registry's `{schema}.{table}`", listed(lacking))
        }
        Finding::NotOwned { role, owner, .. } => {
            let belong = if schemas.len() == 1 { "belongs" } else { "belong" };
            let whose = format!("role `{owner}`, whose rights `{role}` lacks");
            format!("{} {belong} to {whose} ({})", number(), names())
        }
        Finding::HistoryRights { role, .. } => {
            format!("role `{role}` may not read the history of {} ({})", number(), names())
        }
        Finding::UnacceptableNames { why, .. } => {
            let why = printable(&why.to_string());
            match schemas.len() {
                1 => format!("a registry row has a name that no tenant can have ({why})"),
                number => format!(
                    "{} registry rows have names that no tenant can have ({}; {why})",
                    grouped(number),
                    few(schemas.iter().map(|it| format!("`{it}`")), most)
                ),
            }
        }
        Finding::AlikeNames { .. } => {
            let number = grouped(schemas.len());
            format!("{number} tenants differ in upper and lower case alone ({})", names())
        }
        Finding::SeveralRows { .. } => tenants(
            "has more than one row in the registry",
            "have more than one row in the registry",
        ),
        Finding::SchemaMissing { .. } => tenants("has no schema", "have no schema"),
        Finding::Orphans { .. } => match schemas.len() {
            1 => format!("1 schema looks like a tenant's and has no registry row ({})", names()),
            _ => format!("{} look like tenants' and have no registry row ({})", number(), names()),
        },
        Finding::HalfCreated { .. } => {
            format!(
                "the creation of {} is not finished ({})",
                count(schemas.len(), "tenant"),
                names()
            )
        }
        Finding::HalfDeleted { .. } => {
            format!(
                "the deletion of {} is not finished ({})",
                count(schemas.len(), "tenant"),
                names()
            )
        }
        Finding::NoDomain { .. } => tenants("has no domain", "have no domain"),
        Finding::NoPrimaryDomain { .. } => {
            tenants("has domains, but no primary one", "have domains, but no primary one")
        }
        Finding::SeveralPrimaryDomains { .. } => {
            tenants("has more than one primary domain", "have more than one primary domain")
        }
        Finding::Behind { is_shared: true, .. } => {
            format!("the shared schema `{}` is behind", names())
        }
        Finding::Behind { .. } => tenants("is behind", "are behind"),
        Finding::Disagreement { what, .. } => format!("{} ({})", printable(what), names()),
        Finding::HistoryLocked { .. } => {
            format!("somebody has locked {} ({})", count(schemas.len(), "history"), names())
        }
        Finding::Unreadable { why, .. } => {
            let histories = count(schemas.len(), "history");
            format!("{histories} cannot be read, as {} ({})", printable(why), names())
        }
        Finding::InvalidIndex { table, index, .. } => {
            let (table, index) = (printable(table), printable(index));
            format!("index `{index}` of `{table}` is invalid in {} ({})", number(), names())
        }
        Finding::StrayTables { schema, tables } => format!(
            "{} of tenants' migrations in the shared schema `{schema}` ({})",
            count(tables.len(), "table"),
            few(tables.iter(), most)
        ),
    }
}

/// Returns what to type, or to do.
fn advice(finding: &Finding) -> String {
    let first = finding.schemas().first();
    let schema = first.map_or_else(String::new, |it| shell_word(&printable(it.as_str())));
    // What begins with a hyphen would be taken for a flag.
    let argument = if schema.starts_with('-') { format!("-- {schema}") } else { schema.clone() };
    let sql = |text: &str| printable(&identifier(text));
    let it = |one, several| if finding.schemas().len() == 1 { one } else { several };
    match finding {
        Finding::UnsupportedServer { .. } => {
            "move the database to Postgres 13 or newer with `pg_dump` and `pg_restore`".into()
        }
        Finding::Standby => "give the primary server's address with `--database-url`".into(),
        Finding::Pooler => "give the server's own host and port with `--database-url` when a file \
             without a transaction is to be applied"
            .into(),
        Finding::SmallLockTable(small) => format!(
            "run `alter system set max_locks_per_transaction = {}` and restart the server{}",
            small.enough(),
            if small.jobs > 1 { ", or use fewer `--jobs`" } else { "" }
        ),
        Finding::FewConnections { room, free, .. } => {
            let raise = match free.limit {
                ConnectionLimit::Server => "the server's `max_connections`",
                ConnectionLimit::Role => "the role's `connection limit`",
                ConnectionLimit::Database => "the database's `connection limit`",
            };
            format!("run with `--jobs {room}`, or raise {raise}")
        }
        Finding::NoCreate { role, database } => format!(
            "let the database's owner run `grant create on database {} to {}`",
            sql(database),
            sql(role)
        ),
        Finding::SharedSchemaRights { role, schema, lacking } => format!(
            "let its owner run `grant {} on schema {} to {}`",
            lacking.join(", "),
            sql(schema.as_str()),
            sql(role)
        ),
        Finding::RegistryRights { role, schema, table, lacking } => format!(
            "let its owner run `grant {} on {} to {}`",
            lacking.join(", "),
            printable(&qualified(schema, table)),
            sql(role)
        ),
        Finding::NotOwned { role, owner, owner_is_superuser: false, .. } => {
            format!("let an administrator run `grant {} to {}`", sql(owner), sql(role))
        }
        Finding::NotOwned { role, .. } => format!(
            "let an administrator run `alter schema {} owner to {}`, and the same for {}",
            first.map_or_else(String::new, |it| sql(it.as_str())),
            sql(role),
            others(finding, "its tables")
        ),
        Finding::HistoryRights { role, .. } => first.map_or_else(String::new, |it| {
            format!(
                "let its owner run `grant usage on schema {} to {role}` and `grant select on {} to \
                 {role}`{}",
                sql(it.as_str()),
                printable(&qualified(it, HISTORY_TABLE)),
                others(finding, ""),
                role = sql(role),
            )
        }),
        Finding::UnacceptableNames { .. } => {
            "correct or delete these rows of the registry in psql".into()
        }
        Finding::AlikeNames { .. } => {
            format!("give all but one another name: `tenantctl rename-tenant {argument} NEW`")
        }
        Finding::SeveralRows { .. } => "delete all rows but one in psql".into(),
        Finding::SchemaMissing { .. } => format!(
            "`tenantctl doctor --fix` creates {}, and `tenantctl migrate-schemas --tenants` the tables",
            it("it", "them")
        ),
        Finding::Orphans { .. } => format!(
            "`tenantctl create-tenant --schema={schema} --adopt` registers it; to be rid of it, `drop \
             schema {}` in psql",
            first.map_or_else(String::new, |it| sql(it.as_str()))
        ),
        Finding::HalfCreated { .. } => {
            format!("run `tenantctl create-tenant --schema={schema} …` again")
        }
        Finding::HalfDeleted { .. } => format!("run `tenantctl delete-tenant {argument}` again"),
        Finding::NoDomain { .. } => {
            let each = it("it", "each");
            format!("give {each} one with `tenantctl create-domain HOST --schema={schema}`")
        }
        Finding::NoPrimaryDomain { .. } | Finding::SeveralPrimaryDomains { .. } => format!(
            "choose one of `tenantctl list-domains --schema={schema}` with `tenantctl \
             set-primary-domain HOST`"
        ),
        Finding::Behind { is_shared: true, .. } => {
            "`tenantctl migrate-schemas --shared` applies what is pending".into()
        }
        Finding::Behind { .. } => {
            "`tenantctl migrate-schemas --tenants` applies what is pending".into()
        }
        Finding::Disagreement { kind, .. } => disagreement_advice(kind).into(),
        Finding::HistoryLocked { .. } => "run `tenantctl doctor` again once they are done".into(),
        Finding::Unreadable { .. } => format!(
            "look at it with `tenantctl tenant-command --schema={schema} psql`, and run `tenantctl \
             doctor` again"
        ),
        Finding::InvalidIndex { is_pending: true, .. } => format!(
            "`tenantctl doctor --fix` drops {it}, and `tenantctl migrate-schemas` builds {it} again",
            it = it("it", "them")
        ),
        Finding::InvalidIndex { index, .. } => first.map_or_else(String::new, |it| {
            let index = printable(&qualified(it, index));
            format!(
                "run `reindex index concurrently {index}`, or `drop index concurrently {index}` if \
                 nothing needs it{}",
                others(finding, "")
            )
        }),
        Finding::StrayTables { schema, tables } => {
            let table =
                tables.first().map_or_else(String::new, |it| printable(&qualified(schema, it)));
            format!(
                "if nothing needs what it holds, `drop table {table}` in psql; else write a shared \
                 migration that creates it"
            )
        }
    }
}

/// Returns what goes for the other schemas too.
fn others(finding: &Finding, besides: &str) -> String {
    let others = finding.schemas().len() - 1;
    match (others, besides) {
        (0, _) => besides.to_owned(),
        (_, "") => format!(", and the same for {others} more"),
        _ => format!("{besides} and {others} more"),
    }
}

fn listed(words: &[String]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.join(""),
    }
}
