//! Schemas that look like tenants' and that no registry row names.

use std::collections::HashSet;

use super::rights::{MAY_READ_HISTORY, join_history};
use super::rows::{LOCKS, Mark, join_mark, push, select_mark};
use super::{DoctorError, Finding, Look};
use crate::migration::history::{self, History};
use crate::migration::{Found, MigrationFolder};
use crate::name::{OWN_SCHEMA, SchemaName};
use crate::pg::{Row, identifier, literal};

/// Looks for schemas with a tenant's history, or whose creation or deletion is not finished. What is
/// left of a tenant without its row is not `delete-tenant`'s any more.
pub(super) async fn look(look: &mut Look<'_>) -> Result<(), DoctorError> {
    let question = question(look);
    let candidates = look.ask_registry(&question).await?;
    let marked = |mark: Mark| {
        let those = candidates.iter().filter(move |it| Mark::read(it, 2) == Some(mark));
        those.map(name).collect::<Vec<_>>()
    };
    push(&mut look.findings, marked(Mark::BeingCreated), |schemas| Finding::HalfCreated {
        schemas,
    });
    // Whose history may not be read is somebody else's for all that is known.
    let open = candidates.iter().filter(|it| Mark::read(it, 2).is_none() && it.flag(1));
    let mut orphans = with_tenants_history(look, open.map(name).collect()).await?;
    orphans.extend(marked(Mark::BeingDeleted));
    orphans.sort();
    push(&mut look.findings, orphans, |schemas| Finding::Orphans { schemas });
    Ok(())
}

fn name(row: &Row) -> SchemaName {
    SchemaName::registered(row.text(0))
}

/// In one statement with the registry: a tenant that is created meanwhile is in both or in neither.
fn question(look: &Look<'_>) -> String {
    let registry = look.doctor.registry;
    let names = registry.names();
    format!(
        "with {LOCKS} select n.nspname, {MAY_READ_HISTORY}, {mark} from pg_namespace as n \
         {history} {join_mark} where (c.oid is not null or m.objoid is not null) \
           and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', '{OWN_SCHEMA}', {shared}) \
           and (c.oid is null or c.oid not in (select relation from closed)) \
           and not exists (select from {tenants} as t \
             where t.{schema_name}::text collate \"C\" = n.nspname::text) \
         order by n.nspname",
        mark = select_mark("n.nspname::text"),
        history = join_history(),
        join_mark = join_mark(),
        shared = literal(names.shared_schema.as_str()),
        tenants = registry.tenants_table(),
        schema_name = identifier(&names.schema_name),
    )
}

/// Returns those of `schemas` to which a migration of the tenants' was applied.
async fn with_tenants_history(
    look: &mut Look<'_>,
    schemas: Vec<SchemaName>,
) -> Result<Vec<SchemaName>, DoctorError> {
    let fleet = history::read_over(&mut look.lane, &mut [], &schemas).await?;
    let folder = look.doctor.tenants.folder();
    let are_tenants: HashSet<usize> = (0..fleet.histories.len())
        .filter(|&it| is_a_tenants(&fleet.histories[it], folder))
        .collect();
    let is_tenants =
        |found: &Found| matches!(found, Found::History(it) if are_tenants.contains(it));
    let tenants = fleet.schemas.into_iter().filter(|(_, found)| is_tenants(found));
    Ok(tenants.map(|(schema, _)| schema).collect())
}

/// By version and name: every history begins with some V1.
fn is_a_tenants(history: &History, folder: &MigrationFolder) -> bool {
    history.rows.iter().any(|it| folder.get(it.version).is_some_and(|file| file.name == it.name))
}
