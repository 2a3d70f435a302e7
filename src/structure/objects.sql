-- One row a statement: section (0 before the data, 1 after it), rank, kind, name, catalog, oid, statement.
with n as materialized (
    select oid, nspname, quote_ident(nspname) || '.' as prefix from pg_namespace where nspname = {schema}
), m as materialized (
    select distinct d.classid, d.objid from pg_depend as d, n
    where d.refclassid = 'pg_namespace'::regclass and d.refobjid = n.oid
), r as materialized (
    select c.*, quote_ident(c.relname) as q
    from m join pg_class as c on c.oid = m.objid where m.classid = 'pg_class'::regclass
), t as materialized (select * from r where relkind in ('r', 'p')
), s as materialized (
    select r.oid, r.q, r.relname, r.relpersistence, d.deptype, d.refobjid, d.refobjsubid,
        'increment by ' || q.seqincrement || ' minvalue ' || q.seqmin || ' maxvalue ' || q.seqmax
        || ' start with ' || q.seqstart || ' cache ' || q.seqcache
        || case when q.seqcycle then ' cycle' else ' no cycle' end as options,
        format_type(q.seqtypid, null) as type
    from r join pg_sequence as q on q.seqrelid = r.oid
    left join pg_depend as d on d.classid = 'pg_class'::regclass and d.objid = r.oid and d.objsubid = 0
        and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
), a as materialized (
    select a.*, t.q, quote_ident(a.attname) as col
    from t join pg_attribute as a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
), p as materialized (
    select p.*, quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' as sign,
        case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end as word
    from m join pg_proc as p on p.oid = m.objid where m.classid = 'pg_proc'::regclass
        and not exists (select from pg_depend as d where d.classid = m.classid and d.objid = m.objid
            and d.deptype = 'i' and d.refclassid = 'pg_type'::regclass)
), y as materialized (
    select y.*, quote_ident(y.typname) as q from m join pg_type as y on y.oid = m.objid
    where m.classid = 'pg_type'::regclass and y.typtype in ('e', 'd', 'r', 'c')
), i as materialized (
    select x.*, c.relname, c.relkind, c.reltablespace, quote_ident(c.relname) as iq, t.q, t.relname as tname, k.oid as con, k.contype
    from (select * from r where relkind in ('r', 'p', 'm')) as t join pg_index as x on x.indrelid = t.oid join pg_class as c on c.oid = x.indexrelid
    left join pg_depend as d on d.classid = 'pg_class'::regclass and d.objid = x.indexrelid
        and d.deptype = 'i' and d.refclassid = 'pg_constraint'::regclass
    left join pg_constraint as k on k.oid = d.refobjid
), o (section, rank, kind, name, class, oid, seq, statement) as (
    -- types
    select 0, 10, 'enum', y.typname::text, 'pg_type'::regclass, y.oid, 0,
        'create type ' || y.q || ' as enum (' || coalesce((select string_agg(quote_literal(enumlabel), ', '
            order by enumsortorder) from pg_enum where enumtypid = y.oid), '') || ')'
    from y where typtype = 'e'
    union all
    select 0, 10, 'composite type', y.typname, 'pg_type'::regclass, y.oid, 0,
        'create type ' || y.q || ' as (' || coalesce((select string_agg(quote_ident(attname) || ' '
            || format_type(atttypid, atttypmod) || case when attcollation <> 0 and attcollation <> (select typcollation
                from pg_type where oid = atttypid) then ' collate ' || attcollation::regcollation else '' end, ', ' order by attnum)
            from pg_attribute where attrelid = y.typrelid and attnum > 0 and not attisdropped), '') || ')'
    from y where typtype = 'c'
    union all
    select 0, 10, 'domain', y.typname, 'pg_type'::regclass, y.oid, 0,
        'create domain ' || y.q || ' as ' || format_type(y.typbasetype, y.typtypmod)
        || case when y.typcollation <> 0 and y.typcollation <> (select typcollation from pg_type where oid = y.typbasetype)
            then ' collate ' || y.typcollation::regcollation else '' end
        || case when y.typnotnull then ' not null' else '' end
        || coalesce(' default ' || pg_get_expr(y.typdefaultbin, 0), '')
    from y where typtype = 'd'
    union all
    select 0, 10, 'domain', y.typname, 'pg_type'::regclass, y.oid, 1,
        'alter domain ' || y.q || ' add constraint ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid)
    from y join pg_constraint as k on k.contypid = y.oid and k.contype = 'c'
    union all
    select 0, 10, 'range type', y.typname, 'pg_type'::regclass, y.oid, 0,
        'create type ' || y.q || ' as range (subtype = ' || format_type(g.rngsubtype, null)
        || ', subtype_opclass = ' || (select case when nspname = 'pg_catalog' or pg_opclass_is_visible(g.rngsubopc) then ''
            else quote_ident(nspname) || '.' end || quote_ident(opcname)
            from pg_opclass join pg_namespace as z on z.oid = opcnamespace where pg_opclass.oid = g.rngsubopc)
        || case when g.rngcollation <> 0 then ', collation = ' || g.rngcollation::regcollation else '' end
        || case when g.rngsubdiff <> 0 then ', subtype_diff = ' || g.rngsubdiff::regproc else '' end
        || coalesce(', multirange_type_name = ' || (select quote_ident(typname) from pg_type where oid = g.rngmultitypid), '') || ')'
    from y join pg_range as g on g.rngtypid = y.oid where g.rngcanonical = 0
    union all
    select 0, 90, 'type', y.typname, 'pg_type'::regclass, y.oid, 8,
        'alter type ' || y.q || ' owner to ' || quote_ident(pg_get_userbyid(y.typowner)) from y
    -- sequences
    union all
    select 0, 20, 'sequence', s.relname, 'pg_class'::regclass, s.oid, 0,
        'create ' || case when relpersistence = 'u' then 'unlogged ' else '' end || 'sequence ' || s.q || ' as ' || s.type || ' ' || s.options
    from s where s.deptype is distinct from 'i'
    union all
    select 0, 60, 'owned sequence', s.relname, 'pg_sequence'::regclass, s.oid, 0,
        'alter sequence ' || s.q || ' owned by ' || s.refobjid::regclass || '.' || quote_ident(c.attname)
    from s join pg_attribute as c on c.attrelid = s.refobjid and c.attnum = s.refobjsubid where s.deptype = 'a'
    -- functions
    union all
    select 0, 30, p.word, p.sign, 'pg_proc'::regclass, p.oid, 0,
        'CREATE OR REPLACE ' || upper(p.word) || ' ' || substr(f.def, length('CREATE OR REPLACE ' || p.word || ' ' || n.prefix) + 1)
    from p, n, lateral (select pg_get_functiondef(case when p.prokind <> 'a' then p.oid end) as def) as f
    where p.prokind <> 'a' and starts_with(f.def, 'CREATE OR REPLACE ' || upper(p.word) || ' ' || n.prefix)
    union all
    select 0, 30, p.word, p.sign, 'pg_proc'::regclass, p.oid, 0,
        'create aggregate ' || p.sign || ' (sfunc = ' || g.aggtransfn::regproc || ', stype = ' || format_type(g.aggtranstype, null)
        || case when g.aggtransspace <> 0 then ', sspace = ' || g.aggtransspace else '' end
        || case when g.aggfinalfn <> 0 then ', finalfunc = ' || g.aggfinalfn::regproc else '' end
        || case when g.aggfinalextra then ', finalfunc_extra' else '' end
        || case when g.aggcombinefn <> 0 then ', combinefunc = ' || g.aggcombinefn::regproc else '' end
        || coalesce(', initcond = ' || quote_literal(g.agginitval), '')
        || case p.proparallel when 's' then ', parallel = safe' when 'r' then ', parallel = restricted' else '' end || ')'
    from p join pg_aggregate as g on g.aggfnoid = p.oid where g.aggkind = 'n' and g.aggmtransfn = 0 and g.aggserialfn = 0 and g.aggsortop = 0
    union all
    select 0, 30, p.word, p.sign, 'pg_proc'::regclass, p.oid, 8,
        'alter ' || p.word || ' ' || p.sign || ' owner to ' || quote_ident(pg_get_userbyid(p.proowner)) from p
    -- tables
    union all
    select 0, 40, 'table', t.relname, 'pg_class'::regclass, t.oid, 0,
        'create ' || case t.relpersistence when 'u' then 'unlogged ' else '' end || 'table ' || t.q || ' ('
        || coalesce((select string_agg(a.col || ' ' || format_type(a.atttypid, a.atttypmod)
            || case when a.attcollation <> 0 and a.attcollation <> (select typcollation from pg_type where oid = a.atttypid)
                then ' collate ' || a.attcollation::regcollation else '' end
            || coalesce(case when a.attgenerated = 's' then ' generated always as (' || pg_get_expr(e.adbin, e.adrelid) || ') stored' end, '')
            || coalesce(case a.attidentity when 'a' then ' generated always' when 'd' then ' generated by default' end
                || ' as identity (sequence name ' || s.q || ' ' || s.options || ')', '')
            || case when a.attnotnull then ' not null' else '' end, ', ' order by a.attnum)
            from a left join pg_attrdef as e on e.adrelid = a.attrelid and e.adnum = a.attnum
            left join s on s.refobjid = a.attrelid and s.refobjsubid = a.attnum and s.deptype = 'i'
            where a.attrelid = t.oid and (a.attislocal or t.relispartition)), '') || ')'
        || coalesce((select ' inherits (' || string_agg(h.inhparent::regclass::text, ', ' order by h.inhseqno) || ')'
            from pg_inherits as h where h.inhrelid = t.oid and not t.relispartition), '')
        || coalesce(' partition by ' || case when t.relkind = 'p' then pg_get_partkeydef(t.oid) end, '')
        || case when t.relam <> 0 then ' using ' || (select quote_ident(amname) from pg_am where oid = t.relam) else '' end
        || coalesce(' with (' || (select string_agg(quote_ident(option_name) || '=' || quote_literal(option_value), ', ' order by option_name)
            from pg_options_to_table(t.reloptions)) || ')', '')
        || coalesce(' tablespace ' || (select quote_ident(spcname) from pg_tablespace where oid = t.reltablespace), '')
    from t
    union all
    select 0, 40, 'table', t.relname, 'pg_class'::regclass, t.oid, 1, 'alter table ' || t.q || ' of ' || format_type(t.reloftype, null)
    from t where t.reloftype <> 0
    union all
    select 0, 40, 'table', a.relname, 'pg_class'::regclass, a.attrelid, 2, 'alter table only ' || a.q || ' alter column ' || a.col || x.what
    from (select a.*, c.relname from a join t as c on c.oid = a.attrelid) as a join pg_type as y on y.oid = a.atttypid, lateral (
        select ' set storage ' || case a.attstorage when 'p' then 'plain' when 'm' then 'main' when 'x' then 'extended' else 'external' end as what
        where a.attstorage <> y.typstorage
        union all select ' set statistics ' || a.attstattarget where a.attstattarget >= 0
        union all select ' set compression ' || case (to_jsonb(a) ->> 'attcompression') when 'p' then 'pglz' else 'lz4' end
        where to_jsonb(a) ->> 'attcompression' in ('p', 'l')
        union all select ' set (' || array_to_string(a.attoptions, ', ') || ')' where a.attoptions is not null) as x
    union all
    select 0, 40, 'table', t.relname, 'pg_class'::regclass, t.oid, 3, 'alter table ' || t.q || x.what
    from t, lateral (select ' enable row level security' as what where t.relrowsecurity
        union all select ' force row level security' where t.relforcerowsecurity
        union all select ' replica identity full' where t.relreplident = 'f'
        union all select ' replica identity nothing' where t.relreplident = 'n') as x
    union all
    select 0, 45, 'partition', t.relname, 'pg_inherits'::regclass, t.oid, 0,
        'alter table only ' || h.inhparent::regclass || ' attach partition ' || t.q || ' ' || pg_get_expr(t.relpartbound, t.oid)
    from t join pg_inherits as h on h.inhrelid = t.oid where t.relispartition
    union all
    select 0, 50, 'default', a.relname || '.' || a.attname, 'pg_attrdef'::regclass, e.oid, 0,
        'alter table only ' || a.q || ' alter column ' || a.col || ' set default ' || pg_get_expr(e.adbin, e.adrelid)
    from (select a.*, c.relname from a join t as c on c.oid = a.attrelid) as a
    join pg_attrdef as e on e.adrelid = a.attrelid and e.adnum = a.attnum where a.attgenerated = ''
    -- views
    union all
    select case r.relkind when 'v' then 0 else 1 end, case r.relkind when 'v' then 60 else 5 end,
        case r.relkind when 'v' then 'view' else 'materialized view' end, r.relname, 'pg_class'::regclass, r.oid, 0,
        'create ' || case r.relkind when 'v' then 'view ' else 'materialized view ' end || r.q
        || ' (' || (select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute where attrelid = r.oid and attnum > 0) || ')'
        || coalesce(' with (' || (select string_agg(quote_ident(option_name) || '=' || quote_literal(option_value), ', ' order by option_name)
            from pg_options_to_table(r.reloptions)) || ')', '')
        || coalesce(' tablespace ' || (select quote_ident(spcname) from pg_tablespace where oid = r.reltablespace), '')
        || ' as ' || rtrim(pg_get_viewdef(r.oid), ';') || case when r.relkind = 'm' then ' with ' || case when r.relispopulated then '' else 'no ' end || 'data' else '' end
    from r where r.relkind in ('v', 'm')
    union all
    select 0, 60, 'view', r.relname, 'pg_class'::regclass, r.oid, 2,
        'alter view ' || r.q || ' alter column ' || quote_ident(c.attname) || ' set default ' || pg_get_expr(e.adbin, e.adrelid)
    from r join pg_attrdef as e on e.adrelid = r.oid join pg_attribute as c on c.attrelid = r.oid and c.attnum = e.adnum where r.relkind = 'v'
    -- owners of relations
    union all
    select case r.relkind when 'm' then 1 else 0 end, 90, 'relation', r.relname, 'pg_class'::regclass, r.oid, 8,
        'alter ' || case r.relkind when 'S' then 'sequence ' when 'v' then 'view ' when 'm' then 'materialized view ' else 'table ' end
        || r.q || ' owner to ' || quote_ident(pg_get_userbyid(r.relowner))
    from r where r.relkind in ('r', 'p', 'v', 'm', 'S')
        and not exists (select from s where s.oid = r.oid and s.deptype is not null)
    -- constraints
    union all
    select case k.contype when 'c' then 0 else 1 end, case k.contype when 'c' then 55 when 'f' then 50 else 10 end,
        case k.contype when 'f' then 'foreign key' else 'constraint' end, t.relname || '.' || k.conname, 'pg_constraint'::regclass, k.oid, 0,
        'alter table ' || case when t.relkind = 'p' and k.contype in ('p', 'u') then 'only ' else '' end || t.q
        || ' add constraint ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid)
    from t join pg_constraint as k on k.conrelid = t.oid
    where k.contype in ('c', 'p', 'u', 'x', 'f') and (k.contype not in ('c', 'f') or k.conislocal) and (k.contype <> 'f' or k.conparentid = 0)
    union all
    select 1, 10, 'constraint', i.tname || '.' || i.relname, 'pg_constraint'::regclass, i.con, 1,
        'alter index ' || i.iq || ' set tablespace ' || quote_ident(z.spcname)
    from i join pg_tablespace as z on z.oid = i.reltablespace where i.con is not null
    -- indexes
    union all
    select 1, 20, 'index', i.relname, 'pg_class'::regclass, i.indexrelid, 0,
        i.head || substr(pg_get_indexdef(i.indexrelid), length(i.head || n.prefix) + 1)
        || coalesce(' tablespace ' || (select quote_ident(spcname) from pg_tablespace where oid = i.reltablespace), '')
    from (select i.*, 'CREATE ' || case when indisunique then 'UNIQUE ' else '' end || 'INDEX ' || iq || ' ON '
        || case relkind when 'I' then 'ONLY ' else '' end as head from i) as i, n where i.con is null
    union all
    select 1, 25, 'attached index', i.relname, 'pg_index'::regclass, i.indexrelid, 0,
        'alter index ' || h.inhparent::regclass || ' attach partition ' || i.iq
    from i join pg_inherits as h on h.inhrelid = i.indexrelid
    union all
    select 1, 26, 'index', i.relname || ' of ' || i.tname, 'pg_index'::regclass, i.indexrelid, 1, 'alter table ' || i.q || x.what
    from i, lateral (select ' cluster on ' || i.iq as what where i.indisclustered
        union all select ' replica identity using index ' || i.iq where i.indisreplident) as x
    union all
    select 1, 26, 'index', i.relname || ' of ' || i.tname, 'pg_index'::regclass, i.indexrelid, 2,
        'alter index ' || i.iq || ' alter column ' || c.attnum || ' set statistics ' || c.attstattarget
    from i join pg_attribute as c on c.attrelid = i.indexrelid and c.attstattarget >= 0
    union all
    select 1, 28, 'statistics', x.stxname, 'pg_statistic_ext'::regclass, x.oid, z.seq, z.what
    from m join pg_statistic_ext as x on x.oid = m.objid and m.classid = 'pg_statistic_ext'::regclass, n, lateral (
        select 0 as seq, 'CREATE STATISTICS ' || substr(pg_get_statisticsobjdef(x.oid), length('CREATE STATISTICS ' || n.prefix) + 1) as what
        union all select 1, 'alter statistics ' || quote_ident(x.stxname) || ' set statistics ' || x.stxstattarget where x.stxstattarget >= 0
        union all select 8, 'alter statistics ' || quote_ident(x.stxname) || ' owner to ' || quote_ident(pg_get_userbyid(x.stxowner))) as z
    -- rules, triggers, policies
    union all
    select 1, 60, 'rule', t.relname || '.' || w.rulename, 'pg_rewrite'::regclass, w.oid, z.seq, z.what
    from r as t join pg_rewrite as w on w.ev_class = t.oid and w.rulename <> '_RETURN', lateral (
        select 0 as seq, rtrim(pg_get_ruledef(w.oid, true), ';') as what
        union all select 1, 'alter table ' || t.q || case w.ev_enabled when 'D' then ' disable' when 'A' then ' enable always' else ' enable replica' end
            || ' rule ' || quote_ident(w.rulename) where w.ev_enabled <> 'O') as z
    where t.relkind in ('r', 'p', 'v')
    union all
    select 1, 70, 'trigger', t.relname || '.' || g.tgname, 'pg_trigger'::regclass, g.oid, z.seq, z.what
    from r as t join pg_trigger as g on g.tgrelid = t.oid and not g.tgisinternal and g.tgparentid = 0, lateral (
        select 0 as seq, pg_get_triggerdef(g.oid, true) as what
        union all select 1, 'alter table ' || t.q || case g.tgenabled when 'D' then ' disable' when 'A' then ' enable always' else ' enable replica' end
            || ' trigger ' || quote_ident(g.tgname) where g.tgenabled <> 'O') as z
    union all
    select 1, 80, 'policy', t.relname || '.' || l.polname, 'pg_policy'::regclass, l.oid, 0,
        'create policy ' || quote_ident(l.polname) || ' on ' || t.q || ' as ' || case when l.polpermissive then 'permissive' else 'restrictive' end
        || ' for ' || case l.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end
        || ' to ' || (select string_agg(case when u.x = 0 then 'public' else quote_ident(pg_get_userbyid(u.x)) end, ', ' order by u.x = 0, pg_get_userbyid(u.x)) from unnest(l.polroles) as u(x))
        || coalesce(' using (' || pg_get_expr(l.polqual, l.polrelid) || ')', '') || coalesce(' with check (' || pg_get_expr(l.polwithcheck, l.polrelid) || ')', '')
    from t join pg_policy as l on l.polrelid = t.oid
    -- grants
    union all
    select 1, 90, 'grants', g.target, g.class, g.oid, z.seq, z.what
    from (
        select case r.relkind when 'S' then 'sequence ' else 'table ' end || r.q as target, 'pg_authid'::regclass as class, r.oid, coalesce(r.relacl, acldefault(case r.relkind when 'S' then 's' else 'r' end::"char", r.relowner)) as acl, r.relowner as owner, '' as col from r where r.relkind in ('r', 'p', 'v', 'm', 'S')
        union all select p.word || ' ' || p.sign, 'pg_authid'::regclass, p.oid, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner, '' from p where p.word <> 'aggregate'
        union all select 'function ' || p.sign, 'pg_authid'::regclass, p.oid, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner, '' from p where p.word = 'aggregate'
        union all select 'type ' || y.q, 'pg_authid'::regclass, y.oid, coalesce(y.typacl, acldefault('T', y.typowner)), y.typowner, '' from y
        union all select 'table ' || r.q, 'pg_authid'::regclass, r.oid, c.attacl, r.relowner, ' (' || quote_ident(c.attname) || ')'
            from r join pg_attribute as c on c.attrelid = r.oid and c.attacl is not null
        union all select 'schema {here}', 'pg_authid'::regclass, n.oid, coalesce(z.nspacl, acldefault('n', z.nspowner)), z.nspowner, '' from n join pg_namespace as z on z.oid = n.oid
    ) as g, lateral (
        select 9 as seq, 'revoke all on ' || g.target || ' from public, ' || quote_ident(pg_get_userbyid(g.owner)) as what where g.col = ''
        union all
        select 10, 'grant ' || string_agg(x.privilege_type || g.col, ', ' order by x.privilege_type) || ' on ' || g.target || ' to '
            || case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end || case when x.is_grantable then ' with grant option' else '' end
        from aclexplode(g.acl) as x group by x.grantee, x.is_grantable) as z
    where g.acl is not null
    union all
    select 1, 95, 'default privileges', coalesce(pg_get_userbyid(d.defaclrole), '') || ' ' || d.defaclobjtype::text, 'pg_default_acl'::regclass, d.oid, 0,
        'alter default privileges for role ' || quote_ident(pg_get_userbyid(d.defaclrole)) || ' in schema {here} grant '
        || string_agg(x.privilege_type, ', ' order by x.privilege_type) || ' on '
        || case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' else 'types' end
        || ' to ' || case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end || case when x.is_grantable then ' with grant option' else '' end
    from m join pg_default_acl as d on d.oid = m.objid and m.classid = 'pg_default_acl'::regclass, lateral aclexplode(d.defaclacl) as x
    group by d.oid, d.defaclrole, d.defaclobjtype, x.grantee, x.is_grantable
    union all
    select 1, 99, 'schema', '', 'pg_namespace'::regclass, n.oid, 0, 'alter schema {here} owner to ' || quote_ident(pg_get_userbyid(z.nspowner))
    from n join pg_namespace as z on z.oid = n.oid
    -- comments
    union all
    select 1, 97, 'comment', g.target, 'pg_description'::regclass, g.oid, g.sub, 'comment on ' || g.target || ' is ' || quote_literal(d.description)
    from (
        select case r.relkind when 'v' then 'view ' when 'm' then 'materialized view ' when 'S' then 'sequence ' else 'table ' end || r.q as target, 'pg_class'::regclass as class, r.oid, 0 as sub from r where r.relkind in ('r', 'p', 'v', 'm', 'S')
        union all select 'column ' || r.q || '.' || quote_ident(c.attname), 'pg_class'::regclass, r.oid, c.attnum::int from r join pg_attribute as c on c.attrelid = r.oid and c.attnum > 0 and not c.attisdropped where r.relkind in ('r', 'p', 'v', 'm')
        union all select 'column ' || y.q || '.' || quote_ident(c.attname), 'pg_class'::regclass, y.typrelid, c.attnum::int from y join pg_attribute as c on c.attrelid = y.typrelid and c.attnum > 0 and not c.attisdropped where y.typtype = 'c'
        union all select 'index ' || i.iq, 'pg_class'::regclass, i.indexrelid, 0 from i
        union all select 'constraint ' || quote_ident(k.conname) || ' on ' || t.q, 'pg_constraint'::regclass, k.oid, 0 from t join pg_constraint as k on k.conrelid = t.oid
        union all select 'constraint ' || quote_ident(k.conname) || ' on domain ' || y.q, 'pg_constraint'::regclass, k.oid, 0 from y join pg_constraint as k on k.contypid = y.oid
        union all select 'trigger ' || quote_ident(g.tgname) || ' on ' || r.q, 'pg_trigger'::regclass, g.oid, 0 from r join pg_trigger as g on g.tgrelid = r.oid and g.tgparentid = 0
        union all select 'rule ' || quote_ident(w.rulename) || ' on ' || r.q, 'pg_rewrite'::regclass, w.oid, 0 from r join pg_rewrite as w on w.ev_class = r.oid where w.rulename <> '_RETURN'
        union all select 'policy ' || quote_ident(l.polname) || ' on ' || t.q, 'pg_policy'::regclass, l.oid, 0 from t join pg_policy as l on l.polrelid = t.oid
        union all select p.word || ' ' || p.sign, 'pg_proc'::regclass, p.oid, 0 from p
        union all select case y.typtype when 'd' then 'domain ' else 'type ' end || y.q, 'pg_type'::regclass, y.oid, 0 from y
        union all select 'statistics ' || quote_ident(x.stxname), 'pg_statistic_ext'::regclass, x.oid, 0 from m join pg_statistic_ext as x on x.oid = m.objid and m.classid = 'pg_statistic_ext'::regclass
        union all select 'schema {here}', 'pg_namespace'::regclass, n.oid, 0 from n
    ) as g cross join lateral (
        -- `offset 0`: by the index, however many comments others have.
        select d.description from pg_description as d
        where d.classoid = g.class and d.objoid = g.oid and d.objsubid = g.sub offset 0
    ) as d
), unknown as (
    select pg_describe_object(m.classid, m.objid, 0) as what from m
    where not exists (select from o where o.class = m.classid and o.oid = m.objid)
        and not (m.classid = 'pg_class'::regclass and exists (select from s where s.oid = m.objid))
        and not (m.classid = 'pg_type'::regclass and exists (select from pg_type as y where y.oid = m.objid and y.typtype = 'm'))
        and not (m.classid = 'pg_proc'::regclass and not exists (select from p where p.oid = m.objid))
    union all
    -- Made only where there is more than an owner of it.
    select pg_describe_object(o.class, o.oid, 0) from o where o.class in ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_class'::regclass)
    group by o.class, o.oid having min(o.seq) > 0
)
select section, rank, kind, name, class::oid, oid, seq, statement from o
union all select -1, 0, 'unknown', what, 0, 0, 0, what from unknown
