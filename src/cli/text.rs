//! How counts, names and lengths of time are written.

use std::time::Duration;

/// Returns `1 schema`, `3 schemas`, `9,998 schemas`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let ending = match (number, noun) {
        (1, _) => "",
        (_, "history") => return format!("{} histories", grouped(number)),
        (_, "invalid index") => return format!("{} invalid indexes", grouped(number)),
        (_, "canary") => return format!("{} canaries", grouped(number)),
        _ => "s",
    };
    format!("{} {noun}{ending}", grouped(number))
}

/// Returns a number with commas between its thousands.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a text with control characters escaped, so that what people store cannot steer the
/// terminal.
pub(crate) fn printable(text: &str) -> String {
    let escape = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.into() }
    };
    text.chars().map(escape).collect()
}

/// Returns `0.3 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn length(duration: Duration) -> String {
    match duration.as_secs() {
        0..=9 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 10..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Returns the first `most` names and how many more there are: `acme, globex and 3 more`.
pub(crate) fn few<T: std::fmt::Display>(
    names: impl ExactSizeIterator<Item = T>,
    most: usize,
) -> String {
    let rest = names.len().saturating_sub(most);
    let shown: Vec<String> = names.take(most).map(|name| printable(&name.to_string())).collect();
    match rest {
        0 => shown.join(", "),
        rest => format!("{} and {} more", shown.join(", "), grouped(rest)),
    }
}

/// Returns why a run in which `failed` schemas failed went no further than `most` allowed.
pub(crate) fn stopped_early(most: usize, failed: usize) -> String {
    let after = match most {
        0 | 1 => "at the first failure".to_owned(),
        _ => format!("after {} failures, as `--max-failures` says", grouped(most)),
    };
    match failed.saturating_sub(most) {
        0 => format!("stopped early, {after}"),
        more => format!("stopped early, {after}; {} more failed by then", grouped(more)),
    }
}

/// Returns a word as a shell would have to be given it.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_like_english() {
        assert_eq!(count(1, "schema"), "1 schema");
        assert_eq!(count(0, "schema"), "0 schemas");
        assert_eq!(count(1_234_567, "schema"), "1,234,567 schemas");
    }

    #[test]
    fn the_budget_and_what_failed_beyond_it_are_told_apart() {
        assert_eq!(stopped_early(1, 1), "stopped early, at the first failure");
        let three = "stopped early, after 3 failures, as `--max-failures` says";
        assert_eq!(stopped_early(3, 3), three);
        assert_eq!(stopped_early(3, 6), format!("{three}; 3 more failed by then"));
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let names = ["a", "b", "c"];
        assert_eq!(few(names.iter(), 2), "a, b and 1 more");
        assert_eq!(few(names.iter(), 3), "a, b, c");
    }

    #[test]
    fn an_escape_sequence_is_shown_and_not_sent() {
        assert_eq!(printable("a\u{1b}[31m\nb"), r"a\u{1b}[31m\nb");
    }

    #[test]
    fn a_name_with_spaces_is_quoted_for_the_shell() {
        assert_eq!(shell_word("Tenant 1"), "'Tenant 1'");
        assert_eq!(shell_word("o'brien"), r"'o'\''brien'");
        assert_eq!(shell_word("eha-meetup"), "eha-meetup");
    }
}
