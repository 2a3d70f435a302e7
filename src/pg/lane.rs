//! A connection that is opened when first needed, and replaced before it has grown large.

use std::time::Duration;

use tokio::time::Instant;

use super::connect::Database;
use super::connection::Connection;
use super::error::ConnectError;
use super::quote::literal;

/// How long the server may take to end a session that said goodbye. Behind a pooler, which keeps
/// its sessions, nobody waits for longer.
const GOODBYE: Duration = Duration::from_millis(200);

/// One of a run's connections. What it serves is counted, because a backend keeps what it learns
/// of every table it touches, and gives it back only when it ends.
#[derive(Debug)]
pub struct Lane {
    database: Database,
    application_name: String,
    connection: Option<Connection>,
    opened: Option<Instant>,
    served: usize,
    replace_after: usize,
}

impl Lane {
    /// Returns a lane to `database`, not yet connected, whose connection is replaced after it has
    /// served `replace_after` units.
    pub fn new(database: &Database, application_name: &str, replace_after: usize) -> Self {
        Self {
            database: database.clone(),
            application_name: application_name.to_owned(),
            connection: None,
            opened: None,
            served: 0,
            replace_after,
        }
    }

    /// Returns another lane to the same database, not yet connected.
    pub fn another(&self, application_name: &str) -> Self {
        Self::new(&self.database, application_name, self.replace_after)
    }

    /// Returns what the connection is called in `pg_stat_activity`.
    pub fn application_name(&self) -> &str {
        &self.application_name
    }

    /// Whether there is a connection.
    pub fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether the connection would be replaced before it serves `units`.
    pub fn is_due(&self, units: usize) -> bool {
        self.connection.is_some() && self.served + units > self.replace_after
    }

    /// Returns the open connection, opening or replacing it first, and counts `units` as served.
    pub async fn serve(&mut self, units: usize) -> Result<&mut Connection, ConnectError> {
        if self.served + units > self.replace_after {
            self.close().await;
        }
        if self.connection.is_none() {
            self.connection = Some(self.database.connect(&self.application_name).await?);
            self.opened = Some(Instant::now());
            self.served = 0;
        }
        self.served += units;
        Ok(self.connection.as_mut().expect("opened above"))
    }

    /// Takes over a connection that has just been opened.
    pub(crate) fn adopt(&mut self, connection: Connection) {
        self.connection = Some(connection);
        self.opened = Some(Instant::now());
        self.served = 0;
    }

    /// Returns since when the connection has been open; `None` where there is none.
    pub(crate) fn open_since(&self) -> Option<Instant> {
        self.opened.filter(|_| self.connection.is_some())
    }

    /// Forgets the connection if the server has ended it meanwhile, as `idle_session_timeout` says.
    /// Only between transactions.
    pub async fn check(&mut self) {
        if let Some(connection) = &mut self.connection
            && connection.ask("select").await.is_err()
        {
            self.connection = None;
        }
    }

    /// Waits until the server has ended the sessions that are called `application_name` and have
    /// said goodbye, so that others may take their places.
    pub async fn wait_until_gone(&mut self, application_name: &str) {
        let question = format!(
            "select count(*) from pg_stat_activity where application_name = {}",
            literal(application_name)
        );
        let gone = async {
            while let Ok(connection) = self.serve(0).await {
                match connection.ask(&question).await {
                    Ok(rows) if rows.rows[0].number(0) == Some(0) => return,
                    Ok(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                    Err(_) => return self.abandon(),
                }
            }
        };
        // Where the server does not answer there is nothing to wait for either.
        let _ = tokio::time::timeout(GOODBYE, gone).await;
    }

    /// Forgets the connection: it is lost, or its session is not to be used again.
    pub fn abandon(&mut self) {
        self.connection = None;
    }

    /// Closes the connection in good order.
    pub async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }
}
