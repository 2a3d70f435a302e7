//! The line an error is about, as it is shown to people.

use std::fmt::Write;

/// Longer lines are shown in part, around the caret.
const WIDTH: usize = 100;

/// Returns where the error is and the offending line, with a caret under `column` if there is one:
///
/// ```text
///  --> migrations/tenant/V3__add_author.sql:2:13
///   |
/// 2 | alter table notes add author text;
///   |             ^
/// ```
///
/// Tabs become spaces and other control characters are escaped, so that a file cannot steer the
/// terminal. There is no line feed at the end.
pub fn excerpt(path: &str, text: &str, line: usize, column: Option<usize>) -> String {
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let place = column.map_or_else(String::new, |column| format!(":{column}"));
    let mut shown = format!("{margin}--> {path}:{line}{place}");
    if let Some(source) = text.lines().nth(line.saturating_sub(1)) {
        let (source, caret) = window(source, column);
        let _ = write!(shown, "\n{margin} |\n{number} | {source}");
        if let Some(caret) = caret {
            let _ = write!(shown, "\n{margin} | {}^", " ".repeat(caret));
        }
    }
    shown
}

/// Returns the part of a line to show, and how far from its beginning the caret is.
fn window(source: &str, column: Option<usize>) -> (String, Option<usize>) {
    let characters: Vec<String> = source.chars().map(visible).collect();
    let caret = column.map(|column| column.saturating_sub(1).min(characters.len()));
    let longest = characters.len().saturating_sub(WIDTH);
    let start = caret.map_or(0, |caret| caret.saturating_sub(WIDTH / 2).min(longest));
    let end = characters.len().min(start + WIDTH);

    let before = if start > 0 { "…" } else { "" };
    let after = if end < characters.len() { "…" } else { "" };
    let shown = format!("{before}{}{after}", characters[start..end].concat());
    let width = |caret| characters[start..caret].iter().map(|c| c.chars().count()).sum::<usize>();
    (shown, caret.map(|caret| before.chars().count() + width(caret)))
}

fn visible(character: char) -> String {
    match character {
        '\t' => "    ".to_owned(),
        character if character.is_control() => character.escape_unicode().to_string(),
        character => character.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "create table notes (id int);\r\nalter table notes add author text;\r\n";

    #[test]
    fn the_caret_stands_under_the_column() {
        insta::assert_snapshot!(excerpt("V3__a.sql", TEXT, 2, Some(13)), @r"
         --> V3__a.sql:2:13
          |
        2 | alter table notes add author text;
          |             ^
        ");
    }

    #[test]
    fn without_a_column_there_is_no_caret() {
        insta::assert_snapshot!(excerpt("V3__a.sql", TEXT, 1, None), @r"
         --> V3__a.sql:1
          |
        1 | create table notes (id int);
        ");
    }

    #[test]
    fn a_line_that_is_not_there_shows_only_the_place() {
        assert_eq!(excerpt("a.sql", TEXT, 9, Some(1)), " --> a.sql:9:1");
        assert_eq!(excerpt("a.sql", "", 1, None), " --> a.sql:1");
    }

    #[test]
    fn tabs_are_widened_and_control_characters_escaped() {
        insta::assert_snapshot!(excerpt("a.sql", "\tselect '\u{1b}[31m' x", 1, Some(9)), @r"
         --> a.sql:1:9
          |
        1 |     select '\u{1b}[31m' x
          |            ^
        ");
        let past = excerpt("a.sql", "\tselect '\u{1b}[31m' x", 1, Some(17));
        assert!(past.ends_with(&format!("| {}^", " ".repeat(24))), "{past}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let line = format!("{}X{}", "a".repeat(300), "b".repeat(300));
        let shown = excerpt("a.sql", &line, 1, Some(301));
        let lines: Vec<Vec<char>> = shown.lines().map(|line| line.chars().collect()).collect();
        let caret = lines[3].iter().position(|c| *c == '^').unwrap();
        assert_eq!(lines[2][caret], 'X');
        assert_eq!(lines[2].len(), "1 | ".len() + WIDTH + 2);
        assert!(!excerpt("a.sql", &"a".repeat(100), 1, Some(100)).contains('…'));
        assert!(excerpt("a.sql", &"a".repeat(101), 1, Some(1)).ends_with('^'));
    }

    #[test]
    fn a_column_past_the_end_points_behind_the_line() {
        assert!(excerpt("a.sql", "ab", 1, Some(99)).ends_with("|   ^"));
    }
}
