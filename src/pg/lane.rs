//! A connection that is opened when first needed, and replaced before it has grown large.

use super::connect::Database;
use super::connection::Connection;
use super::error::ConnectError;

/// One of a run's connections. What it serves is counted, because a backend keeps what it learns
/// of every table it touches, and gives it back only when it ends.
#[derive(Debug)]
pub struct Lane {
    database: Database,
    application_name: String,
    connection: Option<Connection>,
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
            served: 0,
            replace_after,
        }
    }

    /// Returns the open connection, opening or replacing it first, and counts `units` as served.
    pub async fn serve(&mut self, units: usize) -> Result<&mut Connection, ConnectError> {
        if self.served + units > self.replace_after {
            self.close().await;
        }
        if self.connection.is_none() {
            self.connection = Some(self.database.connect(&self.application_name).await?);
            self.served = 0;
        }
        self.served += units;
        Ok(self.connection.as_mut().expect("opened above"))
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
