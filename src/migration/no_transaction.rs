//! Files that cannot run in a transaction: statement by statement, in a session of their own that
//! holds the schema's lock, and recorded when all succeeded.
//!
//! A concurrent index that failed is left behind invalid. It is reported by name, and the next run
//! removes it and builds it again; one that is valid is kept (Postgres documentation, "Building
//! Indexes Concurrently").

use std::time::Duration;

use tokio::time::Instant;

use super::executor::Executor;
use super::history::{HISTORY_TABLE, differs_from};
use super::holders;
use super::queue::Task;
use super::script::{self, ScriptOptions, Subject, lock_key};
use super::sql::{ConcurrentIndex, Statement};
use super::worker::Verdict;
use crate::event::{Blockage, BlockageKind, Cause, Failure, Site};
use crate::pg::{
    ConnectError, Connection, Incomplete, Rows, SqlError, identifier, literal, qualified,
};

/// A statement that works concurrently waits for old transactions, and nobody waits behind it: it
/// may wait so many times longer than others.
const PATIENCE: u32 = 30;

/// Carries out one file.
pub(super) async fn attempt(
    executor: &Executor<'_>,
    options: ScriptOptions,
    task: &Task,
    file: usize,
) -> Verdict {
    let connection = match executor.database.connect_directly(&options.application_name, &[]).await
    {
        Ok(Some(connection)) => connection,
        Ok(None) => return Verdict::Failed(Box::new(Cause::Pooled.into())),
        Err(error) => return Verdict::NoConnection(error),
    };
    let options = ScriptOptions { server_version: connection.server_version(), ..options };
    let mut session =
        Session { executor, connection, task, file, effects: Vec::new(), is_repeatable: true };
    let verdict = match session.run(&options).await {
        Ok(()) => Verdict::Applied {
            files: 1,
            is_last: is_last(task),
            has_waited: true,
            is_proven: false,
        },
        Err(verdict) => verdict,
    };
    // The lock ends with the session.
    session.connection.close().await;
    verdict
}

/// A schema that is being created is registered in a transaction of its own.
fn is_last(task: &Task) -> bool {
    task.planned.plan.pending.len() == 1 && task.creation.is_none()
}

struct Session<'a> {
    executor: &'a Executor<'a>,
    connection: Connection,
    task: &'a Task,
    file: usize,
    /// What has taken effect so far, in words.
    effects: Vec<String>,
    /// What has taken effect does no harm when it is run again: it will be found there.
    is_repeatable: bool,
}

