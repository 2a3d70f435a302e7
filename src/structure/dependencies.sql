-- What needs what, both as (catalog, oid) of something that `objects.sql` has a statement for.
with n as materialized (
    select oid from pg_namespace where nspname = {schema}
), m as materialized (
    select distinct d.classid, d.objid from pg_depend as d, n
    where d.refclassid = 'pg_namespace'::regclass and d.refobjid = n.oid
), part (class, oid, as_class, as_oid) as materialized (
    -- Whatever belongs to an object, and the object.
    select m.classid, m.objid, m.classid, m.objid from m
    union
    select 'pg_type'::regclass::oid, y.oid, m.classid, m.objid from m join pg_class as c on c.oid = m.objid
        join pg_type as y on y.oid = c.reltype where m.classid = 'pg_class'::regclass
    union
    select 'pg_class'::regclass::oid, y.typrelid, m.classid, m.objid from m join pg_type as y on y.oid = m.objid
        where m.classid = 'pg_type'::regclass and y.typrelid <> 0
    union
    select 'pg_constraint'::regclass::oid, k.oid, m.classid, m.objid from m join pg_constraint as k on k.contypid = m.objid
        where m.classid = 'pg_type'::regclass
    union
    select 'pg_rewrite'::regclass::oid, w.oid, m.classid, m.objid from m join pg_rewrite as w on w.ev_class = m.objid
        where m.classid = 'pg_class'::regclass and w.rulename = '_RETURN'
    union
    select 'pg_attrdef'::regclass::oid, e.oid, m.classid, m.objid from m join pg_attrdef as e on e.adrelid = m.objid
        join pg_attribute as a on a.attrelid = e.adrelid and a.attnum = e.adnum
        where m.classid = 'pg_class'::regclass and a.attgenerated <> ''
    union
    select 'pg_attrdef'::regclass::oid, e.oid, 'pg_attrdef'::regclass::oid, e.oid from m join pg_attrdef as e on e.adrelid = m.objid
        join pg_attribute as a on a.attrelid = e.adrelid and a.attnum = e.adnum
        where m.classid = 'pg_class'::regclass and a.attgenerated = ''
    union
    select 'pg_constraint'::regclass::oid, k.oid, 'pg_constraint'::regclass::oid, k.oid from m join pg_constraint as k on k.conrelid = m.objid
        where m.classid = 'pg_class'::regclass
    union
    select 'pg_trigger'::regclass::oid, k.oid, 'pg_trigger'::regclass::oid, k.oid from m join pg_trigger as k on k.tgrelid = m.objid
        where m.classid = 'pg_class'::regclass and not k.tgisinternal
), whole as materialized (
    select * from part
    union
    select 'pg_type'::regclass::oid, y.typarray, p.as_class, p.as_oid from part as p join pg_type as y on y.oid = p.oid
        where p.class = 'pg_type'::regclass and y.typarray <> 0
)
-- `offset 0`: by the index, however many the planner expects; the catalog may be that of 10,000 schemas.
select distinct p.as_class, p.as_oid, q.as_class, q.as_oid
from whole as p cross join lateral
    (select * from pg_depend as d where d.classid = p.class and d.objid = p.oid offset 0) as d
join whole as q on q.class = d.refclassid and q.oid = d.refobjid
where (p.as_class, p.as_oid) <> (q.as_class, q.as_oid)
    and not (d.deptype in ('a', 'i') and p.class = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjsubid <> 0)
    and not (d.classid = 'pg_rewrite'::regclass and d.deptype = 'i')
    and not (d.deptype = 'P' or d.deptype = 'S')
