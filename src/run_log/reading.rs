//! What the log says.

use super::tables::are_there;
use super::{Outcome, RunLogError, optional};
use crate::name::SchemaName;
use crate::pg::{Connection, Row, literal};

/// Which runs, or entries, are asked for; the newest first.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only this run.
    pub run: Option<i64>,
    /// Only what happened to this schema.
    pub schema: Option<String>,
    /// Only runs of this command.
    pub command: Option<String>,
    /// Only what is younger than so many seconds.
    pub younger_than: Option<u64>,
    /// Only runs that ended with another status than 0 or did not end, and entries that are not
    /// done.
    pub only_failed: bool,
    /// At most so many.
    pub most: usize,
}

/// A run as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Its number.
    pub id: i64,
    /// The command, such as `migrate-schemas`.
    pub command: String,
    /// The command line.
    pub command_line: String,
    /// The database role.
    pub role: String,
    /// The user on the machine it ran on.
    pub os_user: Option<String>,
    /// That machine.
    pub host: Option<String>,
    /// tenantctl's version.
    pub version: String,
    /// When it began: `2026-01-31 12:00:00Z`.
    pub began_at: String,
    /// When it ended; `None` when it did not, or has not yet.
    pub ended_at: Option<String>,
    /// The exit status with which it ended.
    pub exit_status: Option<i64>,
    /// How many schemas it speaks of, by what became of them: done, failed, busy, not attempted.
    pub counts: [usize; 4],
    /// A few of those that are not done.
    pub not_done: Vec<String>,
}

/// What a run recorded of one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The run's number.
    pub run: i64,
    /// When: `2026-01-31 12:00:00Z`.
    pub at: String,
    /// The run's command line.
    pub command_line: String,
    /// Who ran it: `deploy@ci`.
    pub who: String,
    /// The schema.
    pub schema: String,
    /// What became of it; `None` for a word of a later version.
    pub outcome: Option<Outcome>,
    /// The versions before and after, where the run was about versions.
    pub versions: Option<(Option<i64>, Option<i64>)>,
    /// What was done, or why not.
    pub what: String,
}

/// What the last `migrate-schemas` left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// There was no such run.
    NoRun,
    /// The run has not ended, or was killed, and what it left is not known.
    NotEnded(Box<RunRecord>),
    /// Schemas that the run did not do, which may be none.
    Schemas(Box<RunRecord>, Vec<SchemaName>),
}

/// Not in the columns' own form, which depends on the session's settings.
const TIME: &str = "at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || 'Z'";

/// Returns the runs that `query` asks for, the newest first. Where nothing was ever recorded there
/// are none.
pub async fn runs(
    connection: &mut Connection,
    query: &Query,
) -> Result<Vec<RunRecord>, RunLogError> {
    if !are_there(connection).await? {
        return Ok(Vec::new());
    }
    let question = format!(
        "select r.id, r.command, r.command_line, r.role, r.os_user, r.host, r.version, \
           to_char(r.began_at {TIME}, to_char(r.ended_at {TIME}, r.exit_status, \
           e.done, e.failed, e.busy, e.not_attempted, e.names \
         from (select * from tenantctl.runs as r where {} order by r.id desc limit {}) as r \
         cross join lateral (select \
             count(*) filter (where outcome = 'done') as done, \
             count(*) filter (where outcome = 'failed') as failed, \
             count(*) filter (where outcome = 'busy') as busy, \
             count(*) filter (where outcome = 'not attempted') as not_attempted, \
             array_to_json((array_agg(schema_name order by schema_name collate \"C\") \
               filter (where outcome <> 'done'))[:6]) as names \
           from tenantctl.run_entries where run = r.id) as e \
         order by r.id desc",
        conditions(query, "r.began_at", "(r.exit_status is distinct from 0)", true),
        query.most,
    );
    Ok(connection.ask(&question).await?.rows.iter().map(run_record).collect())
}

