//! Rules about a statement as a whole, by its kind.

use super::Look;
use super::functions::is_true;
use crate::migration::sql::finding::Problem;
use crate::migration::sql::grammar::{Kind, Node, child, contains, has, name, path};
use crate::migration::sql::statement::kind;

/// Returns what is wrong with a statement, wherever it stands.
pub(super) fn problem(node: &Node, look: &Look) -> Option<Problem> {
    let command = || kind(node);
    match node.kind() {
        Kind::BEGIN
        | Kind::COMMIT_TRANSACTION
        | Kind::COMMIT_PREPARED
        | Kind::ROLLBACK_TRANSACTION
        | Kind::ROLLBACK_PREPARED
        | Kind::PREPARE_TRANSACTION => Some(transaction_control(command())),
        Kind::SET_TRANSACTION if has(node, Kind::SESSION_CHARACTERISTICS) => {
            Some(setting("default_transaction_isolation".to_owned(), look))
        }
        Kind::SET_TRANSACTION => Some(transaction_control(command())),
        Kind::SET => set(node, look),
        Kind::RESET => Some(reset(node)),
        Kind::DISCARD if has(node, Kind::DISCARD_ALL) => {
            Some(Problem::SettingReset { command: "DISCARD ALL".to_owned() })
        }
        Kind::SET_ROLE | Kind::RESET_ROLE | Kind::SET_SESSION_AUTH | Kind::RESET_SESSION_AUTH => {
            Some(Problem::Role { command: command() })
        }
        Kind::LOAD => Some(Problem::LibraryLoaded),
        Kind::COPY if contains(node, &[Kind::COPY_STDIN, Kind::COPY_STDOUT]) => {
            Some(Problem::CopyFromStdin { into_table: has(node, Kind::COPY_FROM) })
        }
        Kind::DROP_SCHEMA | Kind::ALTER_SCHEMA => Some(schema_change(node, look)),
        Kind::CREATE_SCHEMA if look.is_tenant() => Some(schema_change(node, look)),
        _ if look.is_tenant() => in_a_tenant(node),
        _ => None,
    }
}

/// Returns where PL/pgSQL ends the transaction it runs in.
pub(super) fn ends_transaction(body: &Node) -> Vec<(Node, Problem)> {
    let command = |node: &Node| match node.kind() {
        Kind::PLPGSQL_COMMIT_STMT => Some("COMMIT"),
        Kind::PLPGSQL_ROLLBACK_STMT => Some("ROLLBACK"),
        _ => None,
    };
    let problem = |node: Node| {
        let command = command(&node)?.to_owned();
        Some((node, Problem::TransactionControl { command, in_block: true }))
    };
    body.descendants().filter_map(problem).collect()
}

fn transaction_control(command: String) -> Problem {
    Problem::TransactionControl { command, in_block: false }
}

fn schema_change(node: &Node, look: &Look) -> Problem {
    Problem::SchemaChange { command: kind(node), folder_is_shared: !look.is_tenant() }
}

fn set(node: &Node, look: &Look) -> Option<Problem> {
    let name = match child(node, Kind::SET_CONFIG) {
        Some(config) => path(&child(&config, Kind::CONFIG_PARAMETER_REF)?).join(".").to_lowercase(),
        None if has(node, Kind::SET_SCHEMA_VALUE) => "schema".to_owned(),
        None if has(node, Kind::SET_TIME_ZONE) => "timezone".to_owned(),
        None if has(node, Kind::SET_XML_OPTION) => "xmloption".to_owned(),
        None => return None,
    };
    match name.as_str() {
        "search_path" => Some(Problem::SearchPath { command: "SET search_path".to_owned() }),
        "schema" => Some(Problem::SearchPath { command: "SET SCHEMA".to_owned() }),
        "role" | "session_authorization" => Some(Problem::Role { command: format!("SET {name}") }),
        STRING_SYNTAX if !is_switched_on(&node.text().to_string()) => Some(Problem::Backslashes),
        _ if !has(node, Kind::LOCAL_SCOPE) => Some(setting(name, look)),
        _ if !look.in_transaction => Some(Problem::SettingWithoutEffect { name }),
        _ => None,
    }
}

