use super::*;

/// Returns the texts, having checked that they and the gaps are the file.
fn texts(text: &str) -> Vec<String> {
    let statements = statements(text);
    let mut end = 0;
    for statement in &statements {
        let here = statement.offset..statement.offset + statement.text.len();
        assert!(here.start >= end && !here.is_empty(), "overlap in {text:?}");
        assert_eq!(text[here.clone()], statement.text, "wrong place in {text:?}");
        assert!(is_gap(&text[end..here.start]), "lost {:?} of {text:?}", &text[end..here.start]);
        end = here.end;
    }
    assert!(is_gap(&text[end..]), "lost {:?} of {text:?}", &text[end..]);
    statements.into_iter().map(|statement| statement.text).collect()
}

/// Returns whether the parser sees only space, comments and semicolons.
fn is_gap(gap: &str) -> bool {
    statements(gap).is_empty()
}

#[test]
fn a_semicolon_ends_a_statement_only_where_the_grammar_says_so() {
    let cases: [(&str, &[&str]); 22] = [
        ("", &[]),
        (" \n-- only\n/* comments /* nested; */ ; */ ;; ", &[]),
        ("select 1", &["select 1"]),
        ("select 1;select 2", &["select 1", "select 2"]),
        (";;select 1;;", &["select 1"]),
        ("-- a;\nselect 1 -- b;\n, 2 -- c\n;", &["select 1 -- b;\n, 2"]),
        ("select ';' ; select 2", &["select ';'", "select 2"]),
        ("select 'it''s;'; select 2", &["select 'it''s;'", "select 2"]),
        ("select 'a\\'; select ';'", &["select 'a\\'", "select ';'"]),
        ("select E'\\';'; select 2", &["select E'\\';'", "select 2"]),
        ("select U&\"d\\0061;\"; select 2", &["select U&\"d\\0061;\"", "select 2"]),
        ("select \"a;\"\"b\"; select 2", &["select \"a;\"\"b\"", "select 2"]),
        ("select 'a'\n';b'; select 2", &["select 'a'\n';b'", "select 2"]),
        ("do $$ begin; end $$; select 2", &["do $$ begin; end $$", "select 2"]),
        ("do $a$ $b$; $$; $a$; select 2", &["do $a$ $b$; $$; $a$", "select 2"]),
        ("select $1; select a$b$c; select 2", &["select $1", "select a$b$c", "select 2"]),
        ("select /* ; /* ; */ ; */ 1; select 2", &["select /* ; /* ; */ ; */ 1", "select 2"]),
        (
            "create function f() returns int begin atomic select 1; select 2; end; select 3",
            &["create function f() returns int begin atomic select 1; select 2; end", "select 3"],
        ),
        (
            "create rule r as on insert to t do (delete from u; notify x;); select 3",
            &["create rule r as on insert to t do (delete from u; notify x;)", "select 3"],
        ),
        (
            "create schema s create table a (id int) create view b as select 1; select 3",
            &["create schema s create table a (id int) create view b as select 1", "select 3"],
        ),
        (
            "create function f() returns text language sql as 'select '';''; select 2'; select 3",
            &[
                "create function f() returns text language sql as 'select '';''; select 2'",
                "select 3",
            ],
        ),
        ("select 1;\r\nselect 2;\r\n", &["select 1", "select 2"]),
    ];
    for (text, expected) in cases {
        assert_eq!(texts(text), expected, "{text:?}");
        assert!(statements(text).iter().all(|s| !s.alone || s.text.contains("$b$c")), "{text:?}");
    }
}

