//! stub, replaced on merge
#![allow(missing_docs, dead_code)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    Shared,
    Tenant,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub text: String,
    pub line: usize,
    pub column: usize,
    pub offset: usize,
    pub alone: bool,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcurrentIndex {
    pub name: Option<String>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub unique: bool,
    pub if_not_exists: bool,
}
impl Statement {
    pub fn concurrent_index(&self) -> Option<&ConcurrentIndex> {
        None
    }
    pub fn kind(&self) -> &str {
        ""
    }
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub line: usize,
    pub column: usize,
    pub severity: Severity,
}
impl Finding {
    pub fn message(&self) -> String {
        String::new()
    }
    pub fn advice(&self) -> String {
        String::new()
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Refused,
    Warned,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    pub no_transaction: bool,
}
impl Header {
    pub fn of(_t: &str) -> Self {
        Self::default()
    }
}
pub struct Context;
impl Context {
    pub fn new(_f: Folder, _s: &str) -> Self {
        Self
    }
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub header: Header,
    pub statements: Vec<Statement>,
    pub findings: Vec<Finding>,
}
impl Script {
    pub fn read(t: &str, _c: &Context) -> Self {
        Self {
            header: Header::default(),
            findings: vec![],
            statements: vec![Statement {
                text: t.trim_end().trim_end_matches(';').into(),
                line: 1,
                column: 1,
                offset: 0,
                alone: false,
            }],
        }
    }
}
pub struct Position {
    pub line: usize,
    pub column: usize,
}
impl Position {
    pub fn of_byte(t: &str, o: usize) -> Self {
        Self {
            line: t[..o].matches('\n').count() + 1,
            column: 1,
        }
    }
}
pub fn excerpt(path: &str, _t: &str, line: usize, _c: Option<usize>) -> String {
    format!("--> {path}:{line}")
}
