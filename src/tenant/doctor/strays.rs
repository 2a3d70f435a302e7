//! Tables in the shared schema that belong to tenants' migrations: a tenant's file was once run there,
//! and what tenants lack they would find in it.

use std::collections::BTreeSet;

use super::{DoctorError, Finding, Look};
use crate::migration::MigrationSet;
use crate::name::SchemaName;
use crate::pg::literal;

pub(super) async fn look(look: &mut Look<'_>) -> Result<(), DoctorError> {
    let schema = look.doctor.registry.names().shared_schema.clone();
    let shared = tables(look.doctor.shared, &schema);
    let mut wanted = tables(look.doctor.tenants, &schema);
    wanted.retain(|it| !shared.contains(it));
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = wanted.iter().map(|it| literal(it)).collect();
    let question = format!(
        "select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace \
         where n.nspname = {} and c.relkind in ('r', 'p', 'f') and c.relname in ({}) order by 1",
        literal(schema.as_str()),
        names.join(", ")
    );
    let rows = look.ask(&question).await?;
    let tables: Vec<String> = rows.iter().map(|it| it.text(0).to_owned()).collect();
    if !tables.is_empty() {
        look.findings.push(Finding::StrayTables { schema, tables });
    }
    Ok(())
}

/// Returns the tables that a folder's files create, in the schema they run in or in the shared one.
fn tables<'a>(set: &'a MigrationSet, shared: &SchemaName) -> BTreeSet<&'a str> {
    let files = 0..set.folder().files().len();
    let named = files.flat_map(|file| set.statements(file)).filter_map(|it| it.table());
    let is_ours =
        |schema: &Option<String>| schema.as_deref().is_none_or(|it| it == shared.as_str());
    named.filter(|it| is_ours(&it.schema)).map(|it| it.name.as_str()).collect()
}