#[test]
fn what_is_not_one_statement_travels_alone_and_ends_at_the_next_semicolon() {
    let cases: [(&str, &[(&str, bool)]); 9] = [
        (
            "select 1; frob bar; select 2",
            &[("select 1", false), ("frob bar", true), ("select 2", false)],
        ),
        ("select 1 create table t ()", &[("select 1 create table t ()", true)]),
        (
            "create table t (a int; select 2",
            &[("create table t (a int", true), ("select 2", false)],
        ),
        ("alter table t add; commit", &[("alter table t add", true), ("commit", false)]),
        ("\\i x.sql\nselect 1; select 2", &[("\\i x.sql\nselect 1", true), ("select 2", false)]),
        (
            "select 1; select 'open; select 2",
            &[("select 1", false), ("select 'open; select 2", true)],
        ),
        (
            "create function f() returns int begin atomic frob 1; select 2; end; select 3",
            &[
                ("create function f() returns int begin atomic frob 1; select 2; end", true),
                ("select 3", false),
            ],
        ),
        (
            "create rule r as on insert to t do (frob 1; select 2); select 3",
            &[("create rule r as on insert to t do (frob 1; select 2)", true), ("select 3", false)],
        ),
        ("set names 'utf8'; select 1", &[("set names 'utf8'", true), ("select 1", false)]),
    ];
    for (text, expected) in cases {
        texts(text);
        let statements = statements(text);
        let found: Vec<_> = statements.iter().map(|s| (s.text.as_str(), s.alone)).collect();
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn a_statement_knows_its_line_and_column() {
    let text = "-- über\r\nselect 1;\r\n\r\n  /* é */ select\n2; select 3";
    let places: Vec<_> = statements(text).iter().map(|s| (s.line, s.column, s.offset)).collect();
    assert_eq!(places, [(2, 1, 10), (4, 11, 34), (5, 4, 44)]);
}

#[test]
fn a_statement_has_a_kind_for_messages() {
    let cases = [
        ("create table t (id int)", "CREATE TABLE"),
        ("create temp table t as select 1", "CREATE TABLE AS"),
        ("create unique index concurrently i on t (x)", "CREATE INDEX"),
        ("alter table t add x int", "ALTER TABLE"),
        ("insert into t values (1)", "INSERT"),
        ("select 1 union select 2", "SELECT"),
        ("with x as (select 1) select * from x", "SELECT"),
        ("end transaction", "END"),
        ("start transaction", "START"),
        ("comment on table t is 'x'", "COMMENT ON"),
        ("do $$ begin end $$", "DO"),
        ("refresh materialized view v", "REFRESH MATERIALIZED VIEW"),
        ("frobnicate the thing", "FROBNICATE THE"),
        ("\\copy t", ""),
    ];
    for (text, kind) in cases {
        assert_eq!(statements(text)[0].kind(), kind, "{text}");
    }
}

#[test]
fn a_concurrent_index_is_known_by_its_names() {
    let index = |text: &str| statements(text)[0].concurrent_index().cloned();
    let named = ConcurrentIndex {
        name: Some("Notes ix".to_owned()),
        schema: None,
        table: Some("notes".to_owned()),
        unique: true,
        if_not_exists: true,
    };
    let text = "create unique index concurrently if not exists \"Notes ix\" on only NOTES (id)";
    assert_eq!(index(text), Some(named));
    let bare = index("create index concurrently on app.notes using gin (x)").unwrap();
    assert_eq!((bare.name, bare.unique, bare.if_not_exists), (None, false, false));
    assert_eq!((bare.schema.as_deref(), bare.table.as_deref()), (Some("app"), Some("notes")));
    assert_eq!(index("create index i on notes (id)"), None);
    assert_eq!(index("drop index concurrently i"), None);
}

#[test]
fn deep_nesting_is_one_statement_or_read() {
    for depth in [5_000, 20_000] {
        let text = format!("select {}1{}; select 2", "(".repeat(depth), ")".repeat(depth));
        let statements = statements(&text);
        assert_eq!(statements.len(), if depth > 10_000 { 1 } else { 2 }, "{depth}");
    }
}

const SAMPLES: [&str; 8] = [
    "create table t (id bigserial primary key, name text default 'x;y' check (id > 0));",
    "do $body$ declare r record; begin for r in select * from t loop perform f(r.x); end loop; end $body$;",
    "create function f() returns int begin atomic insert into t values (1); select 2; end;",
    "create or replace rule r as on insert to t do also (update u set x = 1; notify x);",
    "select E'a\\';b', U&\"\\0061\" /* c /* d */ */, $q$ ; $q$, a[1:2], x::int -- end;\n;",
    "copy t (a, b) from stdin with (format csv);\n1,\"x\"\n\\.\n",
    "insert into public.t (a.b) values (:x, $1, 0x1f, 1e5) on conflict do nothing returning *;",
    "merge into t using u on t.id = u.id when matched then update set x = 1; -- tenantctl: allow role",
];

/// Cuts, repeats and mixes the samples; the same every time.
fn mangled(random: &mut fastrand::Rng) -> String {
    const ODD: [&str; 12] =
        ["'", "\"", "$$", "$a$", "(", ")", ";", "/*", "*/", "\\", "é\u{0}", "begin atomic "];
    let mut text = String::new();
    for _ in 0..random.usize(1..6) {
        let sample = SAMPLES[random.usize(..SAMPLES.len())];
        let cut =
            |random: &mut fastrand::Rng| sample.floor_char_boundary(random.usize(..=sample.len()));
        let (a, b) = (cut(random), cut(random));
        text.push_str(&sample[a.min(b)..a.max(b)]);
        text.push_str(ODD[random.usize(..ODD.len())]);
    }
    text
}

#[test]
fn no_byte_is_lost_whatever_the_text() {
    let mut random = fastrand::Rng::with_seed(7);
    for sample in SAMPLES {
        texts(sample);
    }
    for _ in 0..300 {
        texts(&mangled(&mut random));
    }
}

#[test]
fn five_thousand_statements_are_five_thousand() {
    let text = "create table t (id int, name text default ';');\n".repeat(5_000);
    let statements = statements(&text);
    assert_eq!((statements.len(), statements[4_999].line), (5_000, 5_000));
}

#[test]
fn a_table_is_made_by_creating_it_or_renaming_another() {
    let table = |text: &str| {
        let table = statements(text)[0].table().cloned()?;
        Some(match table.schema {
            Some(schema) => format!("{schema}.{}", table.name),
            None => table.name,
        })
    };
    for (text, made) in [
        ("create table Notes (id int)", "notes"),
        ("create unlogged table if not exists \"Notes\" (id int)", "Notes"),
        ("create table public.notes (id int) partition by range (id)", "public.notes"),
        ("create table notes_1 partition of notes default", "notes_1"),
        ("create table notes as select 1 as id", "notes"),
        ("select 1 as id into notes", "notes"),
        ("create foreign table notes (id int) server s", "notes"),
        ("alter table public.old rename to notes", "notes"),
    ] {
        assert_eq!(table(text).as_deref(), Some(made), "{text}");
    }
    for text in [
        "create temp table notes (id int)",
        "create temporary table notes as select 1",
        "select 1 as id into temp notes",
        "alter table notes rename column a to b",
        "alter table notes add column a int",
        "create view notes as select 1",
        "select 1",
    ] {
        assert_eq!(table(text), None, "{text}");
    }
}
