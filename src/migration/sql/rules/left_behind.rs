//! Rules about what stays on the connection after the migration: temporary objects, prepared
//! statements, cursors and channels. What the file itself undoes further down is fine.

use super::Found;
use crate::migration::sql::finding::Problem;
use crate::migration::sql::grammar::{Kind, Node, child, has, name, path, range};
use crate::migration::sql::pieces::Piece;
use crate::migration::sql::statement::kind;

/// Returns what a statement leaves behind.
pub(super) fn problem(node: &Node) -> Option<Problem> {
    let state = |made: Kind, undo: &str| {
        let name = name(&child(node, made)?);
        let undo = format!("{undo} {name}");
        Some(Problem::SessionState { command: kind(node), name, undo })
    };
    match node.kind() {
        Kind::PREPARE => state(Kind::PREPARED_STATEMENT, "DEALLOCATE"),
        Kind::DECLARE if has(node, Kind::WITH_HOLD) => state(Kind::CURSOR, "CLOSE"),
        Kind::LISTEN => state(Kind::CHANNEL, "UNLISTEN"),
        _ => Some(Problem::TemporaryObject { name: temporary(node)? }),
    }
}

/// Returns the name of the temporary object that a statement creates and that outlives it.
fn temporary(node: &Node) -> Option<String> {
    let created = match child(node, Kind::INTO_CLAUSE) {
        Some(into) => into,
        None => node.clone(),
    };
    let new = [Kind::TABLE_NAME, Kind::VIEW, Kind::SEQUENCE];
    let mut parts = path(&created.children().find(|node| new.contains(&node.kind()))?);
    let name = parts.pop()?;
    let is_temporary = has(&created, Kind::TEMP) || parts.pop().as_deref() == Some("pg_temp");
    let is_dropped = || child(node, Kind::ON_COMMIT).is_some_and(|action| has(&action, Kind::DROP));
    (is_temporary && !is_dropped()).then_some(name)
}

/// Takes back what was found about things that are undone further down.
pub(super) fn forgive(found: &mut Vec<Found>, pieces: &[Piece]) {
    if !found.iter().any(|(_, problem)| thing(problem).is_some()) {
        return;
    }
    let undone: Vec<_> =
        pieces.iter().filter_map(|piece| piece.node.as_ref()).flat_map(undone).collect();
    found.retain(|(offset, problem)| {
        let is_undone = |thing: Thing| {
            undone.iter().any(|(place, undone)| place > offset && undone.includes(thing))
        };
        !thing(problem).is_some_and(is_undone)
    });
}

/// What is left behind, and its name.
#[derive(Clone, Copy)]
enum Thing<'a> {
    Relation(&'a str),
    Prepared(&'a str),
    Cursor(&'a str),
    Channel(&'a str),
}

fn thing(problem: &Problem) -> Option<Thing<'_>> {
    match problem {
        Problem::TemporaryObject { name } => Some(Thing::Relation(name)),
        Problem::SessionState { command, name, .. } => Some(match command.as_str() {
            "PREPARE" => Thing::Prepared(name),
            "DECLARE" => Thing::Cursor(name),
            _ => Thing::Channel(name),
        }),
        _ => None,
    }
}

/// What a statement takes away: one thing by its name, or all things of its kind.
enum Undone {
    Relation(Option<String>),
    Prepared(Option<String>),
    Cursor(Option<String>),
    Channel(Option<String>),
}

impl Undone {
    fn includes(&self, thing: Thing) -> bool {
        match (self, thing) {
            (Undone::Relation(name), Thing::Relation(thing))
            | (Undone::Prepared(name), Thing::Prepared(thing))
            | (Undone::Cursor(name), Thing::Cursor(thing))
            | (Undone::Channel(name), Thing::Channel(thing)) => {
                name.as_ref().is_none_or(|name| name == thing)
            }
            _ => false,
        }
    }
}

fn undone(node: &Node) -> Vec<(usize, Undone)> {
    let named = |kind| child(node, kind).map(|node| name(&node));
    let undone = match node.kind() {
        Kind::DROP_TABLE | Kind::DROP_VIEW | Kind::DROP_SEQUENCE => dropped(node),
        Kind::DISCARD if has(node, Kind::DISCARD_TEMP) => vec![Undone::Relation(None)],
        Kind::DEALLOCATE => vec![Undone::Prepared(named(Kind::PREPARED_STATEMENT_REF))],
        Kind::CLOSE => vec![Undone::Cursor(named(Kind::CURSOR_REF))],
        Kind::UNLISTEN => vec![Undone::Channel(named(Kind::CHANNEL_REF))],
        _ => Vec::new(),
    };
    undone.into_iter().map(|undone| (range(node).start, undone)).collect()
}

fn dropped(node: &Node) -> Vec<Undone> {
    let names = [Kind::TABLE_NAME_REF, Kind::VIEW_REF, Kind::SEQUENCE_REF];
    let children = node.children().filter(|child| names.contains(&child.kind()));
    children.map(|child| Undone::Relation(path(&child).pop())).collect()
}
