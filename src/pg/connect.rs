//! Which database, and a connection to it.

use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::connection::{Connection, Incomplete};
use super::environment::{self, Variable};
use super::error::{self, ConnectError, Place, SqlError};
use super::server::ServerConnection;

/// Where the choice of a database came from, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `--database-url`, or the URL an app gave.
    Given,
    /// `DATABASE_URL` in the environment.
    Environment,
    /// `DATABASE_URL` in a `.env` file.
    DotEnv,
    /// libpq's `PGHOST`, `PGDATABASE` and the like.
    Libpq,
    /// The project's private server.
    Private,
}

/// A database that can be connected to.
#[derive(Debug, Clone)]
pub struct Database {
    options: PgConnectOptions,
    connect_timeout: Duration,
    source: Source,
}

/// The URL does not name a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the database URL cannot be read: {reason}")]
pub struct UrlError {
    /// What is wrong with it; never holds the URL, which may hold a password.
    pub reason: String,
}

impl Database {
    /// Returns the database that `url` names, in the form
    /// `postgres://user:password@host:port/database?sslmode=require` (Postgres documentation,
    /// "Connection URIs"). What the URL leaves out comes from libpq's `PG*` variables.
    pub fn from_url(url: &str, source: Source) -> Result<Self, UrlError> {
        let known = ["postgres://", "postgresql://"];
        if !known.iter().any(|scheme| url.starts_with(scheme)) {
            let reason = "it does not begin with `postgres://`".into();
            return Err(UrlError { reason });
        }
        let options =
            url.parse::<PgConnectOptions>().map_err(|e| UrlError { reason: error::reason(&e) })?;
        Ok(Self::new(options, source))
    }

    /// Returns the database that libpq's `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`,
    /// `PGDATABASE` and `PGSSLMODE` name.
    pub fn from_libpq_variables() -> Self {
        Self::new(PgConnectOptions::new(), Source::Libpq)
    }

    /// Returns the database that a private server's connection leads to.
    pub fn of_private_server(connection: &ServerConnection) -> Self {
        Self::new(connection.options(), Source::Private)
    }

    fn new(options: PgConnectOptions, source: Source) -> Self {
        // A transaction pooler refuses the `extra_float_digits` that sqlx sends at start-up, and a
        // cached statement would belong to whichever server connection happened to prepare it.
        let options = options
            .extra_float_digits(None)
            .statement_cache_capacity(0)
            .log_statements(log::LevelFilter::Off)
            .log_slow_statements(log::LevelFilter::Off, Duration::MAX);
        Self { options, connect_timeout: Duration::from_secs(10), source }
    }

    /// Sets how long a connection may take to open; 10 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Returns where the choice of this database came from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Returns host, port, user and database, without the password.
    pub fn place(&self) -> Place {
        let user = self.options.get_username().to_owned();
        let socket = self.options.get_socket().map(|path| path.display().to_string());
        Place {
            host: socket.unwrap_or_else(|| self.options.get_host().to_owned()),
            port: self.options.get_port(),
            // libpq and the server take the user's name where no database is given.
            database: self.options.get_database().map_or_else(|| user.clone(), str::to_owned),
            user,
        }
    }

    /// Returns the environment in which another program reaches this database, with
    /// `search_path` as its search path. It holds the **password**, and is never to be printed.
    pub fn environment(&self, search_path: &str) -> Vec<Variable> {
        environment::variables(&self.options, &self.place(), search_path)
    }

    /// Opens a connection that shows up in `pg_stat_activity` as `application_name`.
    ///
    /// # Errors
    ///
    /// At once when the server refuses or nothing listens; after the connect timeout when nothing
    /// answers. A server that is still starting up is waited for within that time.
    pub async fn connect(&self, application_name: &str) -> Result<Connection, ConnectError> {
        let options = self.options.clone().application_name(application_name);
        match tokio::time::timeout(self.connect_timeout, self.open(&options)).await {
            Ok(Ok(connection)) => Ok(Connection::new(connection, self.place())),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                Err(ConnectError::NoAnswer { place: self.place(), timeout: self.connect_timeout })
            }
        }
    }

    /// Opens a connection whose session is ours alone and has these settings from its start, or
    /// returns `None` where a pooler stands in between: a setting given at start-up reaches the
    /// server's session only when the connection leads straight to it.
    pub async fn connect_directly(
        &self,
        application_name: &str,
        settings: &[(&str, String)],
    ) -> Result<Option<Connection>, ConnectError> {
        let ours = [("tenantctl.session", "direct".to_owned())];
        let options = self.options.clone().options(ours.iter().chain(settings).cloned());
        let database = Self { options, ..self.clone() };
        let mut connection = match database.connect(application_name).await {
            // PgBouncer: `unsupported startup parameter: options`.
            Err(ConnectError::Refused { source, .. }) if source.is("08P01") => return Ok(None),
            other => other?,
        };
        let question = "select current_setting('tenantctl.session', true) = 'direct'";
        match connection.ask(question).await {
            Ok(rows) => Ok(rows.rows[0].flag(0).then_some(connection)),
            Err(Incomplete::Lost(error)) => Err(error),
            Err(Incomplete::Sql(source)) => {
                Err(ConnectError::Refused { place: self.place().into(), source })
            }
        }
    }

    async fn open(&self, options: &PgConnectOptions) -> Result<PgConnection, ConnectError> {
        loop {
            match options.connect().await.map_err(|error| self.connect_error(&error)) {
                Err(ConnectError::Refused { source, .. }) if source.is("57P03") => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                other => return other,
            }
        }
    }

    fn connect_error(&self, error: &sqlx::Error) -> ConnectError {
        let place = Box::new(self.place());
        match error {
            sqlx::Error::Database(e) => {
                ConnectError::Refused { place, source: SqlError::new(e.downcast_ref()) }
            }
            other => ConnectError::Unreachable { place, reason: error::reason(other) },
        }
    }
}
