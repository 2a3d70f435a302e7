-- A tenant of every kind of object; the search path is its schema alone, then `public`.
create type mood as enum ('glad', 'so''so', 'sad');
create domain email as text collate "C" check (value like '%@%') default 'nobody@example.com';
create domain positive as integer not null constraint above_zero check (value > 0);
create type address as (street text, city varchar(30));
create sequence codes as smallint increment by 5 minvalue 5 maxvalue 500 start 10 cache 3 cycle;
create function next_code(prefix text) returns text language sql as $$ select prefix || '-' || nextval('codes') $$;
create type span as range (subtype = float8, subtype_diff = float8mi);
create table users (
    id serial primary key,
    email email not null unique,
    mood mood default 'glad',
    home address,
    age positive default 18,
    name varchar(40) collate "C",
    shout text generated always as (upper(name)) stored,
    secret text,
    constraint not_bob check (name <> 'bob')
);
alter table users rename to members;
alter table members alter column secret set storage external, alter column name set statistics 200;
create view users as select id, email::text as email from members;
create table orders (
    id bigint generated always as identity (start 100 increment 10) primary key,
    member integer not null references members deferrable initially deferred,
    user_id bigint,
    during tstzrange,
    kinds span,
    code text default next_code('x'),
    gone integer,
    note text
) with (fillfactor = 70);
alter table orders drop column gone;
alter table orders add constraint no_overlap exclude using gist (during with &&);
alter table orders add constraint short check (length(note) < 50) not valid;
alter table orders add constraint outer_user foreign key (user_id) references public.users;
create index orders_note on orders (lower(note) text_pattern_ops, member desc) include (code) where note is not null;
create unique index orders_twice on orders (member, code) nulls not distinct;
cluster orders using orders_pkey;
create statistics orders_stats (dependencies) on member, code from orders;
create unlogged table cache (key text primary key, value jsonb);
alter table cache replica identity full;
create table base (id integer, made date);
create table derived (extra text) inherits (base);
create table typed of address (street not null);
create table events (id bigint not null, at date not null, kind text not null default 'x', primary key (id, at, kind)) partition by range (at);
create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01');
create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01') partition by list (kind);
create table events_2026_x partition of events_2026 for values in ('x', 'y');
create table events_2026_rest partition of events_2026 default;
create table events_rest partition of events default;
create index events_kind on events (kind);
create view grouped with (security_barrier) as select m.id, m.name, count(*) as n from members m join orders o on o.member = m.id group by m.id;
create view on_view as select name, n, (select count(*) from public.tenants) as tenants from grouped;
create materialized view totals as select member, count(*) as n from orders group by member;
create unique index totals_member on totals (member);
create materialized view later as select 1 as one with no data;
create rule no_delete as on delete to base do instead nothing;
create function members_of(wanted mood) returns setof members language sql stable as $$ select * from members where mood = wanted $$;
create function note_change() returns trigger language plpgsql as $$ begin insert into cache values (gen_random_uuid()::text, '{}'); return null; end $$;
create procedure tidy(inout n integer default 1) language plpgsql as $$ begin delete from cache; end $$;
create function plus(integer, integer) returns integer language sql immutable return $1 + $2;
create aggregate total (integer) (sfunc = plus, stype = integer, initcond = '0');
create trigger noted after insert or update of note on orders for each row when (new.note is not null) execute function note_change();
create trigger many after insert on orders referencing new table as fresh for each statement execute function note_change();
create constraint trigger checked after insert on members deferrable initially deferred for each row execute function note_change();
alter table orders disable trigger many;
alter table members enable row level security, force row level security;
create policy own on members as restrictive for select to public using (id > 0);
create table "a ""table"" of 'odd' names" ("select" integer, "Bücher" text default E'back\\slash', primary key ("select"));
comment on table members is 'people''s own';
comment on column members.email is 'where to write';
comment on constraint not_bob on members is 'he left';
comment on function next_code(text) is 'codes';
comment on type mood is 'moods';
comment on index orders_note is 'notes';
comment on trigger noted on orders is 'notes';
comment on view grouped is 'grouped';
comment on policy own on members is 'own';
comment on domain email is 'mail';
comment on materialized view totals is 'totals';
comment on sequence codes is 'codes';
grant select on members to public;
grant update (name) on members to public;
revoke execute on function next_code(text) from public;
do $$ begin execute format('alter default privileges in schema %I grant select on tables to public', current_schema()); end $$;

select nextval('codes');
insert into members (email, home, name, secret) select 'm' || n || '@example.com', row('s', 'c')::address, 'n' || n, repeat('x', n) from generate_series(1, 20) n;
insert into orders (member, note, during) select n, 'note', tstzrange(now() + n * interval '1 day', now() + n * interval '1 day' + interval '1 hour') from generate_series(1, 20) n;
insert into events select n, date '2024-12-01' + n * 40, case when n % 2 = 0 then 'x' else 'z' end from generate_series(1, 30) n;
insert into base values (1, '2026-01-01');
insert into derived values (2, '2026-01-02', 'd');
insert into typed values ('s', 'c');
insert into "a ""table"" of 'odd' names" values (1);
refresh materialized view totals;
