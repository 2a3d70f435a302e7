//! What comes after a schema's files: nothing but the schema's own was touched.

use std::collections::{BTreeSet, HashMap};

use super::guard::REFUSAL;
use crate::name::SchemaName;
use crate::pg::{identifier, literal};

/// What the audit calls a relation that is gone, and with it its name.
pub(crate) const DROPPED: &str = "a relation that it dropped";

/// How many relations a refusal names.
const NAMED: usize = 5;

/// Notes the oids of the schema's own relations, with their indexes and TOAST tables, and the
/// newest oid there is: after a drop, the audit could no longer tell whose it was.
///
/// By way of `pg_depend`, as `pg_class` has no index by namespace and would be read whole.
pub(super) fn note_own_relations(schema: &SchemaName) -> String {
    format!(
        "\
with {}
select set_config('tenantctl.own', coalesce(string_agg(oid::text, ','), ''), true),
       set_config('tenantctl.mark', (select max(oid)::text from pg_catalog.pg_class), true)
  from own",
        own_relations(schema)
    )
}

/// Returns the SQL of common table expressions, of which `own` is the oids of the schema's own
/// relations.
pub(crate) fn own_relations(schema: &SchemaName) -> String {
    format!(
        "\
tables as (
    select d.objid as oid from pg_catalog.pg_depend d
     where d.refclassid = 'pg_catalog.pg_namespace'::regclass
       and d.refobjid = {own}::regnamespace and d.classid = 'pg_catalog.pg_class'::regclass
    union all
    select t.typrelid from pg_catalog.pg_depend d join pg_catalog.pg_type t on t.oid = d.objid
     where d.refclassid = 'pg_catalog.pg_namespace'::regclass
       and d.refobjid = {own}::regnamespace and d.classid = 'pg_catalog.pg_type'::regclass
       and t.typrelid <> 0
), heaps as (
    select oid from tables union all
    select c.reltoastrelid from tables join pg_catalog.pg_class c using (oid)
     where c.reltoastrelid <> 0
), own as (
    select oid from heaps union all
    select i.indexrelid from heaps join pg_catalog.pg_index i on i.indrelid = heaps.oid
)",
        own = literal(&identifier(schema.as_str()))
    )
}

/// Fails when this transaction touched a relation outside the schema otherwise than by reading it
/// or pointing a foreign key at it, however it was reached, or when the schema itself is gone.
///
/// With the schema first in the search path every relation of its own is visible, and any other is
/// not (Postgres documentation, "Schema Visibility Inquiry Functions"). A dropped one is written as
/// a number ("Object Identifier Types"). This is planned once a schema, so it has no join and as
/// few words as can be.
pub(super) fn audit(schema: &SchemaName, may_drop: bool) -> String {
    let name = literal(&identifier(schema.as_str()));
    let dropped = match may_drop {
        true => {
            "
   and not (l.relation::regclass::text ~ '^[0-9]+$'
            and (l.relation > current_setting('tenantctl.mark')::oid
                 or l.relation = any (string_to_array(current_setting('tenantctl.own'), ',')::oid[])))"
        }
        false => "",
    };
    format!(
        "\
select cast(case
    when to_regnamespace({name}) is null then '{REFUSAL}no-schema'
    when count(*) > 0 then '{REFUSAL}outside:' || string_agg(l.relation::regclass::text, ', ')
    else '0' end as integer)
  from pg_catalog.pg_lock_status() as l
 where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
   and l.relation >= 16384
   and l.mode not in ('AccessShareLock', 'RowShareLock', 'ShareRowExclusiveLock')
   and pg_catalog.pg_table_is_visible(l.relation) is not true
   and l.relation::regclass::text !~ '^pg_(toast|temp)'{dropped}"
    )
}

/// Returns what the audit found, each relation once; one that is gone has but a number, unless it
/// is among the `dropped`, which are back.
pub(crate) fn touched(found: &str, dropped: &HashMap<u32, String>) -> String {
    let name = |name: &str| match name.parse::<u32>() {
        Ok(oid) => dropped.get(&oid).map_or(DROPPED, String::as_str).to_owned(),
        Err(_) => name.to_owned(),
    };
    let names: BTreeSet<String> = found.split(", ").map(name).collect();
    let names: Vec<String> = names.into_iter().collect();
    match names.len() > NAMED {
        true => format!("{} and {} more", names[..NAMED].join(", "), names.len() - NAMED),
        false => names.join(", "),
    }
}

/// Returns a question for the names of the relations that the audit found gone, once their drop is
/// rolled back: each number, and the name of the table for an index of it or for what it keeps
/// elsewhere. `None` where nothing was dropped.
pub(crate) fn dropped(found: &str) -> Option<String> {
    let oids: Vec<&str> = found.split(", ").filter(|it| it.parse::<u32>().is_ok()).collect();
    (!oids.is_empty()).then(|| {
        format!(
            "\
select c.oid::int8, quote_ident(s.nspname) || '.' || quote_ident(t.relname)
  from unnest(array[{}]::oid[]) as oid join pg_class c using (oid)
  left join pg_index i on i.indexrelid = c.oid
  left join pg_class h on h.reltoastrelid = coalesce(i.indrelid, c.oid)
  join pg_class t on t.oid = coalesce(h.oid, i.indrelid, c.oid)
  join pg_namespace s on s.oid = t.relnamespace",
            oids.join(", ")
        )
    })
}

/// Fails when the search path finds `name` behind the schema only. Each catalog is asked by its
/// index on names.
pub(super) fn found_outside(schema: &SchemaName, kind: &str, name: &str) -> String {
    let is = |what: &[&str]| what.iter().any(|it| kind.contains(it));
    let (relation, routine, type_) = (
        "select relnamespace as oid from pg_catalog.pg_class where relname",
        "select pronamespace as oid from pg_catalog.pg_proc where proname",
        "select typnamespace as oid from pg_catalog.pg_type where typname",
    );
    let catalogs: &[&str] = match () {
        () if is(&["FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE"]) => &[routine],
        () if is(&["TYPE", "DOMAIN"]) => &[type_],
        // What can be said of any kind of object.
        () if is(&["GRANT", "REVOKE", "COMMENT", "SECURITY"]) => &[relation, routine, type_],
        () => &[relation],
    };
    let name = literal(name);
    let found: Vec<String> = catalogs.iter().map(|it| format!("{it} = {name}")).collect();
    format!(
        "\
select cast(coalesce(case
    when not bool_or(s.nspname = {})
    then '{REFUSAL}outside:' || min(quote_ident(s.nspname)) || '.' || quote_ident({name})
    else '0' end, '0') as integer)
  from ({}) as found join pg_catalog.pg_namespace s using (oid)
 where s.nspname = any (pg_catalog.current_schemas(false))",
        literal(schema.as_str()),
        found.join(" union all\n        ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_touched_is_named_once() {
        assert_eq!(
            touched(
                "public.b, public.a, public.b, 16390, 16391",
                &HashMap::from([(16391, "x.y".into())])
            ),
            format!("{DROPPED}, public.a, public.b, x.y")
        );
        assert_eq!(
            touched("a.a, a.b, a.c, a.d, a.e, a.f, a.g", &HashMap::new()),
            "a.a, a.b, a.c, a.d, a.e and 2 more"
        );
    }
}
