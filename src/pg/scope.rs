//! A transaction in one schema: unqualified names mean that schema's, then the shared ones.

use std::time::Duration;

use super::connection::{Connection, Incomplete, Rows};
use super::error::{ConnectError, SqlError};
use super::quote::{identifier, literal, search_path};
use crate::name::SchemaName;

/// The comment on a schema whose deletion takes more than one transaction, from its beginning on. Part of
/// it may be gone, and an unqualified name then means another schema's table.
pub const BEING_DELETED: &str = "tenantctl: being deleted";

/// What a transaction in one schema runs under, whatever the role's own settings are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The schema.
    pub schema: SchemaName,
    /// The schemas behind it in the search path: the shared one, then the extra.
    pub path: Vec<String>,
    /// The longest a statement waits for a lock; for ever when `None`.
    pub lock_timeout: Option<Duration>,
    /// The longest a statement runs; for ever when `None`.
    pub statement_timeout: Option<Duration>,
}

/// A transaction that has begun. It is rolled back unless it is committed: by [`Self::roll_back`],
/// or by the server when the connection ends.
#[derive(Debug)]
pub struct Scoped<'c> {
    connection: &'c mut Connection,
    schema: &'c SchemaName,
}

/// Why a transaction in one schema did not come to its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ScopeError {
    /// There is no such schema, or no longer the whole of it. Postgres would use the next in the path.
    #[error("there is no schema `{}`", schema.as_str().escape_debug())]
    NoSchema {
        /// Its name.
        schema: SchemaName,
    },
    /// The schema was renamed or dropped while the transaction ran.
    #[error("schema `{}` was renamed or dropped before the end", schema.as_str().escape_debug())]
    SchemaGone {
        /// Its name.
        schema: SchemaName,
    },
    /// The connection was lost during the commit, and with it the answer.
    #[error("the connection was lost during the commit, and whether it was made is not known")]
    Unknown(#[source] ConnectError),
    /// The connection was lost, and the server rolls back; or it allows no changes.
    #[error(transparent)]
    Connect(ConnectError),
    /// The server refused a statement.
    #[error("the server refused a statement")]
    Sql(#[source] SqlError),
}

impl From<Incomplete> for ScopeError {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Sql(error) => Self::Sql(error),
            Incomplete::Lost(error) => Self::Connect(error),
        }
    }
}

impl Scope {
    /// Returns the value of `search_path`.
    pub fn search_path(&self) -> String {
        let path = self.path.iter().map(String::as_str);
        search_path(std::iter::once(self.schema.as_str()).chain(path))
    }

    /// Whether the schema is one that tenants read, too.
    pub fn is_shared(&self) -> bool {
        self.path.iter().any(|it| it == self.schema.as_str())
    }

    /// Returns whether there is such a schema.
    pub async fn is_there(&self, connection: &mut Connection) -> Result<bool, Incomplete> {
        let question =
            format!("select {} is not null, {}", oid(&self.schema), permitted(&self.schema));
        Ok(connection.ask(&question).await?.rows[0].flag(0))
    }

    /// Begins a transaction on `connection`.
    ///
    /// # Errors
    ///
    /// [`ScopeError::NoSchema`] when there is no such schema.
    pub async fn begin<'c>(
        &'c self,
        connection: &'c mut Connection,
    ) -> Result<Scoped<'c>, ScopeError> {
        let message = self.beginning(connection.server_version());
        let schema = &self.schema;
        let mut scoped = Scoped { connection, schema };
        let answers = match scoped.send(message).await {
            Err(Incomplete::Sql(error)) if is_read_only(&error) => {
                let place = scoped.connection.place().clone();
                return Err(ScopeError::Connect(ConnectError::ReadOnly { place: place.into() }));
            }
            other => other?,
        };
        let is_there = answers.last().is_some_and(|it| it.rows[0].flag(0));
        if !is_there {
            scoped.roll_back().await;
            let schema = schema.clone();
            return Err(ScopeError::NoSchema { schema });
        }
        Ok(scoped)
    }

    /// Behind a pooler, who had the session before may have left temporary tables, which would hide the
    /// schema's own. The last statement keeps the schema's oid until the end, and says whether there is
    /// one.
    fn beginning(&self, server_version: u32) -> String {
        let calls: Vec<String> = self
            .settings(server_version)
            .iter()
            .map(|(name, value)| format!("set_config('{name}', {}, true)", literal(value)))
            .collect();
        format!(
            "begin isolation level read committed, read write; discard temp; select {}; select {}; \
             select set_config('tenantctl.schema', coalesce({}, ''), true) <> ''",
            calls.join(", "),
            permitted(&self.schema),
            oid(&self.schema)
        )
    }

    fn settings(&self, server_version: u32) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("search_path", self.search_path()),
            ("lock_timeout", milliseconds(self.lock_timeout)),
            ("statement_timeout", milliseconds(self.statement_timeout)),
            ("idle_in_transaction_session_timeout", "60s".into()),
        ];
        if server_version >= 140_000 {
            // The server notices within half a second that its client is gone.
            settings.push(("client_connection_check_interval", "500ms".into()));
        }
        if server_version >= 170_000 {
            settings.push(("transaction_timeout", "0".into()));
        }
        settings
    }
}

