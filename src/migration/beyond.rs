//! A look beyond the schema, at the end of the first transaction of each distinct plan: what did it
//! create, change or drop that is not the schema's own?
//!
//! The audit of every transaction looks at the locks on relations, which costs nothing but sees
//! nothing else. This look reads the catalogs whole: a row that this transaction wrote names it as
//! its `xmin`, and what it dropped, commented on or renamed is still locked by it. It is asked once
//! a plan, as what a plan's first schema leaves alone is left alone by the others.

use std::collections::BTreeSet;

use super::script::{REFUSAL, own_relations};
use crate::name::SchemaName;
use crate::pg::{identifier, literal};

/// Catalogs whose objects are in a schema, and the column that says in which.
const IN_A_SCHEMA: [(&str, &str); 13] = [
    ("pg_proc", "pronamespace"),
    ("pg_type", "typnamespace"),
    ("pg_operator", "oprnamespace"),
    ("pg_opclass", "opcnamespace"),
    ("pg_opfamily", "opfnamespace"),
    ("pg_collation", "collnamespace"),
    ("pg_conversion", "connamespace"),
    ("pg_statistic_ext", "stxnamespace"),
    ("pg_ts_config", "cfgnamespace"),
    ("pg_ts_dict", "dictnamespace"),
    ("pg_ts_parser", "prsnamespace"),
    ("pg_ts_template", "tmplnamespace"),
    ("pg_default_acl", "defaclnamespace"),
];

/// Catalogs whose objects are the whole database's.
const EVERYBODYS: [&str; 9] = [
    "pg_extension",
    "pg_cast",
    "pg_language",
    "pg_am",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_event_trigger",
    "pg_publication",
    "pg_transform",
];

/// Catalogs of the whole server which only a superuser may read, or whose rows have no number: who
/// writes to one keeps it locked.
const SERVERS: [(&str, &str); 4] = [
    ("pg_authid", "roles"),
    ("pg_auth_members", "the members of roles"),
    ("pg_db_role_setting", "the settings of roles and databases"),
    ("pg_tablespace", "tablespaces"),
];

/// How many objects a refusal names.
const NAMED: usize = 5;

/// Returns the statements that note what must be known from before: which objects are the schema's
/// own, what those around it are called, and who may do what with the tables there; and, on a server
/// that has `used_up` half of the numbers of transactions, which rows look as if they were written
/// later.
///
/// For all these catalogs Postgres would compile, which takes longer than reading them.
pub(super) fn notes(schema: &SchemaName, path: &[String], used_up: bool) -> [String; 4] {
    // Everything below compares with this transaction's number, so that it needs one by now.
    let number = "select set_config('tenantctl.xid', \
                  pg_catalog.pg_current_xact_id()::text, true)";
    let own = format!("{}::regnamespace", literal(&identifier(schema.as_str())));
    let around = around(path);
    let things = objects(|_, space| format!("oid >= 16384 and {space} = {own}"));
    let others = objects(|_, space| format!("oid >= 16384 and {space} in (0, {around})"));
    let notes = format!(
        "\
with own as (
{things}
), others as (
{others}
)
select set_config('tenantctl.writes', ({writes})::text, true),
       set_config('tenantctl.things', coalesce((select string_agg(classid || ':' || objid, ',')
         from own), ''), true),
       set_config('tenantctl.newest', greatest((select max(oid) from pg_catalog.pg_class),
         (select max(oid) from pg_catalog.pg_type), (select max(oid) from pg_catalog.pg_proc),
         (select max(oid) from pg_catalog.pg_trigger))::text, true),
       set_config('tenantctl.names', coalesce((select jsonb_object_agg(classid || ':' || objid,
           i.type || ' ' || i.identity)
         from others, pg_catalog.pg_identify_object(classid, objid, 0) as i), '{{}}')::text, true),
       set_config('tenantctl.privileges', coalesce((select jsonb_object_agg(c.oid, coalesce(c.relacl::text, ''))
         from pg_catalog.pg_depend d join pg_catalog.pg_class c on c.oid = d.objid
        where d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid in ({around})
          and d.classid = 'pg_catalog.pg_class'::regclass), '{{}}')::text, true),
       set_config('tenantctl.suspects', coalesce((select string_agg(classid || ':' || objid, ',')
         from ({suspects}) as w), ''), true)",
        writes = writes(),
        suspects = match used_up {
            true => written(schema, path, false),
            false => "select 0 as classid, 0 as objid where false".into(),
        },
    );
    let [off, on] = ["off", "default"].map(|it| format!("set local jit to {it}"));
    [number.to_owned(), off, notes, on]
}

