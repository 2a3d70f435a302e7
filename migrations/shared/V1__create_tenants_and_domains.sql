-- The registry: every tenant is a row here and a schema of its own.
-- The tables are yours: add columns with further migrations. tenantctl needs id and schema_name,
-- and tenant_id, domain and is_primary; create-tenant asks for whatever else is required.

create table tenants (
    id           bigserial primary key,
    schema_name  varchar(63) not null unique
                 check (octet_length(schema_name) between 1 and 63  -- Postgres would cut the rest
                        and schema_name = btrim(schema_name)
                        and schema_name !~ '^pg_'
                        and schema_name not in ('information_schema', '$user', 'tenantctl')),
    name         text not null,
    paid_until   date,
    on_trial     boolean not null default true,
    created_on   date not null default current_date
);

-- Acme and acme would be two schemas that nobody can tell apart.
create unique index tenants_schema_name_ignoring_case on tenants (lower(schema_name));

create table domains (
    id          bigserial primary key,
    tenant_id   bigint not null references tenants (id) on delete cascade,
    domain      varchar(253) not null unique check (domain <> '' and domain = lower(domain)),
    is_primary  boolean not null default true
);

create index domains_tenant_id on domains (tenant_id);
create unique index domains_one_primary_a_tenant on domains (tenant_id) where is_primary;
