//! Findings in words: what is wrong, and what to write instead.

use std::fmt;

use super::finding::{Directive, Problem, Rule};

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::TransactionControl { command, .. } => {
                write!(
                    f,
                    "`{command}` interferes with the transaction that makes a migration whole"
                )
            }
            Problem::SearchPath { command } => {
                write!(f, "`{command}` would point the rest of the migration at another schema")
            }
            Problem::Backslashes => {
                write!(f, "`standard_conforming_strings` would change where the file's strings end")
            }
            Problem::Role { command } => {
                write!(f, "`{command}` would change who owns everything that comes after it")
            }
            Problem::SessionSetting { name, .. } => {
                write!(f, "`SET {name}` outlives the migration and reaches the next schema")
            }
            Problem::SettingReset { command } => {
                write!(f, "`{command}` undoes the settings that the migration runs under")
            }
            Problem::SettingWithoutEffect { name } => {
                write!(
                    f,
                    "`SET LOCAL {name}` has no effect in a file that runs without a transaction"
                )
            }
            Problem::SessionState { command, name, .. } => {
                write!(
                    f,
                    "`{command}` leaves `{name}` on the connection, where the next schema meets it"
                )
            }
            Problem::LibraryLoaded => {
                write!(f, "`LOAD` stays with the connection and reaches the next schema")
            }
            Problem::TemporaryObject { name } => {
                write!(
                    f,
                    "temporary `{name}` stays on the connection, where the next schema meets it"
                )
            }
            Problem::AdvisoryLock { function } => {
                write!(
                    f,
                    "`{function}` locks or unlocks for the whole session, not for the migration"
                )
            }
            Problem::SchemaChange { command, .. } => {
                write!(f, "`{command}` in a migration: schemas come and go with their tenants")
            }
            Problem::OtherSchema { schema, object, changed, is_shared } => {
                match (changed, is_shared) {
                    (true, true) if object == schema => {
                        write!(
                            f,
                            "`{schema}` is the shared schema, into which a tenant's migration may put nothing"
                        )
                    }
                    (true, true) => {
                        write!(
                            f,
                            "`{object}` is in the shared schema `{schema}`, which a tenant's migration may only read"
                        )
                    }
                    (true, false) => {
                        write!(
                            f,
                            "`{object}` is in schema `{schema}`, which is not the schema being migrated"
                        )
                    }
                    (false, _) => {
                        write!(
                            f,
                            "`{object}` names the schema `{schema}` in a file that runs for every tenant"
                        )
                    }
                }
            }
            Problem::History => {
                write!(
                    f,
                    "`refinery_schema_history` says what was applied, and is not a migration's to change"
                )
            }
            Problem::Extension { command } => {
                write!(
                    f,
                    "`{command}` in a tenant's migration: a database has an extension only once"
                )
            }
            Problem::DatabaseWide { command } => {
                write!(f, "`{command}` reaches beyond the tenant's schema")
            }
            Problem::PerhapsDatabaseWide { command } => {
                write!(
                    f,
                    "`{command}` reaches beyond the tenant's schema, unless its types are the tenant's own"
                )
            }
            Problem::EveryTable { command } => {
                write!(f, "`{command}` without a table works through every schema of the database")
            }
            Problem::NeedsNoTransaction { command } => {
                write!(f, "`{command}` cannot run in a transaction, and the file does not say so")
            }
            Problem::PsqlCommand { text } => {
                write!(f, "`{text}` is for the program psql, the server does not know it")
            }
            Problem::CopyFromStdin { into_table: true } => {
                write!(f, "`COPY … FROM STDIN` wants data that a migration file cannot send")
            }
            Problem::CopyFromStdin { into_table: false } => {
                write!(f, "`COPY … TO STDOUT` sends data that nobody receives")
            }
            Problem::Directive(directive) => directive.fmt(f),
            Problem::Unread => {
                write!(f, "the file is too much for the parser: nothing in it was checked")
            }
        }
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Directive::UnknownWord(word) => write!(f, "unknown word `{word}` after `tenantctl:`"),
            Directive::UnknownRule(name) => write!(f, "unknown rule `{name}` after `allow`"),
            Directive::NotAllowable(rule) => write!(f, "the rule `{rule}` cannot be set aside"),
            Directive::NotFirstLine => {
                write!(f, "`-- tenantctl: no-transaction` does not stand on the first line")
            }
            Directive::AboveNothing => {
                write!(
                    f,
                    "`-- tenantctl: allow` does not stand on a line of its own above a statement"
                )
            }
            Directive::BlockComment => write!(f, "`tenantctl:` stands in a `/* */` comment"),
        }
    }
}

const TO_SHARED: &str = "move the statement to a file in `migrations/shared`";

