//! What goes when objects of one schema are dropped: everything that hangs on them, as `pg_depend`
//! has it (Postgres documentation, "Dependency Tracking"), and what of it is not the schema's own.
//!
//! A `cascade` drops what depends on an object wherever it is. So what it would reach is looked up
//! beforehand, in the same transaction, and compared with what it did reach: whatever is dropped is
//! locked first, and stays so until the transaction ends.

use super::change::{must_hold, overtaken_if};
use crate::migration::history::HISTORY_TABLE;

/// The catalogs of what has a schema of its own, or belongs to something that has, with the
/// expression for that schema's oid and what it needs to be joined. The row is `x`.
const HOMES: [(&str, &str, &str); 22] = [
    ("pg_class", "x.relnamespace", ""),
    ("pg_type", "x.typnamespace", ""),
    ("pg_proc", "x.pronamespace", ""),
    ("pg_constraint", "x.connamespace", ""),
    ("pg_attrdef", "c.relnamespace", "join pg_class c on c.oid = x.adrelid"),
    ("pg_trigger", "c.relnamespace", "join pg_class c on c.oid = x.tgrelid"),
    ("pg_rewrite", "c.relnamespace", "join pg_class c on c.oid = x.ev_class"),
    ("pg_policy", "c.relnamespace", "join pg_class c on c.oid = x.polrelid"),
    ("pg_statistic_ext", "x.stxnamespace", ""),
    ("pg_operator", "x.oprnamespace", ""),
    ("pg_opclass", "x.opcnamespace", ""),
    ("pg_opfamily", "x.opfnamespace", ""),
    ("pg_amop", "f.opfnamespace", "join pg_opfamily f on f.oid = x.amopfamily"),
    ("pg_amproc", "f.opfnamespace", "join pg_opfamily f on f.oid = x.amprocfamily"),
    ("pg_collation", "x.collnamespace", ""),
    ("pg_conversion", "x.connamespace", ""),
    ("pg_ts_config", "x.cfgnamespace", ""),
    ("pg_ts_dict", "x.dictnamespace", ""),
    ("pg_ts_parser", "x.prsnamespace", ""),
    ("pg_ts_template", "x.tmplnamespace", ""),
    ("pg_default_acl", "x.defaclnamespace", ""),
    // A cast belongs to the type that is not Postgres' own.
    (
        "pg_cast",
        "case s.typnamespace when 'pg_catalog'::regnamespace then t.typnamespace \
         else s.typnamespace end",
        "join pg_type s on s.oid = x.castsource join pg_type t on t.oid = x.casttarget",
    ),
];

/// What depends on a row `r` of `reach`. `offset 0`: by the index, however many rows the planner expects.
const DEPENDENTS: &str = "select * from pg_depend as d where d.refclassid = r.classid \
     and d.refobjid = r.objid and (r.subid = 0 or d.refobjsubid = r.subid) offset 0";

/// So many objects are looked at for one transaction.
pub(super) const MEMBERS_AT_ONCE: usize = 300;

/// A schema by its oid, whatever it is called by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SchemaOid(pub(super) i64);

impl SchemaOid {
    /// Asks for what would be dropped along and is not the schema's own, described in the server's
    /// words, at most `limit` of it; the second column is how much there is of it.
    pub(super) fn outside(self, limit: usize) -> String {
        format!(
            "with recursive {reach}, \
             outside as (select distinct pg_describe_object(coalesce(v.classid, r.classid), \
                 coalesce(v.oid, r.objid), case when v.oid is null then r.subid else 0 end) as what \
               from reach r left join lateral ({view}) v on true where {is_outside}) \
             select what, count(*) over () from outside order by what limit {limit}",
            reach = reach(&self.members()),
            // A view is one thing to a person, and a rule and columns to the server.
            view = "select c.tableoid as classid, c.oid from pg_class c where c.relkind in ('v', 'm') \
                and c.oid = case r.classid when 'pg_class'::regclass then r.objid \
                  when 'pg_rewrite'::regclass then \
                    (select w.ev_class from pg_rewrite w where w.oid = r.objid) end",
            is_outside = self.is_outside(),
        )
    }

    /// Asks for the newest of the schema's objects: catalog, oid, type and quoted name, how many
    /// objects go with it and all before it in this list, and how many the schema has.
    ///
    /// The newest first, so that little depends on what is dropped; but before all the history
    /// table, without which no migration that was planned earlier goes on.
    pub(super) fn newest(self) -> String {
        format!(
            "with recursive member as (select d.classid, d.objid, count(*) over () as total, \
                 row_number() over (order by c.relname is distinct from '{HISTORY_TABLE}', d.objid desc) as n \
               from pg_depend d \
               left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid \
               where d.refclassid = 'pg_namespace'::regclass and d.refobjid = {oid} and d.deptype = 'n' \
                 and not exists (select from pg_depend i where i.classid = d.classid \
                   and i.objid = d.objid and i.objsubid = 0 and i.deptype in ('i', 'e'))), \
             first as (select * from member where n <= {MEMBERS_AT_ONCE}), \
             reach(n, classid, objid, subid) as (select n, classid, objid, 0 from first \
               union select r.n, d.classid, d.objid, d.objsubid from reach r \
                 cross join lateral ({DEPENDENTS}) as d), \
             size as (select n, count(distinct (classid, objid)) as size from reach group by n) \
             select f.classid::oid, f.objid, i.type, i.identity, sum(s.size) over (order by f.n), f.total \
             from first f join size s using (n), \
               lateral pg_identify_object(f.classid, f.objid, 0) i order by f.n",
            oid = self.0
        )
    }