/// What decides whether a backslash in a string is one.
pub(super) const STRING_SYNTAX: &str = "standard_conforming_strings";

/// Whether a statement ends by switching something on.
fn is_switched_on(statement: &str) -> bool {
    let value = statement.rsplit([' ', '=', '\n', '\t']).next().unwrap_or_default();
    is_true(value.trim_matches('\''))
}

fn setting(name: String, look: &Look) -> Problem {
    Problem::SessionSetting { name, in_transaction: look.in_transaction }
}

fn reset(node: &Node) -> Problem {
    let name = child(node, Kind::CONFIG_PARAMETER_REF).map(|name| path(&name).join("."));
    let command = match name {
        Some(name) => format!("RESET {name}"),
        None if has(node, Kind::ALL) => "RESET ALL".to_owned(),
        None => "RESET".to_owned(),
    };
    match command.to_lowercase().as_str() {
        "reset search_path" => Problem::SearchPath { command },
        "reset role" | "reset session_authorization" => Problem::Role { command },
        _ => Problem::SettingReset { command },
    }
}

/// What belongs to no schema, and would be done once for every tenant.
fn in_a_tenant(node: &Node) -> Option<Problem> {
    let command = kind(node);
    match node.kind() {
        Kind::CREATE_EXTENSION | Kind::ALTER_EXTENSION | Kind::DROP_EXTENSION => {
            Some(Problem::Extension { command })
        }
        Kind::CREATE_CAST | Kind::DROP_CAST | Kind::CREATE_TRANSFORM | Kind::DROP_TRANSFORM => {
            Some(Problem::PerhapsDatabaseWide { command })
        }
        Kind::ANALYZE | Kind::VACUUM if !has(node, Kind::TABLE_AND_COLUMNS_LIST) => {
            Some(Problem::EveryTable { command })
        }
        Kind::CLUSTER if !names_a_table(node) => Some(Problem::EveryTable { command }),
        kind if DATABASE_WIDE.contains(&kind) => Some(Problem::DatabaseWide { command }),
        Kind::ALTER_DEFAULT_PRIVILEGES if !has(node, Kind::IN_SCHEMAS) => {
            Some(Problem::DatabaseWide { command })
        }
        Kind::GRANT | Kind::REVOKE if !has(node, Kind::ON_PRIVILEGE_OBJECTS_CLAUSE) => {
            Some(Problem::DatabaseWide { command })
        }
        _ if contains(node, &DATABASE_WIDE_PARTS) => Some(Problem::DatabaseWide { command }),
        _ => None,
    }
}

fn names_a_table(cluster: &Node) -> bool {
    has(cluster, Kind::TABLE_NAME_REF) || has(cluster, Kind::CLUSTER_LEGACY)
}

/// Statements about what a database or a cluster has once.
const DATABASE_WIDE: [Kind; 40] = [
    Kind::ALTER_DATABASE,
    Kind::ALTER_EVENT_TRIGGER,
    Kind::ALTER_FOREIGN_DATA_WRAPPER,
    Kind::ALTER_GROUP,
    Kind::ALTER_LANGUAGE,
    Kind::ALTER_ROLE,
    Kind::ALTER_SERVER,
    Kind::ALTER_SUBSCRIPTION,
    Kind::ALTER_SYSTEM,
    Kind::ALTER_TABLESPACE,
    Kind::ALTER_USER,
    Kind::ALTER_USER_MAPPING,
    Kind::CREATE_ACCESS_METHOD,
    Kind::CREATE_DATABASE,
    Kind::CREATE_EVENT_TRIGGER,
    Kind::CREATE_FOREIGN_DATA_WRAPPER,
    Kind::CREATE_GROUP,
    Kind::CREATE_LANGUAGE,
    Kind::CREATE_PUBLICATION,
    Kind::CREATE_ROLE,
    Kind::CREATE_SERVER,
    Kind::CREATE_SUBSCRIPTION,
    Kind::CREATE_TABLESPACE,
    Kind::CREATE_USER,
    Kind::CREATE_USER_MAPPING,
    Kind::DROP_ACCESS_METHOD,
    Kind::DROP_DATABASE,
    Kind::DROP_EVENT_TRIGGER,
    Kind::DROP_FOREIGN_DATA_WRAPPER,
    Kind::DROP_GROUP,
    Kind::DROP_LANGUAGE,
    Kind::DROP_OWNED,
    Kind::DROP_PUBLICATION,
    Kind::DROP_ROLE,
    Kind::DROP_SERVER,
    Kind::DROP_SUBSCRIPTION,
    Kind::DROP_TABLESPACE,
    Kind::DROP_USER,
    Kind::DROP_USER_MAPPING,
    Kind::REASSIGN,
];

