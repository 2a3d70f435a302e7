//! What comes before a schema's files: the schema is there, nobody else works on it, and its history
//! is what the plan was made from. A refusal is a failing cast with a word in its message.

use std::fmt::Write as _;

use super::BEING_CREATED;
use super::Subject;
use crate::migration::history::{HISTORY_TABLE, differs_from};
use crate::name::SchemaName;
use crate::pg::{identifier, literal, qualified};

/// What a refusal by the guard or the audit begins with, inside the server's error message.
pub(crate) const REFUSAL: &str = "tenantctl:";

/// Returns the 64-bit key of a schema's advisory lock, as an SQL expression that any client can
/// write: `hashtextextended('tenantctl:acme', 0)`.
pub(crate) fn lock_key(schema: &SchemaName) -> String {
    format!("hashtextextended({}, 0)", literal(&lock_name(schema)))
}

fn lock_name(schema: &SchemaName) -> String {
    format!("{REFUSAL}{schema}")
}

/// Returns that key for the schema that the SQL expression `name`, a text, stands for.
pub(crate) fn lock_key_of(name: &str) -> String {
    format!("hashtextextended({} || {name}, 0)", literal(REFUSAL))
}

/// Fails unless the schema exists and nobody else works on it. The lock ends with the transaction.
pub(super) fn lock_guard(schema: &SchemaName) -> String {
    refuse_when(&[
        (
            format!("to_regnamespace({}) is null", literal(&identifier(schema.as_str()))),
            "no-schema",
        ),
        is_locked(schema),
    ])
}

fn is_locked(schema: &SchemaName) -> (String, &'static str) {
    (format!("not pg_catalog.pg_try_advisory_xact_lock({})", lock_key(schema)), "locked")
}

/// Prepares the guard of [`Script::brief`]: analysed anew, it takes as long again. A plan is made anew
/// as well where the search path is another, so it is asked before that is set.
pub(super) const PREPARE_GUARD: &str = "prepare tenantctl_guard (text) as \
     select cast(case when not pg_catalog.pg_try_advisory_xact_lock(hashtextextended($1, 0)) \
       then 'tenantctl:locked' else '0' end as integer)";

pub(super) fn execute_guard(schema: &SchemaName) -> String {
    format!("execute tenantctl_guard ({})", literal(&lock_name(schema)))
}

/// Fails when the schema exists, or somebody else works on it.
pub(super) fn absence_guard(schema: &SchemaName) -> String {
    refuse_when(&[
        (format!("not pg_catalog.pg_try_advisory_xact_lock({})", lock_key(schema)), "locked"),
        (
            format!("to_regnamespace({}) is not null", literal(&identifier(schema.as_str()))),
            "schema-exists",
        ),
    ])
}

/// Fails unless the schema is marked as half made: another run may have completed it meanwhile.
pub(super) fn half_made_guard(schema: &SchemaName) -> String {
    refuse_when(&[(
        format!(
            "not exists (select from pg_catalog.pg_namespace where nspname = {} \
             and pg_catalog.obj_description(oid, 'pg_namespace') = {})",
            literal(schema.as_str()),
            literal(BEING_CREATED)
        ),
        "schema-exists",
    )])
}

/// Fails unless the history is what the plan was made from. Its own statement, so that its
/// snapshot is taken after the lock.
pub(super) fn history_guard(subject: Subject<'_>) -> String {
    let table = qualified(subject.schema, HISTORY_TABLE);
    match subject.history.width {
        Some(_) => format!("{} from {table}", refuse_when(&[has_changed(subject)])),
        None => {
            let is_there = format!("to_regclass({}) is not null", literal(&table));
            refuse_when(&[(is_there, HISTORY_CHANGED)])
        }
    }
}

/// Fails when the files have changed the history themselves, or dropped it.
pub(super) fn own_history(subject: Subject<'_>) -> [String; 2] {
    let table = qualified(subject.schema, HISTORY_TABLE);
    let is_gone = (format!("to_regclass({}) is null", literal(&table)), OWN_HISTORY);
    let differs = (differs_from(subject.history), OWN_HISTORY);
    [refuse_when(&[is_gone]), format!("{} from {table}", refuse_when(&[differs]))]
}

const OWN_HISTORY: &str = "own-history";

const HISTORY_CHANGED: &str = "history-changed";

pub(super) fn has_changed(subject: Subject<'_>) -> (String, &'static str) {
    (differs_from(subject.history), HISTORY_CHANGED)
}

/// Returns a statement that fails with `tenantctl:WORD` in its message when a condition holds.
fn refuse_when(conditions: &[(String, &str)]) -> String {
    unless(conditions, "integer", 0)
}

/// Returns the same, which otherwise returns `number`.
pub(super) fn unless(conditions: &[(String, &str)], kind: &str, number: i64) -> String {
    let mut sql = String::from("select cast(case");
    for (condition, word) in conditions {
        let _ = write!(sql, "\n    when {condition}\n    then '{REFUSAL}{word}'");
    }
    let _ = write!(sql, "\n    else '{number}' end as {kind})");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_the_names_own() {
        let key = |name: &str| lock_key(&SchemaName::registered(name));
        assert_ne!(key("acme"), key("Acme"));
        assert_eq!(key("acme"), "hashtextextended('tenantctl:acme', 0)");
    }
}
