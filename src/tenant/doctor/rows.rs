//! The registry's rows beside the catalog: which schemas are there, and which domains lead to them.

use super::rights::{MAY_READ_HISTORY, OWNER, join_history, owner};
use super::{DoctorError, Finding, Look};
use crate::migration::{BEING_CREATED, lock_key_of};
use crate::name::SchemaName;
use crate::pg::{BEING_DELETED, Row, identifier, literal};

/// A tenant, and what the catalog has of it.
#[derive(Debug, Clone)]
pub(super) struct TenantRow {
    pub(super) schema: SchemaName,
    pub(super) is_there: bool,
    pub(super) owner: String,
    pub(super) owner_is_superuser: bool,
    /// Whether the role has the owner's rights.
    pub(super) is_owned: bool,
    /// Whether the role may read the history.
    pub(super) may_read: bool,
    /// Whether somebody has locked the history, or waits to, as who drops or alters its table does.
    pub(super) is_locked: bool,
    pub(super) mark: Option<Mark>,
    /// Whether somebody is creating or deleting it.
    pub(super) is_under_way: bool,
    domains: i64,
    primaries: i64,
}

/// What a schema's comment says of what was begun with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    BeingCreated,
    BeingDeleted,
    /// Either, and somebody is at it.
    UnderWay,
}

impl TenantRow {
    fn read(row: &Row) -> Self {
        let (owner, owner_is_superuser, is_owned) = owner(row, 2);
        Self {
            schema: SchemaName::registered(row.text(0)),
            is_there: row.flag(1),
            owner,
            owner_is_superuser,
            is_owned,
            may_read: row.flag(5),
            mark: Mark::read(row, 6),
            is_under_way: row.flag(7),
            is_locked: row.flag(8),
            domains: row.number(9).unwrap_or_default(),
            primaries: row.number(10).unwrap_or_default(),
        }
    }

    /// Whether it is a tenant like any other, rather than one that is being created or deleted.
    pub(super) fn is_settled(&self) -> bool {
        self.is_there && self.mark.is_none()
    }
}

impl Mark {
    /// Reads what [`MARK`] selects.
    pub(super) fn read(row: &Row, first: usize) -> Option<Self> {
        match (row.get(first)?, row.flag(first + 1)) {
            (_, true) => Some(Self::UnderWay),
            (BEING_CREATED, _) => Some(Self::BeingCreated),
            _ => Some(Self::BeingDeleted),
        }
    }
}

/// Selects the mark of the schema of this name, and whether somebody is creating or deleting it: it
/// is marked or not there, and its lock is held.
pub(super) fn select_mark(name: &str) -> String {
    let key = lock_key_of(name);
    let is_unsettled = "(m.description is not null or n.oid is null)";
    format!("m.description, {is_unsettled} and {key} in (select key from held)")
}

/// Joins the mark `m` of the schema `n`.
pub(super) fn join_mark() -> String {
    format!(
        "left join pg_description as m on m.classoid = 'pg_namespace'::regclass \
           and m.objoid = n.oid and m.objsubid = 0 and m.description in ({}, {})",
        literal(BEING_CREATED),
        literal(BEING_DELETED)
    )
}

/// The locks of this database: `held` are the advisory ones, and in `closed` are the relations that
/// nobody else can read.
pub(super) const LOCKS: &str = "locks as materialized (select * from pg_locks \
     where database = (select oid from pg_database where datname = current_database())), \
     held as materialized (select (classid::int8 << 32) | objid::int8 as key from locks \
     where locktype = 'advisory' and granted and objsubid = 1), \
     closed as materialized (select relation from locks \
     where locktype = 'relation' and mode = 'AccessExclusiveLock')";

/// Reads every tenant, each once.
pub(super) async fn read(look: &mut Look<'_>) -> Result<Vec<TenantRow>, DoctorError> {
    let question = question(look);
    let rows = look.ask_registry(&question).await?;
    let mut rows: Vec<TenantRow> = rows.iter().map(TenantRow::read).collect();
    let mut several: Vec<SchemaName> = rows
        .windows(2)
        .filter(|it| it[0].schema == it[1].schema)
        .map(|it| it[0].schema.clone())
        .collect();
    several.dedup();
    push(&mut look.findings, several, |schemas| Finding::SeveralRows { schemas });
    rows.dedup_by(|one, other| one.schema == other.schema);
    Ok(rows)
}

fn question(look: &Look<'_>) -> String {
    let registry = look.doctor.registry;
    let names = registry.names();
    let schema = format!("t.{}::text collate \"C\"", identifier(&names.schema_name));
    format!(
        "with {LOCKS}, domains as (select d.{tenant_id} as tenant, count(*) as number, \
             count(*) filter (where d.{is_primary}) as primaries from {domains} as d group by 1) \
         select {schema}, n.oid is not null, {OWNER}, {MAY_READ_HISTORY}, {mark}, \
           c.oid in (select relation from closed), coalesce(d.number, 0), coalesce(d.primaries, 0) \
         from {tenants} as t left join pg_namespace as n on n.nspname::text = {schema} \
         left join pg_roles as r on r.oid = n.nspowner \
         {history} {join_mark} left join domains as d on d.tenant = t.{id} \
         where {schema} <> {shared} order by {schema}",
        tenant_id = identifier(&names.tenant_id),
        is_primary = identifier(&names.is_primary),
        domains = registry.domains_table(),
        mark = select_mark(&schema),
        tenants = registry.tenants_table(),
        history = join_history(),
        join_mark = join_mark(),
        id = identifier(&names.id),
        shared = literal(names.shared_schema.as_str()),
    )
}

/// Says what is wrong with tenants' schemas and domains.
pub(super) fn look(findings: &mut Vec<Finding>, rows: &[TenantRow]) {
    let those = |is_so: &dyn Fn(&TenantRow) -> bool| {
        rows.iter().filter(|it| is_so(it)).map(|it| it.schema.clone()).collect::<Vec<_>>()
    };
    let is_deleted = |it: &TenantRow| matches!(it.mark, Some(Mark::BeingDeleted | Mark::UnderWay));
    push(findings, those(&|it| it.mark == Some(Mark::BeingCreated)), |schemas| {
        Finding::HalfCreated { schemas }
    });
    push(findings, those(&|it| it.mark == Some(Mark::BeingDeleted)), |schemas| {
        Finding::HalfDeleted { schemas }
    });
    push(findings, those(&|it| !is_deleted(it) && it.domains == 0), |schemas| Finding::NoDomain {
        schemas,
    });
    push(
        findings,
        those(&|it| !is_deleted(it) && it.domains > 0 && it.primaries == 0),
        |schemas| Finding::NoPrimaryDomain { schemas },
    );
    push(findings, those(&|it| it.primaries > 1), |schemas| Finding::SeveralPrimaryDomains {
        schemas,
    });
}

/// Adds a finding about schemas, if there are any.
pub(super) fn push(
    findings: &mut Vec<Finding>,
    schemas: Vec<SchemaName>,
    finding: impl FnOnce(Vec<SchemaName>) -> Finding,
) {
    if !schemas.is_empty() {
        findings.push(finding(schemas));
    }
}
