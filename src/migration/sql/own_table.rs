//! Which statements change one table of the schema's own and can do nothing else, whatever is in
//! the database: what is not known to be one of them is none.

use super::grammar::{Kind, Node, callee, child, has, path};

/// Returns the table, as Postgres stores its name, that a statement alone changes, if it names it
/// without a schema and runs nobody's code: no function, no trigger, no rule, no type but Postgres'
/// own. Its children, if it has any, change with it.
pub(super) fn own_table(statement: &Node) -> Option<String> {
    let is_known = |node: Node| match node.kind() {
        Kind::PATH_TYPE => is_among(&path(&node), &TYPES),
        Kind::CALL_EXPR => is_among(&callee(&node), &FUNCTIONS),
        kind => KNOWN.contains(&kind),
    };
    let is_statement = matches!(statement.kind(), Kind::ALTER_TABLE | Kind::CREATE_INDEX);
    let is_concurrent = has(statement, Kind::CONCURRENTLY_KW);
    if !is_statement || is_concurrent || !statement.descendants().all(is_known) {
        return None;
    }
    let mut parts = path(&child(statement, Kind::TABLE_RELATION_NAME)?);
    // One of Postgres' own is found before the schema's.
    parts.pop().filter(|table| parts.is_empty() && !table.starts_with("pg_"))
}

fn is_among(name: &[String], known: &[&str]) -> bool {
    name.len() == 1 && known.contains(&name[0].as_str())
}

const KNOWN: [Kind; 35] = [
    Kind::ALTER_TABLE,
    Kind::CREATE_INDEX,
    // What they name.
    Kind::TABLE_RELATION_NAME,
    Kind::TABLE_NAME_REF,
    Kind::COLUMN_NAME,
    Kind::COLUMN_NAME_REF,
    Kind::INDEX,
    Kind::NAME_REF,
    Kind::PATH,
    Kind::PATH_REF,
    Kind::PATH_SEGMENT,
    Kind::PATH_SEGMENT_REF,
    // What is done to a table.
    Kind::ADD_COLUMN,
    Kind::ALTER_COLUMN,
    Kind::DEFAULT_CONSTRAINT,
    Kind::DROP_DEFAULT,
    Kind::DROP_NOT_NULL,
    Kind::IF_NOT_EXISTS,
    Kind::NOT_NULL_CONSTRAINT,
    Kind::SET_DEFAULT,
    Kind::SET_NOT_NULL,
    // Types that have words of their own, and what is said of types.
    Kind::ARG,
    Kind::ARG_LIST,
    Kind::DOUBLE_TYPE,
    Kind::LITERAL,
    Kind::TIMESTAMP_TYPE,
    Kind::TIME_TYPE,
    Kind::VARCHAR_TYPE,
    Kind::WITH_TIMEZONE,
    // What an index is of.
    Kind::NULLS_FIRST,
    Kind::NULLS_LAST,
    Kind::PARTITION_ITEM,
    Kind::PARTITION_ITEM_LIST,
    Kind::SORT_ASC,
    Kind::SORT_DESC,
];

/// Types and functions that nobody else's can be taken for: `pg_catalog` comes before every schema of
/// the search path ("The System Catalog Schema").
const TYPES: [&str; 25] = [
    "bigint",
    "bool",
    "boolean",
    "bytea",
    "date",
    "decimal",
    "float4",
    "float8",
    "inet",
    "int",
    "int2",
    "int4",
    "int8",
    "integer",
    "json",
    "jsonb",
    "numeric",
    "real",
    "smallint",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "uuid",
    "varchar",
];

const FUNCTIONS: [&str; 2] = ["gen_random_uuid", "now"];

#[cfg(test)]
mod tests {
    use super::super::statements;

    fn own_table(sql: &str) -> Option<String> {
        let mut statements = statements(sql);
        assert_eq!(statements.len(), 1, "{sql}");
        statements.remove(0).own_table
    }

    #[test]
    fn what_changes_but_one_table_is_known() {
        for (sql, table) in [
            ("alter table t add column note text", "t"),
            ("alter table only \"T\" add if not exists n numeric(10, 2) not null default 0", "T"),
            ("alter table t add a varchar(20), add b timestamp with time zone", "t"),
            ("alter table t add a double precision default '1', alter b drop not null", "t"),
            (
                "alter table t alter a set not null, alter b drop default, alter c set default 1",
                "t",
            ),
            ("alter table t add at timestamptz not null default now()", "t"),
            ("alter table t add at timestamptz default current_timestamp", "t"),
            ("create index on t (a, b desc nulls last)", "t"),
            ("create unique index if not exists t_a on t (a)", "t"),
        ] {
            assert_eq!(own_table(sql).as_deref(), Some(table), "{sql}");
        }
    }

    #[test]
    fn what_may_reach_further_is_not() {
        for sql in [
            "alter table public.t add column note text",
            "alter table pg_class add column note text",
            "alter table if exists t add column note text",
            "alter table t add column at timestamptz default later()",
            "alter table t add column at timestamptz default public.now()",
            "alter table t add column kind public.kind",
            "alter table t add column kind kind",
            "alter table t add column id serial",
            "alter table t add column other int references o (id)",
            "alter table t add column a int check (f(a))",
            "alter table t add column a int generated always as (f(b)) stored",
            "alter table t add column a text collate mine",
            "alter table t drop column a",
            "alter table t drop column a cascade",
            "alter table t alter a type text",
            "alter table t alter a set default f()",
            "alter table t alter a set statistics 100",
            "alter table t rename to u",
            "alter table t rename a to b",
            "alter table t set schema public",
            "alter table t owner to somebody",
            "alter table t inherit public.u",
            "alter table t attach partition u default",
            "alter table t enable trigger all",
            "alter table t validate constraint c",
            "alter table t add constraint c foreign key (a) references public.u (id)",
            "alter table t add constraint c unique (a)",
            "create index on t (lower(a))",
            "create index on t ((a + 1))",
            "create index on t (a) where f(a)",
            "create index on t (a my_ops)",
            "create index on t using mine (a)",
            "create index on t (a) tablespace slow",
            "create index concurrently on t (a)",
            "create index on public.t (a)",
            "create table t (a int)",
            "alter index i rename to j",
            "insert into t values (1)",
            "update t set a = 1",
            "select 1",
            "do $$ begin end $$",
            "frobnicate t",
        ] {
            assert_eq!(own_table(sql), None, "{sql}");
        }
    }
}