/// Parts that make a statement reach beyond a schema.
const DATABASE_WIDE_PARTS: [Kind; 12] = [
    Kind::ALL_IN_TABLESPACE,
    Kind::OBJECT_DATABASE,
    Kind::OBJECT_EXTENSION,
    Kind::OBJECT_ROLE,
    Kind::OBJECT_TABLESPACE,
    Kind::PRIVILEGE_DATABASE,
    Kind::PRIVILEGE_FOREIGN_DATA_WRAPPER,
    Kind::PRIVILEGE_LANGUAGE,
    Kind::PRIVILEGE_PARAMETER,
    Kind::PRIVILEGE_TABLESPACE,
    Kind::REINDEX_TARGET_DATABASE,
    Kind::REINDEX_TARGET_SYSTEM,
];

/// Returns what is wrong with a statement that Postgres does not run in a transaction block.
pub(super) fn needs_no_transaction(node: &Node) -> Option<Problem> {
    let command = match node.kind() {
        Kind::CREATE_INDEX | Kind::DROP_INDEX if has(node, Kind::CONCURRENTLY_KW) => {
            format!("{} CONCURRENTLY", kind(node))
        }
        Kind::REINDEX if is_concurrent(node) => "REINDEX CONCURRENTLY".to_owned(),
        Kind::REINDEX if contains(node, &WHOLE_REINDEX) => kind(node),
        Kind::ALTER_TABLE if contains(node, &[Kind::DETACH_CONCURRENTLY]) => {
            "DETACH PARTITION CONCURRENTLY".to_owned()
        }
        Kind::VACUUM
        | Kind::ALTER_SYSTEM
        | Kind::CREATE_DATABASE
        | Kind::DROP_DATABASE
        | Kind::CREATE_TABLESPACE
        | Kind::DROP_TABLESPACE => kind(node),
        Kind::ALTER_DATABASE if has(node, Kind::SET_TABLESPACE) => kind(node),
        Kind::CLUSTER if !names_a_table(node) => kind(node),
        Kind::CREATE_SUBSCRIPTION if creates_a_slot(node) => kind(node),
        _ => return None,
    };
    Some(Problem::NeedsNoTransaction { command })
}

const WHOLE_REINDEX: [Kind; 3] =
    [Kind::REINDEX_TARGET_SCHEMA, Kind::REINDEX_TARGET_DATABASE, Kind::REINDEX_TARGET_SYSTEM];

fn is_concurrent(reindex: &Node) -> bool {
    let option =
        reindex.descendants().find(|node| node.kind() == Kind::REINDEX_OPTION_CONCURRENTLY);
    match option {
        Some(option) => !says_no(&option),
        None => reindex.children().any(|target| has(&target, Kind::CONCURRENTLY_KW)),
    }
}

/// A new subscription makes a slot on the publisher unless it says not to.
fn creates_a_slot(subscription: &Node) -> bool {
    let options = subscription.descendants().filter(|node| node.kind() == Kind::ATTRIBUTE_OPTION);
    !options.into_iter().any(|option| {
        let name = child(&option, Kind::ATTRIBUTE_NAME).map(|node| name(&node));
        matches!(name.as_deref(), Some("create_slot" | "connect")) && says_no(&option)
    })
}

fn says_no(option: &Node) -> bool {
    let last = option.last_token().map(|token| token.text().trim_matches('\'').to_lowercase());
    matches!(last.as_deref(), Some("false" | "off" | "no" | "0"))
}
