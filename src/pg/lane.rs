//! A connection that is opened when first needed, and replaced before it has grown large.

use std::time::Duration;

use tokio::time::Instant;

use super::connect::Database;
use super::connection::{Connection, Incomplete};
use super::error::ConnectError;
use super::quote::literal;

/// How long the server may take to end a session that said goodbye. Behind a pooler, which keeps
/// its sessions, nobody waits for longer.
const GOODBYE: Duration = Duration::from_millis(200);

/// What the sessions of a lane have from their start, where no pooler stands in between.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    /// Settings and their values, given at start-up.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// A `PREPARE`, for what is asked often.
    pub(crate) prepare: &'static str,
}

/// One of a run's connections. What it serves is counted, because a backend keeps what it learns
/// of every table it touches, and gives it back only when it ends.
#[derive(Debug)]
pub struct Lane {
    database: Database,
    application_name: String,
    session: Option<Session>,
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
            session: None,
            connection: None,
            is_direct: false,
            opened: None,
            served: 0,
            replace_after,
        }
    }

    /// Sets what the sessions of this lane have from their start.
    pub(crate) fn with_session(self, session: Session) -> Self {
        Self { session: Some(session), ..self }
    }

    /// Whether there is a connection which is known to lead straight to the server, and so has the
    /// lane's [`Session`].
    pub(crate) fn is_direct(&self) -> bool {
        self.is_direct && self.connection.is_some()
    }

    /// Returns `number` others to the same database, not yet connected.
    pub(crate) fn others(&self, number: usize) -> Vec<Self> {
        let other = |_| Self::new(&self.database, &self.application_name, self.replace_after);
        (0..number).map(other).collect()
    }

    /// Sets after how many units more the connection is replaced.
    pub(crate) fn replaced_after(self, units: usize) -> Self {
        Self { replace_after: units, served: 0, ..self }
    }

    /// Returns what the connection is called in `pg_stat_activity`.
    pub fn application_name(&self) -> &str {
        &self.application_name
    }

    /// Whether there is a connection.
    pub fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether there is a connection that has served any units.
    pub(crate) fn has_served(&self) -> bool {
        self.connection.is_some() && self.served > 0
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
        self.is_direct = false;
        if let Some(Session { settings, prepare }) = &self.session {
            match database.connect_directly(name, settings).await {
                Ok(Some(connection)) if prepare.is_empty() => {
                    self.is_direct = true;
                    return Ok(connection);
                }
                Ok(Some(mut connection)) => {
                    match connection.send((*prepare).to_owned()).await {
                        Ok(_) => {
                            self.is_direct = true;
                            return Ok(connection);
                        }
                        Err((Incomplete::Lost(error), _)) => return Err(error),
                        // A server that does not know what is asked.
                        Err((Incomplete::Sql(_), _)) => connection.close().await,
                    }
                }
                Err(error @ ConnectError::NoAnswer { .. }) => return Err(error),
                Err(error) if error.is_too_many_clients() || error.is_of_login() => {
                    return Err(error);
                }
                // A pooler says no in words of its own, or hangs up.
                Ok(None) | Err(_) => {}
            }
        }
        database.connect(name).await
    }

    /// Gives the open connection another name and what a [`Session`] has from its start; returns
    /// whether it has them. Only between transactions.
    pub(crate) async fn turn_into(&mut self, application_name: &str, session: Session) -> bool {
        let Some(connection) = self.connection.as_mut().filter(|_| self.is_direct) else {
            return false;
        };
        let name = [("application_name", application_name.to_owned())];
        let settings = name.iter().chain(&session.settings);
        let settings: Vec<String> = settings
            .map(|(name, value)| format!("set_config('{name}', {}, false)", literal(value)))
            .collect();
        let message = format!("select {}; {}", settings.join(", "), session.prepare);
        if connection.send(message).await.is_err() {
            self.abandon();
            return false;
        }
        application_name.clone_into(&mut self.application_name);
        self.session = Some(session);
        true
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
