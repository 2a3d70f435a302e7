//! Tenants as the registry has them, with whatever columns the project has added.

use serde_json::Map;

use super::column::{Column, columns};
use super::registry::{Registry, RegistryError, where_sql};
use super::selection::{Selection, SelectionError};
use crate::name::{Hostname, SchemaName};
use crate::pg::{Connection, Row, identifier, literal};

/// A row of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its schema; the shared schema may have a row too.
    pub schema: SchemaName,
    /// What people call it, where the registry has such a column.
    pub name: Option<String>,
    /// The domain that is shown for it.
    pub primary_domain: Option<String>,
    /// The other columns, in the table's order.
    pub values: Vec<Value>,
}

/// What a column of a tenant holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The column's name.
    pub column: String,
    /// In Postgres' text form; `None` for NULL.
    pub text: Option<String>,
    /// As JSON: numbers, booleans and documents keep their types.
    pub json: serde_json::Value,
}

/// Tenants, and what their columns are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tenants {
    /// The columns of each tenant's `values`, known also when there is no tenant.
    pub columns: Vec<String>,
    /// Ordered by schema name, the shared schema first.
    pub tenants: Vec<Tenant>,
}

/// Returns the tenants that `selection` means, and the shared schema's own row if it is meant and
/// there is one.
///
/// # Errors
///
/// [`SelectionError::Unknown`] names every given name that no registry row has.
pub async fn list_tenants(
    connection: &mut Connection,
    registry: &Registry,
    selection: &Selection,
) -> Result<Tenants, SelectionError> {
    selection.refuse_shared(registry)?;
    let form = RowForm::new(registry, columns(connection, registry).await?);
    let condition = selection.condition.as_deref();
    let question = form.question(registry, &where_sql(condition));
    let rows = registry.ask_where(connection, &question, condition).await?;
    let mut tenants = form.tenants(&rows);
    let schemas: Vec<_> = tenants.iter().map(|it| it.schema.clone()).collect();
    selection
        .refuse_unknown(connection, registry, &schemas)
        .await?;
    tenants.retain(|tenant| selection.means_row(registry, &tenant.schema));
    Ok(Tenants {
        columns: form.others,
        tenants,
    })
}

/// Returns the tenant that `host` leads to.
pub async fn tenant_of_host(
    connection: &mut Connection,
    registry: &Registry,
    host: &Hostname,
) -> Result<Option<Tenant>, RegistryError> {
    let form = RowForm::new(registry, columns(connection, registry).await?);
    let question = form.question(registry, &RowForm::has_domain(registry, host));
    let rows = registry.ask(connection, &question).await?;
    Ok(form.tenants(&rows).pop())
}

/// How a tenant's row is asked for and read.
#[derive(Debug, Clone)]
pub(crate) struct RowForm {
    has_name: bool,
    /// Every column that is neither schema nor name.
    others: Vec<String>,
}

impl RowForm {
    pub(crate) fn new(registry: &Registry, columns: Vec<Column>) -> Self {
        let names = registry.names();
        let mut others: Vec<String> = columns.into_iter().map(|it| it.name).collect();
        let has_name = others.contains(&names.name);
        others.retain(|it| *it != names.schema_name && *it != names.name);
        Self { has_name, others }
    }

    /// Returns the one statement that reads every tenant for which `condition` holds, an
    /// expression on the columns of the tenants, which are `t`.
    pub(crate) fn question(&self, registry: &Registry, condition: &str) -> String {
        let names = registry.names();
        let text = |column: &String| format!(", t.{}::text", identifier(column));
        let others: String = self.others.iter().map(text).collect();
        let name = match self.has_name {
            true => format!("t.{}::text", identifier(&names.name)),
            false => "null".into(),
        };
        let schema = format!("t.{}::text", identifier(&names.schema_name));
        format!(
            "select {schema}, {name}, d.{domain}::text, row_to_json(t.*)::text{others} \
             from (select t.* from {tenants} as t where {condition}) as t \
             left join {domains} as d on d.{tenant_id} = t.{id} and d.{is_primary} \
             order by {schema} <> {shared}, {schema} collate \"C\", d.{domain}::text collate \"C\"",
            tenants = registry.tenants_table(),
            domains = registry.domains_table(),
            tenant_id = identifier(&names.tenant_id),
            domain = identifier(&names.domain),
            is_primary = identifier(&names.is_primary),
            id = identifier(&names.id),
            shared = literal(names.shared_schema.as_str()),
        )
    }

    /// Returns the condition that `host` leads to the tenant.
    pub(crate) fn has_domain(registry: &Registry, host: &Hostname) -> String {
        let names = registry.names();
        format!(
            "t.{} in (select d.{} from {} as d where d.{}::text = {})",
            identifier(&names.id),
            identifier(&names.tenant_id),
            registry.domains_table(),
            identifier(&names.domain),
            literal(host.as_str()),
        )
    }

    pub(crate) fn tenants(&self, rows: &[Row]) -> Vec<Tenant> {
        let mut tenants: Vec<Tenant> = rows.iter().map(|row| self.tenant(row)).collect();
        // Where no index forbids it, a tenant may have several primary domains.
        tenants.dedup_by(|one, other| one.schema == other.schema);
        tenants
    }

    fn tenant(&self, row: &Row) -> Tenant {
        let mut json: Map<String, serde_json::Value> =
            serde_json::from_str(row.text(3)).unwrap_or_default();
        let values = self.others.iter().enumerate().map(|(index, column)| Value {
            column: column.clone(),
            text: row.get(4 + index).map(str::to_owned),
            json: json.remove(column).unwrap_or_default(),
        });
        Tenant {
            schema: SchemaName::registered(row.text(0)),
            name: row.get(1).map(str::to_owned),
            primary_domain: row.get(2).map(str::to_owned),
            values: values.collect(),
        }
    }
}
