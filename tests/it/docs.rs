//! The documentation, compared with the program: reference pages are what it says of itself,
//! commands in guides are commands it has, and the README's example is run.

mod architecture;
mod examples;
mod links;
mod markdown;
mod reference;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns a path of the repository.
fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// Returns every page: those in the root, and those in `docs`; relative to the root.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(str::to_owned).into();
    pages.extend(files_below("docs", "md"));
    pages
}

/// Returns the files below a folder whose names end so, relative to the root.
fn files_below(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(path(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                open.push(name);
            } else if name.ends_with(&format!(".{extension}")) {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

/// Returns the program in a folder and a clean environment, with no database.
fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantctl"));
    command.current_dir(folder).env_clear();
    command.env("HOME", folder).stdin(std::process::Stdio::null());
    command
}