impl Problem {
    pub(super) fn advice(&self) -> String {
        match self {
            Problem::TransactionControl { command, in_block: true } => format!(
                "delete `{command}`, or, for work in batches, begin the file with `-- tenantctl: no-transaction`"
            ),
            Problem::TransactionControl { command, .. } => format!(
                "delete `{command}`: a schema's migrations already run in one transaction; `SAVEPOINT` and `ROLLBACK TO` are fine"
            ),
            Problem::SearchPath { .. } => {
                "delete it: names without a schema already mean the schema being migrated, and functions can have `SET search_path` of their own".to_owned()
            }
            Problem::Role { .. } => {
                "delete it, and give ownership away with `ALTER TABLE … OWNER TO …`".to_owned()
            }
            Problem::Backslashes => {
                "delete it, and write `E'…'` where a backslash begins an escape".to_owned()
            }
            Problem::SessionSetting { name, in_transaction: true } => {
                format!("write `SET LOCAL {name} = …`")
            }
            Problem::SessionSetting { name, .. } | Problem::SettingWithoutEffect { name } => {
                format!("delete it, and write `ALTER ROLE … SET {name} = …` for the role that migrates")
            }
            Problem::SettingReset { .. } => {
                "delete it: what was `SET LOCAL` ends with the transaction".to_owned()
            }
            Problem::SessionState { undo, .. } => format!("write `{undo}` at the end of the file"),
            Problem::LibraryLoaded => {
                "name the library in `session_preload_libraries`".to_owned()
            }
            Problem::TemporaryObject { name } => format!(
                "write `ON COMMIT DROP` behind the table's definition, or drop `{name}` at the end of the file"
            ),
            Problem::AdvisoryLock { .. } => {
                "write `pg_advisory_xact_lock(…)`, which ends with the transaction".to_owned()
            }
            Problem::SchemaChange { folder_is_shared: false, .. } => {
                "leave schemas to `tenantctl create-tenant`; a migration changes what is in them".to_owned()
            }
            Problem::SchemaChange { .. } => allow(Rule::SchemaChange),
            Problem::OtherSchema { changed: false, .. } => format!(
                "leave the schema out, or keep what every tenant uses in the shared schema; {}",
                allow(Rule::OtherSchema)
            ),
            Problem::OtherSchema { is_shared: true, .. } | Problem::Extension { .. } => TO_SHARED.to_owned(),
            Problem::OtherSchema { schema, .. } if schema == "pg_catalog" => format!(
                "say it with a command, such as `ALTER TABLE`, which Postgres keeps in order; {}",
                allow(Rule::OtherSchema)
            ),
            Problem::OtherSchema { .. } => "leave the schema out of the name".to_owned(),
            Problem::History => {
                "leave it out; `tenantctl baseline` records what was applied by other means".to_owned()
            }
            Problem::DatabaseWide { .. } => TO_SHARED.to_owned(),
            Problem::PerhapsDatabaseWide { .. } => {
                format!("{TO_SHARED}, or {}", allow(Rule::DatabaseWide))
            }
            Problem::EveryTable { command } => format!("write `{command} table_name`"),
            Problem::NeedsNoTransaction { .. } => {
                "write `-- tenantctl: no-transaction` on the first line, and keep the file to this statement".to_owned()
            }
            Problem::PsqlCommand { .. } => "write the SQL itself into the file".to_owned(),
            Problem::CopyFromStdin { into_table: true } => {
                "write `INSERT INTO … (…) VALUES (…), (…)`".to_owned()
            }
            Problem::CopyFromStdin { .. } => "delete it".to_owned(),
            Problem::Directive(directive) => directive.advice(),
            Problem::Unread => "split the file, or simplify its deepest expression".to_owned(),
        }
    }
}

impl Directive {
    fn advice(&self) -> String {
        match self {
            Directive::UnknownWord(_) | Directive::BlockComment => {
                "write `-- tenantctl: no-transaction` or `-- tenantctl: allow RULE, …`".to_owned()
            }
            Directive::UnknownRule(_) => format!("the rules are {}", allowable()),
            Directive::NotAllowable(_) => format!("delete it; rules that can be: {}", allowable()),
            Directive::NotFirstLine => "move it to the first line of the file".to_owned(),
            Directive::AboveNothing => {
                "move it above the statement, or to the top of the file for every statement"
                    .to_owned()
            }
        }
    }
}

fn allow(rule: Rule) -> String {
    format!("write `-- tenantctl: allow {rule}` above it if it is meant")
}

fn allowable() -> String {
    let names = Rule::ALL.into_iter().filter(|rule| rule.can_be_allowed());
    names.map(|rule| format!("`{rule}`")).collect::<Vec<_>>().join(", ")
}
