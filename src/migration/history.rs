//! What each schema has: the history tables of a whole fleet, read in a bounded number of
//! statements.
//!
//! A fleet of 10,000 schemas has few distinct histories. Each schema's history is digested on the
//! server; only one history per digest is then read whole.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use futures_util::future::{try_join, try_join_all};
use tokio::sync::SetOnce;

use super::Width;
use crate::name::SchemaName;
use crate::pg::{
    BEING_DELETED, ConnectError, Database, Incomplete, Lane, Row, Rows, SqlError, literal,
    qualified,
};

/// The name of the history table in every schema, which is refinery's.
pub const HISTORY_TABLE: &str = "refinery_schema_history";

/// Histories read by one message. More hold more locks at once, and leave who reads with another
/// to wait for it; fewer cost more round trips.
const HISTORIES_PER_MESSAGE: usize = 32;

/// Histories that one connection reads before it is replaced: each leaves a table and an index in
/// the backend's caches, about 15 kB.
const HISTORIES_PER_CONNECTION: usize = 4000;

/// So many schemas are worth another connection: opening it takes about as long as reading half of
/// them.
const WORTH_ANOTHER: usize = 128;

/// Once so many others read, the first connection does not: they know then what they work on later, and
/// it may work on nothing.
const ENOUGH_OTHERS: usize = 2;

/// How long to wait for what somebody has locked, as who drops or alters its table does.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '100ms'; ";

/// A row of a history table, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The migration's version.
    pub version: i64,
    /// The migration's name; empty where it is NULL.
    pub name: String,
    /// When it was applied: RFC 3339, as refinery stores it.
    pub applied_on: String,
    /// refinery's checksum, in decimal.
    pub checksum: String,
}

/// A schema's history: what was applied to it, in the order of versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The width of the version column; `None` where there is no history table yet.
    pub width: Option<Width>,
    /// The server's digest of versions and checksums, by which a change is noticed.
    pub digest: String,
    /// In the order of versions.
    pub rows: Vec<Applied>,
}

impl History {
    /// Returns the newest version in the history.
    pub fn version(&self) -> Option<i64> {
        self.rows.last().map(|row| row.version)
    }
}

/// What was found where a schema was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There is no such schema.
    NoSchema,
    /// The schema is being deleted: part of it may be gone.
    BeingDeleted,
    /// The schema is there; the number is an index into [`Fleet::histories`].
    History(usize),
    /// Somebody has locked the schema's history table.
    Locked,
    /// There is a history table that is not refinery's, or may not be read.
    Unreadable(String),
}

/// The schemas that were looked at, and the distinct histories among them.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// In the order in which they were asked for.
    pub schemas: Vec<(SchemaName, Found)>,
    /// Every distinct history once; the first is that of a schema without a history table.
    pub histories: Vec<History>,
    /// By which of the other connections a schema's history was read, from 0; the number after theirs
    /// is the first connection's.
    pub(crate) read_by: HashMap<SchemaName, usize>,
}

/// Why histories could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookError {
    /// No connection, or it was lost and could not be opened again.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused to answer.
    #[error("the schemas' histories could not be read")]
    Sql(#[source] SqlError),
}

impl From<Incomplete> for LookError {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Sql(error) => Self::Sql(error),
            Incomplete::Lost(error) => Self::Connect(error),
        }
    }
}

/// The SQL expression that digests the rows of a history table, the same in whatever order they are
/// read: a number, or NULL where there are none.
///
/// Of `applied_on`, which differs from schema to schema, there is only whether it looks like the RFC
/// 3339 that refinery expects; where it does not, that is a finding. Planned for every schema, it is
/// as short as can be.
const DIGEST: &str = "sum(hashtextextended(concat(name, ' ', checksum, \
     applied_on like '____-__-__T__:__:__%'), version))";

/// The same of what a plan is made from, versions and checksums: [`differs_from`] asks for it in
/// every transaction, and it takes half as long.
const DIGEST_OF_CHECKSUMS: &str = "sum(hashtextextended(checksum::text, version))";