/// Returns a question about the server, before a plan is tried: whether it has used up half of the
/// numbers of transactions; and whether nothing but the tables named `tables` would be changed by
/// who alters one of them: none of these has children, and no event trigger waits for it.
pub(super) fn question(tables: &BTreeSet<&str>) -> String {
    let names: Vec<String> = tables.iter().map(|it| literal(it)).collect();
    format!(
        "select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 > 2147480000, \
         not exists (select from pg_catalog.pg_event_trigger where evtenabled <> 'D') \
         and not exists (select from pg_catalog.pg_inherits i \
                           join pg_catalog.pg_class c on c.oid = i.inhparent \
                          where c.relname = any (array[{}]::text[]))",
        names.join(", ")
    )
}

/// Returns the statement that fails when this transaction changed anything that is not the
/// schema's.
pub(super) fn check(schema: &SchemaName, path: &[String]) -> [String; 2] {
    let own = literal(&identifier(schema.as_str()));
    let (written, locked) = (written(schema, path, true), locked());
    let servers = SERVERS
        .map(|(catalog, what)| format!("when 'pg_catalog.{catalog}'::regclass then '{what}'"));
    let servers = servers.join(" ");
    let check = format!(
        "\
with found as (
    select i.type || ' ' || i.identity as what
      from ({written}) as w, pg_catalog.pg_identify_object(classid, objid, subid) as i
     where space <> {own}::regnamespace
       and (classid || ':' || objid) <> all (string_to_array(current_setting('tenantctl.suspects'), ','))
       and not exists (select from pg_catalog.pg_namespace n
         where n.oid = w.space and n.nspname ~ '^pg_(toast|temp)')
    union
    select coalesce(case when space is not null then (select i.type || ' ' || i.identity
                      from pg_catalog.pg_identify_object(classid, objid, 0) as i) end,
                    'the dropped ' || (current_setting('tenantctl.names')::jsonb ->> (classid || ':' || objid)),
                    'something dropped from ' || classid::regclass)
      from ({locked}) as l
     where case when space is null
                then objid <= current_setting('tenantctl.newest')::oid
                 and (classid || ':' || objid) <> all (string_to_array(current_setting('tenantctl.things'), ','))
                else space <> {own}::regnamespace and not exists (select from pg_catalog.pg_namespace n
                  where n.oid = l.space and n.nspname ~ '^pg_(toast|temp)') end
    union
    select case relation {servers} end
      from pg_catalog.pg_locks
     where pid = pg_catalog.pg_backend_pid() and locktype = 'relation' and granted
       and mode not in ('AccessShareLock', 'RowShareLock')
       and case relation {servers} end is not null
)
select cast(case when count(*) > 0 then '{REFUSAL}beyond:'
    || (select string_agg(what, ', ') from (select what from found order by what not like 'extension %', what limit {NAMED}) as f)
    || case when count(*) > {NAMED} then ' and ' || count(*) - {NAMED} || ' more' else '' end
    else '0' end as integer) from found"
    );
    ["set local jit to off".to_owned(), check]
}

/// Returns an SQL list of the numbers of the schemas behind the tenant's own in the search path.
fn around(path: &[String]) -> String {
    let names: Vec<String> =
        path.iter().map(|it| format!("to_regnamespace({})", literal(&identifier(it)))).collect();
    if names.is_empty() { "null".into() } else { names.join(", ") }
}

