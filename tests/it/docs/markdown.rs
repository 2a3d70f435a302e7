//! What of a page the tests ask for: blocks, commands, links, headings, tables.

use std::sync::LazyLock;

use regex::Regex;

/// A fenced block: what it says it is, and its lines.
pub(super) struct Block {
    pub(super) language: String,
    pub(super) lines: Vec<String>,
}

/// A command in a `console` block, with what it prints.
pub(super) struct Example {
    pub(super) command: String,
    pub(super) output: Vec<String>,
}

/// Returns the fenced blocks of a page, and its other lines.
pub(super) fn split(page: &str) -> (Vec<Block>, Vec<&str>) {
    let (mut blocks, mut prose) = (Vec::new(), Vec::new());
    let mut open: Option<(Block, usize)> = None;
    for line in page.lines() {
        let indent = line.len() - line.trim_start().len();
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (Some(_), Some("")) => blocks.extend(open.take().map(|(block, _)| block)),
            (Some((block, by)), _) => {
                let inner = line.get(indent.min(*by)..).unwrap_or_default();
                block.lines.push(inner.to_owned());
            }
            (None, Some(language)) => {
                let (language, lines) = (language.to_owned(), Vec::new());
                open = Some((Block { language, lines }, indent));
            }
            (None, None) => prose.push(line),
        }
    }
    assert!(open.is_none(), "a block is not closed");
    (blocks, prose)
}

impl Block {
    /// Returns the commands of a `console` block: lines after `$`, the further ones after `>`.
    pub(super) fn examples(&self) -> Vec<Example> {
        let mut examples: Vec<Example> = Vec::new();
        for line in &self.lines {
            if let Some(command) = line.strip_prefix("$ ") {
                examples.push(Example { command: command.to_owned(), output: Vec::new() });
                continue;
            }
            let example = examples.last_mut().expect("a command comes first");
            match line.strip_prefix("> ").or((line == ">").then_some("")) {
                Some(more) if example.output.is_empty() => {
                    example.command += &format!("\n{more}");
                }
                _ => example.output.push(line.clone()),
            }
        }
        examples
    }
}

/// Returns what stands in backticks outside of blocks.
pub(super) fn code_spans(page: &str) -> Vec<String> {
    // A span may go over the end of a line.
    let prose = split(page).1.join("\n");
    static SPAN: LazyLock<Regex> = LazyLock::new(|| Regex::new("`([^`]+)`").unwrap());
    SPAN.captures_iter(&prose).map(|found| found[1].replace('\n', " ")).collect()
}

/// Returns where the links of a page lead.
pub(super) fn links(page: &str) -> Vec<String> {
    static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\]\(([^)\s]+)\)").unwrap());
    let prose = split(page).1.join("\n");
    LINK.captures_iter(&prose).map(|found| found[1].to_owned()).collect()
}

/// Returns the anchors of a page's headings, as GitHub makes them.
pub(super) fn anchors(page: &str) -> Vec<String> {
    let (_, prose) = split(page);
    let headings = prose.iter().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let text = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            text.chars().filter(kept).collect::<String>().replace(' ', "-")
        })
        .collect()
}

/// Returns the rows of a page's tables, without their headers, each cell without its backticks.
pub(super) fn rows(page: &str) -> Vec<Vec<String>> {
    let (_, prose) = split(page);
    let is_row = |line: &&&str| line.starts_with('|') && !line.starts_with("|--");
    let mut rows = Vec::new();
    for (index, line) in prose.iter().enumerate().filter(|(_, line)| is_row(line)) {
        let is_header = prose.get(index + 1).is_some_and(|next| next.starts_with("|--"));
        if !is_header {
            let inner = line.strip_prefix("|").and_then(|it| it.strip_suffix("|"));
            let cells = inner.expect("a row is closed").split("|");
            rows.push(cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect());
        }
    }
    rows
}

/// Returns the section of a page under a heading, up to the next of the same level.
pub(super) fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("\n{heading}\n"));
    let start = start.unwrap_or_else(|| panic!("no heading `{heading}`")) + 1 + heading.len();
    let level = heading.split(' ').next().expect("it has words");
    let end = page[start..].find(&format!("\n{level} "));
    &page[start..end.map_or(page.len(), |end| start + end)]
}

#[test]
fn a_page_is_taken_apart() {
    let page = "# A `b` c\n\n| x | y |\n|---|---|\n| `1` | two |\n\n[it](a.md#b) `p\nq`\n\n\
        - item\n\n  ```console\n  $ a <<X\n  > b\n  > X\n  out\n  $ c\n  ```\n";
    let examples = split(page).0[0].examples();
    assert_eq!(examples[0].command, "a <<X\nb\nX");
    assert_eq!(examples[0].output, ["out"]);
    assert_eq!(examples[1].command, "c");
    assert_eq!(anchors(page), ["a-b-c"]);
    assert_eq!(links(page), ["a.md#b"]);
    assert_eq!(rows(page), [["1", "two"]]);
    assert!(code_spans(page).contains(&"p q".to_owned()));
}
