//! One connection, spoken to in simple-protocol messages.

use std::time::Duration;

use futures_util::StreamExt as _;
use sqlx::postgres::{PgConnection, PgCopyIn, PgDatabaseError, PgRow};
use sqlx::{AssertSqlSafe, Column as _, Either, Executor as _, Row as _, ValueRef as _};
use tokio::time::Instant;

use super::error::{self, ConnectError, Place, SqlError};
use super::quote::literal;

/// A connection to Postgres. It holds no state that matters between two messages.
#[derive(Debug)]
pub struct Connection {
    inner: PgConnection,
    place: Place,
    opened: Instant,
}

/// Why a message was not carried out to its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Incomplete {
    /// The server refused a statement; those before it were carried out.
    #[error(transparent)]
    Sql(SqlError),
    /// The connection is gone, and with it the answer: what was sent may have happened.
    #[error(transparent)]
    Lost(ConnectError),
}

/// A row, each value in Postgres' text form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Vec<Option<String>>);

/// The rows of one statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The columns' names, in their order; known only when there is a row.
    pub columns: Vec<String>,
    /// In the server's order.
    pub rows: Vec<Row>,
    /// How many rows the statement returned or changed.
    pub affected: u64,
}

impl Row {
    pub(crate) fn read(row: &PgRow) -> Self {
        Self((0..row.len()).map(|index| value(row, index)).collect())
    }

    /// Returns the value in column `index` (from 0); `None` when it is NULL.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.0.get(index).and_then(Option::as_deref)
    }

    /// Returns the value in column `index` (from 0), or the empty string when it is NULL.
    pub fn text(&self, index: usize) -> &str {
        self.get(index).unwrap_or_default()
    }

    /// Returns whether column `index` holds `true`.
    pub fn flag(&self, index: usize) -> bool {
        self.get(index) == Some("t")
    }

    /// Returns the number in column `index`, if there is one.
    pub fn number(&self, index: usize) -> Option<i64> {
        self.get(index)?.parse().ok()
    }

    /// Returns the values in their order.
    pub fn values(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().map(Option::as_deref)
    }
}

impl Connection {
    pub(super) fn new(inner: PgConnection, place: Place) -> Self {
        Self { inner, place, opened: Instant::now() }
    }

    /// Returns since when it has been open: no other of the same lane has been since then.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Returns where this connection leads.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the server's version, such as 150018 for 15.18, as the server sent it at start-up.
    pub fn server_version(&self) -> u32 {
        self.inner.server_version_num().unwrap_or_default()
    }

    /// Refuses a server that accepts no changes.
    ///
    /// # Errors
    ///
    /// [`ConnectError::ReadOnly`] where it is a standby, or why it did not answer.
    pub(crate) async fn refuse_standby(&mut self) -> Result<(), ConnectError> {
        match self.ask("select pg_is_in_recovery()").await {
            Ok(rows) if rows.rows[0].flag(0) => {
                Err(ConnectError::ReadOnly { place: self.place.clone().into() })
            }
            Ok(_) | Err(Incomplete::Sql(_)) => Ok(()),
            Err(Incomplete::Lost(error)) => Err(error),
        }
    }

