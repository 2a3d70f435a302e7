//! Links from page to page.

use std::path::Path;

use super::{markdown, pages, path, read};

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        for link in markdown::links(&read(&page)) {
            if !link.starts_with("http") && !leads_somewhere(&page, &link) {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn leads_somewhere(page: &str, link: &str) -> bool {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = Path::new(page).parent().expect("a page is a file");
    let target = match file.is_empty() {
        true => Path::new(page).to_owned(),
        false => folder.join(file),
    };
    let target = target.to_str().expect("pages have plain names");
    let is_there = path(target).exists();
    is_there
        && (anchor.is_empty() || markdown::anchors(&read(target)).iter().any(|it| it == anchor))
}

#[test]
fn every_page_is_linked_to() {
    let index = "docs/README.md";
    let linked: Vec<String> = pages()
        .iter()
        .flat_map(|page| markdown::links(&read(page)))
        .map(|link| link.split('#').next().unwrap_or_default().to_owned())
        .collect();
    for page in pages().iter().filter(|page| *page != index) {
        let name = page.rsplit('/').next().expect("split gives a part");
        let is_linked = linked.iter().any(|link| link.rsplit('/').next() == Some(name));
        assert!(is_linked, "no page links to {page}");
    }
}
