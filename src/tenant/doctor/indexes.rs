//! Invalid indexes, which a statement that works concurrently left behind when it failed.

use std::collections::{BTreeMap, HashMap};

use super::histories::Surveys;
use super::{DoctorError, Finding, Look};
use crate::migration::{Found, MigrationSet, Survey};
use crate::name::SchemaName;

/// Looks at the schemas whose histories were read.
pub(super) async fn look(look: &mut Look<'_>, surveys: &Surveys) -> Result<(), DoctorError> {
    let rows = look.ask(&question("true")).await?;
    let parts = [(look.doctor.shared, &surveys.shared), (look.doctor.tenants, &surveys.tenants)];
    let known: HashMap<&str, Part> = parts.into_iter().flat_map(schemas).collect();
    let mut groups: BTreeMap<(String, String, bool), Vec<SchemaName>> = BTreeMap::new();
    for row in &rows {
        let Some(part) = known.get(row.text(0)) else {
            continue;
        };
        let (table, index) = (row.text(1).to_owned(), row.text(2).to_owned());
        let is_pending = part.builds(&table, &index);
        let schemas = groups.entry((table, index, is_pending)).or_default();
        schemas.push(SchemaName::registered(row.text(0)));
    }
    let finding = |((table, index, is_pending), schemas): ((String, String, bool), _)| {
        Finding::InvalidIndex { table, index, is_pending, schemas }
    };
    look.findings.extend(groups.into_iter().map(finding));
    Ok(())
}

/// Selects the schema, the table and the name of every invalid index for which `condition` holds.
///
/// Left out are those that somebody is working on. Who builds one has its table locked, and is seen
/// in `pg_stat_progress_create_index` by everybody, if by its pid alone; who drops one concurrently,
/// or builds it again, has the index itself locked. A partitioned index is invalid for other reasons.
pub(super) fn question(condition: &str) -> String {
    format!(
        "with locks as materialized (select relation, pid, mode from pg_locks \
           where locktype = 'relation' and granted \
             and database = (select oid from pg_database where datname = current_database())) \
         select n.nspname, t.relname, c.relname from pg_index as i \
         join pg_class as c on c.oid = i.indexrelid and c.relkind = 'i' \
         join pg_class as t on t.oid = i.indrelid \
         join pg_namespace as n on n.oid = c.relnamespace \
         where not (i.indisvalid and i.indisready) and ({condition}) \
           and not exists (select from locks as l where l.relation = i.indexrelid \
             and l.mode in ('ShareUpdateExclusiveLock', 'AccessExclusiveLock')) \
           and not exists (select from locks as l where l.relation = i.indrelid \
             and l.pid in (select pid from pg_stat_progress_create_index)) \
         order by n.nspname, t.relname, c.relname"
    )
}

/// A schema's migrations, and those that are pending in it.
struct Part<'a> {
    set: &'a MigrationSet,
    pending: &'a [usize],
}

fn schemas<'a>((set, survey): (&'a MigrationSet, &'a Survey)) -> Vec<(&'a str, Part<'a>)> {
    let part = |(schema, found): &'a (SchemaName, Found)| {
        let pending = match found {
            Found::History(index) => survey.plans[*index].pending.as_slice(),
            _ => &[],
        };
        (schema.as_str(), Part { set, pending })
    };
    survey.fleet.schemas.iter().map(part).collect()
}

impl Part<'_> {
    /// Whether a pending file builds this index.
    fn builds(&self, table: &str, index: &str) -> bool {
        let files = self.pending.iter().filter(|&&file| self.set.is_no_transaction(file));
        let mut built = files
            .flat_map(|&file| self.set.statements(file))
            .filter_map(|statement| statement.concurrent_index());
        built.any(|it| it.name.as_deref() == Some(index) && it.table.as_deref() == Some(table))
    }
}
