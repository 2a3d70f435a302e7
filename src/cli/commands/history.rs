//! `history`: what was done, when, by whom and with which result.

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::globals::limit;
use crate::cli::report::Report;
use crate::cli::text::{few, grouped};
use crate::pg::Connection;
use crate::run_log::{self, Query, Record, RunRecord};

/// Show what was done, when, by whom and with which result
///
/// Every command that changes something is recorded in the database, in the schema `tenantctl`.
/// Without options, the last runs; with `--schema NAME`, what happened to that schema; with `--run
/// N`, what one run did to each schema. What programs do that `exec` and `psql` start is not known
/// and not recorded.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// What happened to this schema, also when it is no longer there
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,

    /// What this run did
    #[arg(long, value_name = "N", conflicts_with_all = ["since", "command"])]
    run: Option<i64>,

    /// Only runs of this command, such as `migrate-schemas`
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,

    /// Only what is younger than this, such as `12h` or `7d`
    #[arg(long, value_name = "TIME", value_parser = limit)]
    since: Option<std::time::Duration>,

    /// Only what was not done
    #[arg(long)]
    failed: bool,

    /// At most so many, the newest [default: 20; with `--run`, all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
}

pub(crate) async fn run(context: &mut Context, args: &HistoryArgs) -> CommandResult {
    let mut connection = context.connection().await?;
    let report = &context.report;
    match args.run.is_some() || args.schema.is_some() {
        true => show_entries(report, &mut connection, args).await?,
        false => show_runs(report, &mut connection, args).await?,
    }
    connection.close().await;
    Ok(ExitCode::Done)
}

impl HistoryArgs {
    /// Asks for one more than is to be shown, to know whether there are more.
    fn query(&self) -> Query {
        Query {
            run: self.run,
            schema: self.schema.clone(),
            command: self.command.clone(),
            younger_than: self.since.map(|it| it.as_secs()),
            only_failed: self.failed,
            most: self.most().saturating_add(1),
        }
    }

    /// Whether not everything is asked for.
    fn is_filtered(&self) -> bool {
        let Self { schema, run, command, since, failed, last: _ } = self;
        schema.is_some() || run.is_some() || command.is_some() || since.is_some() || *failed
    }

    fn most(&self) -> usize {
        let default = if self.run.is_some() { u32::MAX as usize } else { 20 };
        self.last.map_or(default, |last| last as usize)
    }
}

async fn show_runs(
    report: &Report,
    connection: &mut Connection,
    args: &HistoryArgs,
) -> Result<(), CommandError> {
    let mut runs = run_log::runs(connection, &args.query()).await?;
    let is_cut = runs.len() > args.most();
    runs.truncate(args.most());
    if report.is_json() {
        for run in &runs {
            report.object("run", run_fields(run));
        }
        return Ok(());
    }
    let header = ["run", "began", "result", "who", "command"];
    let rows: Vec<_> = runs.iter().map(run_row).collect();
    conclude(report, &header, &rows, is_cut, args.is_filtered());
    Ok(())
}

async fn show_entries(
    report: &Report,
    connection: &mut Connection,
    args: &HistoryArgs,
) -> Result<(), CommandError> {
    let mut entries = run_log::entries(connection, &args.query()).await?;
    if let (Some(run), true) = (args.run, entries.is_empty()) {
        refuse_unknown(connection, run).await?;
    }
    let is_cut = entries.len() > args.most();
    entries.truncate(args.most());
    if report.is_json() {
        for entry in &entries {
            report.object("entry", entry_fields(entry));
        }
        return Ok(());
    }
    let header = ["at", "run", "schema", "result", "version", "what", "who"];
    let rows: Vec<_> = entries.iter().map(entry_row).collect();
    conclude(report, &header, &rows, is_cut, args.is_filtered());
    Ok(())
}