impl Session<'_> {
    async fn run(&mut self, options: &ScriptOptions) -> Result<(), Verdict> {
        self.lock().await?;
        self.guard().await?;
        self.send(&script::settings(&self.task.schema, options, false)).await?;
        self.send("set default_transaction_read_only = off").await?;
        let migrations = self.executor.migrations;
        for (index, statement) in migrations.statements(self.file).iter().enumerate() {
            self.wait_for_locks(statement, options).await?;
            self.statement(index, statement).await?;
        }
        self.record().await
    }

    /// Sets how long `statement` waits for a lock.
    async fn wait_for_locks(
        &mut self,
        statement: &Statement,
        options: &ScriptOptions,
    ) -> Result<(), Verdict> {
        let longest = self.executor.options.lock_timeout;
        let timeout = match statement.is_concurrent {
            true => longest.map(|it| it * PATIENCE),
            false => options.lock_timeout,
        };
        let milliseconds = timeout.map_or(0, |it| it.as_millis());
        self.send(&format!("set lock_timeout = {milliseconds}")).await.map(drop_rows)
    }

    /// Takes the schema's lock for the session, or says who has it.
    async fn lock(&mut self) -> Result<(), Verdict> {
        let question = format!("select pg_try_advisory_lock({})", lock_key(&self.task.schema));
        if self.send(&question).await?.rows[0].flag(0) {
            return Ok(());
        }
        let holders = holders::of_schema_lock(&mut self.connection, &self.task.schema).await;
        let holders = holders.unwrap_or_default();
        Err(Verdict::blocked(None, BlockageKind::SchemaLock, holders))
    }

    /// Refuses to go on when the schema is gone or its history is not what the plan was made from.
    async fn guard(&mut self) -> Result<(), Verdict> {
        let name = literal(self.task.schema.as_str());
        let exists = format!("select count(*) = 1 from pg_namespace where nspname = {name}");
        if !self.send(&exists).await?.rows[0].flag(0) {
            return Err(Verdict::Failed(Box::new(Cause::NoSchema.into())));
        }
        let table = qualified(&self.task.schema, HISTORY_TABLE);
        let history = &self.task.planned.history;
        let question = match history.width {
            Some(_) => format!("select {} from {table}", differs_from(history)),
            None => format!("select to_regclass({}) is not null", literal(&table)),
        };
        match self.connection.ask(&question).await {
            Ok(rows) if !rows.rows[0].flag(0) => Ok(()),
            Ok(_) | Err(Incomplete::Sql(_)) => Err(Verdict::HistoryChanged),
            Err(Incomplete::Lost(error)) => Err(Verdict::Lost(error)),
        }
    }

    async fn statement(&mut self, index: usize, statement: &Statement) -> Result<(), Verdict> {
        let wanted = statement.concurrent_index();
        if let Some(wanted) = wanted
            && self.keep_or_remove(index, wanted).await?
        {
            self.note(statement, "was there already");
            return Ok(());
        }
        let begun = Instant::now();
        match self.connection.send(statement.text.clone()).await {
            Ok(_) => {}
            Err((Incomplete::Lost(error), _)) => {
                if wanted.is_none_or(|it| it.name.is_none()) {
                    self.note(statement, "may have taken effect");
                    self.is_repeatable = false;
                }
                return Err(self.lost(error, Some(index)));
            }
            Err((Incomplete::Sql(error), _)) => {
                return Err(self.refused(index, wanted, error, begun.elapsed()).await);
            }
        }
        if let Some(wanted) = wanted
            && let Some(name) = &wanted.name
            && self.is_valid(wanted).await? == Some(false)
        {
            let cause = Cause::InvalidIndex { index: name.clone() };
            return Err(self.failed(index, None, cause, wanted.name.clone()));
        }
        self.note(statement, "took effect");
        self.is_repeatable &= wanted.is_some_and(|it| it.name.is_some());
        Ok(())
    }

    fn note(&mut self, statement: &Statement, what: &str) {
        self.effects.push(format!("`{}` in line {} {what}", statement.kind(), statement.line));
    }

    /// Returns whether the index is there and valid. One that an earlier attempt left behind
    /// invalid is removed.
    async fn keep_or_remove(
        &mut self,
        index: usize,
        wanted: &ConcurrentIndex,
    ) -> Result<bool, Verdict> {
        match self.is_valid(wanted).await? {
            Some(true) => Ok(true),
            Some(false) => self.remove(index, wanted).await.map(|()| false),
            None => Ok(false),
        }
    }

    /// Returns whether the index is valid, or `None` when there is none of that name on that table
    /// in this schema.
    async fn is_valid(&mut self, wanted: &ConcurrentIndex) -> Result<Option<bool>, Verdict> {
        let (Some(name), Some(table)) = (&wanted.name, &wanted.table) else {
            return Ok(None);
        };
        let question = format!(
            "select i.indisvalid and i.indisready from pg_catalog.pg_index i \
             join pg_catalog.pg_class c on c.oid = i.indexrelid \
             join pg_catalog.pg_class t on t.oid = i.indrelid \
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             where n.nspname = {} and c.relname = {} and t.relname = {}",
            literal(self.task.schema.as_str()),
            literal(name),
            literal(table)
        );
        let rows = self.send(&question).await?;
        Ok(rows.rows.first().map(|row| row.flag(0)))
    }

    async fn remove(&mut self, index: usize, wanted: &ConcurrentIndex) -> Result<(), Verdict> {
        let Some(name) = &wanted.name else {
            return Ok(());
        };
        let schema = identifier(self.task.schema.as_str());
        let drop = format!("drop index concurrently if exists {schema}.{}", identifier(name));
        let begun = Instant::now();
        match self.connection.send(drop).await {
            Ok(_) => Ok(()),
            Err((Incomplete::Lost(error), _)) => Err(self.lost(error, Some(index))),
            Err((Incomplete::Sql(error), _)) => {
                Err(self.refused(index, Some(wanted), error, begun.elapsed()).await)
            }
        }
    }

    /// Says what a refused statement means, and what it leaves behind.
    async fn refused(
        &mut self,
        index: usize,
        wanted: Option<&ConcurrentIndex>,
        error: SqlError,
        elapsed: Duration,
    ) -> Verdict {
        let invalid = match wanted {
            Some(wanted) => match self.is_valid(wanted).await {
                Ok(Some(false)) => wanted.name.clone(),
                _ => None,
            },
            None => None,
        };
        let offset = error.position.map(|position| position.saturating_sub(1));
        // What was in the way may be gone in a moment, but what took effect is not done twice.
        if self.is_repeatable && is_passing(&error) {
            let site = Some(self.executor.migrations.site(self.file, index, None));
            return blocked(site, error, self.left_behind(invalid));
        }
        let limit = self.executor.options.statement_timeout;
        let cause = match error.is("57014") {
            true => Cause::cancelled(error, limit, elapsed),
            false => Cause::Sql(error),
        };
        self.failed(index, offset, cause, invalid)
    }

    fn failed(
        &self,
        index: usize,
        character: Option<usize>,
        cause: Cause,
        invalid: Option<String>,
    ) -> Verdict {
        let migrations = self.executor.migrations;
        let text = &migrations.statements(self.file)[index].text;
        let offset = character.and_then(|it| text.char_indices().nth(it)).map(|(byte, _)| byte);
        let site = Some(migrations.site(self.file, index, offset));
        let left_behind = self.left_behind(invalid);
        Verdict::Failed(Box::new(Failure { site, cause, left_behind }))
    }

    /// Returns what is there now, with the name of an invalid index.
    fn left_behind(&self, invalid: Option<String>) -> Vec<String> {
        let invalid = invalid.map(|name| {
            format!("the invalid index `{name}`; the next run removes it and builds it again")
        });
        self.effects.iter().cloned().chain(invalid).collect()
    }

    /// Records the file, making the history table first where there is none.
    async fn record(&mut self) -> Result<(), Verdict> {
        let planned = &self.task.planned;
        let subject = Subject {
            schema: &self.task.schema,
            history: &planned.history,
            migrations: self.executor.migrations,
            files: &[self.file],
            creation: None,
        };
        let mut message = String::from("reset role;");
        if planned.history.width.is_none() {
            let width = self.executor.migrations.new_table_width();
            message += &script::create_history_table(&self.task.schema, width);
            message.push(';');
        }
        for statement in script::widening(subject) {
            message += &statement;
            message.push(';');
        }
        message += &script::history_rows(subject);
        self.send(&message).await.map(drop_rows)
    }

    /// Says what a lost connection means: what must not be run twice is not tried again.
    fn lost(&self, error: ConnectError, statement: Option<usize>) -> Verdict {
        if self.is_repeatable {
            return Verdict::Lost(error);
        }
        let migrations = self.executor.migrations;
        let failure = Failure {
            site: statement.map(|it| migrations.site(self.file, it, None)),
            cause: Cause::Lost(error.clone()),
            left_behind: self.effects.clone(),
        };
        Verdict::LostMidway(error, Box::new(failure))
    }

    async fn send(&mut self, message: &str) -> Result<Rows, Verdict> {
        match self.connection.send(message.to_owned()).await {
            Ok(mut rows) => Ok(rows.pop().unwrap_or_default()),
            Err((Incomplete::Lost(error), _)) => Err(self.lost(error, None)),
            Err((Incomplete::Sql(error), _)) if self.is_repeatable && is_passing(&error) => {
                Err(blocked(None, error, self.effects.clone()))
            }
            Err((Incomplete::Sql(error), _)) => Err(Verdict::Failed(Box::new(Failure {
                site: None,
                cause: Cause::Sql(error),
                left_behind: self.effects.clone(),
            }))),
        }
    }
}

fn is_passing(error: &SqlError) -> bool {
    error.is_lock_not_available() || error.is_conflict()
}

fn blocked(site: Option<Site>, error: SqlError, left_behind: Vec<String>) -> Verdict {
    let kind = match error.is_conflict() {
        true => BlockageKind::Conflict(error),
        false => BlockageKind::Lock(error),
    };
    Verdict::Blocked(Box::new(Blockage { site, kind, holders: Vec::new(), left_behind }))
}

fn drop_rows(_: Rows) {}
