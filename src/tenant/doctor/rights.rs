//! What the role may not do.

use std::collections::BTreeMap;

use super::rows::TenantRow;
use super::{DoctorError, Finding, Look};
use crate::migration::history::HISTORY_TABLE;
use crate::name::SchemaName;
use crate::pg::{Row, literal};

/// What the role may do that other looks depend on.
pub(super) struct Rights {
    pub(super) role: String,
    pub(super) may_read_registry: bool,
    pub(super) may_read_shared_history: bool,
}

/// Asks for the rights on the database, the shared schema and the registry.
pub(super) async fn look(look: &mut Look<'_>) -> Result<Rights, DoctorError> {
    let names = look.doctor.registry.names();
    let schema = names.shared_schema.clone();
    let rows = look.ask(&of_database(&schema)).await?;
    let role = rows[0].text(0).to_owned();
    if !rows[0].flag(1) {
        let database = rows[0].text(2).to_owned();
        look.findings.push(Finding::NoCreate { role: role.clone(), database });
    }
    let may_read_shared_history = rows[0].flag(4);
    if !may_read_shared_history {
        let (role, schemas) = (role.clone(), vec![schema.clone()]);
        look.findings.push(Finding::HistoryRights { role, schemas });
    }
    let lacking: Vec<String> = rows[0].get(3).into_iter().flat_map(words).collect();
    let mut may_read_registry = !lacking.iter().any(|it| it == "usage");
    if !lacking.is_empty() {
        let (role, schema) = (role.clone(), schema.clone());
        look.findings.push(Finding::SharedSchemaRights { role, schema, lacking });
    }
    for row in look.ask(&of_tables(&schema, [&names.tenants, &names.domains])).await? {
        let lacking: Vec<String> = words(row.text(1)).collect();
        may_read_registry &= !lacking.iter().any(|it| it == "select");
        let (role, schema, table) = (role.clone(), schema.clone(), row.text(0).to_owned());
        look.findings.push(Finding::RegistryRights { role, schema, table, lacking });
    }
    Ok(Rights { role, may_read_registry, may_read_shared_history })
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(' ').map(str::to_owned)
}

fn of_database(schema: &SchemaName) -> String {
    format!(
        "select current_user::text, has_database_privilege(current_database(), 'create'), \
           current_database()::text, \
           (select string_agg(it, ' ') from unnest(array['usage', 'create']) as it \
             where not has_schema_privilege(n.oid, it)), \
           n.oid is null or {MAY_READ_HISTORY} \
         from (select) as one left join pg_namespace as n on n.nspname = {} {}",
        literal(schema.as_str()),
        join_history()
    )
}

fn of_tables(schema: &SchemaName, tables: [&str; 2]) -> String {
    format!(
        "select c.relname, string_agg(it, ' ' order by place) from pg_class as c \
         join pg_namespace as n on n.oid = c.relnamespace \
         cross join unnest(array['select', 'insert', 'update', 'delete']) with ordinality as w(it, place) \
         where n.nspname = {} and c.relname in ({}) and not has_table_privilege(c.oid, it) \
         group by c.relname order by c.relname desc",
        literal(schema.as_str()),
        tables.map(literal).join(", ")
    )
}

/// Returns SQL that is true where the role may read the history `c` of the schema `n`.
pub(super) const MAY_READ_HISTORY: &str = "(has_schema_privilege(n.oid, 'usage') \
     and (c.oid is null or has_table_privilege(c.oid, 'select')))";

/// Returns SQL that joins the history table `c` of the schema `n`.
pub(super) fn join_history() -> String {
    format!(
        "left join pg_class as c on c.relnamespace = n.oid and c.relname = '{HISTORY_TABLE}' \
           and c.relkind in ('r', 'p', 'v', 'm', 'f')"
    )
}

/// Says which schemas belong to others, and which histories may not be read.
pub(super) fn of_schemas(findings: &mut Vec<Finding>, role: &str, rows: &[TenantRow]) {
    let mut owners: BTreeMap<(&str, bool), Vec<SchemaName>> = BTreeMap::new();
    for row in rows.iter().filter(|it| it.is_there && !it.is_owned) {
        let owner = (row.owner.as_str(), row.owner_is_superuser);
        owners.entry(owner).or_default().push(row.schema.clone());
    }
    let not_owned = |((owner, owner_is_superuser), schemas): ((&str, bool), _)| {
        let (role, owner) = (role.to_owned(), owner.to_owned());
        Finding::NotOwned { role, owner, owner_is_superuser, schemas }
    };
    findings.extend(owners.into_iter().map(not_owned));
    let closed = rows.iter().filter(|it| it.is_there && !it.may_read);
    let schemas: Vec<SchemaName> = closed.map(|it| it.schema.clone()).collect();
    if !schemas.is_empty() {
        findings.push(Finding::HistoryRights { role: role.to_owned(), schemas });
    }
}

/// Returns the owner's name, whether it is a superuser, and whether the role has its rights.
pub(super) const OWNER: &str = "r.rolname, r.rolsuper, pg_has_role(n.nspowner, 'usage')";

pub(super) fn owner(row: &Row, first: usize) -> (String, bool, bool) {
    (row.text(first).to_owned(), row.flag(first + 1), row.flag(first + 2))
}