fn conclude(
    report: &Report,
    header: &[&str],
    rows: &[Vec<Option<String>>],
    is_cut: bool,
    is_filtered: bool,
) {
    report.list("", header, rows);
    if rows.is_empty() && is_filtered {
        report.say("nothing of the kind is recorded");
    } else if rows.is_empty() {
        report.say("nothing is recorded");
    } else if is_cut {
        report.say("there is more; `--last N` shows it");
    }
}

async fn refuse_unknown(connection: &mut Connection, run: i64) -> Result<(), CommandError> {
    let query = Query { run: Some(run), most: 1, ..Query::default() };
    match run_log::runs(connection, &query).await?.is_empty() {
        true => Err(CommandError::NotDone {
            message: format!("there is no run {run}"),
            hint: Some("`tenantctl history` lists the last ones".into()),
        }),
        false => Ok(()),
    }
}

fn run_row(run: &RunRecord) -> Vec<Option<String>> {
    let row = [run.id.to_string(), run.began_at.clone(), result(run), who(run)];
    row.into_iter().chain([run.command_line.clone()]).map(Some).collect()
}

/// Returns `9,998 done, 2 failed: acme, zeta`.
fn result(run: &RunRecord) -> String {
    let words = ["done", "failed", "busy", "not attempted"];
    let counted = run.counts.iter().zip(words).filter(|(number, _)| **number > 0);
    let mut parts: Vec<String> =
        counted.map(|(number, word)| format!("{} {word}", grouped(*number))).collect();
    match run.exit_status {
        None => parts.push("has not ended".into()),
        Some(130) => parts.push("interrupted".into()),
        Some(0) if parts.is_empty() => parts.push("done".into()),
        Some(status) if parts.is_empty() => parts.push(format!("not done: exit status {status}")),
        Some(_) => {}
    }
    let mut text = parts.join(", ");
    if !run.not_done.is_empty() {
        let rest = run.counts[1..].iter().sum::<usize>().saturating_sub(5);
        text += &format!(": {}", few(run.not_done.iter().take(5), 5));
        if rest > 0 {
            text += &format!(" and {} more", grouped(rest));
        }
    }
    text
}

fn who(run: &RunRecord) -> String {
    let user = run.os_user.as_deref().unwrap_or(&run.role);
    run.host.as_ref().map_or_else(|| user.to_owned(), |host| format!("{user}@{host}"))
}

fn entry_row(entry: &Record) -> Vec<Option<String>> {
    let outcome = entry.outcome.map_or("?", |it| it.word());
    vec![
        Some(entry.at.clone()),
        Some(entry.run.to_string()),
        Some(entry.schema.clone()),
        Some(outcome.into()),
        entry.versions.map(versions),
        Some(entry.what.clone()),
        Some(entry.who.clone()),
    ]
}

/// Returns `V11 → V12`, or `V11` where nothing has changed.
fn versions((from, to): (Option<i64>, Option<i64>)) -> String {
    let version = |it: Option<i64>| it.map_or("none".into(), |it| format!("V{it}"));
    match from == to {
        true => version(to),
        false => format!("{} → {}", version(from), version(to)),
    }
}

fn run_fields(run: &RunRecord) -> Value {
    let [done, failed, busy, not_attempted] = run.counts;
    json!({
        "run": run.id,
        "command": run.command,
        "command_line": run.command_line,
        "role": run.role,
        "os_user": run.os_user,
        "host": run.host,
        "version": run.version,
        "began_at": run.began_at,
        "ended_at": run.ended_at,
        "exit_status": run.exit_status,
        "done": done,
        "failed": failed,
        "busy": busy,
        "not_attempted": not_attempted,
    })
}

fn entry_fields(entry: &Record) -> Value {
    json!({
        "run": entry.run,
        "at": entry.at,
        "schema": entry.schema,
        "result": entry.outcome.map(|it| it.word()),
        "from_version": entry.versions.and_then(|it| it.0),
        "to_version": entry.versions.and_then(|it| it.1),
        "what": entry.what,
        "who": entry.who,
        "command_line": entry.command_line,
    })
}
