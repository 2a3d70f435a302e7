//! The rule about other schemas: a tenant's file changes the tenant's schema, and reads the shared
//! one at most.

use super::{Look, functions};
use crate::migration::history::HISTORY_TABLE;
use crate::migration::sql::finding::Problem;
use crate::migration::sql::grammar::{Kind, Node, callee, contains, name, path};

/// Returns what is wrong with the names below a node.
pub(super) fn problems<'a>(
    node: &'a Node,
    look: &'a Look,
) -> impl Iterator<Item = (Node, Problem)> + 'a {
    // About extensions there is a rule of its own.
    let is_looked_into = look.is_tenant() && !ABOUT_EXTENSIONS.contains(&node.kind());
    let nodes = is_looked_into.then(|| node.descendants());
    nodes.into_iter().flatten().filter_map(|node| {
        let named = named(&node)?;
        Some((node, problem(named, look)?))
    })
}

const ABOUT_EXTENSIONS: [Kind; 2] = [Kind::CREATE_EXTENSION, Kind::ALTER_EXTENSION];

/// Returns where the statements below a node change the table that says what was applied.
pub(super) fn history(node: &Node) -> impl Iterator<Item = (Node, Problem)> {
    changes(node)
        .filter(|(_, parts)| parts.last().is_some_and(|it| it == HISTORY_TABLE))
        .map(|(node, _)| (node, Problem::History))
}

/// Returns the names without a schema that a statement changes, as Postgres stores them, if it
/// is one that changes what it names without a lock that the audit would see.
pub(in crate::migration::sql) fn bare_changes(statement: &Node) -> Vec<String> {
    let kind = statement.kind();
    if functions::run_now(kind) {
        let named = functions::sequences(statement).filter(|(_, parts)| parts.len() == 1);
        return named.filter_map(|(_, mut parts)| parts.pop()).collect();
    }
    if kind == Kind::ALTER_TABLE && contains(statement, &LOCKED_AS_BY_A_FOREIGN_KEY) {
        // The first name is the table's.
        let table = changes(statement).next().filter(|(_, parts)| parts.len() == 1);
        return table.into_iter().filter_map(|(_, mut parts)| parts.pop()).collect();
    }
    if !WITHOUT_LOCK.contains(&kind) {
        return Vec::new();
    }
    // The function of a trigger is used, not changed.
    let text = statement.text().to_string();
    let start = usize::from(statement.text_range().start());
    let is_called = |node: &Node| {
        let rest = &text[usize::from(node.text_range().end()) - start..];
        kind == Kind::CREATE_TRIGGER && rest.trim_start().starts_with('(')
    };
    let names = changes(statement).filter(|(node, parts)| parts.len() == 1 && !is_called(node));
    names.filter_map(|(_, mut parts)| parts.pop()).collect()
}

const WITHOUT_LOCK: [Kind; 17] = [
    Kind::GRANT,
    Kind::REVOKE,
    Kind::COMMENT_ON,
    Kind::CREATE_TRIGGER,
    Kind::ALTER_FUNCTION,
    Kind::ALTER_PROCEDURE,
    Kind::ALTER_ROUTINE,
    Kind::ALTER_AGGREGATE,
    Kind::ALTER_TYPE,
    Kind::ALTER_DOMAIN,
    Kind::DROP_FUNCTION,
    Kind::DROP_PROCEDURE,
    Kind::DROP_ROUTINE,
    Kind::DROP_AGGREGATE,
    Kind::DROP_TYPE,
    Kind::DROP_DOMAIN,
    Kind::SECURITY_LABEL,
];

/// What `alter table` does under the lock that a foreign key takes of the table it points at, which
/// the audit lets pass (Postgres documentation, `SHARE ROW EXCLUSIVE` in "Table-Level Locks").
const LOCKED_AS_BY_A_FOREIGN_KEY: [Kind; 5] = [
    Kind::FOREIGN_KEY_CONSTRAINT,
    Kind::DISABLE_TRIGGER,
    Kind::ENABLE_TRIGGER,
    Kind::ENABLE_ALWAYS_TRIGGER,
    Kind::ENABLE_REPLICA_TRIGGER,
];

/// Returns the names below a node that are changed rather than used, with their parts.
fn changes(node: &Node) -> impl Iterator<Item = (Node, Vec<String>)> {
    node.descendants().filter_map(|node| {
        let is_name = matches!(node.kind(), Kind::PATH | Kind::PATH_REF);
        let is_part = matches!(
            node.parent()?.kind(),
            Kind::PATH | Kind::PATH_REF | Kind::CONFIG_PARAMETER_REF | Kind::PLPGSQL_ALIAS_TARGET
        );
        let is_change = is_name && !is_part && is_changed(&node);
        is_change.then(|| (node.clone(), path(&node)))
    })
}

/// A schema that is named, and what for.
struct Named {
    schema: String,
    object: String,
    changed: bool,
}

fn problem(named: Named, look: &Look) -> Option<Problem> {
    let is_shared = named.schema == look.context.shared_schema;
    let is_readable = is_shared
        || look.context.extra_schemas.contains(&named.schema)
        || named.schema == "information_schema"
        || named.schema.starts_with("pg_");
    if named.schema == "pg_temp" || (is_readable && !named.changed) {
        return None;
    }
    let Named { schema, object, changed } = named;
    Some(Problem::OtherSchema { schema, object, changed, is_shared })
}

