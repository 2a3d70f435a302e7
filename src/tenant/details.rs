//! All there is to say of one tenant.

use super::domain::{Domain, DomainError, list_domains};
use super::listing::{Tenant, list_tenants};
use super::registry::Registry;
use super::selection::Selection;
use crate::name::SchemaName;
use crate::pg::{Connection, literal};

/// A tenant with its domains and what its schema holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantDetails {
    /// Its registry row.
    pub tenant: Tenant,
    /// Its domains, the primary one first.
    pub domains: Vec<Domain>,
    /// What its schema holds; `None` where there is no schema.
    pub contents: Option<Contents>,
}

/// What a schema holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Its owner.
    pub owner: String,
    /// How many tables, partitioned, foreign and materialized ones included.
    pub tables: usize,
    /// How much room they take on disk, with their indexes, in bytes.
    pub bytes: u64,
}

/// Returns all there is to say of the tenant with this schema, which may be the shared one where that
/// has a row.
///
/// # Errors
///
/// [`DomainError::Selection`] or [`DomainError::NoSharedRow`] when there is no such tenant.
pub async fn tenant_details(
    connection: &mut Connection,
    registry: &Registry,
    schema: &SchemaName,
) -> Result<TenantDetails, DomainError> {
    let selection = match *schema == registry.names().shared_schema {
        true => Selection { shared: true, ..Selection::default() },
        false => Selection { names: vec![schema.to_string()], ..Selection::default() },
    };
    let mut tenants = list_tenants(connection, registry, &selection).await?.tenants;
    let Some(tenant) = tenants.pop() else {
        return Err(DomainError::NoSharedRow { schema: schema.clone() });
    };
    let domains = list_domains(connection, registry, Some(schema.as_str())).await?;
    let question = format!(
        "select pg_get_userbyid(n.nspowner), t.tables, t.bytes from pg_namespace n \
           cross join lateral ({}) as t(tables, bytes) where n.nspname = {}",
        tables_of("n.oid"),
        literal(schema.as_str())
    );
    let rows = registry.ask(connection, &question).await?;
    let contents = rows.first().map(|row| Contents {
        owner: row.text(0).to_owned(),
        tables: row.number(1).and_then(|it| it.try_into().ok()).unwrap_or_default(),
        bytes: row.number(2).unwrap_or_default().unsigned_abs(),
    });
    Ok(TenantDetails { tenant, domains, contents })
}

/// Returns the question how many tables a schema has, and how much room they take on disk, in bytes;
/// `oid` is an expression. No index leads from a schema to its tables but that of `pg_depend`.
pub(super) fn tables_of(oid: &str) -> String {
    format!(
        "select count(c.oid), coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 \
         from pg_depend d cross join lateral \
           (select c.oid from pg_class c where c.oid = d.objid \
              and c.relkind in ('r', 'p', 'f', 'm') offset 0) as c \
         where d.refclassid = 'pg_namespace'::regclass and d.refobjid = {oid} \
           and d.classid = 'pg_class'::regclass"
    )
}
