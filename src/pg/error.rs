//! What Postgres answered, in words a user can read.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use sqlx::postgres::{PgDatabaseError, PgErrorPosition, PgSeverity};

/// An error that Postgres reported for a statement: message, detail, hint, SQLSTATE and position
/// (Postgres documentation, "Error and Notice Message Fields").
///
/// Its fields are those of [`SqlErrorFields`]; it is a pointer to them, as nearly every error may
/// hold one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError(Box<SqlErrorFields>);

/// What Postgres said of an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlErrorFields {
    /// One line, in the server's words and language.
    pub message: String,
    /// More about the problem, in the server's words.
    pub detail: Option<String>,
    /// What the server suggests.
    pub hint: Option<String>,
    /// The five characters of the SQLSTATE, such as `23505`.
    pub code: String,
    /// Where in the text that was sent, in characters, from 1.
    pub position: Option<usize>,
    /// The call stack inside functions, most recent first.
    pub context: Option<String>,
    /// The schema the error is about, where the server says so.
    pub schema: Option<String>,
    /// The table the error is about, where the server says so.
    pub table: Option<String>,
    /// The constraint the error is about, where the server says so.
    pub constraint: Option<String>,
    /// Whether the server ended the session with it.
    pub fatal: bool,
}

impl Deref for SqlError {
    type Target = SqlErrorFields;

    fn deref(&self) -> &SqlErrorFields {
        &self.0
    }
}

impl SqlError {
    pub(super) fn new(error: &PgDatabaseError) -> Self {
        let position = match error.position() {
            Some(PgErrorPosition::Original(position)) => Some(position),
            _ => None,
        };
        Self(Box::new(SqlErrorFields {
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            code: error.code().to_owned(),
            position,
            context: error.r#where().map(str::to_owned),
            schema: error.schema().map(str::to_owned),
            table: error.table().map(str::to_owned),
            constraint: error.constraint().map(str::to_owned),
            fatal: matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic),
        }))
    }

    /// Returns an error of ours in the form of the server's, with the SQLSTATE for bad input.
    pub(crate) fn of_text(message: &str) -> Self {
        let (message, code) = (message.to_owned(), "22023".to_owned());
        Self(Box::new(SqlErrorFields { message, code, ..SqlErrorFields::default() }))
    }

    /// Returns the error about a statement's end in the server's words for that: what it met there is
    /// a semicolon that is not the statement's.
    pub(crate) fn at_end_of_input(mut self) -> Self {
        if self.0.message == r#"syntax error at or near ";""# {
            self.0.message = "syntax error at end of input".into();
        }
        self
    }

    /// Whether this is the SQLSTATE `code`.
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether the statement lost a race that a second try settles: a deadlock, a serialization
    /// failure, or two transactions changing one shared row of a system catalog at once.
    pub fn is_conflict(&self) -> bool {
        match self.code.as_str() {
            "40P01" | "40001" => true,
            "XX000" => self.message.contains("tuple concurrently"),
            // A unique index of a catalog, such as `pg_namespace_nspname_index`: two sessions
            // created the same shared object at once, and the next try will find it there.
            "23505" => self.schema.as_deref() == Some("pg_catalog"),
            _ => false,
        }
    }

    /// Whether a lock was not to be had within `lock_timeout` or with `NOWAIT`.
    pub fn is_lock_not_available(&self) -> bool {
        self.is("55P03")
    }

    /// Whether the server has run out of something that another schema would need as well: disk,
    /// memory, room in the lock table (class 53), or has hit an internal limit of its host (58).
    pub fn is_out_of_resources(&self) -> bool {
        self.code.starts_with("53") || self.code.starts_with("58")
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl std::error::Error for SqlError {}

/// Which database on which server, as whom; never the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Host name, address, or the folder of a socket.
    pub host: String,
    /// The TCP port, also of a socket.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, user, database } = self;
        write!(f, "database `{database}` at {host}:{port} as user `{user}`")
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The server answered and said no: a wrong password, no such database, too many clients.
    #[error("could not connect to {place}")]
    Refused {
        /// Where it was tried.
        place: Box<Place>,
        /// The server's answer.
        source: SqlError,
    },
    /// Nothing answered, or what answered was not Postgres, or TLS failed.
    #[error("could not connect to {place}: {reason}")]
    Unreachable {
        /// Where it was tried.
        place: Box<Place>,
        /// In plain words.
        reason: String,
    },
    /// Nothing answered within the connect timeout.
    #[error("could not connect to {place}: no answer within {}", humantime::format_duration(*timeout))]
    NoAnswer {
        /// Where it was tried.
        place: Place,
        /// The connect timeout.
        timeout: Duration,
    },
    /// The connection went away while it was in use.
    #[error("the connection to {place} was lost: {reason}")]
    Lost {
        /// Where it led.
        place: Box<Place>,
        /// In plain words.
        reason: String,
    },
    /// The server is a standby, or otherwise accepts no changes.
    #[error("{place} is read-only: it is a standby")]
    ReadOnly {
        /// Where it was tried.
        place: Box<Place>,
    },
}

