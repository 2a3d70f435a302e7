//! Rules about functions that a statement calls while the file runs.

use super::Look;
use crate::migration::sql::finding::Problem;
use crate::migration::sql::grammar::{Kind, Node, callee, literal_arguments};

/// Returns whether a statement of this kind calls the functions in it at once. A view, a default
/// or a trigger calls them later.
pub(super) fn run_now(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::SELECT
            | Kind::SELECT_INTO
            | Kind::COMPOUND_SELECT
            | Kind::PAREN_SELECT
            | Kind::VALUES
            | Kind::INSERT
            | Kind::UPDATE
            | Kind::DELETE
            | Kind::MERGE
            | Kind::CREATE_TABLE_AS
            | Kind::CREATE_MATERIALIZED_VIEW
            | Kind::CALL
            | Kind::COPY
            | Kind::EXECUTE
            | Kind::EXPLAIN
    )
}

/// Returns what is wrong with the calls below a node.
pub(super) fn problems(node: &Node, look: &Look) -> impl Iterator<Item = (Node, Problem)> {
    let calls = node.descendants().filter(|node| node.kind() == Kind::CALL_EXPR);
    calls.filter_map(|call| Some((call.clone(), problem(&call, look)?)))
}

fn problem(call: &Node, look: &Look) -> Option<Problem> {
    let function = callee(call).pop()?;
    match function.as_str() {
        "set_config" => set_config(call, look),
        _ if SESSION_LOCKS.contains(&function.as_str()) => Some(Problem::AdvisoryLock { function }),
        _ => None,
    }
}

/// "System Administration Functions".
const SESSION_LOCKS: [&str; 7] = [
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_all",
    "pg_advisory_unlock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
];

fn set_config(call: &Node, look: &Look) -> Option<Problem> {
    let arguments = literal_arguments(call);
    let name = arguments.first()?.as_ref()?.to_lowercase();
    let is_local = arguments.get(2).and_then(Option::as_deref).is_some_and(is_true);
    let command = format!("set_config('{name}', …)");
    match name.as_str() {
        "search_path" => Some(Problem::SearchPath { command }),
        "role" | "session_authorization" => Some(Problem::Role { command }),
        _ if is_local => None,
        _ => Some(Problem::SessionSetting { name, in_transaction: look.in_transaction }),
    }
}

fn is_true(literal: &str) -> bool {
    ["true", "t", "yes", "on", "1"].contains(&literal.to_lowercase().as_str())
}