/// Returns a query for the objects whose rows hold for a condition, which is told the catalog and
/// its column for the schema; each with the schema it is in, 0 where it is in none.
fn objects(condition: impl Fn(&str, &str) -> String) -> String {
    let in_a_schema = IN_A_SCHEMA.iter().map(|(catalog, space)| (*catalog, *space));
    let everybodys = EVERYBODYS.iter().map(|catalog| (*catalog, "0::oid"));
    let selects = in_a_schema.chain(everybodys).map(|(catalog, space)| {
        format!(
            "    select 'pg_catalog.{catalog}'::regclass::oid as classid, oid as objid, 0 as subid, \
             {space} as space from pg_catalog.{catalog} where {}",
            condition(catalog, space)
        )
    });
    selects.collect::<Vec<_>>().join("\n    union all\n")
}

/// Returns an SQL expression: how many rows this session has written to each catalog and not yet
/// reported, those of this transaction among them (Postgres documentation, "The Cumulative
/// Statistics System").
fn writes() -> String {
    let catalogs = IN_A_SCHEMA.iter().map(|(catalog, _)| *catalog).chain(EVERYBODYS).chain([
        "pg_namespace",
        "pg_database",
        "pg_constraint",
        "pg_trigger",
        "pg_class",
        "pg_attribute",
        "pg_shdepend",
    ]);
    let pairs: Vec<String> = catalogs.map(|it| format!("'{it}', {}", writes_to(it))).collect();
    format!("jsonb_build_object({})", pairs.join(", "))
}

fn writes_to(catalog: &str) -> String {
    let count = |what| format!("pg_stat_get_xact_tuples_{what}('pg_catalog.{catalog}'::regclass)");
    format!("{} + {}", count("inserted"), count("updated"))
}

/// Returns a condition: this transaction wrote rows to the catalog, as far as the server counts.
/// Where it does not, a catalog that large need not be read.
fn has_written(catalog: &str) -> String {
    format!(
        "(select current_setting('track_counts') <> 'on' or {} <> \
         (current_setting('tenantctl.writes')::jsonb ->> '{catalog}')::int8)",
        writes_to(catalog)
    )
}
/// Returns a query for the objects whose rows this transaction wrote, in whatever
/// subtransaction; in the check, of those catalogs only that it has written to.
///
/// A row that is seen and whose writer has not ended was written here. Writers older than this
/// transaction need not be asked about, and those that may be younger than any the server knows are
/// but old numbers that were used up before (`tenantctl.suspects`).
fn written(schema: &SchemaName, path: &[String], is_check: bool) -> String {
    let around = around(path);
    let xid = "(current_setting('tenantctl.xid')::int8 - age(xmin))";
    let is_ours = format!(
        "age(xmin) <= 0 and case when {xid} < pg_catalog.pg_snapshot_xmax(\
         pg_catalog.pg_current_snapshot())::text::int8 \
         then pg_catalog.pg_xact_status({xid}::text::xid8) = 'in progress' else true end"
    );
    let of = |alias: &str| is_ours.replace("xmin)", &format!("{alias}.xmin)"));
    let if_written = |catalog: &str| if is_check { has_written(catalog) } else { "true".into() };
    // The row of a table, and the array over each type, come and go with the table and the type.
    let objects = objects(|catalog, _| {
        let of_itself = match catalog {
            "pg_type" => " and typrelid = 0 and typcategory <> 'A'",
            _ => "",
        };
        format!("{}{of_itself} and {is_ours}", if_written(catalog))
    });
    let simple =
        [("pg_namespace", "oid"), ("pg_database", "0::oid"), ("pg_constraint", "connamespace")];
    let simple = simple.map(|(catalog, space)| {
        format!(
            "    select 'pg_catalog.{catalog}'::regclass, oid, 0, {space} from pg_catalog.{catalog} \
             where {} and {is_ours}",
            if_written(catalog)
        )
    });
    // `pg_class` is the largest of all. It need not be read where as many of the schema's own rows
    // were written as rows at all.
    let beyond_own = match is_check {
        true => format!(
            "(select current_setting('track_counts') <> 'on' \
             or current_setting('tenantctl.suspects') <> '' or {} <> \
             (current_setting('tenantctl.writes')::jsonb ->> 'pg_class')::int8 + (
         with {} select count(*) from own join pg_catalog.pg_class o using (oid) where {}))",
            writes_to("pg_class"),
            own_relations(schema),
            of("o"),
        ),
        false => "true".into(),
    };
    format!(
        "\
{objects}
    union all
{simple}
    union all
    select 'pg_catalog.pg_trigger'::regclass, t.oid, 0, c.relnamespace
      from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
     where {has_triggers} and {of_t} and (not t.tgisinternal or {is_old} and not exists (
           -- Those of one's own foreign keys are one's own, wherever these point.
           select from pg_catalog.pg_constraint k join pg_catalog.pg_class o on o.oid = k.conrelid
            where k.oid = t.tgconstraint and o.relnamespace = {own}::regnamespace))
    union all
    -- Who creates or alters a table locks it, but not who grants something on it. The first foreign
    -- key that points at a table rewrites its row as well.
    select 'pg_catalog.pg_class'::regclass, c.oid, 0, c.relnamespace from pg_catalog.pg_class c
     where {beyond_own} and {of_c} and case when current_setting('tenantctl.privileges', true)::jsonb ? c.oid::text
           then current_setting('tenantctl.privileges', true)::jsonb ->> c.oid::text <> coalesce(c.relacl::text, '')
           else not exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgisinternal
             and age(t.xmin) <= 0) end
    union all
    select 'pg_catalog.pg_class'::regclass, c.oid, a.attnum, c.relnamespace
      from pg_catalog.pg_depend d
      join pg_catalog.pg_class c on c.oid = d.objid
      join pg_catalog.pg_attribute a on a.attrelid = c.oid
     where {has_columns} and d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid in ({around})
       and d.classid = 'pg_catalog.pg_class'::regclass and a.attacl is not null and {of_a}
    union all
    select d.classid, d.objid, d.objsubid, c.relnamespace
      from pg_catalog.pg_shdepend d join pg_catalog.pg_class c on c.oid = d.objid
     where {has_owners} and d.classid = 'pg_catalog.pg_class'::regclass and d.deptype = 'a'
       and d.dbid = (select oid from pg_catalog.pg_database where datname = current_database()) and {of_d}",
        simple = simple.join("\n    union all\n"),
        own = literal(&identifier(schema.as_str())),
        // A foreign key makes new ones, and changes none.
        is_old = match is_check {
            true => "t.oid <= current_setting('tenantctl.newest')::oid",
            false => "true",
        },
        has_triggers = if_written("pg_trigger"),
        has_columns = if_written("pg_attribute"),
        has_owners = if_written("pg_shdepend"),
        of_t = of("t"),
        of_c = of("c"),
        of_a = of("a"),
        of_d = of("d"),
    )
}