impl ConnectError {
    /// Whether the server said that all its connection slots are taken (53300), by all clients,
    /// by this role or in this database.
    pub fn is_too_many_clients(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.is("53300"))
    }

    /// Whether the server knows no such role or database, or another password (Postgres documentation,
    /// "`PostgreSQL` Error Codes", class 28 and 3D000): so it would say again.
    pub(crate) fn is_of_login(&self) -> bool {
        matches!(self, Self::Refused { source, .. }
            if source.code.starts_with("28") || source.is("3D000"))
    }

    /// Whether trying again in a moment may succeed: the server is starting, stopping, or gone.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused { source, .. } => {
                matches!(source.code.as_str(), "57P03" | "53300") || source.code.starts_with("57P")
            }
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::Lost { .. } => true,
            Self::ReadOnly { .. } => false,
        }
    }
}

/// Says in plain words why talking to a server failed, for the errors that are not the server's.
pub(super) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => io_reason(error),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        sqlx::Error::Configuration(error) => {
            let text = error.to_string();
            let text = text.strip_prefix("error with configuration: ").unwrap_or(&text);
            text.to_owned()
        }
        sqlx::Error::Protocol(text) => format!("unexpected answer: {text}"),
        other => other.to_string(),
    }
}

fn io_reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind::*;
    match error.kind() {
        ConnectionRefused => "nothing listens there (connection refused)".into(),
        UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted => {
            "the server closed the connection".into()
        }
        NotFound => "there is no such socket".into(),
        _ => {
            let text = error.to_string();
            match text.strip_prefix("invalid peer certificate: ") {
                Some(what) => format!("TLS: {}", certificate_reason(what)),
                None => text.split(" (os error").next().unwrap_or(&text).to_lowercase(),
            }
        }
    }
}

/// Says what rustls has against a server's certificate.
fn certificate_reason(what: &str) -> String {
    if what.contains("UnknownIssuer") || what.contains("CaUsedAsEndEntity") {
        format!("the server's certificate is not from an authority that is trusted here ({what})")
    } else if what.contains("not valid for name") || what.contains("NotValidForName") {
        format!("the server's certificate is for another name ({what})")
    } else {
        format!("the server's certificate is not accepted ({what})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_said() {
        let said = |text: &str| io_reason(&std::io::Error::other(text));
        insta::assert_snapshot!(said("invalid peer certificate: UnknownIssuer"), @"TLS: the server's certificate is not from an authority that is trusted here (UnknownIssuer)");
        insta::assert_snapshot!(said("invalid peer certificate: certificate not valid for name \"db\""), @r#"TLS: the server's certificate is for another name (certificate not valid for name "db")"#);
        insta::assert_snapshot!(said("invalid peer certificate: Expired"), @"TLS: the server's certificate is not accepted (Expired)");
        insta::assert_snapshot!(said("Network is unreachable (os error 101)"), @"network is unreachable");
    }
}