/// A standby refuses `begin … read write`, before it is asked for any change.
fn is_read_only(error: &SqlError) -> bool {
    error.is("25006") || error.is("0A000")
}

fn milliseconds(timeout: Option<Duration>) -> String {
    timeout.map_or_else(|| "0".into(), |it| format!("{}ms", it.as_millis().max(1)))
}

/// Returns an expression that fails where the role may not use the schema. Postgres would pass over
/// it in the search path without a word, and take the next one ("The Schema Search Path").
fn permitted(schema: &SchemaName) -> String {
    format!("pg_catalog.to_regclass({})", literal(&format!("{}.x", identifier(schema.as_str()))))
}

fn oid(schema: &SchemaName) -> String {
    format!(
        "(select oid::text from pg_catalog.pg_namespace where nspname = {} \
         and pg_catalog.obj_description(oid, 'pg_namespace') is distinct from '{BEING_DELETED}')",
        literal(schema.as_str())
    )
}

impl Scoped<'_> {
    /// Sends a message, and returns the rows of each of its statements. After an error the
    /// transaction has been rolled back.
    pub async fn send(&mut self, message: String) -> Result<Vec<Rows>, Incomplete> {
        match self.connection.send(message).await {
            Ok(answers) => Ok(answers),
            Err((incomplete, _)) => {
                if matches!(incomplete, Incomplete::Sql(_)) {
                    self.end().await;
                }
                Err(incomplete)
            }
        }
    }

    /// Commits, after everything deferred has been done and nothing is left on the session, which
    /// behind a pooler serves somebody else next.
    ///
    /// # Errors
    ///
    /// [`ScopeError::SchemaGone`] when the schema no longer has its name: then unqualified names
    /// may have meant another schema's. Nothing is committed.
    pub async fn commit(mut self) -> Result<(), ScopeError> {
        self.complete().await?;
        match self.send("commit".into()).await {
            Err(Incomplete::Lost(error)) => Err(ScopeError::Unknown(error)),
            other => Ok(other.map(drop)?),
        }
    }

    /// Does what [`Self::commit`] does, but rolls back in the end.
    ///
    /// # Errors
    ///
    /// Those that [`Self::commit`] would have had.
    pub async fn rehearse(mut self) -> Result<(), ScopeError> {
        self.complete().await?;
        self.end().await;
        Ok(())
    }

    async fn complete(&mut self) -> Result<(), ScopeError> {
        let question = format!(
            "set constraints all immediate; \
             select {} is not distinct from current_setting('tenantctl.schema', true)",
            oid(self.schema)
        );
        let answers = self.send(question).await?;
        if !answers.last().is_some_and(|it| it.rows[0].flag(0)) {
            self.end().await;
            let schema = self.schema.clone();
            return Err(ScopeError::SchemaGone { schema });
        }
        self.send(
            "reset session authorization; reset role; close all; deallocate all; unlisten *; \
             discard temp; select pg_catalog.pg_advisory_unlock_all()"
                .into(),
        )
        .await?;
        Ok(())
    }

    /// Rolls back.
    pub async fn roll_back(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        // When it cannot be said, the connection is gone, and the server has done it.
        let _ = self.connection.roll_back().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_sets_what_the_role_may_have_set_otherwise() {
        let scope = Scope {
            schema: SchemaName::registered("o'brien"),
            path: vec!["public".into()],
            lock_timeout: Some(Duration::from_secs(2)),
            statement_timeout: None,
        };
        insta::assert_snapshot!(scope.beginning(130_000), @r#"begin isolation level read committed, read write; discard temp; select set_config('search_path', '"o''brien", "public"', true), set_config('lock_timeout', '2000ms', true), set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '60s', true); select pg_catalog.to_regclass('"o''brien".x'); select set_config('tenantctl.schema', coalesce((select oid::text from pg_catalog.pg_namespace where nspname = 'o''brien' and pg_catalog.obj_description(oid, 'pg_namespace') is distinct from 'tenantctl: being deleted'), ''), true) <> ''"#);
    }
}