fn named(node: &Node) -> Option<Named> {
    let parent = node.parent()?.kind();
    match node.kind() {
        Kind::PATH | Kind::PATH_REF => in_a_path(node, parent),
        Kind::CALL_EXPR => qualified(callee(node), false),
        Kind::SCHEMA_REF => {
            let schema = Some(name(node)).filter(|_| !HANDLED_ELSEWHERE.contains(&parent))?;
            Some(Named { object: schema.clone(), schema, changed: true })
        }
        _ => None,
    }
}

/// Where a schema stands that another rule speaks about, or that is not one of this database.
const HANDLED_ELSEWHERE: [Kind; 3] =
    [Kind::ALTER_SCHEMA, Kind::DROP_SCHEMA, Kind::IMPORT_FOREIGN_SCHEMA];

fn in_a_path(node: &Node, parent: Kind) -> Option<Named> {
    let mut parts = match parent {
        // The qualifier of a longer path, a setting, a variable.
        Kind::PATH | Kind::PATH_REF | Kind::CONFIG_PARAMETER_REF | Kind::PLPGSQL_ALIAS_TARGET => {
            return None;
        }
        _ => path(node),
    };
    if matches!(parent, Kind::QUALIFIED_COLUMN_NAME_REF | Kind::PERCENT_TYPE) {
        parts.pop();
    }
    in_the_catalog(node, &parts).or_else(|| qualified(parts, is_changed(node)))
}

/// Returns a catalog whose rows are changed without its schema's name: `pg_catalog` comes before every
/// schema of a search path (Postgres documentation, "The System Catalog Schema").
fn in_the_catalog(node: &Node, parts: &[String]) -> Option<Named> {
    let [table] = parts else { return None };
    let changes_rows = |node: Node| CHANGES_ROWS.contains(&node.kind());
    let is_its = table.starts_with("pg_") && node.ancestors().any(changes_rows);
    let object = Some(table.clone()).filter(|_| is_its && is_changed(node))?;
    Some(Named { schema: "pg_catalog".into(), object, changed: true })
}

/// What a superuser can do to the catalogs as to any other table; the rest Postgres refuses.
const CHANGES_ROWS: [Kind; 5] = [Kind::INSERT, Kind::UPDATE, Kind::DELETE, Kind::MERGE, Kind::COPY];

/// Returns what is wrong with changing the object of this name.
pub(super) fn changed(parts: Vec<String>, look: &Look) -> Option<Problem> {
    problem(qualified(parts, true)?, look)
}

/// Of `database.schema.object` or `schema.object`, the schema.
fn qualified(parts: Vec<String>, changed: bool) -> Option<Named> {
    let schema = parts.get(parts.len().checked_sub(2)?)?.clone();
    Some(Named { schema, object: parts.join("."), changed })
}

/// Returns whether the statement changes what it names here, rather than use it.
fn is_changed(node: &Node) -> bool {
    if node.ancestors().any(|node| RUNS_LATER.contains(&node.kind())) {
        return false;
    }
    let decisive = |node: Node| match node.kind() {
        Kind::INSERT | Kind::UPDATE | Kind::DELETE | Kind::MERGE => Some(true),
        Kind::COPY => Some(node.children().any(|child| child.kind() == Kind::COPY_FROM)),
        kind => USES.contains(&kind).then_some(false),
    };
    node.ancestors().find_map(decisive).unwrap_or(true)
}

/// What is done when a function is called or a rule applies, not when the file runs.
const RUNS_LATER: [Kind; 3] = [Kind::ATOMIC_BODY, Kind::RETURN_STMT, Kind::RULE_DO];

/// Parts of a statement that use what they name without changing it.
const USES: [Kind; 32] = [
    // Other tables.
    Kind::FROM_CLAUSE,
    Kind::FROM_TABLE,
    Kind::FOREIGN_KEY_CONSTRAINT,
    Kind::LIKE_CLAUSE,
    Kind::REFERENCES_CONSTRAINT,
    Kind::RELATION_FROM_ITEM,
    Kind::TABLE,
    Kind::USING_CLAUSE,
    Kind::USING_ON_CLAUSE,
    // Types, operators, collations, index methods.
    Kind::COLLATE,
    Kind::COLLATION_FROM,
    Kind::OPERATOR_CALL,
    Kind::OP_CLASS_OPTION_FUNCTION,
    Kind::OP_CLASS_OPTION_OPERATOR,
    Kind::CONFLICT_INDEX_ITEM,
    Kind::CONSTRAINT_EXCLUSION,
    Kind::PARTITION_ITEM,
    Kind::PATH_TYPE,
    Kind::PERCENT_TYPE,
    Kind::PLPGSQL_PERCENT_ROWTYPE,
    Kind::SORT_USING,
    Kind::ADD_MAPPING,
    Kind::ALTER_MAPPING,
    // Functions and procedures.
    Kind::CALL,
    Kind::HANDLER_CLAUSE,
    Kind::INLINE_CLAUSE,
    Kind::SUPPORT_FUNC_OPTION,
    Kind::VALIDATOR_CLAUSE,
    Kind::TRANSFORM_FROM_FUNC,
    Kind::TRANSFORM_TO_FUNC,
    Kind::WITH_FUNCTION,
    Kind::OPTION_OWNED_BY,
];