/// Returns the SQL condition that a history table's rows are no longer those of `history`.
pub(super) fn differs_from(history: &History) -> String {
    match history.digest.as_str() {
        "" => format!("{DIGEST_OF_CHECKSUMS} is not null"),
        digest => format!("({DIGEST_OF_CHECKSUMS} = {}) is not true", literal(digest)),
    }
}

/// Reads the histories of `schemas` over one connection.
///
/// A history that cannot be read is a finding of its schema alone ([`Found::Unreadable`]).
pub async fn read(database: &Database, schemas: &[SchemaName]) -> Result<Fleet, LookError> {
    let mut lane = Lane::new(database, "tenantctl look", HISTORIES_PER_CONNECTION);
    let fleet = read_over(&mut lane, &mut [], schemas).await?;
    lane.close().await;
    Ok(fleet)
}

/// Reads the histories of `schemas` over a connection and, where there are many, over others, which
/// stay open as it does.
pub(crate) async fn read_over(
    lane: &mut Lane,
    others: &mut [Lane],
    schemas: &[SchemaName],
) -> Result<Fleet, LookError> {
    let worth = others.len().min(schemas.len() / WORTH_ANOTHER);
    let reading = SetOnce::new();
    let first = async {
        let tables = tables(lane, schemas).await?;
        let _ = reading.set(Reading::new(schemas, &tables, worth));
        reading.wait().await.over(lane, worth).await?;
        Ok(tables)
    };
    // They connect meanwhile, and read what is left by then.
    let others = others[..worth].iter_mut().enumerate();
    let others = others.map(async |(number, other): (_, &mut Lane)| match open(other).await? {
        true => reading.wait().await.over(other, number).await,
        false => Ok(()),
    });
    let (tables, _) = try_join(first, try_join_all(others)).await?;
    let Reading { tables: with_table, digests, read_by, .. } =
        reading.into_inner().expect("set by the first");
    let mut digests: Vec<Digest> = digests.take().into_iter().flatten().collect();
    let mut fleet = Fleet {
        schemas: Vec::with_capacity(schemas.len()),
        histories: vec![History::default()],
        read_by: read_by.into_inner(),
    };
    let known = distinct(lane, &with_table, &mut digests, &mut fleet.histories).await?;
    let mut gone = gone(lane, &with_table, &digests).await?;

    let mut digests = digests.into_iter();
    for (schema, table) in schemas.iter().zip(tables) {
        let found = match table {
            Table::Present(width) => match digests.next().expect("one per table") {
                Ok(digest) => Found::History(known[&(digest, width)]),
                Err(error) => match gone.remove(schema) {
                    Some(table) => found(&table),
                    None => found_instead(&error),
                },
            },
            table => found(&table),
        };
        // `search_path = "$user"` means the schema named like the role.
        let found = match schema.as_str() {
            "$user" if found != Found::NoSchema => Found::Unreadable(users()),
            _ => found,
        };
        fleet.schemas.push((schema.clone(), found));
    }
    Ok(fleet)
}

/// Returns what a schema is of whose history the catalog says enough.
fn found(table: &Table) -> Found {
    match table {
        Table::NoSchema => Found::NoSchema,
        Table::BeingDeleted => Found::BeingDeleted,
        Table::Absent => Found::History(0),
        Table::Foreign => Found::Unreadable(foreign()),
        Table::Present(_) => Found::Unreadable(changing()),
    }
}

/// Returns what a schema is whose history could not be read.
fn found_instead(error: &SqlError) -> Found {
    match error.code.as_str() {
        _ if error.is_lock_not_available() => Found::Locked,
        // A column is not there, or not of a type of which there is a digest.
        "42703" | "42883" => Found::Unreadable(foreign()),
        "42501" => Found::Unreadable(forbidden()),
        _ => Found::Unreadable(error.message.clone()),
    }
}

fn users() -> String {
    "Postgres takes `$user` in a search path for the role's name".into()
}

fn foreign() -> String {
    format!("its table `{HISTORY_TABLE}` does not have refinery's columns")
}

