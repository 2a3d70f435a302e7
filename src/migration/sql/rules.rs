//! What a migration file may not say: what cannot be kept whole or confined to one schema, known
//! before any schema is touched.
//!
//! Rules look at what runs when the file runs. The body of a function runs later and is not looked
//! into, nor is SQL that a `DO` block puts together as text; its plain statements are. What escapes
//! the parser meets the audit that every schema's transaction ends with.

mod commands;
mod functions;
mod left_behind;
mod names;

pub(super) use self::functions::sets_a_sequence;
pub(super) use self::names::bare_changes;
use super::Header;
use super::finding::{Finding, Problem, Rule};
use super::grammar::{self, Body, Kind, Node, range};
use super::header;
use super::pieces::{Piece, Pieces, pieces};
use super::position::Cursor;

/// The folder a migration file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Folder {
    /// `migrations/shared`: runs once, in the shared schema.
    Shared,
    /// `migrations/tenant`: runs in every tenant's schema.
    Tenant,
}

/// What the rules have to know about a file besides its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The folder it is in.
    pub folder: Folder,
    /// The schema every tenant reads, usually `public`.
    pub shared_schema: String,
    /// What else is in every tenant's search path, such as a schema for extensions.
    pub extra_schemas: Vec<String>,
}

impl Context {
    /// Returns a context without extra schemas.
    pub fn new(folder: Folder, shared_schema: &str) -> Context {
        Context { folder, shared_schema: shared_schema.to_owned(), extra_schemas: Vec::new() }
    }
}

/// Returns what a file may not say, in the order of the file.
pub fn check(text: &str, context: &Context) -> Vec<Finding> {
    let header = Header::of(text);
    grammar::with_tree(text, |tree| findings(text, &pieces(tree), header, context))
        .unwrap_or_else(|| unread(text))
}

/// What the rules of one statement have at hand.
struct Look<'a> {
    context: &'a Context,
    in_transaction: bool,
}

/// A problem, and the byte it begins at.
type Found = (usize, Problem);

pub(super) fn findings(
    text: &str,
    pieces: &Pieces,
    header: Header,
    context: &Context,
) -> Vec<Finding> {
    let look = Look { context, in_transaction: !header.no_transaction };
    let (allowances, mut found) = header::allowances(text, pieces);
    for (number, piece) in pieces.pieces.iter().enumerate() {
        let mut here = look.piece(text, piece);
        let data_follows = here.iter().any(|(_, problem)| is_copy_in(problem));
        here.retain(|(_, problem)| !allowances.allow(number, problem.rule()));
        found.extend(here);
        if data_follows {
            break;
        }
    }
    left_behind::forgive(&mut found, &pieces.pieces);
    placed(text, found)
}

/// The lines that follow `COPY … FROM STDIN` are data, and so is what the parser finds in them.
fn is_copy_in(problem: &Problem) -> bool {
    matches!(problem, Problem::CopyFromStdin { into_table: true })
}

/// A file that defeats the parser is not refused, but people are told.
pub(super) fn unread(text: &str) -> Vec<Finding> {
    placed(text, vec![(0, Problem::Unread)])
}

fn placed(text: &str, mut found: Vec<Found>) -> Vec<Finding> {
    found.sort_by_key(|(offset, _)| *offset);
    let mut cursor = Cursor::new(text);
    let place = |(offset, problem)| {
        let position = cursor.advance(offset);
        Finding { line: position.line, column: position.column, problem }
    };
    found.into_iter().map(place).collect()
}

impl Look<'_> {
    fn piece(&self, text: &str, piece: &Piece) -> Vec<Found> {
        let mut found: Vec<Found> =
            piece.backslash.map(|at| psql_command(text, at)).into_iter().collect();
        let Some(node) = &piece.node else {
            return found;
        };
        let in_file = |(node, problem): (Node, Problem)| (range(&node).start, problem);
        found.extend(psql_variables(text, node));
        found.extend(self.statement(node).map(|problem| (range(node).start, problem)));
        found.extend(names::problems(node, self).map(in_file));
        found.extend(names::history(node).map(in_file));
        if functions::run_now(node.kind()) {
            found.extend(functions::problems(node, self).map(in_file));
        }
        if node.kind() == Kind::DO {
            found.extend(Body::of(node).into_iter().flat_map(|body| self.body(&body)));
        }
        found
    }

    fn statement(&self, node: &Node) -> Option<Problem> {
        let in_a_transaction = || match self.in_transaction {
            true => commands::needs_no_transaction(node),
            false => None,
        };
        commands::problem(node, self)
            .or_else(|| left_behind::problem(node))
            .or_else(in_a_transaction)
    }

    /// The statements of a `DO` block, which is in a transaction whatever the file says. What the
    /// server itself refuses in one is left to it. One that is the only statement of its message may end
    /// that transaction ("Transaction Management" in the chapter on PL/pgSQL), which every statement is
    /// where the file runs in none.
    fn body(&self, body: &Body) -> Vec<Found> {
        let look = &Look { in_transaction: true, ..*self };
        let in_statements = grammar::statements(&body.root).into_iter().filter_map(|node| {
            let problem = commands::problem(&node, look).or_else(|| left_behind::problem(&node))?;
            Some((node, problem)).filter(|(_, problem)| problem.rule() != Rule::CopyFromStdin)
        });
        let in_file = self.in_transaction.then(|| commands::ends_transaction(&body.root));
        in_statements
            .chain(in_file.into_iter().flatten())
            .chain(names::problems(&body.root, look))
            .chain(names::history(&body.root))
            .chain(functions::problems(&body.root, look))
            .map(|(node, problem)| (body.offset(&node), problem))
            .collect()
    }

    fn is_tenant(&self) -> bool {
        self.context.folder == Folder::Tenant
    }
}

/// A backslash outside strings and comments, which only psql understands.
fn psql_command(text: &str, offset: usize) -> Found {
    let line = text[offset..].lines().next().unwrap_or_default();
    (offset, Problem::PsqlCommand { text: line.trim_end().to_owned() })
}

/// `:name`, `:'name'`, which psql replaces before the server sees it.
fn psql_variables(text: &str, node: &Node) -> impl Iterator<Item = Found> {
    let variables = node.descendants().filter(|node| node.kind() == Kind::NON_STANDARD_PARAM);
    variables.map(|node| {
        let start = range(&node).start;
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | ')');
        let variable = text[start..].split(ends).next().unwrap_or_default();
        (start, Problem::PsqlCommand { text: variable.to_owned() })
    })
}

#[cfg(test)]
mod tests;
