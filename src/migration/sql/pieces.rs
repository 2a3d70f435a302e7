//! Where one statement ends and the next begins.
//!
//! A semicolon ends a statement unless the grammar puts it inside `BEGIN ATOMIC … END` or a rule's
//! list of actions. That a piece between two semicolons is one statement without an error is not
//! assumed: what is not travels alone.

use std::ops::Range;

use super::grammar::{Kind, Node, Token, Tree, range};
use super::header;

/// The file in pieces.
#[derive(Default)]
pub(super) struct Pieces {
    /// What the semicolons separate, in order.
    pub(super) pieces: Vec<Piece>,
    /// The comments that speak to tenantctl, in order: where each begins, and its text.
    pub(super) directives: Vec<(usize, String)>,
}

/// What stands between two semicolons.
#[derive(Clone)]
pub(super) struct Piece {
    /// The bytes from the first word to the last.
    pub(super) range: Range<usize>,
    /// The statement the piece begins with, unless it begins with something else.
    pub(super) node: Option<Node>,
    /// Not one statement that the parser understands.
    pub(super) alone: bool,
    /// Where the first backslash outside strings and comments is.
    pub(super) backslash: Option<usize>,
}

/// Returns the pieces of a file.
pub(super) fn pieces(tree: &Tree) -> Pieces {
    let mut reader = Reader { tree, found: Pieces::default(), open: None, begins: 0 };
    let elements = tree.root.descendants_with_tokens();
    elements.filter_map(|element| element.into_token()).for_each(|token| reader.token(&token));
    reader.end_piece(range(&tree.root).end + 1);
    attach(&mut reader.found.pieces, tree);
    reader.found
}

/// Reads a file token by token.
struct Reader<'a> {
    tree: &'a Tree,
    found: Pieces,
    open: Option<Piece>,
    /// Where the territory of the open piece begins: after the last semicolon.
    begins: usize,
}

impl Reader<'_> {
    fn token(&mut self, token: &Token) {
        let here: Range<usize> = token.text_range().into();
        match token.kind() {
            Kind::WHITESPACE => {}
            Kind::COMMENT if !is_closed(token.text()) => {
                // Left out, it would take the rest of the file along in silence: the server is to
                // refuse it.
                self.end_piece(here.start);
                self.open = Some(Piece { range: here, alone: true, ..Piece::at(0) });
            }
            Kind::COMMENT if !header::is_directive(token.text()) => {}
            Kind::COMMENT => self.found.directives.push((here.start, token.text().to_owned())),
            Kind::SEMICOLON if ends_a_statement(token) => self.end_piece(here.end),
            kind => {
                let piece = self.open.get_or_insert_with(|| Piece::at(here.start));
                piece.range.end = here.end;
                if kind == Kind::ERROR && token.text().starts_with('\\') {
                    piece.backslash.get_or_insert(here.start);
                }
            }
        }
    }

    fn end_piece(&mut self, end: usize) {
        if let Some(mut piece) = self.open.take() {
            piece.alone |= self.tree.has_error(self.begins..end);
            self.found.pieces.push(piece);
        }
        self.begins = end;
    }
}

/// Whether a comment ends; those between `/*` and `*/` nest.
fn is_closed(comment: &str) -> bool {
    let mut depth = 0;
    let mut rest = comment;
    while let Some(first) = rest.chars().next() {
        let step = match rest.get(..2) {
            Some("/*") => 1,
            Some("*/") => -1,
            _ => 0,
        };
        depth += step;
        rest = &rest[if step == 0 { first.len_utf8() } else { 2 }..];
    }
    comment.starts_with("--") || depth <= 0
}

fn ends_a_statement(semicolon: &Token) -> bool {
    let keeps_it = |node: Node| matches!(node.kind(), Kind::ATOMIC_BODY | Kind::RULE_STMT_LIST);
    !semicolon.parent_ancestors().any(keeps_it)
}

/// Gives each piece the statement it begins with. One that ends before the piece does is followed
/// by something the parser took for another statement.
fn attach(pieces: &mut [Piece], tree: &Tree) {
    let mut nodes = tree.root.children().peekable();
    for piece in pieces {
        while nodes.next_if(|node| range(node).start < piece.range.start).is_some() {}
        let node = nodes.next_if(|node| range(node).start == piece.range.start);
        piece.node = node.filter(|node| node.kind() != Kind::ERROR);
        piece.alone |= piece.node.as_ref().is_none_or(|node| range(node).end < piece.range.end);
    }
}

impl Piece {
    fn at(offset: usize) -> Piece {
        Piece { range: offset..offset, node: None, alone: false, backslash: None }
    }
}