fn forbidden() -> String {
    format!("this role may not read its table `{HISTORY_TABLE}`")
}

/// Returns what is said of a schema whose history table somebody has locked.
pub(crate) fn locked() -> String {
    format!("somebody has locked its table `{HISTORY_TABLE}`")
}

fn changing() -> String {
    "its history changed while it was read".into()
}

/// Whether a schema has a history table, from the catalog.
enum Table {
    NoSchema,
    BeingDeleted,
    Absent,
    Present(Width),
    Foreign,
}

/// Asks the catalog about all `schemas` at once.
async fn tables(lane: &mut Lane, schemas: &[SchemaName]) -> Result<Vec<Table>, LookError> {
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = schemas.iter().map(|schema| literal(schema.as_str())).collect();
    // Each is looked up by itself: the planner knows little of catalogs that have just grown.
    let question = format!(
        "select w.schema is not null, w.history is not null, \
           (select v.atttypid::regtype::text from pg_attribute v \
             where v.attrelid = w.history and v.attname = 'version'), \
           exists (select from pg_description d where d.objoid = w.schema \
             and d.classoid = 'pg_namespace'::regclass and d.objsubid = 0 and d.description = {}) \
         from (select n.oid as schema, \
             (select c.oid from pg_class c where c.relname = '{HISTORY_TABLE}' \
               and c.relnamespace = n.oid and c.relkind in ('r', 'p', 'v', 'm', 'f')) as history, \
             w.position \
           from unnest(array[{}]::text[]) with ordinality as w(name, position) \
           left join pg_namespace n on n.nspname = w.name offset 0) as w \
         order by w.position",
        literal(BEING_DELETED),
        names.join(", ")
    );
    let rows = ask(lane, &question, 0).await?;
    Ok(rows.iter().map(table).collect())
}

fn table(row: &Row) -> Table {
    match (row.flag(0), row.flag(1), row.get(2)) {
        (false, ..) => Table::NoSchema,
        _ if row.flag(3) => Table::BeingDeleted,
        (_, false, _) => Table::Absent,
        (_, _, Some("integer")) => Table::Present(Width::Int4),
        (_, _, Some("bigint")) => Table::Present(Width::Int8),
        _ => Table::Foreign,
    }
}

type Digest = Result<String, SqlError>;

/// The histories that are to be digested; who reads takes one part after the other.
struct Reading {
    tables: Vec<(SchemaName, Width)>,
    /// The number of the part that nobody has taken yet.
    next: Cell<usize>,
    /// The first connection's number, after those of the others.
    first: usize,
    /// How many of the others read.
    others: Cell<usize>,
    /// One for each table, once it is read.
    digests: RefCell<Vec<Option<Digest>>>,
    read_by: RefCell<HashMap<SchemaName, usize>>,
}

impl Reading {
    fn new(schemas: &[SchemaName], tables: &[Table], first: usize) -> Self {
        let with_table = schemas.iter().zip(tables).filter_map(|(schema, table)| match table {
            Table::Present(width) => Some((schema.clone(), *width)),
            _ => None,
        });
        let tables: Vec<_> = with_table.collect();
        let digests = RefCell::new(vec![None; tables.len()]);
        Self {
            tables,
            next: Cell::new(0),
            first,
            others: Cell::new(0),
            digests,
            read_by: RefCell::default(),
        }
    }

    /// Takes a part, of schemas that are not neighbours: of any that are, each connection has read
    /// some.
    fn part(&self) -> Option<Vec<usize>> {
        let (all, part) = (self.tables.len(), self.next.get());
        let parts = all.div_ceil(HISTORIES_PER_MESSAGE);
        self.next.set(part + 1);
        (part < parts).then(|| (part..all).step_by(parts).collect())
    }

