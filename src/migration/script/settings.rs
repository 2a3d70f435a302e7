//! What a schema's statements run with: the search path, timeouts, and what the server is to notice.

use std::time::Duration;

use super::ScriptOptions;
use super::guard::PREPARE_GUARD;
use crate::name::SchemaName;
use crate::pg::{Session, literal, search_path};

/// Returns the statement that sets what a schema's statements run with, for this transaction or,
/// where there is none, for the session.
pub(crate) fn settings(
    schema: &SchemaName,
    options: &ScriptOptions,
    for_transaction: bool,
) -> String {
    let mut settings = vec![
        ("search_path", path(schema, options)),
        ("application_name", options.application_name.clone()),
        ("lock_timeout", milliseconds(options.lock_timeout)),
    ];
    settings.push(("statement_timeout", milliseconds(options.statement_timeout)));
    settings.extend(lasting(options.server_version));
    let calls = settings.iter().map(|(name, value)| {
        format!("set_config('{name}', {}, {for_transaction})", literal(value))
    });
    format!("select {}", calls.collect::<Vec<_>>().join(",\n       "))
}

/// Returns what is always the same, on a server of this version.
pub(crate) fn session(server_version: u32) -> Session {
    let mut settings = lasting(server_version);
    settings.push(("statement_timeout", "0".into()));
    Session { settings, prepare: PREPARE_GUARD }
}

fn lasting(server_version: u32) -> Vec<(&'static str, String)> {
    let mut settings = vec![("idle_in_transaction_session_timeout", "60s".into())];
    if server_version >= 140_000 {
        // The server notices within half a second that its client was killed, and lets go of the
        // locks; without it a backend finishes its statement first.
        settings.push(("client_connection_check_interval", "500ms".into()));
    }
    if server_version >= 170_000 {
        settings.push(("transaction_timeout", "0".into()));
    }
    settings
}

pub(super) fn path(schema: &SchemaName, options: &ScriptOptions) -> String {
    let tail = options.path.iter().map(String::as_str);
    search_path(std::iter::once(schema.as_str()).chain(tail))
}

pub(super) fn milliseconds(timeout: Option<Duration>) -> String {
    timeout.map_or_else(|| "0".into(), |it| format!("{}ms", it.as_millis().max(1)))
}
