//! Which database: the flag, the environment, libpq's variables, or the project's private server.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::error::CommandError;
use crate::pg::server::{PrivateServer, ServerState};
use crate::pg::{Database, Source};

/// libpq's variables that name a server or a database (Postgres documentation, "Environment
/// Variables").
const LIBPQ: [&str; 4] = ["PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE"];

/// Returns the database to work on.
///
/// The private server is taken only where one was started and nothing else names a database, so
/// that a deploy script that forgot its `DATABASE_URL` fails.
pub(crate) async fn choose(
    flag: Option<&str>,
    root: &Path,
    connect_timeout: Option<Duration>,
) -> Result<Database, CommandError> {
    let database = match flag {
        Some(url) => Database::from_url(url, Source::Given)?,
        None => from_environment(root)?.map_or_else(|| private(root), Ok)?,
    };
    Ok(match connect_timeout {
        Some(timeout) => database.connect_timeout(timeout),
        None => database,
    })
}

fn from_environment(root: &Path) -> Result<Option<Database>, CommandError> {
    if let Some(url) = variable("DATABASE_URL") {
        return Ok(Some(Database::from_url(&url, Source::Environment)?));
    }
    if let Some(url) = from_dot_env(root)? {
        return Ok(Some(Database::from_url(&url, Source::DotEnv)?));
    }
    if let Some(value) = variable("PGPORT").filter(|it| it.parse::<u16>().is_err()) {
        // The driver would quietly take 5432.
        return Err(CommandError::Variable { variable: "PGPORT", value, what: "a port" });
    }
    let is_named = LIBPQ.iter().any(|name| variable(name).is_some());
    Ok(is_named.then(Database::from_libpq_variables))
}

/// An empty variable counts as unset, as it does for libpq.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn from_dot_env(root: &Path) -> Result<Option<String>, CommandError> {
    let path = root.join(".env");
    if !path.is_file() {
        return Ok(None);
    }
    let unreadable = |error: dotenvy::Error| CommandError::DotEnv {
        path: path.strip_prefix(".").unwrap_or(&path).to_owned(),
        reason: match error {
            dotenvy::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
                "it is not UTF-8".into()
            }
            dotenvy::Error::Io(error) => error.to_string(),
            _ => "a line of it is not of the form `NAME=value`".into(),
        },
    };
    for pair in dotenvy::from_path_iter(&path).map_err(unreadable)? {
        let (name, value) = pair.map_err(unreadable)?;
        if name == "DATABASE_URL" && !value.is_empty() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn private(root: &Path) -> Result<Database, CommandError> {
    let server = PrivateServer::of(root);
    if let Some(connection) = server.connection()? {
        return Ok(Database::of_private_server(&connection));
    }
    Err(match server.status()?.state {
        ServerState::Absent => CommandError::NoDatabase,
        _ => CommandError::PrivateServerStopped,
    })
}
