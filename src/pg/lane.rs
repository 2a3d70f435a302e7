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
    settings: Option<Vec<(&'static str, String)>>,
    connection: Option<Connection>,
    is_direct: bool,
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
            settings: None,
            connection: None,
            is_direct: false,
            opened: None,
            served: 0,
            replace_after,
        }
    }

    /// Sets what the sessions of this lane have from their start, where no pooler stands in between
    /// ([`Lane::is_direct`]).
    pub(crate) fn with_session(self, settings: Vec<(&'static str, String)>) -> Self {
        Self { settings: Some(settings), ..self }
    }

    /// Whether there is a connection which is known to lead straight to the server, with the
    /// settings of [`Lane::with_session`].
    pub(crate) fn is_direct(&self) -> bool {
        self.is_direct && self.connection.is_some()
    }

    /// Whether the connection's session has had settings from its start.
    pub(crate) fn has_session(&self) -> bool {
        self.is_direct() && self.settings.as_ref().is_some_and(|it| !it.is_empty())
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
            self.connection = Some(self.connect().await?);
            self.opened = Some(Instant::now());
            self.served = 0;
        }
        self.served += units;
        Ok(self.connection.as_mut().expect("opened above"))
    }

    async fn connect(&mut self) -> Result<Connection, ConnectError> {
        let (database, name) = (&self.database, &self.application_name);
        if let Some(settings) = &self.settings
            && let Some(connection) = database.connect_directly(name, settings).await?
        {
            self.is_direct = true;
            return Ok(connection);
        }
        self.is_direct = false;
        database.connect(name).await
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
