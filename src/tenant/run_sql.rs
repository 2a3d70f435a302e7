//! SQL that a person wrote, run in one schema and one transaction.

use crate::migration::sql::excerpt;
use crate::migration::sql::{Context, Finding, Folder, Position, Problem, Script, Statement};
use crate::pg::{Connection, Incomplete, Rows, Scope, ScopeError, Scoped, SqlError};

/// SQL that has been read and may be run.
#[derive(Debug, Clone)]
pub struct SqlText {
    origin: String,
    text: String,
    statements: Vec<Statement>,
}

/// What one statement answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The kind of statement, such as `UPDATE`.
    pub kind: String,
    /// Its rows, and how many it returned or changed.
    pub rows: Rows,
}

/// Something that cannot be run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What to do instead.
    pub advice: String,
    /// Where, ready to print.
    pub excerpt: String,
}

/// Why SQL was not run. Nothing is changed then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunSqlError {
    /// There is no statement in it.
    #[error("there is no statement in the SQL")]
    Empty,
    /// A NUL character cannot be sent.
    #[error("the SQL contains a NUL character at byte {offset}")]
    Nul {
        /// From 0.
        offset: usize,
    },
    /// It says what cannot be run here.
    #[error("the SQL says what cannot be run here")]
    Refused(Vec<Refusal>),
    /// The server refused a statement.
    #[error("the server refused {}", if *of == 1 { "the statement".into() } else { format!("statement {number} of {of}") })]
    Statement {
        /// Which statement, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// Where, ready to print.
        excerpt: String,
        /// The server's answer.
        source: SqlError,
    },
    /// The transaction did not come to its end.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

impl SqlText {
    /// Reads `text`, which is called `origin` in messages.
    ///
    /// # Errors
    ///
    /// What would end or leave the transaction, stay on the session, or is for psql, is refused.
    pub fn read(text: &str, origin: &str) -> Result<Self, RunSqlError> {
        if let Some(offset) = text.find('\0') {
            return Err(RunSqlError::Nul { offset });
        }
        // As a shared file's: what a tenant's migration may not name, a person may.
        let script = Script::read(text, &Context::new(Folder::Shared, ""));
        let refusals: Vec<Refusal> =
            script.findings.iter().filter_map(|finding| refusal(finding, text, origin)).collect();
        if !refusals.is_empty() {
            return Err(RunSqlError::Refused(refusals));
        }
        if script.statements.is_empty() {
            return Err(RunSqlError::Empty);
        }
        Ok(Self { origin: origin.to_owned(), text: text.to_owned(), statements: script.statements })
    }

    /// Returns the kind of each statement, such as `UPDATE`.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().map(Statement::kind)
    }

    /// Runs the statements in one transaction, commits, and returns what each answered.
    pub async fn run(
        &self,
        connection: &mut Connection,
        scope: &Scope,
    ) -> Result<Vec<Answer>, RunSqlError> {
        let mut transaction = scope.begin(connection).await?;
        let answers = self.answers(&mut transaction).await?;
        transaction.commit().await?;
        Ok(answers)
    }

    /// Runs the statements in one transaction, rolls back, and returns what each answered.
    pub async fn rehearse(
        &self,
        connection: &mut Connection,
        scope: &Scope,
    ) -> Result<Vec<Answer>, RunSqlError> {
        let mut transaction = scope.begin(connection).await?;
        let answers = self.answers(&mut transaction).await?;
        transaction.rehearse().await?;
        Ok(answers)
    }

    async fn answers(&self, transaction: &mut Scoped<'_>) -> Result<Vec<Answer>, RunSqlError> {
        let mut answers = Vec::new();
        for (index, statement) in self.statements.iter().enumerate() {
            let rows = match transaction.send(statement.text.clone()).await {
                Ok(rows) => rows,
                Err(Incomplete::Sql(error)) => return Err(self.refused(index, error)),
                Err(incomplete) => return Err(RunSqlError::Scope(incomplete.into())),
            };
            let kind = statement.kind();
            answers.extend(rows.into_iter().map(|rows| Answer { kind: kind.to_owned(), rows }));
        }
        Ok(answers)
    }

    fn refused(&self, index: usize, error: SqlError) -> RunSqlError {
        let statement = &self.statements[index];
        let before = self.text[..statement.offset].chars().count();
        let position = match error.position {
            Some(position) => Position::of_character(&self.text, before + position),
            None => Position::of_byte(&self.text, statement.offset),
        };
        let column = error.position.map(|_| position.column);
        RunSqlError::Statement {
            number: index + 1,
            of: self.statements.len(),
            excerpt: excerpt(&self.origin, &self.text, position.line, column),
            source: error,
        }
    }
}

fn refusal(finding: &Finding, text: &str, origin: &str) -> Option<Refusal> {
    let (message, advice) = objection(finding)?;
    Some(Refusal {
        message,
        advice,
        excerpt: excerpt(origin, text, finding.line, Some(finding.column)),
    })
}

const PSQL: &str = "run it in `psql`: `tenantctl tenant-command --schema NAME psql`";