/// Returns a query for the objects, other than relations, that this transaction has locked as who
/// drops, renames or comments on them does, each with its schema: 0 where it is in none, NULL where
/// it is gone.
fn locked() -> String {
    let lookup = |catalog: &str, space: &str| {
        format!(
            "when 'pg_catalog.{catalog}'::regclass \
             then (select {space} from pg_catalog.{catalog} where oid = l.objid)"
        )
    };
    let in_a_schema = IN_A_SCHEMA.iter().map(|(catalog, space)| lookup(catalog, space));
    let everybodys = EVERYBODYS.iter().map(|catalog| lookup(catalog, "0::oid"));
    let others = [("pg_namespace", "oid"), ("pg_database", "0::oid")];
    let others = others.iter().map(|(catalog, space)| lookup(catalog, space));
    let lookups: Vec<String> = in_a_schema.chain(everybodys).chain(others).collect();
    let catalogs = IN_A_SCHEMA.iter().map(|(catalog, _)| *catalog).chain(EVERYBODYS);
    let catalogs: Vec<String> = catalogs
        .chain(["pg_namespace", "pg_database"])
        .map(|it| format!("'pg_catalog.{it}'::regclass"))
        .collect();
    format!(
        "\
select l.classid, l.objid, case l.classid {} end as space
      from pg_catalog.pg_locks l
     where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'object' and l.granted
       and l.mode not in ('AccessShareLock', 'RowShareLock')
       and l.classid in ({})
    offset 0",
        lookups.join(" "),
        catalogs.join(", ")
    )
}
