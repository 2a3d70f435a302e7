//! `tenant-command sql`: statements, run in one schema and one transaction.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Target;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::report::Report;
use crate::cli::selection::read_text;
use crate::cli::text::{few, grouped, printable};
use crate::pg::Rows;
use crate::tenant::{Answer, SqlText};

/// Run SQL for which unqualified names mean the schema's tables
///
/// All statements run in one transaction, which is committed at the end. Rows are written as a
/// table to a terminal, as tab-separated values to a pipe, or as JSON; counts go to stderr.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct SqlArgs {
    /// The statements
    #[arg(group = "source", value_name = "SQL", allow_hyphen_values = true)]
    sql: Option<String>,

    /// A file with the statements; `-` is stdin
    #[arg(long, short, group = "source", value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) async fn run(context: &mut Context, target: &Target, args: &SqlArgs) -> CommandResult {
    let sql = args.read()?;
    let mut connection = target.connect().await?;
    let answers = sql.run(&mut connection, &target.scope).await?;
    connection.close().await;
    let changing: Vec<String> = answers.iter().filter(|it| changes(it)).map(tag).collect();
    if !changing.is_empty() {
        let (database, schema) = (&target.database, &target.scope.schema);
        let what = format!("sql: {}", few(changing.iter(), 10));
        context.record_done("tenant-command", database, schema, what).await;
    }
    for (index, answer) in answers.iter().enumerate() {
        show(&context.report, index, answer);
    }
    Ok(ExitCode::Done)
}

impl SqlArgs {
    fn read(&self) -> Result<SqlText, CommandError> {
        let (text, origin) = match (&self.sql, &self.file) {
            (Some(sql), _) => (sql.clone(), "command line".to_owned()),
            (None, Some(file)) => (read_text(file)?, origin(file)),
            (None, None) => unreachable!("clap requires one of them"),
        };
        Ok(SqlText::read(&text, &origin)?)
    }
}

fn origin(file: &Path) -> String {
    match file {
        file if file == Path::new("-") => "stdin".into(),
        file => file.display().to_string(),
    }
}

fn show(report: &Report, index: usize, answer: &Answer) {
    let Rows { columns, rows, .. } = &answer.rows;
    if report.is_json() {
        return show_json(report, index + 1, answer);
    }
    if !columns.is_empty() {
        let header: Vec<String> = columns.iter().map(|name| printable(name)).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let owned = |value: Option<&str>| value.map(str::to_owned);
        let rows: Vec<_> = rows.iter().map(|row| row.values().map(owned).collect()).collect();
        report.list("row", &header, &rows);
    }
    report.say(tag(answer));
}

/// Returns `UPDATE 3`, `CREATE TABLE`, `SELECT 0`.
fn tag(answer: &Answer) -> String {
    let (command, count) = (command(answer), answer.rows.affected);
    match COUNTED.contains(&command) || count > 0 {
        true => format!("{command} {}", grouped(count as usize)),
        false => command.to_owned(),
    }
}

/// What is told with a count, be it 0.
const COUNTED: [&str; 8] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "FETCH", "MOVE", "COPY"];

/// Whether the statement is one that changes something; a SELECT may, by what it calls, but mostly
/// does not.
fn changes(answer: &Answer) -> bool {
    let looks = ["SELECT", "EXPLAIN", "SHOW", "SET", "FETCH", "MOVE", "DECLARE", "CLOSE", "LOCK"];
    !looks.contains(&command(answer))
}

/// Returns what was done, as Postgres tells it.
fn command(answer: &Answer) -> &str {
    match answer.kind.as_str() {
        "TABLE" | "VALUES" => "SELECT",
        kind => kind,
    }
}

fn show_json(report: &Report, statement: usize, answer: &Answer) {
    for row in &answer.rows.rows {
        let columns = distinct(&answer.rows.columns);
        let row: Map<String, Value> =
            columns.into_iter().zip(row.values().map(Value::from)).collect();
        report.object("row", json!({ "statement": statement, "row": row }));
    }
    let (command, rows) = (command(answer), answer.rows.affected);
    let fields = json!({ "statement": statement, "command": command, "rows": rows });
    report.object("statement", fields);
}

/// Returns the columns' names, each once: SQL may give one name to several.
fn distinct(columns: &[String]) -> Vec<String> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let number = |name| {
        let count = seen.entry(name).or_default();
        *count += 1;
        match *count {
            1 => String::from(name),
            count => format!("{name} ({count})"),
        }
    };
    columns.iter().map(String::as_str).map(number).collect()
}