/// Returns what is wrong and what to do, for what a migration may not say and a person may not
/// either: that it would reach another tenant, or whoever a pooler's session serves next.
fn objection(finding: &Finding) -> Option<(String, String)> {
    let session = |what: &str| format!("`{what}` would outlive the transaction");
    let objection = match &finding.problem {
        Problem::TransactionControl { command, .. } => (
            format!("`{command}` would break up the transaction that the SQL runs in"),
            format!("leave `{command}` out: all statements are committed at the end, or none"),
        ),
        Problem::NeedsNoTransaction { command } => (
            format!("`{command}` cannot run in a transaction, and the SQL runs in one"),
            PSQL.to_owned(),
        ),
        Problem::SearchPath { command } => (
            format!("`{command}` would point what comes after it at another schema"),
            "leave it out, and write `schema.table` where another schema is meant".to_owned(),
        ),
        Problem::Backslashes => (
            "`standard_conforming_strings` would change where strings end".to_owned(),
            "leave it out, and write `E'…'` where a backslash begins an escape".to_owned(),
        ),
        Problem::SessionSetting { name, .. } => {
            (session(&format!("SET {name}")), format!("write `SET LOCAL {name} = …`"))
        }
        Problem::SettingReset { command } => (
            session(command),
            "leave it out: what is `SET LOCAL` ends with the transaction".to_owned(),
        ),
        Problem::PsqlCommand { text } => {
            (format!("`{text}` is for the program psql"), PSQL.to_owned())
        }
        Problem::CopyFromStdin { into_table } => (
            match into_table {
                true => "`COPY … FROM STDIN` wants data on the connection",
                false => "`COPY … TO STDOUT` sends data on the connection",
            }
            .to_owned(),
            PSQL.to_owned(),
        ),
        Problem::Unread => ("the SQL is too much for the parser".to_owned(), finding.advice()),
        _ => return None,
    };
    Some(objection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match SqlText::read(text, "command line") {
            Err(RunSqlError::Refused(refusals)) => {
                let line = |it: &Refusal| format!("{}; {}", it.message, it.advice);
                refusals.iter().map(line).collect::<Vec<_>>().join("\n")
            }
            Err(error) => error.to_string(),
            Ok(_) => "accepted".into(),
        }
    }

    #[test]
    fn what_would_leave_the_transaction_or_the_schema_is_refused() {
        let cases = [
            "commit",
            "rollback",
            "begin",
            "vacuum",
            "create index concurrently on t (a)",
            "set search_path = x",
            "set statement_timeout = 0",
            "reset all",
            "discard all",
            "\\d",
            "select :name",
            "copy t from stdin",
            "copy t to stdout",
            "",
            "-- only a comment",
            "select '\0'",
        ];
        let shown = cases.map(|text| format!("{} => {}", text.escape_debug(), refused(text)));
        insta::assert_snapshot!(shown.join("\n"), @r"
        commit => `COMMIT` would break up the transaction that the SQL runs in; leave `COMMIT` out: all statements are committed at the end, or none
        rollback => `ROLLBACK` would break up the transaction that the SQL runs in; leave `ROLLBACK` out: all statements are committed at the end, or none
        begin => `BEGIN` would break up the transaction that the SQL runs in; leave `BEGIN` out: all statements are committed at the end, or none
        vacuum => `VACUUM` cannot run in a transaction, and the SQL runs in one; run it in `psql`: `tenantctl tenant-command --schema NAME psql`
        create index concurrently on t (a) => `CREATE INDEX CONCURRENTLY` cannot run in a transaction, and the SQL runs in one; run it in `psql`: `tenantctl tenant-command --schema NAME psql`
        set search_path = x => `SET search_path` would point what comes after it at another schema; leave it out, and write `schema.table` where another schema is meant
        set statement_timeout = 0 => `SET statement_timeout` would outlive the transaction; write `SET LOCAL statement_timeout = …`
        reset all => `RESET ALL` would outlive the transaction; leave it out: what is `SET LOCAL` ends with the transaction
        discard all => `DISCARD ALL` would outlive the transaction; leave it out: what is `SET LOCAL` ends with the transaction
        \\d => `\d` is for the program psql; run it in `psql`: `tenantctl tenant-command --schema NAME psql`
        select :name => `:name` is for the program psql; run it in `psql`: `tenantctl tenant-command --schema NAME psql`
        copy t from stdin => `COPY … FROM STDIN` wants data on the connection; run it in `psql`: `tenantctl tenant-command --schema NAME psql`
        copy t to stdout => `COPY … TO STDOUT` sends data on the connection; run it in `psql`: `tenantctl tenant-command --schema NAME psql`
         => there is no statement in the SQL
        -- only a comment => there is no statement in the SQL
        select \'\0\' => the SQL contains a NUL character at byte 8
        ");
    }

    #[test]
    fn what_a_person_may_do_is_not() {
        for text in [
            "select 1",
            "update public.t set a = 1",
            "drop schema acme",
            "create role r",
            "set local statement_timeout = 0",
            "savepoint a; rollback to a",
            "selct 1",
            "create extension citext",
            "set role r",
            "create temp table t (a int)",
            "-- tenantctl: nonsense\nselect 1",
            "copy t to '/tmp/x'",
        ] {
            assert_eq!(refused(text), "accepted", "{text}");
        }
    }
}
