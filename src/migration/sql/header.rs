//! Comments that speak to tenantctl: `-- tenantctl: no-transaction` and `-- tenantctl: allow …`.

use super::finding::{Directive, Problem, Rule};
use super::pieces::{Piece, Pieces};

/// What the first line of a migration file declares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// The file cannot run in a transaction; its statements run one by one.
    pub no_transaction: bool,
}

impl Header {
    /// Returns what the first line of `text` declares.
    pub fn of(text: &str) -> Header {
        let first = text.lines().next().unwrap_or_default();
        let is_line_comment = first.trim_start().starts_with("--");
        Header { no_transaction: is_line_comment && words(first) == Some("no-transaction") }
    }
}

/// Which rules the file sets aside, and where.
#[derive(Default)]
pub(super) struct Allowances {
    everywhere: Vec<Rule>,
    /// The number of a piece, and a rule that does not hold for it.
    above: Vec<(usize, Rule)>,
}

impl Allowances {
    /// Returns the rules that are set aside anywhere.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let above = self.above.iter().map(|(_, rule)| *rule);
        self.everywhere.iter().copied().chain(above).collect()
    }

    pub(super) fn allow(&self, piece: usize, rule: Rule) -> bool {
        self.everywhere.contains(&rule) || self.above.contains(&(piece, rule))
    }
}

/// Returns whether a comment is meant for tenantctl, well written or not.
pub(super) fn is_directive(comment: &str) -> bool {
    words(comment).is_some()
}

/// Returns what a comment says after `tenantctl:`.
fn words(comment: &str) -> Option<&str> {
    let comment = comment.trim();
    let block = comment.strip_prefix("/*").map(|inner| inner.trim_end_matches("*/"));
    let inner = block.or_else(|| comment.strip_prefix("--"))?.trim();
    let (name, rest) = inner.split_once(':')?;
    name.trim_end().eq_ignore_ascii_case("tenantctl").then(|| rest.trim())
}

/// Returns what the comments of a file set aside, and where they say something we do not know:
/// a word with a typing error must not be skipped in silence.
pub(super) fn allowances(text: &str, pieces: &Pieces) -> (Allowances, Vec<(usize, Problem)>) {
    let mut allowances = Allowances::default();
    let mut problems = Vec::new();
    for (offset, comment) in &pieces.directives {
        let read = directive(text, *offset, comment, &pieces.pieces, &mut allowances);
        problems.extend(read.err().map(|problem| (*offset, Problem::Directive(problem))));
    }
    (allowances, problems)
}

fn directive(
    text: &str,
    offset: usize,
    comment: &str,
    pieces: &[Piece],
    allowances: &mut Allowances,
) -> Result<(), Directive> {
    let words = words(comment).unwrap_or_default();
    let (word, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    match word {
        _ if comment.starts_with("/*") => Err(Directive::BlockComment),
        "no-transaction" if !rest.is_empty() => Err(Directive::UnknownWord(words.to_owned())),
        "no-transaction" if text[..offset].contains('\n') => Err(Directive::NotFirstLine),
        "no-transaction" => Ok(()),
        "allow" => {
            let rules =
                rest.split(',').map(|name| rule(name.trim())).collect::<Result<Vec<_>, _>>()?;
            match place(text, offset, pieces)? {
                0 => allowances.everywhere.extend(rules),
                piece => allowances.above.extend(rules.into_iter().map(|rule| (piece, rule))),
            }
            Ok(())
        }
        word => Err(Directive::UnknownWord(word.to_owned())),
    }
}

fn rule(name: &str) -> Result<Rule, Directive> {
    match Rule::named(name) {
        Some(rule) if rule.can_be_allowed() => Ok(rule),
        Some(rule) => Err(Directive::NotAllowable(rule)),
        None => Err(Directive::UnknownRule(name.to_owned())),
    }
}

/// Returns the number of the piece that a comment stands above.
fn place(text: &str, offset: usize, pieces: &[Piece]) -> Result<usize, Directive> {
    let line = text[..offset].rfind('\n').map_or(0, |end| end + 1);
    let shares_its_line = !text[line..offset].trim().is_empty();
    let next = pieces.partition_point(|piece| piece.range.start < offset);
    let is_inside = next > 0 && pieces[next - 1].range.end > offset;
    let is_last = next > 0 && next == pieces.len();
    match shares_its_line || is_inside || is_last {
        true => Err(Directive::AboveNothing),
        false => Ok(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_comment_on_the_first_line_declares_no_transaction() {
        let cases = [
            ("-- tenantctl: no-transaction\nselect 1", true),
            ("--tenantctl:no-transaction\r\n", true),
            ("  -- tenantctl: no-transaction", true),
            ("", false),
            ("\n-- tenantctl: no-transaction", false),
            ("-- tenantctl: no-transactions", false),
            ("/* tenantctl: no-transaction */", false),
            ("select '-- tenantctl: no-transaction'", false),
        ];
        for (text, no_transaction) in cases {
            assert_eq!(Header::of(text), Header { no_transaction }, "{text:?}");
        }
    }
}
