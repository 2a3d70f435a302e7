//! Where one statement ends and the next begins.
//!
//! A semicolon ends a statement unless the grammar puts it inside `BEGIN ATOMIC … END` or a rule's
//! list of actions. That a piece between two semicolons is one statement without an error is not
//! assumed: what is not travels alone.

use std::ops::Range;

use super::grammar::{Kind, Node, Tree, range};

/// The file in pieces.
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
    let mut found = Pieces {
        pieces: Vec::new(),
        directives: Vec::new(),
    };
    let mut open: Option<Piece> = None;
    let mut begins = 0;
    for token in tree
        .root
        .descendants_with_tokens()
        .filter_map(|element| element.into_token())
    {
        let here: Range<usize> = token.text_range().into();
        match token.kind() {
            Kind::WHITESPACE => {}
            Kind::COMMENT => {
                if super::header::is_directive(token.text()) {
                    found.directives.push((here.start, token.text().to_owned()));
                }
            }
            Kind::SEMICOLON if !token.parent_ancestors().any(|node| keeps_semicolons(&node)) => {
                found.pieces.extend(
                    open.take()
                        .map(|piece| piece.judged(tree, begins..here.end)),
                );
                begins = here.end;
            }
            kind => {
                let piece = open.get_or_insert_with(|| Piece::at(here.start));
                piece.range.end = here.end;
                if kind == Kind::ERROR && token.text().starts_with('\\') {
                    piece.backslash.get_or_insert(here.start);
                }
            }
        }
    }
    let end = range(&tree.root).end + 1;
    found
        .pieces
        .extend(open.map(|piece| piece.judged(tree, begins..end)));
    attach(&mut found.pieces, tree);
    found
}

fn keeps_semicolons(node: &Node) -> bool {
    matches!(node.kind(), Kind::ATOMIC_BODY | Kind::RULE_STMT_LIST)
}

/// Gives each piece the statement it begins with. One that ends before the piece does is followed
/// by something the parser took for another statement.
fn attach(pieces: &mut [Piece], tree: &Tree) {
    let mut nodes = tree.root.children().peekable();
    for piece in pieces {
        while nodes
            .next_if(|node| range(node).start < piece.range.start)
            .is_some()
        {}
        let node = nodes.next_if(|node| range(node).start == piece.range.start);
        piece.node = node.filter(|node| node.kind() != Kind::ERROR);
        piece.alone |= piece
            .node
            .as_ref()
            .is_none_or(|node| range(node).end < piece.range.end);
    }
}

impl Piece {
    fn at(offset: usize) -> Piece {
        Piece {
            range: offset..offset,
            node: None,
            alone: false,
            backslash: None,
        }
    }

    /// `territory` is the piece with the space before it and the semicolon after it.
    fn judged(mut self, tree: &Tree, territory: Range<usize>) -> Piece {
        let error = tree
            .errors
            .partition_point(|error| *error < territory.start);
        self.alone = tree
            .errors
            .get(error)
            .is_some_and(|error| *error < territory.end);
        self
    }
}
