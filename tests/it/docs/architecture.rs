//! The page about the source's layout.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::{files_below, markdown, path, read};

const PAGE: &str = "docs/architecture.md";

#[test]
fn what_it_names_is_there() {
    let page = read(PAGE);
    for span in markdown::code_spans(&page) {
        if ["src/", "tests/"].iter().any(|folder| span.starts_with(folder)) {
            assert!(path(&span).exists(), "{PAGE} names `{span}`, which is not there");
        }
    }
    for section in page.split("\n### ").skip(1) {
        let folder = section.split('`').nth(1).expect("its heading is a folder");
        for row in markdown::rows(section).iter().filter(|row| row[0].ends_with(".rs")) {
            for file in row[0].split("`, `") {
                let file = format!("{folder}{file}");
                assert!(path(&file).exists(), "{PAGE} names `{file}`, which is not there");
            }
        }
    }
}

#[test]
fn every_folder_is_named() {
    let page = read(PAGE);
    let folders: BTreeSet<String> = files_below("src", "rs")
        .iter()
        .filter_map(|file| Some(file.rsplit_once('/')?.0.to_owned()))
        .filter(|folder| folder != "src")
        .collect();
    for folder in folders {
        assert!(page.contains(&format!("`{folder}/`")), "{PAGE} does not name `{folder}/`");
    }
}

/// The walk says `file`: `function`.
#[test]
fn functions_are_where_it_says() {
    static PLACE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"`(src/[a-z_/]+\.rs)`:\s+`([a-z_]+)`").unwrap());
    let page = read(PAGE);
    let places: Vec<_> = PLACE.captures_iter(&page).collect();
    assert!(places.len() > 10);
    for place in places {
        let (file, function) = (&place[1], &place[2]);
        assert!(
            read(file).contains(&format!("fn {function}")),
            "{PAGE}: there is no `{function}` in `{file}`"
        );
    }
}
