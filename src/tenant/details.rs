//! All there is to say of one tenant.

use super::domain::{Domain, DomainError, list_domains};
use super::listing::{Tenant, list_tenants};
use super::registry::{Registry, RegistryError};
use super::selection::Selection;
use crate::name::SchemaName;
use crate::pg::{Connection, Incomplete, literal};

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
    /// How much room they take on disk, with their indexes, in bytes; `None` where somebody has locked
    /// one of them.
    pub bytes: Option<u64>,
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
        "select pg_get_userbyid(nspowner) from pg_namespace where nspname = {}",
        literal(schema.as_str())
    );
    let contents = match registry.ask(connection, &question).await?.first() {
        Some(row) => {
            let (tables, bytes) = tables_and_bytes(connection, registry, schema).await?;
            Some(Contents { owner: row.text(0).to_owned(), tables, bytes })
        }
        None => None,
    };
    Ok(TenantDetails { tenant, domains, contents })
}

/// Returns how many tables a schema has, and how much room they take on disk, in bytes; that is not
/// known where somebody has locked one of them.
pub(super) async fn tables_and_bytes(
    connection: &mut Connection,
    registry: &Registry,
    schema: &SchemaName,
) -> Result<(usize, Option<u64>), RegistryError> {
    let size = "coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8";
    let row = match connection.ask(&tables_of(schema, size)).await {
        Ok(rows) => rows.rows.into_iter().next(),
        Err(Incomplete::Sql(error)) if error.is_lock_not_available() => {
            registry.ask(connection, &tables_of(schema, "null::int8")).await?.into_iter().next()
        }
        Err(incomplete) => return Err(registry.error(connection, incomplete).await),
    };
    let number = |index| row.as_ref().and_then(|row| row.number(index));
    let tables = number(0).and_then(|it| it.try_into().ok()).unwrap_or_default();
    Ok((tables, number(1).map(i64::unsigned_abs)))
}

/// Returns the question how many tables a schema has, and what `size` says of them, the rows `c` of
/// `pg_class`. No index leads from a schema to its tables but that of `pg_depend`.
fn tables_of(schema: &SchemaName, size: &str) -> String {
    format!(
        "set local lock_timeout = '200ms'; \
         select count(c.oid), {size} \
         from pg_depend d cross join lateral \
           (select c.oid from pg_class c where c.oid = d.objid \
              and c.relkind in ('r', 'p', 'f', 'm') offset 0) as c \
         where d.refclassid = 'pg_namespace'::regclass and d.classid = 'pg_class'::regclass \
           and d.refobjid = (select oid from pg_namespace where nspname = {})",
        literal(schema.as_str())
    )
}