    /// Sends `message`, one or more statements, and returns the rows of each.
    ///
    /// The statements run in one implicit transaction unless the message says `BEGIN` itself
    /// (Postgres documentation, "Multiple Statements in a Simple Query"). The second part of an
    /// error is how many statements were complete before it.
    ///
    /// # Errors
    ///
    /// [`Incomplete`]; after a refused statement the connection can be used again, once a
    /// transaction that the message began has been rolled back.
    pub async fn send(&mut self, message: String) -> Result<Vec<Rows>, (Incomplete, usize)> {
        let mut complete = Vec::new();
        let mut current = Rows::default();
        let mut answers = self.inner.fetch_many(sqlx::raw_sql(AssertSqlSafe(message)));
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Either::Right(row)) => current.push(&row),
                Ok(Either::Left(done)) => {
                    current.affected = done.rows_affected();
                    complete.push(std::mem::take(&mut current));
                }
                Err(error) => {
                    drop(answers);
                    return Err((self.incomplete(&error), complete.len()));
                }
            }
        }
        Ok(complete)
    }

    /// Sends `message` and returns the rows of its last statement.
    pub(super) async fn send_for(&mut self, message: String) -> Result<Rows, Incomplete> {
        let answers = self.send(message).await.map_err(|(incomplete, _)| incomplete)?;
        Ok(answers.into_iter().next_back().unwrap_or_default())
    }

    /// Asks `question`, one statement that changes nothing, and returns its rows.
    ///
    /// It runs in a read-only transaction of its own whose settings do not depend on the role's
    /// defaults: no statement timeout, and a search path of `pg_catalog` alone. It is not compiled:
    /// over large catalogs Postgres would, which takes a new session longer than the answer.
    pub async fn ask(&mut self, question: &str) -> Result<Rows, Incomplete> {
        let answers = self.ask_each(&[question]).await?;
        Ok(answers.into_iter().next_back().unwrap_or_default())
    }

    /// Asks several questions as [`Connection::ask`] does, in one transaction and by one message, and
    /// returns the rows of each.
    pub(crate) async fn ask_each(&mut self, questions: &[&str]) -> Result<Vec<Rows>, Incomplete> {
        let message = format!(
            "begin isolation level read committed, read only; \
             set local search_path = pg_catalog; set local statement_timeout = 0; \
             set local lock_timeout = '10s'; set local jit = off; {}; commit",
            questions.join("; ")
        );
        match self.send(message).await {
            Ok(mut answers) => {
                answers.pop();
                Ok(answers.split_off(answers.len().saturating_sub(questions.len())))
            }
            Err((Incomplete::Sql(error), _)) if !error.fatal => {
                self.roll_back().await?;
                Err(Incomplete::Sql(error))
            }
            Err((incomplete, _)) => Err(incomplete),
        }
    }

    /// Asks `question` in the words of a stranger: the server takes it for one statement or
    /// refuses it (Postgres documentation, "Extended Query"), and it runs in a read-only
    /// transaction of its own with this search path.
    pub(crate) async fn ask_one(
        &mut self,
        question: String,
        path: &str,
    ) -> Result<Rows, Incomplete> {
        let path = literal(path);
        let begin = format!(
            "begin isolation level read committed, read only; \
             select set_config('search_path', {path}, true), \
             set_config('statement_timeout', '0', true), set_config('lock_timeout', '10s', true), \
             set_config('standard_conforming_strings', 'on', true)"
        );
        self.send_for(begin).await?;
        let question = sqlx::query(AssertSqlSafe(question)).persistent(false);
        match question.fetch_all(&mut self.inner).await {
            Ok(answer) => {
                let mut rows = Rows::default();
                answer.iter().for_each(|row| rows.push(row));
                self.send_for("commit".into()).await?;
                Ok(rows)
            }
            Err(error) => match self.incomplete(&error) {
                Incomplete::Sql(error) => {
                    self.roll_back().await?;
                    Err(Incomplete::Sql(error))
                }
                lost => Err(lost),
            },
        }
    }

    /// Ends a transaction that a failed message left open.
    pub async fn roll_back(&mut self) -> Result<(), Incomplete> {
        self.send_for("rollback".into()).await.map(drop)
    }

    /// Ends the connections whose `application_name` begins with `prefix`, and waits until they are
    /// gone.
    pub(crate) async fn end_backends(&mut self, prefix: &str) -> Result<(), Incomplete> {
        let them = format!(
            "from pg_stat_activity where starts_with(application_name, {})",
            literal(prefix)
        );
        self.ask(&format!("select pg_terminate_backend(pid) {them}")).await?;
        while self.ask(&format!("select 1 {them}")).await?.affected > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Closes the connection in good order.
    pub async fn close(self) {
        // Nothing is lost when the goodbye does not arrive: no transaction is open.
        let _ = sqlx::Connection::close(self.inner).await;
    }

    fn incomplete(&self, error: &sqlx::Error) -> Incomplete {
        incomplete(&self.place, error)
    }

    /// Begins to send rows: `statement` is a `COPY … FROM STDIN`.
    pub(crate) async fn copy_in(&mut self, statement: &str) -> Result<CopyIn<'_>, Incomplete> {
        let place = &self.place;
        match self.inner.copy_in_raw(statement).await {
            Ok(inner) => Ok(CopyIn { inner, place }),
            Err(error) => Err(incomplete(place, &error)),
        }
    }
}

/// Rows on their way into a table. Dropped before its end, the statement has failed.
pub(crate) struct CopyIn<'a> {
    inner: PgCopyIn<&'a mut PgConnection>,
    place: &'a Place,
}

impl CopyIn<'_> {
    pub(crate) async fn send(&mut self, data: &[u8]) -> Result<(), Incomplete> {
        let sent = self.inner.send(data).await;
        sent.map(drop).map_err(|error| incomplete(self.place, &error))
    }

    /// Ends the statement, and returns how many rows came.
    pub(crate) async fn finish(self) -> Result<u64, Incomplete> {
        let place = self.place;
        self.inner.finish().await.map_err(|error| incomplete(place, &error))
    }
}

fn incomplete(place: &Place, error: &sqlx::Error) -> Incomplete {
    let lost =
        |reason| Incomplete::Lost(ConnectError::Lost { place: place.clone().into(), reason });
    match error {
        sqlx::Error::Database(e) => {
            let error = SqlError::new(e.downcast_ref::<PgDatabaseError>());
            // The server's last words before it ends the session: terminated by an
            // administrator, shutting down, crashed, idle for too long.
            if error.fatal || error.code.starts_with("57P") {
                return lost(error.message.clone());
            }
            Incomplete::Sql(error)
        }
        other => lost(error::reason(other)),
    }
}

impl Rows {
    fn push(&mut self, row: &PgRow) {
        if self.columns.is_empty() {
            self.columns = row.columns().iter().map(|c| c.name().to_owned()).collect();
        }
        self.rows.push(Row::read(row));
    }
}

fn value(row: &PgRow, index: usize) -> Option<String> {
    let value = row.try_get_raw(index).ok()?;
    if value.is_null() { None } else { value.as_str().ok().map(str::to_owned) }
}
