//! What the SQL in a migration file is, by the Postgres grammar.
//!
//! A file is read once, as a [`Script`]: its statements with their places, and what it may not
//! say. Boundaries and kinds come from a full Postgres parser, which only `grammar` knows; what
//! it does not understand is not refused for that, but travels alone and is left to the server.
//!
//! ```
//! use tenantctl::migration::sql::{Context, Folder, Script};
//!
//! let context = Context::new(Folder::Tenant, "public");
//! let script = Script::read("create table notes (id int);\ndrop table public.users;", &context);
//!
//! assert_eq!(script.statements[0].text, "create table notes (id int)");
//! assert_eq!(script.findings[0].rule().name(), "other-schema");
//! ```

mod excerpt;
mod finding;
mod grammar;
mod header;
mod own_table;
mod pieces;
mod position;
mod rules;
mod statement;
mod wording;

pub use excerpt::excerpt;
pub use finding::{Directive, Finding, Problem, Rule, Severity};
pub use header::Header;
pub use position::Position;
pub use rules::{Context, Folder, check};
pub use statement::{ConcurrentIndex, Statement, TableName, statements};

/// A migration file's SQL, read: its header, its statements and what it may not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What the first line declares.
    pub header: Header,
    /// The statements, in the order of the file.
    pub statements: Vec<Statement>,
    /// What the file may not say, in the order of the file.
    pub findings: Vec<Finding>,
    /// The rules that it sets aside, for one of its statements or for all.
    pub allowed: Vec<Rule>,
}

impl Script {
    /// Returns what `text` is, parsing it once.
    pub fn read(text: &str, context: &Context) -> Script {
        let header = Header::of(text);
        let read = grammar::with_tree(text, |tree| {
            let pieces = pieces::pieces(tree);
            Script {
                header,
                statements: statement::from_pieces(text, &pieces),
                findings: rules::findings(text, &pieces, header, context),
                allowed: header::allowances(text, &pieces).0.rules(),
            }
        });
        read.unwrap_or_else(|| Script {
            header,
            statements: statement::unread(text),
            findings: rules::unread(text),
            allowed: Vec::new(),
        })
    }
}
