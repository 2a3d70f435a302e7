//! The history rows, as refinery writes them, and the table that holds them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Subject;
use super::guard::{has_changed, unless};
use crate::migration::Width;
use crate::migration::history::HISTORY_TABLE;
use crate::name::SchemaName;
use crate::pg::{literal, qualified};

/// Returns the statement that makes a history table as refinery makes it.
pub(crate) fn create_history_table(schema: &SchemaName, width: Width) -> String {
    let table = qualified(schema, HISTORY_TABLE);
    let version = match width {
        Width::Int4 => "int4",
        Width::Int8 => "int8",
    };
    format!(
        "create table {table} (\n    version {version} primary key,\n    name varchar(255),\n    \
         applied_on varchar(255),\n    checksum varchar(255)\n)"
    )
}

/// Whether one of the files has a version that does not fit refinery's default width.
fn needs_more_room(subject: Subject<'_>) -> bool {
    subject.files.iter().any(|&file| subject.migrations.file(file).checksum_narrow.is_none())
}

/// Returns the statements that make a history table of refinery's default width what refinery's
/// `int8-versions` makes it: a wider column, and the checksums that belong to it.
pub(crate) fn widening(subject: Subject<'_>) -> Vec<String> {
    if subject.history.width != Some(Width::Int4) || !needs_more_room(subject) {
        return Vec::new();
    }
    let table = qualified(subject.schema, HISTORY_TABLE);
    let known = subject.history.rows.iter().filter_map(|row| {
        let file = subject.migrations.folder().get(row.version)?;
        let stored = row.checksum.parse().ok()?;
        let is_same = file.name == row.name && file.recognises(Width::Int4, stored);
        is_same.then(|| format!("({}, '{}')", row.version, file.checksum_wide))
    });
    let known: Vec<String> = known.collect();
    let mut statements = vec![format!("alter table {table} alter column version type int8")];
    if !known.is_empty() {
        statements.push(format!(
            "update {table} as h set checksum = wide.checksum \
             from (values {}) as wide (version, checksum) where h.version = wide.version",
            known.join(", ")
        ));
    }
    statements
}

/// Returns the statement that records the files as applied, as refinery records them, in the
/// width of this history table.
pub(crate) fn history_rows(subject: Subject<'_>) -> String {
    let rows = rows(subject).map(|(version, rest)| format!("({version}, {rest})"));
    let rows: Vec<String> = rows.collect();
    format!("{} values\n    {}", insertion(subject), rows.join(",\n    "))
}

/// Returns the same, which fails unless the history is what the plan was made from. What is compared is
/// not asked for in a question of its own, which would be planned by itself.
pub(super) fn history_rows_after(subject: Subject<'_>) -> String {
    let table = qualified(subject.schema, HISTORY_TABLE);
    let rows = rows(subject).enumerate().map(|(index, (version, rest))| match index {
        0 => format!(
            "{}, {rest}\n    from {table}",
            unless(&[has_changed(subject)], "bigint", version)
        ),
        _ => format!("select {version}, {rest}"),
    });
    let rows: Vec<String> = rows.collect();
    format!("{}\n    {}", insertion(subject), rows.join("\n    union all "))
}

fn insertion(subject: Subject<'_>) -> String {
    let table = qualified(subject.schema, HISTORY_TABLE);
    format!("insert into {table} (version, name, applied_on, checksum)")
}

/// Returns of each row the version, and the rest of its values.
fn rows(subject: Subject<'_>) -> impl Iterator<Item = (i64, String)> {
    let width = match subject.history.width {
        Some(Width::Int4) if needs_more_room(subject) => Width::Int8,
        Some(width) => width,
        None => subject.migrations.new_table_width(),
    };
    let now = OffsetDateTime::now_utc().format(&Rfc3339).expect("a year of four digits");
    subject.files.iter().map(move |&index| {
        let file = subject.migrations.file(index);
        let checksum = file.checksum(width).expect("the width was chosen to fit");
        (file.version, format!("{}, '{now}', '{checksum}'", literal(&file.name)))
    })
}
