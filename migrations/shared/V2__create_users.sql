-- The users of the public site. Tenants have their own, in a table of the same name.

create table users (
    id            bigserial primary key,
    username      varchar(150) not null unique check (btrim(username) <> ''),
    email         varchar(254) not null default '',
    password      varchar(255) not null,  -- a hash in PHC format, such as $argon2id$v=19$...
    is_superuser  boolean not null default false,
    is_staff      boolean not null default false,
    is_active     boolean not null default true,
    date_joined   timestamptz not null default now(),
    last_login    timestamptz
);
