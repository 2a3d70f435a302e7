//! Tenants as the registry has them, with whatever columns the project has added.

use serde_json::Map;

use super::column::columns;
use super::registry::{Registry, RegistryError};
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
    let columns = other_columns(connection, registry).await?;
    if !selection.names.is_empty() {
        selection.refuse_unknown(&registry.schemas(connection).await?)?;
    }
    let rows =
        registry.ask(connection, &question(registry, &condition(registry, selection))).await?;
    let mut tenants = read(registry, &rows);
    if let Some(condition) = &selection.condition {
        let holds = registry.schemas_where(connection, condition).await?;
        tenants.retain(|tenant| holds.contains(tenant.schema.as_str()));
    }
    tenants.retain(|tenant| selection.means_row(registry, &tenant.schema));
    Ok(Tenants { columns, tenants })
}

/// Returns a condition for [`question`] that holds for what `selection` may mean: a few names need no
/// look at the others.
fn condition(registry: &Registry, selection: &Selection) -> String {
    if selection.names.is_empty() || !selection.matching.is_empty() {
        return "true".into();
    }
    let names = registry.names();
    let schema = identifier(&names.schema_name);
    let shared = selection.shared.then_some(names.shared_schema.as_str());
    let names = selection.names.iter().map(String::as_str).chain(shared);
    let names: Vec<String> = names.map(literal).collect();
    format!("t.{schema}::text in ({})", names.join(", "))
}

/// Returns the tenant that `host` leads to.
pub async fn tenant_of_host(
    connection: &mut Connection,
    registry: &Registry,
    host: &Hostname,
) -> Result<Option<Tenant>, RegistryError> {
    let question = question_about_host(registry, host);
    let rows = registry.ask(connection, &question).await?;
    Ok(read(registry, &rows).pop())
}

/// Returns the names of the columns that are neither schema nor name.
async fn other_columns(
    connection: &mut Connection,
    registry: &Registry,
) -> Result<Vec<String>, RegistryError> {
    let names = registry.names();
    let columns = columns(connection, registry).await?.into_iter();
    let others = columns.map(|column| column.name);
    Ok(others.filter(|it| *it != names.schema_name && *it != names.name).collect())
}

/// Returns the one statement that reads the tenant that `host` leads to.
pub(crate) fn question_about_host(registry: &Registry, host: &Hostname) -> String {
    let names = registry.names();
    let condition = format!(
        "t.{} in (select d.{} from {} as d where d.{}::text = {})",
        identifier(&names.id),
        identifier(&names.tenant_id),
        registry.domains_table(),
        identifier(&names.domain),
        literal(host.as_str()),
    );
    question(registry, &condition)
}

/// Returns the one statement that reads every tenant for which `condition` holds, an expression on
/// the columns of the tenants, which are `t`.
fn question(registry: &Registry, condition: &str) -> String {
    let names = registry.names();
    let schema = format!("t.{}::text", identifier(&names.schema_name));
    // Once with their types, and once as the texts that they are.
    format!(
        "select {schema}, d.{domain}::text, row_to_json(t.*)::text, \
           (select json_object_agg(key, value) from json_each_text(row_to_json(t.*)))::text \
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

/// Returns the tenants in the answer to [`question`].
pub(crate) fn read(registry: &Registry, rows: &[Row]) -> Vec<Tenant> {
    let read = |row| Tenant::read(registry, row);
    let mut tenants: Vec<Tenant> = rows.iter().map(read).collect();
    // Where no index forbids it, a tenant may have several primary domains.
    tenants.dedup_by(|one, other| one.schema == other.schema);
    tenants
}

impl Tenant {
    fn read(registry: &Registry, row: &Row) -> Self {
        let names = registry.names();
        let mut texts = object(row.text(3)).unwrap_or_default();
        // A `json` column may hold what nobody but Postgres takes for JSON.
        let mut json = object(row.text(2)).unwrap_or_else(|| texts.clone());
        json.shift_remove(&names.schema_name);
        json.shift_remove(&names.name);
        Self {
            schema: SchemaName::registered(row.text(0)),
            name: text(texts.remove(&names.name)),
            primary_domain: row.get(1).map(str::to_owned),
            values: json
                .into_iter()
                .map(|(column, json)| Value { text: text(texts.remove(&column)), column, json })
                .collect(),
        }
    }

    /// Returns what the column with this name holds; `None` also for NULL.
    pub fn get(&self, column: &str) -> Option<&str> {
        let value = self.values.iter().find(|value| value.column == column)?;
        value.text.as_deref()
    }
}

fn object(json: &str) -> Option<Map<String, serde_json::Value>> {
    serde_json::from_str(json).ok()
}

fn text(value: Option<serde_json::Value>) -> Option<String> {
    match value? {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    }
}
