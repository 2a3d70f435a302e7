//! The log's own tables, and what is written to them.

use tokio::time::Instant;

use super::{Entry, NewRun, RunLogError, optional};
use crate::pg::{ConnectError, Connection, Incomplete, Rows, array, literal};

/// A reader's longest text: the rest of a server's message is in the terminal's output.
const MOST_CHARACTERS: usize = 1000;

/// The tables, made in one transaction. `bigserial`, as Citus loses count of identity columns.
const TABLES: &str = "\
create schema if not exists tenantctl;
create table if not exists tenantctl.runs (
    id            bigserial primary key,
    command       text not null,
    command_line  text not null,
    role          text not null default session_user,
    os_user       text,
    host          text,
    version       text not null,
    began_at      timestamptz not null default clock_timestamp(),
    ended_at      timestamptz,
    exit_status   int4
);
create table if not exists tenantctl.run_entries (
    run           int8 not null references tenantctl.runs on delete cascade,
    schema_name   text not null,
    outcome       text not null,
    has_versions  bool not null,
    from_version  int8,
    to_version    int8,
    what          text not null,
    at            timestamptz not null
);
create index if not exists run_entries_by_schema on tenantctl.run_entries (schema_name, at);
create index if not exists run_entries_by_run on tenantctl.run_entries (run);
comment on schema tenantctl is 'What tenantctl did, when and for whom: read it with `tenantctl history`';";

/// Makes the tables where there are none.
pub(super) async fn make(connection: &mut Connection) -> Result<(), RunLogError> {
    // Asked first: `if not exists` wants the privilege to create also where there is nothing to do.
    while !are_there(connection).await? {
        match write(connection, TABLES, Patience::Long).await {
            Err(Incomplete::Sql(error)) if is_race(&error.code) => {}
            Err(Incomplete::Sql(error)) => return Err(RunLogError::NotMade(error)),
            other => return Ok(other.map(drop)?),
        }
    }
    Ok(())
}

/// Whether the tables are there.
pub(super) async fn are_there(connection: &mut Connection) -> Result<bool, Incomplete> {
    let rows = connection.ask("select to_regclass('tenantctl.run_entries') is not null").await?;
    Ok(rows.rows[0].flag(0))
}

/// Whether somebody else has just made the same: `if not exists` looks before it leaps.
fn is_race(code: &str) -> bool {
    matches!(code, "23505" | "42P06" | "42P07" | "XX000" | "40P01")
}

pub(super) async fn insert_run(
    connection: &mut Connection,
    run: &NewRun,
) -> Result<i64, RunLogError> {
    let insert = format!(
        "insert into tenantctl.runs (command, command_line, os_user, host, version) \
         values ({}, {}, {}, {}, {}) returning id",
        literal(&run.command),
        literal(&run.command_line),
        optional(run.os_user.as_deref()),
        optional(run.host.as_deref()),
        literal(env!("CARGO_PKG_VERSION")),
    );
    let answers = write(connection, &insert, Patience::Long).await?;
    let id = answers.iter().find_map(|it| it.rows.first().filter(|_| it.columns == ["id"]));
    Ok(id.and_then(|row| row.number(0)).expect("it was returned"))
}

/// Returns the statement that writes entries.
pub(super) fn insertion<'a>(run: i64, noted: impl Iterator<Item = &'a (Instant, Entry)>) -> String {
    let noted: Vec<_> = noted.collect();
    let number = |version: Option<i64>| version.map(|it| it.to_string());
    let versions = noted.iter().map(|(_, entry)| entry.versions.unwrap_or_default());
    let (from, to): (Vec<_>, Vec<_>) =
        versions.map(|(from, to)| (number(from), number(to))).unzip();
    let has_versions = noted.iter().map(|(_, entry)| match entry.versions {
        Some(_) => "true",
        None => "false",
    });
    let what: Vec<String> = noted.iter().map(|(_, entry)| shortened(&entry.what)).collect();
    let ages: Vec<String> =
        noted.iter().map(|(at, _)| at.elapsed().as_millis().to_string()).collect();
    // An array a column, which the server reads in less time than a row of values each. The times are
    // by its clock, as the runs' own are.
    let columns = [
        (array(noted.iter().map(|(_, entry)| Some(entry.schema.as_str()))), "text"),
        (array(noted.iter().map(|(_, entry)| Some(entry.outcome.word()))), "text"),
        (array(has_versions.map(Some)), "bool"),
        (array(from.iter().map(Option::as_deref)), "int8"),
        (array(to.iter().map(Option::as_deref)), "int8"),
        (array(what.iter().map(|it| Some(it.as_str()))), "text"),
        (array(ages.iter().map(|it| Some(it.as_str()))), "int8"),
    ];
    let columns = columns.map(|(values, kind)| format!("{values}::{kind}[]"));
    format!(
        "insert into tenantctl.run_entries \
         select {run}, schema_name, outcome, has_versions, from_version, to_version, what, \
           clock_timestamp() - age * interval '1 ms' \
         from unnest({}) as entry \
           (schema_name, outcome, has_versions, from_version, to_version, what, age)",
        columns.join(", ")
    )
}

/// Returns how many entries a run has.
pub(super) async fn count_entries(
    connection: &mut Connection,
    run: i64,
) -> Result<usize, Incomplete> {
    let question = format!("select count(*) from tenantctl.run_entries where run = {run}");
    let rows = connection.ask(&question).await?.rows;
    Ok(rows[0].number(0).and_then(|it| it.try_into().ok()).unwrap_or_default())
}

/// Returns the statement that ends a run.
pub(super) fn ending(run: i64, exit_status: u8) -> String {
    format!(
        "update tenantctl.runs set ended_at = clock_timestamp(), exit_status = {exit_status} \
         where id = {run}"
    )
}

/// How long something may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    /// While the run has other things to do with its connection; the disk is not waited for.
    Short,
    /// Before the work, and after it.
    Long,
}

/// Sends statements as one transaction.
pub(super) async fn write(
    connection: &mut Connection,
    statements: &str,
    patience: Patience,
) -> Result<Vec<Rows>, Incomplete> {
    let statements = statements.trim_end_matches(';');
    let patience = match patience {
        Patience::Short => {
            "set local lock_timeout = '50ms'; set local statement_timeout = '1s'; \
             set local synchronous_commit = off"
        }
        Patience::Long => "set local lock_timeout = '1500ms'; set local statement_timeout = '30s'",
    };
    let message = format!(
        "begin isolation level read committed, read write; \
         set local search_path = pg_catalog; {patience}; {statements}; commit"
    );
    match connection.send(message).await {
        Ok(answers) => Ok(answers),
        Err((Incomplete::Sql(error), _)) => {
            connection.roll_back().await?;
            // A standby already refuses `begin … read write`.
            let is_read_only = error.is("25006") || error.is("0A000");
            let place = || connection.place().clone().into();
            Err(match is_read_only {
                true => Incomplete::Lost(ConnectError::ReadOnly { place: place() }),
                false => Incomplete::Sql(error),
            })
        }
        Err((lost, _)) => Err(lost),
    }
}

fn shortened(text: &str) -> String {
    let mut shortened: String = text.chars().take(MOST_CHARACTERS).collect();
    if shortened.len() < text.len() {
        shortened.push('…');
    }
    shortened.replace('\0', "")
}