    /// Digests what nobody else has taken, over the connection of this number. The first leaves the
    /// rest to the others once there are enough.
    async fn over(&self, lane: &mut Lane, number: usize) -> Result<(), LookError> {
        let is_first = number == self.first;
        self.others.set(self.others.get() + usize::from(!is_first));
        while (!is_first || self.others.get() < ENOUGH_OTHERS)
            && let Some(part) = self.part()
        {
            let schemas: Vec<_> = part.iter().map(|&index| &self.tables[index].0).collect();
            let digests = digest(lane, &schemas).await?;
            for (&index, digest) in part.iter().zip(digests) {
                self.digests.borrow_mut()[index] = Some(digest);
            }
            let read = schemas.into_iter().map(|schema| (schema.clone(), number));
            self.read_by.borrow_mut().extend(read);
        }
        Ok(())
    }
}

/// Opens another connection; returns whether the server has room for it.
async fn open(lane: &mut Lane) -> Result<bool, LookError> {
    match lane.serve(0).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_too_many_clients() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Digests one part, by a statement for each: planned together, they would take longer. Where the
/// server refuses, the part is halved until the schema that it refuses stands alone: it was dropped
/// meanwhile, or this role may not read it.
async fn digest(lane: &mut Lane, part: &[&SchemaName]) -> Result<Vec<Digest>, LookError> {
    let mut open = vec![part];
    let mut digests = Vec::with_capacity(part.len());
    while let Some(part) = open.pop() {
        let selects: Vec<String> = part
            .iter()
            .map(|schema| format!("select {DIGEST} from {}", qualified(schema, HISTORY_TABLE)))
            .collect();
        let questions: Vec<&str> = selects.iter().map(String::as_str).collect();
        match ask_each(lane, &questions, part.len()).await {
            Ok(answers) => {
                let digest = |answer: &Rows| Ok(answer.rows[0].text(0).to_owned());
                digests.extend(answers.iter().map(digest));
            }
            Err(LookError::Sql(error)) if part.len() == 1 => digests.push(Err(error)),
            Err(LookError::Sql(_)) => {
                let (left, right) = part.split_at(part.len() / 2);
                open.extend([right, left]);
            }
            Err(lost) => return Err(lost),
        }
    }
    Ok(digests)
}

/// Reads one history for each distinct digest, and returns where each is in `histories`.
///
/// The schema whose history is to be read may have another one by now, or be gone. That is its new
/// digest then, and another schema with the old one is asked.
async fn distinct(
    lane: &mut Lane,
    tables: &[(SchemaName, Width)],
    digests: &mut [Digest],
    histories: &mut Vec<History>,
) -> Result<HashMap<(String, Width), usize>, LookError> {
    let mut wanted: HashMap<(String, Width), Vec<usize>> = HashMap::new();
    for (index, ((_, width), digest)) in tables.iter().zip(&*digests).enumerate() {
        if let Ok(digest) = digest {
            wanted.entry((digest.clone(), *width)).or_default().push(index);
        }
    }
    let mut known = HashMap::new();
    while !wanted.is_empty() {
        let asked: Vec<usize> = wanted.values_mut().filter_map(Vec::pop).collect();
        for chunk in asked.chunks(HISTORIES_PER_MESSAGE) {
            for (index, read) in whole_or_error(lane, tables, chunk).await? {
                let width = tables[index].1;
                digests[index] = read.map(|(digest, history)| {
                    known.entry((digest.clone(), width)).or_insert_with(|| {
                        histories.push(history);
                        histories.len() - 1
                    });
                    digest
                });
            }
        }
        wanted.retain(|digest, schemas| !known.contains_key(digest) && !schemas.is_empty());
    }
    Ok(known)
}

/// Returns what the catalog says by now of those whose history was there and is not.
async fn gone(
    lane: &mut Lane,
    with_table: &[(SchemaName, Width)],
    digests: &[Digest],
) -> Result<HashMap<SchemaName, Table>, LookError> {
    let is_gone = |digest: &Digest| digest.as_ref().is_err_and(|error| error.is("42P01"));
    let gone = with_table.iter().zip(digests).filter(|(_, digest)| is_gone(digest));
    let gone: Vec<SchemaName> = gone.map(|((schema, _), _)| schema.clone()).collect();
    let tables = tables(lane, &gone).await?;
    Ok(gone.into_iter().zip(tables).collect())
}

/// A history with its digest, or why it could not be read.
type Whole = Result<(String, History), SqlError>;

/// Reads whole histories of `tables`, together or, where the server refuses that, one by one.
async fn whole_or_error(
    lane: &mut Lane,
    tables: &[(SchemaName, Width)],
    indexes: &[usize],
) -> Result<Vec<(usize, Whole)>, LookError> {
    let tables_of = |indexes: &[usize]| -> Vec<_> {
        indexes.iter().map(|&index| tables[index].clone()).collect()
    };
    match whole(lane, &tables_of(indexes)).await {
        Ok(read) => return Ok(indexes.iter().copied().zip(read.into_iter().map(Ok)).collect()),
        Err(LookError::Sql(error)) if indexes.len() == 1 => {
            return Ok(vec![(indexes[0], Err(error))]);
        }
        Err(LookError::Sql(_)) => {}
        Err(lost) => return Err(lost),
    }
    let mut all = Vec::with_capacity(indexes.len());
    for &index in indexes {
        let read = match whole(lane, &tables_of(&[index])).await {
            Ok(mut read) => Ok(read.pop().expect("one was asked for")),
            Err(LookError::Sql(error)) => Err(error),
            Err(lost) => return Err(lost),
        };
        all.push((index, read));
    }
    Ok(all)
}

/// Reads whole histories, each with the digest by which it was found, of the same snapshot. The first
/// row of each has a NULL version, so that an empty history has a row as well.
async fn whole(
    lane: &mut Lane,
    tables: &[(SchemaName, Width)],
) -> Result<Vec<(String, History)>, LookError> {
    let selects: Vec<String> = tables
        .iter()
        .enumerate()
        .map(|(i, (schema, _))| {
            let table = qualified(schema, HISTORY_TABLE);
            format!(
                "select {i} as i, null::int8 as version, {DIGEST}::text as name, null as applied_on, \
                 {DIGEST_OF_CHECKSUMS}::text as checksum from {table} \
                 union all select {i}, version, name::text, applied_on, checksum::text from {table}"
            )
        })
        .collect();
    let question = format!("{} order by i, version nulls first", selects.join(" union all "));
    let rows = ask(lane, &question, tables.len()).await?;
    Ok(histories(tables, &rows))
}

fn histories(tables: &[(SchemaName, Width)], rows: &[Row]) -> Vec<(String, History)> {
    let mut histories: Vec<(String, History)> = Vec::with_capacity(tables.len());
    for row in rows {
        let Some(version) = row.number(1) else {
            let width = Some(tables[histories.len()].1);
            let digest = row.text(4).to_owned();
            let history = History { width, digest, rows: Vec::new() };
            histories.push((row.text(2).to_owned(), history));
            continue;
        };
        let applied = Applied {
            version,
            name: row.text(2).to_owned(),
            applied_on: row.text(3).to_owned(),
            checksum: row.text(4).to_owned(),
        };
        let (_, history) = histories.last_mut().expect("its first row came before");
        history.rows.push(applied);
    }
    histories
}

/// Asks a question that changes nothing and waits for no lock longer than a moment; a connection lost
/// before the answer is opened again once.
pub(crate) async fn ask(
    lane: &mut Lane,
    question: &str,
    units: usize,
) -> Result<Vec<Row>, LookError> {
    let answers = ask_each(lane, &[question], units).await?;
    Ok(answers.into_iter().flat_map(|answer| answer.rows).collect())
}

/// The same for several questions at once.
async fn ask_each(
    lane: &mut Lane,
    questions: &[&str],
    units: usize,
) -> Result<Vec<Rows>, LookError> {
    let [first, others @ ..] = questions else { return Ok(Vec::new()) };
    let first = format!("{LOCK_TIMEOUT}{first}");
    let questions = &[&[first.as_str()], others].concat();
    match lane.serve(units).await?.ask_each(questions).await {
        Err(Incomplete::Lost(_)) => {
            lane.abandon();
            Ok(lane.serve(units).await?.ask_each(questions).await?)
        }
        other => Ok(other?),
    }
}
