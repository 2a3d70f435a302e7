//! The Postgres grammar: the only file that knows which parser is used (`squawk-syntax`).
//!
//! The parser recovers from errors and always gives a tree that covers every byte; its errors are
//! places in it. It is recursive, and its tree is recursive to drop, so it runs on a thread with a
//! stack of its own and the tree never leaves [`with_tree`]. A chain of thousands of operators in
//! one expression takes it quadratic time (20,000 of them 2 s, more than Postgres itself accepts).

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use squawk_syntax::SourceFile;
use squawk_syntax::ast::{self, AstNode};

pub(super) use squawk_syntax::{SyntaxKind as Kind, SyntaxNode as Node, SyntaxToken as Token};

/// A parsed file.
pub(super) struct Tree {
    /// The node that covers every byte of the file.
    pub(super) root: Node,
    /// Where the parser found something it does not understand, in ascending order.
    pub(super) errors: Vec<usize>,
}

impl Tree {
    /// Returns whether the parser did not understand something in these bytes.
    pub(super) fn has_error(&self, bytes: Range<usize>) -> bool {
        let first = self.errors.partition_point(|error| *error < bytes.start);
        self.errors.get(first).is_some_and(|error| *error < bytes.end)
    }
}

/// Postgres' own parser gives up at this depth (`YYMAXDEPTH`), so nothing valid is deeper.
const DEEPEST: usize = 10_000;

/// 6 kB for each of [`DEEPEST`] levels; only what is used becomes memory.
const STACK: usize = 64 << 20;

/// Returns what `look` makes of the parsed `text`, or `None` if the text defeats the parser.
pub(super) fn with_tree<T: Send>(text: &str, look: impl FnOnce(&Tree) -> T + Send) -> Option<T> {
    if depth(text) > DEEPEST {
        return None;
    }
    thread::scope(|scope| {
        let parser = thread::Builder::new().stack_size(STACK);
        let handle = parser.spawn_scoped(scope, || parse(text).map(|tree| look(&tree)));
        // A panic that gets here is our own, not the parser's: it must not pass for "unread".
        handle.ok()?.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn parse(text: &str) -> Option<Tree> {
    unless_it_panics(|| {
        let parse = SourceFile::parse(text);
        let errors = parse.errors();
        let errors = errors.iter().map(|error| error.range().start().into()).collect();
        Tree { root: parse.syntax_node(), errors }
    })
}

/// The parser guards against mistakes of its own with assertions. A file that meets one is worth
/// an unread file, not the end of the program.
fn unless_it_panics<T>(parse: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(parse)).ok()
}

/// Returns how deep the brackets of any statement go at most. Brackets in strings and comments
/// count too, which errs on the safe side; no open bracket outlives a line that ends a statement.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for line in text.lines() {
        for byte in line.bytes() {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                _ => continue,
            }
            deepest = deepest.max(depth);
        }
        if line.ends_with(';') {
            depth = 0;
        }
    }
    deepest
}

/// Returns the bytes a node covers.
pub(super) fn range(node: &Node) -> Range<usize> {
    node.text_range().into()
}

/// Returns the statements below a node, without the statements inside them.
pub(super) fn statements(node: &Node) -> Vec<Node> {
    let statements = |child: Node| match ast::Stmt::can_cast(child.kind()) {
        true => vec![child],
        false => statements(&child),
    };
    node.children().flat_map(statements).collect()
}

/// Returns the first child of this kind.
pub(super) fn child(node: &Node, kind: Kind) -> Option<Node> {
    node.children().find(|child| child.kind() == kind)
}

/// Returns whether a node has a child, or a word of its own, of this kind.
pub(super) fn has(node: &Node, kind: Kind) -> bool {
    node.children_with_tokens().any(|child| child.kind() == kind)
}

/// Returns whether one of these kinds occurs anywhere below a node.
pub(super) fn contains(node: &Node, kinds: &[Kind]) -> bool {
    node.descendants().any(|below| kinds.contains(&below.kind()))
}

/// Returns the name a node stands for as Postgres stores it: folded to lower case if unquoted,
/// and unquoted otherwise.
pub(super) fn name(node: &Node) -> String {
    ast::normalize_name_node(node)
}

/// Returns the parts of a qualified name, outermost first.
pub(super) fn path(node: &Node) -> Vec<String> {
    let is_part = |kind| matches!(kind, Kind::PATH_SEGMENT | Kind::PATH_SEGMENT_REF);
    node.descendants().filter(|node| is_part(node.kind())).map(|node| name(&node)).collect()
}

/// Returns the parts of the name of the function that a call calls, outermost first.
pub(super) fn callee(call: &Node) -> Vec<String> {
    let names = |node: &Node| -> Vec<String> {
        node.descendants().filter(|node| node.kind() == Kind::NAME_REF).map(|n| name(&n)).collect()
    };
    match call.first_child() {
        Some(callee) if matches!(callee.kind(), Kind::NAME_REF | Kind::FIELD_EXPR) => {
            names(&callee)
        }
        _ => Vec::new(),
    }
}

/// Returns the arguments of a call that are literals, in their places, strings without quotes.
pub(super) fn literal_arguments(call: &Node) -> Vec<Option<String>> {
    let arguments = child(call, Kind::ARG_LIST).into_iter().flat_map(|list| list.children());
    arguments.map(|argument| child(&argument, Kind::LITERAL).map(literal)).collect()
}

fn literal(node: Node) -> String {
    let text = node.text().to_string();
    let is_string = text.ends_with(['\'', '$']);
    let value = ast::Literal::cast(node).filter(|_| is_string);
    value.and_then(|literal| literal.decoded_value()).map_or(text, |value| value.into_text())
}

/// The SQL in a `DO` block: a tree of its own, inside a string of the file.
pub(super) struct Body {
    pub(super) root: Node,
    place: squawk_syntax::plpgsql::Plpgsql,
}

impl Body {
    /// Returns the body of a `DO` statement written in PL/pgSQL.
    pub(super) fn of(statement: &Node) -> Option<Body> {
        let place = unless_it_panics(|| ast::Do::cast(statement.clone())?.plpgsql())??;
        Some(Body { root: place.syntax(), place })
    }

    /// Returns where in the file a node of the body begins.
    pub(super) fn offset(&self, node: &Node) -> usize {
        self.place.source_range(node.text_range()).start().into()
    }
}
