//! What of one schema leads to another, which a copy of it must not.

use crate::name::SchemaName;
use crate::pg::literal;

/// Asks what of the schema `copy`, in the server's words, depends on something of the schema `source`,
/// which need not be there.
pub(super) fn question(copy: &SchemaName, source: &SchemaName) -> String {
    let members = |schema: &SchemaName| {
        format!(
            "select d.classid, d.objid from pg_catalog.pg_depend as d \
             where d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
               and d.refobjid = (select oid from pg_catalog.pg_namespace where nspname = {})",
            literal(schema.as_str())
        )
    };
    // `offset 0`: by the index, however many rows the planner expects.
    // What hangs on a member, such as a table's constraint, refers from its own row.
    format!(
        "with recursive mine(classid, objid) as ({mine} union select d.classid, d.objid from mine \
           cross join lateral (select * from pg_catalog.pg_depend as d \
             where d.refclassid = mine.classid and d.refobjid = mine.objid offset 0) as d), \
         theirs as ({theirs}) \
         select distinct pg_catalog.pg_describe_object(d.classid, d.objid, 0) from mine \
         cross join lateral (select * from pg_catalog.pg_depend as d \
           where d.classid = mine.classid and d.objid = mine.objid offset 0) as d \
         join theirs on theirs.classid = d.refclassid and theirs.objid = d.refobjid",
        mine = members(copy),
        theirs = members(source),
    )
}
