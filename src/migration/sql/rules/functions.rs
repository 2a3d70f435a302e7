//! Rules about functions that a statement calls while the file runs.

use super::commands::STRING_SYNTAX;
use super::{Look, names};
use crate::migration::sql::finding::Problem;
use crate::migration::sql::grammar::{Body, Kind, Node, callee, literal_arguments};

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
    let other = calls(node).filter_map(|call| Some((call.clone(), problem(&call, look)?)));
    let changed = sequences(node).filter(|_| look.is_tenant());
    other.chain(changed.filter_map(|(call, parts)| Some((call, names::changed(parts, look)?))))
}

fn calls(node: &Node) -> impl Iterator<Item = Node> + use<> {
    node.descendants().filter(|node| node.kind() == Kind::CALL_EXPR)
}

/// Returns the sequences whose numbers the calls below a node take or set, by their names or those of
/// the tables they belong to, with their parts, as far as they are written out. No lock tells of it
/// before it is done, and no rollback undoes it (Postgres documentation, "Sequence Manipulation
/// Functions").
pub(super) fn sequences(node: &Node) -> impl Iterator<Item = (Node, Vec<String>)> + use<> {
    let is_of = |call: &Node, names: &[&str]| {
        callee(call).pop().is_some_and(|function| names.contains(&function.as_str()))
    };
    let moved = calls(node).filter(move |call| is_of(call, &["setval", "nextval"]));
    let named = moved.flat_map(move |call| {
        let of_tables = calls(&call).filter(move |it| is_of(it, &["pg_get_serial_sequence"]));
        std::iter::once(call.clone()).chain(of_tables)
    });
    named.filter_map(|call| {
        let name = literal_arguments(&call).into_iter().next()??;
        Some((call, parts(&name)))
    })
}

/// Returns whether a statement sets a sequence's number when it runs, which no rollback undoes.
pub(in crate::migration::sql) fn sets_a_sequence(statement: &Node) -> bool {
    let sets = |node: &Node| {
        calls(node).any(|call| callee(&call).pop().is_some_and(|function| function == "setval"))
    };
    match statement.kind() {
        Kind::DO => Body::of(statement).is_some_and(|body| sets(&body.root)),
        kind => run_now(kind) && sets(statement),
    }
}

/// Returns the parts of a name inside a string, as Postgres stores them.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for c in name.trim().chars() {
        let part = parts.last_mut().expect("one at least");
        match c {
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(String::new()),
            _ if is_quoted => part.push(c),
            _ => part.extend(c.to_lowercase()),
        }
    }
    parts
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
        STRING_SYNTAX if !arguments.get(1).and_then(Option::as_deref).is_some_and(is_true) => {
            Some(Problem::Backslashes)
        }
        _ if is_local => None,
        _ => Some(Problem::SessionSetting { name, in_transaction: look.in_transaction }),
    }
}

pub(super) fn is_true(literal: &str) -> bool {
    ["true", "t", "yes", "on", "1"].contains(&literal.to_lowercase().as_str())
}
