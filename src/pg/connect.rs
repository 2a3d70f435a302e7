//! Which database, and a connection to it.

use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

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
        let options = url.parse::<PgConnectOptions>().map_err(|error| UrlError {
            reason: match names_several_hosts(url) {
                true => "it names several hosts, and can name only one".into(),
                false => error::reason(&error),
            },
        })?;
        let database = Self::new(options, source);
        match connect_timeout(url)? {
            Some(timeout) => Ok(database.connect_timeout(timeout)),
            None => Ok(database),
        }
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

    /// Sets how long a connection may take to open; 10 s unless set here or by `connect_timeout` in
    /// the URL.
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
        let mut connection = self.open_in_time(application_name).await?;
        let (name, value) = PLAIN_BACKSLASHES;
        let set = format!(
            "select set_config('{name}', '{value}', false) where current_setting('{name}') <> '{value}'"
        );
        // However long it takes: a pooler may have no server's connection to spare just now.
        match connection.send(set).await {
            Ok(_) => Ok(connection),
            Err((Incomplete::Lost(error), _)) => Err(error),
            Err((Incomplete::Sql(source), _)) => {
                Err(ConnectError::Refused { place: self.place().into(), source })
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
        let (name, value) = PLAIN_BACKSLASHES;
        let ours = [("tenantctl.session", "direct".to_owned()), (name, value.to_owned())];
        let options = self.options.clone().options(ours.iter().chain(settings).cloned());
        let database = Self { options, ..self.clone() };
        let mut connection = match database.open_in_time(application_name).await {
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

    async fn open(&self, application_name: &str) -> Result<Connection, ConnectError> {
        let options = self.options.clone().application_name(application_name);
        loop {
            match options.connect().await.map_err(|error| self.connect_error(&error)) {
                Ok(connection) => return Ok(Connection::new(connection, self.place())),
                Err(ConnectError::Refused { source, .. }) if source.is("57P03") => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn open_in_time(&self, application_name: &str) -> Result<Connection, ConnectError> {
        let opening = tokio::time::timeout(self.connect_timeout, self.open(application_name));
        opening.await.unwrap_or_else(|_| {
            Err(ConnectError::NoAnswer { place: self.place(), timeout: self.connect_timeout })
        })
    }

    fn connect_error(&self, error: &sqlx::Error) -> ConnectError {
        let place = Box::new(self.place());
        let reason = match error {
            sqlx::Error::Database(e) => {
                return ConnectError::Refused { place, source: SqlError::new(e.downcast_ref()) };
            }
            sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::NotFound => {
                match environment::missing_tls_file(&self.options) {
                    Some((parameter, file)) => {
                        format!("TLS: there is no file `{file}`, which `{parameter}` names")
                    }
                    None => error::reason(error),
                }
            }
            sqlx::Error::Protocol(text) if is_of_a_stranger(text) => {
                "what answers there is not Postgres".into()
            }
            other => error::reason(other),
        };
        ConnectError::Unreachable { place, reason }
    }
}

/// What every session has, whatever the database or the role is set to: a string's end is where the
/// grammar and sqlx see it (Postgres documentation, "String Constants").
const PLAIN_BACKSLASHES: (&str, &str) = ("standard_conforming_strings", "on");

/// Whether this is what sqlx says of an answer that Postgres never gives.
fn is_of_a_stranger(text: &str) -> bool {
    ["unexpected response from SSLRequest", "unknown message type"]
        .iter()
        .any(|it| text.contains(it))
}

/// Whether the URL names hosts separated by commas, as libpq's may.
fn names_several_hosts(url: &str) -> bool {
    let authority = url.split("://").nth(1).and_then(|it| it.split(['/', '?']).next());
    let hosts = authority.and_then(|it| it.rsplit('@').next());
    hosts.is_some_and(|hosts| hosts.contains(','))
}

/// Returns what a URL says about how long a connection may take to open: `connect_timeout`, in
/// seconds (Postgres documentation, "Parameter Key Words"). Zero and less is for ever there; here it
/// is as if nothing had been said.
fn connect_timeout(url: &str) -> Result<Option<Duration>, UrlError> {
    let Some((_, query)) = url.split_once('?') else {
        return Ok(None);
    };
    let mut parameters = query.split('&').filter_map(|it| it.split_once('='));
    let Some((_, value)) = parameters.rfind(|(name, _)| *name == "connect_timeout") else {
        return Ok(None);
    };
    let seconds = value.parse::<i32>().map_err(|_| UrlError {
        reason: "`connect_timeout` is not a whole number of seconds".into(),
    })?;
    Ok(u64::try_from(seconds).ok().filter(|it| *it > 0).map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Database::from_url(url, Source::Given).expect_err("a bad URL").reason
    }

    #[test]
    fn the_url_may_say_how_long_to_wait() {
        let timeout = |url| Database::from_url(url, Source::Given).expect("a URL").connect_timeout;
        assert_eq!(timeout("postgres://me@db/app?connect_timeout=3"), Duration::from_secs(3));
        assert_eq!(timeout("postgres://me@db/app?connect_timeout=0"), Duration::from_secs(10));
        assert_eq!(timeout("postgres://me@db/app"), Duration::from_secs(10));
        let url = "postgres://me@db/app?connect_timeout=soon";
        insta::assert_snapshot!(refused(url), @"`connect_timeout` is not a whole number of seconds");
    }

    #[test]
    fn several_hosts_are_refused_as_such() {
        let said = refused("postgres://me:se,cret@one:5432,two:5432/app");
        insta::assert_snapshot!(said, @"it names several hosts, and can name only one");
        assert!(Database::from_url("postgres://me:se,cret@one:5432/app", Source::Given).is_ok());
    }
}
