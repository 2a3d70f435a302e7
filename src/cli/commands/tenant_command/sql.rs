//! `tenant-command sql`: statements, run in one schema and one transaction.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Target;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::report::{Format, Report, object, separated, table};
use crate::cli::selection::read_text;
use crate::cli::text::{few, grouped, printable};
use crate::name::SchemaName;
use crate::pg::{Row, Rows};
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

    /// Run everything, show what it answers, and roll it back
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(context: &mut Context, target: &Target, args: &SqlArgs) -> CommandResult {
    let sql = args.read()?;
    let mut connection = target.connect().await?;
    let answers = match args.dry_run {
        true => sql.rehearse(&mut connection, &target.scope).await?,
        false => sql.run(&mut connection, &target.scope).await?,
    };
    connection.close().await;
    if let Some(what) = changed(&answers).filter(|_| !args.dry_run) {
        let (database, schema) = (&target.database, &target.scope.schema);
        context.record_done("tenant-command", database, schema, what).await;
    }
    for (index, answer) in answers.iter().enumerate() {
        show(&context.report, index, answer);
    }
    if args.dry_run {
        say_rolled_back(&context.report);
    }
    Ok(ExitCode::Done)
}

/// Says that nothing that was shown has stayed.
fn say_rolled_back(report: &Report) {
    report.say("rolled back: nothing was changed");
    report.object("dry_run", json!({}));
}

impl SqlArgs {
    /// Whether everything is to be rolled back.
    pub(in crate::cli::commands) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether the statements come from stdin.
    pub(in crate::cli::commands) fn reads_stdin(&self) -> bool {
        self.file.as_deref() == Some(Path::new("-"))
    }

    pub(in crate::cli::commands) fn read(&self) -> Result<SqlText, CommandError> {
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
    let shown = Shown::of(report, None, index, answer, std::io::stdout().is_terminal());
    for line in shown.answers {
        report.line(line);
    }
    shown.said.into_iter().for_each(|line| report.say(line));
}

/// What is shown of the answer to one statement.
pub(in crate::cli::commands) struct Shown {
    /// For stdout: a table, separated values, or objects. Each may have several lines.
    pub(in crate::cli::commands) answers: Vec<String>,
    /// For stderr.
    pub(in crate::cli::commands) said: Option<String>,
}

impl Shown {
    /// Returns what is shown of the answer to the `index`th statement, from 0; in JSON with the
    /// schema, where there may be others.
    pub(in crate::cli::commands) fn of(
        report: &Report,
        schema: Option<&SchemaName>,
        index: usize,
        answer: &Answer,
        for_terminal: bool,
    ) -> Self {
        if report.is_json() {
            let answers = objects(schema, index + 1, answer);
            return Self { answers, said: None };
        }
        let Rows { columns, rows, .. } = &answer.rows;
        let mut answers = Vec::new();
        if !columns.is_empty() {
            let header: Vec<String> = columns.iter().map(|name| printable(name)).collect();
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let owned = |value: Option<&str>| value.map(str::to_owned);
            let rows: Vec<_> = rows.iter().map(|row| row.values().map(owned).collect()).collect();
            answers.push(match report.format == Format::Text && for_terminal {
                true => table(&header, &rows),
                false => separated(&header, &rows),
            });
        }
        Self { answers, said: Some(tag(answer)) }
    }
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

/// Returns what the run log says of statements that changed something.
pub(in crate::cli::commands) fn changed(answers: &[Answer]) -> Option<String> {
    let changing = answers.iter().filter(|it| changes(&it.kind));
    let changing: Vec<String> = changing.map(tag).collect();
    (!changing.is_empty()).then(|| format!("sql: {}", few(changing.iter(), 10)))
}

/// Whether a statement of that kind changes something; a SELECT may, by what it calls, but mostly
/// does not.
pub(in crate::cli::commands) fn changes(kind: &str) -> bool {
    let looks = [
        "SELECT", "TABLE", "VALUES", "EXPLAIN", "SHOW", "SET", "FETCH", "MOVE", "DECLARE", "CLOSE",
        "LOCK",
    ];
    !looks.contains(&kind)
}

/// Returns what was done, as Postgres tells it.
fn command(answer: &Answer) -> &str {
    match answer.kind.as_str() {
        "TABLE" | "VALUES" => "SELECT",
        kind => kind,
    }
}

fn objects(schema: Option<&SchemaName>, statement: usize, answer: &Answer) -> Vec<String> {
    let line = |kind: &str, fields: Value| {
        let mut all = Map::new();
        all.extend(schema.map(|schema| ("schema".to_owned(), json!(schema))));
        all.insert("statement".to_owned(), json!(statement));
        if let Value::Object(fields) = fields {
            all.extend(fields);
        }
        object(kind, Value::Object(all)).to_string()
    };
    let columns = distinct(&answer.rows.columns);
    let row = |row: &Row| {
        let values = row.values().map(Value::from);
        let row: Map<String, Value> = columns.iter().cloned().zip(values).collect();
        line("row", json!({ "row": row }))
    };
    let mut lines: Vec<String> = answer.rows.rows.iter().map(row).collect();
    let (command, rows) = (command(answer), answer.rows.affected);
    lines.push(line("statement", json!({ "command": command, "rows": rows })));
    lines
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