    /// Fails when something outside would be dropped along with all of the schema.
    pub(super) fn guard_all(self) -> String {
        self.guard(&self.members())
    }

    /// Fails when something outside would be dropped along with these, given as catalog and oid.
    pub(super) fn guard_these(self, objects: impl Iterator<Item = (i64, i64)>) -> String {
        let row = |(catalog, oid)| format!("({catalog}::oid, {oid}::oid, 'n'::\"char\")");
        let rows: Vec<String> = objects.map(row).collect();
        let values = rows.join(", ");
        self.guard(&format!("select * from (values {values}) as v(classid, objid, deptype)"))
    }

    /// Remembers for [`Self::audit`] what is going to be dropped, and which tables outside lose what
    /// the server put there for it, such as the triggers of a foreign key.
    fn guard(self, roots: &str) -> String {
        format!(
            "with recursive {reach}, \
             own as (select distinct concat(classid::oid, '.', objid) as it from reach where subid = 0), \
             beside as (select t.tgrelid as it from pg_trigger t join reach r \
                 on r.classid = 'pg_trigger'::regclass and r.objid = t.oid \
               union select c.confrelid from pg_constraint c join reach r \
                 on r.classid = 'pg_constraint'::regclass and r.objid = c.oid \
               union select i.inhparent from pg_inherits i join reach r \
                 on r.classid = 'pg_class'::regclass and r.objid = i.inhrelid) \
             select set_config('tenantctl.own', concat('2615.{oid},', (select string_agg(it, ',') from own)), true), \
               set_config('tenantctl.beside', coalesce((select string_agg(it::text, ',') from beside), ''), true), \
               {failing}",
            reach = reach(roots),
            oid = self.0,
            failing =
                overtaken_if(&format!("exists (select from reach r where {})", self.is_outside())),
        )
    }

    /// Fails when something was dropped, or something outside was altered, that the guard has not
    /// seen.
    pub(super) fn audit(self) -> String {
        let listed = |name: &str| {
            format!("(select unnest(string_to_array(current_setting('tenantctl.{name}'), ',')))")
        };
        must_hold(&format!(
            "not exists (select from pg_locks l where l.pid = pg_backend_pid() and l.granted \
               and l.mode = 'AccessExclusiveLock' and l.locktype in ('relation', 'object') \
               and l.database = (select oid from pg_database where datname = current_database()) \
               and concat(coalesce(l.classid, 'pg_class'::regclass)::oid, '.', \
                 coalesce(l.objid, l.relation)) not in {own} \
               and not exists (select from pg_class c where l.locktype = 'relation' \
                 and c.oid = l.relation and (c.relnamespace = {oid} or c.oid::text in {beside})))",
            own = listed("own"),
            beside = listed("beside"),
            oid = self.0,
        ))
    }

    fn members(self) -> String {
        format!(
            "select classid, objid, deptype from pg_depend \
             where refclassid = 'pg_namespace'::regclass and refobjid = {}",
            self.0
        )
    }

    /// A condition on a row `r` of `reach`. What the server makes for an object by itself is that
    /// object's, wherever it is: a foreign key's triggers are on the other table, too.
    fn is_outside(self) -> String {
        let homes = HOMES.map(|(catalog, home, join)| {
            format!(
                "when '{catalog}'::regclass then (select {home} from {catalog} x {join} \
                 where x.oid = r.objid)"
            )
        });
        format!(
            "r.deptype <> 'i' and coalesce(case r.classid {} end \
             not in ({}, 'pg_toast'::regnamespace), r.deptype = 'n')",
            homes.join(" "),
            self.0
        )
    }
}

/// Returns the recursive query `reach` of everything that goes when `roots` go: catalog, oid and
/// column number (0 for the whole object), and how it hangs on what was reached before.
fn reach(roots: &str) -> String {
    format!(
        "reach(classid, objid, subid, deptype) as (\
           select classid, objid, 0, deptype from ({roots}) as root \
           union select d.classid, d.objid, d.objsubid, d.deptype from reach r \
             cross join lateral ({DEPENDENTS}) as d)"
    )
}

/// Returns the statement that drops an object of a type as `pg_identify_object` calls it.
pub(super) fn drop_statement(type_name: &str, identity: &str) -> String {
    let type_name = match type_name {
        "statistics object" => "statistics",
        other => other,
    };
    // It may have gone along with one that was dropped before it.
    format!("drop {type_name} if exists {identity} cascade")
}