/// Returns what was recorded of schemas, the newest first.
pub async fn entries(
    connection: &mut Connection,
    query: &Query,
) -> Result<Vec<Record>, RunLogError> {
    if !are_there(connection).await? {
        return Ok(Vec::new());
    }
    let question = format!(
        "select e.run, to_char(e.at {TIME}, r.command_line, \
           coalesce(r.os_user, r.role) || coalesce('@' || r.host, ''), e.schema_name, e.outcome, \
           e.has_versions, e.from_version, e.to_version, e.what \
         from tenantctl.run_entries as e join tenantctl.runs as r on r.id = e.run \
         where {} order by e.at desc, e.schema_name collate \"C\" limit {}",
        conditions(query, "e.at", "(e.outcome <> 'done')", false),
        query.most,
    );
    Ok(connection.ask(&question).await?.rows.iter().map(record).collect())
}

/// Returns what the last recorded `migrate-schemas` did not do.
pub async fn failed_in_last_run(connection: &mut Connection) -> Result<Failed, RunLogError> {
    let command = Some("migrate-schemas".to_owned());
    let query = Query { command, most: 1, ..Query::default() };
    let Some(run) = runs(connection, &query).await?.pop() else {
        return Ok(Failed::NoRun);
    };
    if run.exit_status.is_none() {
        return Ok(Failed::NotEnded(run.into()));
    }
    let question = format!(
        "select schema_name from tenantctl.run_entries where run = {} and outcome <> 'done' \
         group by 1 order by schema_name collate \"C\"",
        run.id
    );
    let rows = connection.ask(&question).await?.rows;
    let schemas = rows.iter().map(|row| SchemaName::registered(row.text(0))).collect();
    Ok(Failed::Schemas(run.into(), schemas))
}

fn conditions(query: &Query, time: &str, failed: &str, of_runs: bool) -> String {
    let mut conditions = vec!["true".to_owned()];
    if let Some(run) = query.run {
        conditions.push(format!("r.id = {run}"));
    }
    if let Some(schema) = &query.schema {
        let is_it = format!("schema_name = {}", literal(schema));
        conditions.push(match of_runs {
            true => {
                format!("exists (select from tenantctl.run_entries where run = r.id and {is_it})")
            }
            false => format!("e.{is_it}"),
        });
    }
    if query.command.is_some() {
        conditions.push(format!("r.command = {}", optional(query.command.as_deref())));
    }
    if let Some(seconds) = query.younger_than {
        conditions.push(format!("{time} > clock_timestamp() - make_interval(secs => {seconds})"));
    }
    if query.only_failed {
        conditions.push(failed.to_owned());
    }
    conditions.join(" and ")
}

fn run_record(row: &Row) -> RunRecord {
    let owned = |index: usize| row.get(index).map(str::to_owned);
    let count = |index: usize| row.number(index).unwrap_or_default().unsigned_abs() as usize;
    RunRecord {
        id: row.number(0).unwrap_or_default(),
        command: row.text(1).to_owned(),
        command_line: row.text(2).to_owned(),
        role: row.text(3).to_owned(),
        os_user: owned(4),
        host: owned(5),
        version: row.text(6).to_owned(),
        began_at: row.text(7).to_owned(),
        ended_at: owned(8),
        exit_status: row.number(9),
        counts: [count(10), count(11), count(12), count(13)],
        not_done: serde_json::from_str(row.text(14)).unwrap_or_default(),
    }
}

fn record(row: &Row) -> Record {
    Record {
        run: row.number(0).unwrap_or_default(),
        at: row.text(1).to_owned(),
        command_line: row.text(2).to_owned(),
        who: row.text(3).to_owned(),
        schema: row.text(4).to_owned(),
        outcome: Outcome::of_word(row.text(5)),
        versions: row.flag(6).then(|| (row.number(7), row.number(8))),
        what: row.text(9).to_owned(),
    }
}
