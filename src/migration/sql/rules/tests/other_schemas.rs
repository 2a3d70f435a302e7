//! What is another schema's, by its name or by where a name is found.

use super::*;

#[test]
fn a_tenants_file_changes_no_other_schema() {
    refused(
        Rule::OtherSchema,
        &[
            "create table public.t (id int)",
            "create table acme.t (id int)",
            "create table app.public.t (id int)",
            "alter table public.t add x int",
            "alter table only \"public\".t add x int",
            "drop table t, public.u",
            "drop function public.f(int)",
            "drop type public.mood",
            "create view public.v as select 1",
            "create index i on public.t (id)",
            "create function public.f() returns int language sql as 'select 1'",
            "create trigger g before insert on public.t for each row execute function f()",
            "create policy p on public.t",
            "create rule r as on insert to public.t do nothing",
            "create operator public.+ (function = f, leftarg = int)",
            "create sequence public.s",
            "insert into public.t values (1)",
            "update public.t set x = 1 from u",
            "delete from public.t using u",
            "with gone as (delete from public.t returning *) insert into t select * from gone",
            "merge into public.t using u on true when matched then delete",
            "truncate t, public.u",
            "copy public.t from '/tmp/x'",
            "grant select on public.t to app",
            "revoke all on function public.f() from app",
            "grant usage on schema public to app",
            "grant select on all tables in schema acme to app",
            "comment on table public.t is 'x'",
            "comment on column public.t.x is 'x'",
            "comment on schema acme is 'x'",
            "lock table public.t",
            "analyze public.t",
            "refresh materialized view public.m",
            "alter table t set schema public",
            "alter table t inherit public.base",
            "create table t () inherits (public.base)",
            "create table t partition of public.base default",
            "alter default privileges in schema acme grant select on tables to app",
            "do $$ begin insert into public.t values (1); end $$",
            "do $$ begin if true then drop table public.t; end if; end $$",
            "update pg_catalog.pg_class set relname = 'x'",
            "update pg_class set relname = 'x'",
            "insert into pg_description values (1, 2, 0, 'x')",
            "do $$ begin delete from pg_depend where objid = 1; end $$",
        ],
    );
}

#[test]
fn a_tenants_file_reads_no_third_schema() {
    refused(
        Rule::OtherSchema,
        &[
            "select * from acme.t",
            "alter table t add foreign key (x) references acme.u",
            "create table t (x acme.mood)",
            "select acme.f(1)",
            "create view v as select * from t join acme.u using (id)",
            "create function f() returns int begin atomic select x from acme.t; end",
        ],
    );
    fine(&["-- tenantctl: allow other-schema\nselect * from acme.t"]);
}

#[test]
fn a_tenants_file_reads_what_is_shared() {
    fine(&[
        "create table t (id int references public.u (id), x public.citext default public.f())",
        "alter table t add constraint c foreign key (x) references public.u, add y extensions.citext",
        "alter table t alter x type public.citext using x::public.citext",
        "create table t (like public.u including all)",
        "create table t as select * from public.u",
        "insert into t select u.id, public.f(u.id) from public.u u where public.u.id = 1",
        "update t set x = u.x from public.u where t.id = u.id",
        "delete from t using public.u where t.id = u.id",
        "merge into t using public.u on t.id = u.id when matched then delete",
        "copy public.t to '/tmp/x'",
        "table public.t",
        "create index i on t using gin (name public.gin_trgm_ops)",
        "create index i on t (name collate public.de)",
        "alter table t add exclude using gist (x public.gist_ops with public.=)",
        "select 1 operator(public.+) 2",
        "create trigger g before insert on t for each row execute function public.f()",
        "create policy p on t using (owner = (select id from public.u))",
        "create function f(public.citext) returns setof public.u language sql as 'select 1'",
        "create function f() returns int begin atomic insert into public.log values (1); end",
        "create rule r as on insert to t do also insert into public.log values (1)",
        "drop function f(public.citext)",
        "call public.p(1)",
        "select * from public.u for update",
        "select * from information_schema.tables, pg_catalog.pg_class",
        "insert into t select oid, pg_get_userbyid(relowner) from pg_class",
        "update t set pg_x = (select count(*) from pg_class)",
        "create table pg_notes (x int)",
        "do $$ declare u public.u%rowtype; begin for u in select * from public.u loop end loop; end $$",
    ]);
}

#[test]
fn a_dot_does_not_make_a_schema() {
    fine(&[
        "select t.id, (t.address).street, t.* from t",
        "update t set address.street = 'x'",
        "insert into t (address.street) values ('x')",
        "comment on column t.x is 'x'",
        "create sequence s owned by t.id",
        "create table pg_temp.x (id int) on commit drop",
        "create function f(x t.id%type) returns int language sql as 'select 1'",
        "select 'public.t', $$drop table public.t$$ -- public.t\nfrom t /* public.t */",
        "do $$ begin new.x := old.y; end $$",
    ]);
    fine_when_shared(&[
        "create table acme.t (id int references public.u)",
        "insert into public.t values (1)",
        "grant usage on schema public to app",
    ]);
}

#[test]
fn a_sequence_elsewhere_is_not_moved() {
    refused(
        Rule::OtherSchema,
        &[
            "select setval('public.plans_id_seq', 1)",
            "select nextval('public.plans_id_seq')",
            "select pg_catalog.setval('\"Acme\".seq', 5, false)",
            "select setval(pg_get_serial_sequence('public.plans', 'id'), 1)",
            "insert into t select nextval('globex.seq')",
            "do $$ begin perform setval('public.plans_id_seq', 1); end $$",
        ],
    );
    fine(&[
        "select setval('orders_id_seq', 1)",
        "select nextval('orders_id_seq')",
        "select last_value from public.plans_id_seq",
        "select currval('public.plans_id_seq')",
        "create table t (id int default nextval('public.plans_id_seq'))",
    ]);
    fine_when_shared(&["select setval('public.plans_id_seq', 1)"]);
}

#[test]
fn what_is_changed_without_a_lock_is_known_by_name() {
    for (sql, names) in [
        ("grant select on users to app", &["users"][..]),
        ("grant select, update (a) on table users, b to app, other", &["users", "b"]),
        ("grant execute on function f(int) to app", &["f"]),
        ("revoke all on users from app", &["users"]),
        ("drop function f(int, citext), g", &["f", "g"]),
        ("drop type if exists mood", &["mood"]),
        ("drop domain d", &["d"]),
        ("alter function f(int) set search_path = ''", &["f"]),
        ("alter type mood add value 'x'", &["mood"]),
        ("comment on function f() is 'x'", &["f"]),
        ("comment on table users is 'x'", &["users"]),
        ("create trigger t before insert on users for each row execute function f()", &["users"]),
        ("alter table users disable trigger all", &["users"]),
        ("alter table only users enable replica trigger t", &["users"]),
        ("alter table users add constraint f foreign key (plan) references plans (id)", &["users"]),
        ("alter table users add foreign key (plan) references public.plans", &["users"]),
        ("alter table users add column plan int references plans", &[]),
        ("select setval('users_id_seq', 1)", &["users_id_seq"]),
        ("select setval(pg_get_serial_sequence('Users', 'id'), 1)", &["users"]),
        ("select setval('public.users_id_seq', 1)", &[]),
        ("create table users (id int)", &[]),
        ("drop function acme.f()", &[]),
    ] {
        let statement =
            &crate::migration::sql::Script::read(sql, &Context::new(Folder::Tenant, "public"))
                .statements[0];
        assert_eq!(statement.bare_changes, names, "{sql}");
    }
}
