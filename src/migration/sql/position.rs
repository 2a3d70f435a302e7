//! Places in a text: bytes and characters to lines and columns.

/// A place in a text, both counted from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl Position {
    /// Returns the place of the byte at `offset`; past the end, the end.
    pub fn of_byte(text: &str, offset: usize) -> Position {
        Cursor::new(text).advance(offset)
    }

    /// Returns the place of the `number`th character, from 1, as Postgres counts them in the
    /// `position` of an error ("Error and Notice Message Fields").
    pub fn of_character(text: &str, number: usize) -> Position {
        let offset = text.char_indices().nth(number.saturating_sub(1)).map(|(offset, _)| offset);
        Position::of_byte(text, offset.unwrap_or(text.len()))
    }
}

/// Turns ascending offsets into positions, reading the text once in all.
pub(super) struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    position: Position,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Cursor { text, offset: 0, position: Position { line: 1, column: 1 } }
    }

    /// Returns the place of the byte at `offset`, which is not before the last one asked for.
    pub(super) fn advance(&mut self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset).max(self.offset);
        for character in self.text[self.offset..offset].chars() {
            match character {
                '\n' => self.position = Position { line: self.position.line + 1, column: 1 },
                _ => self.position.column += 1,
            }
        }
        self.offset = offset;
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_at_line_feeds() {
        let text = "é;\r\nü x";
        let cases = [(0, 1, 1), (2, 1, 2), (5, 2, 1), (7, 2, 2), (8, 2, 3), (99, 2, 4)];
        for (offset, line, column) in cases {
            assert_eq!(Position::of_byte(text, offset), Position { line, column }, "{offset}");
        }
    }

    #[test]
    fn a_position_of_postgres_counts_characters_from_one() {
        let text = "é\nselect";
        let cases = [(0, 1, 1), (1, 1, 1), (2, 1, 2), (3, 2, 1), (5, 2, 3), (99, 2, 7)];
        for (number, line, column) in cases {
            assert_eq!(Position::of_character(text, number), Position { line, column }, "{number}");
        }
    }
}
