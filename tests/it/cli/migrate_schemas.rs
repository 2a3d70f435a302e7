use crate::support::Project;

const NOTES: &str = "create table notes (id int);\n";

#[tokio::test]
async fn one_bad_schema_does_not_stop_the_others() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.sql("create table globex.notes (id int)").await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)"); // collides in globex

    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @r#"
    1 schema migrated, 1 up to date, 1 failed
    ------- stderr -------
    acme: applied V1 `notes`
    error: migration V1 `notes` could not be applied to schema `globex`
      caused by: relation "notes" already exists
         --> migrations/tenant/V1__notes.sql:1
          |
        1 | create table notes (id int)
        SQLSTATE 42P07
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --schema=globex`
    [exit status: 4]
    "#);
}

// --- choosing ---

#[tokio::test]
async fn no_selection_is_refused_and_the_choices_are_listed() {
    let project = Project::new().await;
    insta::assert_snapshot!(project.run("migrate-schemas"), @"
    ------- stderr -------
    error: which schemas?
    hint: say `--all` (shared, then tenants), `--shared`, `--tenants`, `--schema NAME`, `--match GLOB`, `--where SQL` or `--schemas-from FILE`
    [exit status: 2]
    ");
}

#[tokio::test]
async fn no_tenants_is_success() {
    let project = Project::new().await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"0 schemas: there is nothing to do");
}

#[tokio::test]
async fn an_unknown_name_is_an_error_before_anything_is_done() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(
        project.run("migrate-schemas --schema acme --schema Acme --schema ghost"), @"
    ------- stderr -------
    error: there is no tenant with schema `Acme`, `ghost`
    hint: did you mean `acme`? `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
    assert_eq!(project.tables("acme").await, "");
}

#[tokio::test]
async fn the_shared_schema_is_no_tenant() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --schema public"), @"
    ------- stderr -------
    error: `public` is the shared schema, not a tenant's
    hint: use `--shared` where the shared schema is meant
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_name_is_never_a_flag() {
    let project = Project::with_tenants(["-x", "--all"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --schema=-x"), @"
    1 schema migrated
    ------- stderr -------
    -x: applied V1 `notes`
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --schema=--all"), @"
    1 schema migrated
    ------- stderr -------
    --all: applied V1 `notes`
    ");
    insta::assert_snapshot!(project.run("status --schema=-q"), @"
    ------- stderr -------
    error: there is no tenant with schema `-q`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
}

#[tokio::test]
async fn patterns_choose_and_leave_out() {
    let project = Project::with_tenants(["acme", "acme_test", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(
        project.run("migrate-schemas --match 'acme*' --exclude '*_test'"), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V1 `notes`
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --match 'nobody*'"), @"
    0 schemas: there is nothing to do
    ------- stderr -------
    warning: no tenant is meant by `nobody*`
    ");
}

#[tokio::test]
async fn of_all_tenants_only_those_that_are_named_or_match_are_meant() {
    let project = Project::with_tenants(["acme", "globex", "initech"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --match 'a*'"), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V1 `notes`
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --all --schema globex"), @"
    1 schema migrated, 1 up to date
    ------- stderr -------
    globex: applied V1 `notes`
    ");
    assert_eq!(project.recorded(1).await, 2);
}

#[tokio::test]
async fn names_come_from_a_file_or_stdin() {
    let project = Project::with_tenants(["acme", "globex", "initech"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.write("some.txt", "acme\r\n\r\nglobex\r\n");
    insta::assert_snapshot!(project.run("migrate-schemas --schemas-from some.txt --jobs 1"), @"
    2 schemas migrated
    ------- stderr -------
    acme: applied V1 `notes`
    globex: applied V1 `notes`
    ");
    insta::assert_snapshot!(
        project.run_with_stdin("migrate-schemas --schemas-from -", "initech\n"), @"
    1 schema migrated
    ------- stderr -------
    initech: applied V1 `notes`
    ");
    insta::assert_snapshot!(
        project.run_with_stdin("migrate-schemas --schemas-from -", "ghost\n a\0b\n"), @r"
    ------- stderr -------
    error: there is no tenant with schema `ghost`, ` a\0b`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --schemas-from nothing.txt"), @"
    ------- stderr -------
    error: `nothing.txt` could not be read
      caused by: no such file or directory
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --schemas-from -"), @"0 schemas: there is nothing to do");
}

#[tokio::test]
async fn a_condition_on_the_registry_chooses() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(
        project.run(r#"migrate-schemas --where "name like 'a%' -- the first ones""#), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V1 `notes`
    ");
    insta::assert_snapshot!(
        project.run(r#"migrate-schemas --schema globex --where "name like 'a%'""#), @"0 schemas: there is nothing to do");
}

#[tokio::test]
async fn a_condition_that_is_none_is_refused() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --where 'on_trail = true'"), @r#"
    ------- stderr -------
    error: `on_trail = true` is not a condition on the registry
      caused by: column "on_trail" does not exist
        server's hint: Perhaps you meant to reference the column "t.on_trial".
        SQLSTATE 42703
    hint: a condition is SQL on the columns that `tenantctl list-tenants` shows
    [exit status: 2]
    "#);
    insta::assert_snapshot!(project.run(r#"migrate-schemas --where """#), @r#"
    ------- stderr -------
    error: `` is not a condition on the registry
      caused by: syntax error at or near ")"
        SQLSTATE 42601
    hint: a condition is SQL on the columns that `tenantctl list-tenants` shows
    [exit status: 2]
    "#);
}

#[tokio::test]
async fn a_condition_is_only_ever_a_condition() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.sql("create schema ghost; create table public.kept (id int)").await;
    project
        .sql(
            "create function public.drops() returns bool language plpgsql as \
                 'begin drop table public.kept; return true; end'",
        )
        .await;
    for condition in [
        "true); drop table public.kept; --",
        "true); commit; drop table public.kept; --",
        "true); commit; drop table public.kept; select (true",
        "true); commit; drop table public.kept; select from public.tenants as t where (true",
        "true; drop table public.kept",
        "public.drops()",
        "false) union select 'ghost' where (true",
        "false) or set_config('transaction_read_only', 'off', true) = 'off' or public.drops() and (true",
    ] {
        project.run(&format!("migrate-schemas --where {}", shell_words::quote(condition)));
        assert_eq!(project.tables("public").await, "domains, kept, tenants", "{condition}");
        assert_eq!(project.tables("ghost").await, "", "{condition}");
    }
}

// --- files ---

#[tokio::test]
async fn a_syntax_error_is_shown_where_it_is() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int);\n\ncreate table orders (\n    id int,\n    total numerik(10\n);\n");
    for flags in ["", " --one-by-one"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(project.run(&format!("migrate-schemas --tenants{flags}")).replace(" --one-by-one", ""), @"
            1 schema failed, 1 not attempted
            ------- stderr -------
            error: migration V1 `notes` could not be applied to schema `acme`
              caused by: syntax error at end of input
                 --> migrations/tenant/V1__notes.sql:6:2
                  |
                6 | );
                  |  ^
                SQLSTATE 42601
            error: stopped early: the server would not understand it in any other schema either
            not attempted: globex
            hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=acme --schema=globex`
            [exit status: 1]
            ");
        }
        assert_eq!(project.tables("acme").await, "");
    }
}

#[tokio::test]
async fn what_ends_too_early_is_shown_at_its_end() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", "create table notes (\n    id int\n\n");
    let shown = project.run("migrate-schemas --tenants");
    assert!(shown.contains("V1__notes.sql:2:10\n"), "{shown}");
    assert!(shown.contains("caused by: syntax error at end of input\n"), "{shown}");
}

#[tokio::test]
async fn an_unknown_type_is_shown_where_it_is() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int);\n\ncreate table orders (\n    id int,\n    -- größer\n    total numerik(10)\n);\n");
    for flags in ["", " --one-by-one"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(project.run(&format!("migrate-schemas --tenants{flags}")).replace(" --one-by-one", ""), @r#"
            2 schemas failed
            ------- stderr -------
            error: migration V1 `notes` could not be applied to 2 schemas: acme, globex
              caused by: type "numerik" does not exist
                 --> migrations/tenant/V1__notes.sql:6:11
                  |
                6 |     total numerik(10)
                  |           ^
                SQLSTATE 42704
            hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=acme --schema=globex`
            [exit status: 1]
            "#);
        }
        assert_eq!(project.tables("acme").await, "");
    }
}

#[tokio::test]
async fn data_that_does_not_fit_fails_one_schema_until_it_is_mended() {
    let project = Project::with_tenants(["acme", "globex", "initech"]).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int);\n");
    project.run("migrate-schemas --all");
    project.sql("insert into globex.notes values (7), (7)").await;
    project.tenant_migration(
        "V2__unique.sql",
        "create table extra (id int);\ncreate unique index on notes (id);\n",
    );
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @r#"
    2 schemas migrated, 1 up to date, 1 failed
    ------- stderr -------
    acme: applied V2 `unique`
    initech: applied V2 `unique`
    error: migration V2 `unique` could not be applied to schema `globex`
      caused by: could not create unique index "notes_id_idx"
         --> migrations/tenant/V2__unique.sql:2
          |
        2 | create unique index on notes (id);
        detail: Key (id)=(7) is duplicated.
        SQLSTATE 23505
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --schema=globex`
    [exit status: 4]
    "#);
    assert_eq!(project.tables("globex").await, "notes, refinery_schema_history");
    project.sql("delete from globex.notes").await;
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    1 schema migrated, 3 up to date
    ------- stderr -------
    globex: applied V2 `unique`
    ");
}

#[tokio::test]
async fn of_two_files_both_are_applied_or_none() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.tenant_migration("V2__orders.sql", "create table orders (id int);");
    project.tenant_migration("V3__bad.sql", "insert into orders values ('x');");
    insta::assert_snapshot!(project.run("migrate-schemas --schema acme"), @r#"
    1 schema failed
    ------- stderr -------
    error: migration V3 `bad` could not be applied to schema `acme`
      caused by: invalid input syntax for type integer: "x"
         --> migrations/tenant/V3__bad.sql:1:28
          |
        1 | insert into orders values ('x');
          |                            ^
        SQLSTATE 22P02
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=acme`
    [exit status: 1]
    "#);
    assert_eq!(project.tables("acme").await, "");
    insta::assert_snapshot!(project.run("migrate-schemas --schema acme --to 2"), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V1 `notes`, V2 `orders`
    ");
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    1 behind: acme V2
    ------- stderr -------
    hint: `tenantctl migrate-schemas --all` applies what is pending
    ");
}

#[tokio::test]
async fn what_a_file_may_not_say_is_refused_before_any_schema_is_touched() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    for (sql, refused) in [
        ("create table a (id int);\nCOMMIT;\ncreate table b (id int);", "F4"),
        ("rollback;", "F4"),
        ("SET search_path = other;\ncreate table a (id int);", "F5"),
        ("select set_config('search_path', 'other', false);", "F5"),
        ("create table a (id int);\nCREATE TABLE public.x (id int);", "F6"),
        ("ALTER TABLE globex.notes add column x int;", "F6"),
        ("DROP SCHEMA acme;", "F8"),
        ("ALTER SCHEMA acme RENAME TO b;", "F8"),
        ("CREATE EXTENSION citext;", "F9"),
        ("CREATE INDEX CONCURRENTLY i ON notes (id);", "F10"),
        ("VACUUM notes;", "F10"),
        ("ALTER SYSTEM SET work_mem = '1GB';", "F10"),
        ("COPY notes FROM STDIN;\n1\n\\.\n", "F14"),
        ("\\copy notes from 'x.csv'", "F14"),
        ("\\i other.sql", "F14"),
        ("SET ROLE postgres;", "F26"),
        ("SET statement_timeout = 0;", "F26"),
        ("SET default_transaction_read_only = on;", "F26"),
    ] {
        project.tenant_migration("V1__notes.sql", sql);
        let said = project.run("migrate-schemas --all");
        assert!(said.ends_with("[exit status: 2]\n"), "{refused} {sql}: {said}");
        assert!(said.contains("--> migrations/tenant/V1__notes.sql:"), "{refused} {sql}: {said}");
        assert_eq!(project.tables("acme").await, "");
        assert_eq!(project.tables("public").await, "domains, tenants");
    }
}

#[tokio::test]
async fn a_table_of_the_shared_schema_is_not_reached_through_the_search_path() {
    for flags in ["", " --one-by-one"] {
        let project = Project::with_tenants(["acme", "globex"]).await;
        project.sql("create table public.users (id int); create table globex.users (id int)").await;
        project.tenant_migration("V1__age.sql", "alter table users add column age int;");
        insta::allow_duplicates! {
            insta::assert_snapshot!(project.run(&format!("migrate-schemas --tenants{flags}")).replace(" --one-by-one", ""), @"
            1 schema migrated, 1 failed
            ------- stderr -------
            globex: applied V1 `age`
            error: migration V1 `age` could not be applied to schema `acme`
              caused by: it reached outside the schema and touched public.users
                 --> migrations/tenant/V1__age.sql:1:13
                  |
                1 | alter table users add column age int;
                  |             ^
                the names were found outside the schema: by the search path, because they are qualified, or by a trigger or function; it was rolled back, and where it is meant, say so on the file's first lines: `-- tenantctl: allow other-schema`
            hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=acme`
            [exit status: 4]
            ");
        }
        assert_eq!(project.columns("public.users").await, "id");
        assert_eq!(project.columns("globex.users").await, "id, age");
        assert_eq!(project.tables("acme").await, "");
    }
}

#[tokio::test]
async fn a_byte_order_mark_and_line_ends_make_no_other_migration() {
    let project = Project::with_tenants(["acme"]).await;
    project
        .tenant_migration("V1__notes.sql", "\u{feff}create table notes (id int);\r\nselect 1;\r\n");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V1 `notes`
    ");
    project.tenant_migration("V1__notes.sql", "create table notes (id int);\nselect 1;\n");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --check"), @"1 schema up to date");
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let project = Project::with_tenants(["acme"]).await;
    project.write("migrations/tenant/V1__a.sql", b"select 1;\0");
    project.write("migrations/tenant/V2__b.sql", b"select 1;\n-- gr\xfc\xdfe\n");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    ------- stderr -------
    error: 2 problems in migration folder `migrations/tenant`
          `migrations/tenant/V1__a.sql` has a NUL byte at byte 9, line 1
          `migrations/tenant/V2__b.sql` is not UTF-8 at byte 15, line 2
    hint: save it as UTF-8
    [exit status: 2]
    ");
}

#[tokio::test]
async fn an_empty_file_is_recorded_with_a_warning() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__empty.sql", "");
    project.tenant_migration("V2__comments.sql", "-- later\n/* perhaps */\n");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    1 schema migrated
    ------- stderr -------
    warning: the file holds no statement; it is recorded as applied all the same
         --> migrations/tenant/V1__empty.sql:1
        instead: write its SQL while no schema has it, or leave it out
    warning: the file holds no statement; it is recorded as applied all the same
         --> migrations/tenant/V2__comments.sql:1
          |
        1 | -- later
        instead: write its SQL while no schema has it, or leave it out
    acme: applied V1 `empty`, V2 `comments`
    ");
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    1 schema at V2
    ");
}

#[tokio::test]
async fn a_version_claimed_twice_is_refused() {
    for (one, other) in
        [("V3__a.sql", "V3__b.sql"), ("V3__a.sql", "V03__a.sql"), ("V3__a.sql", "old/V3__c.sql")]
    {
        let project = Project::with_tenants(["acme"]).await;
        project.tenant_migration(one, NOTES);
        project.tenant_migration(other, NOTES);
        let said = project.run("migrate-schemas --tenants");
        assert!(said.contains("version 3 is claimed by"), "{said}");
        assert!(said.contains(one) && said.contains(other), "{said}");
        assert!(said.contains("makemigrations --renumber"), "{said}");
        assert!(said.ends_with("[exit status: 2]\n"), "{said}");
    }
}

#[tokio::test]
async fn another_file_of_an_applied_version_stops_everything() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --schema acme");
    let folder = project.path("migrations/tenant");
    std::fs::rename(folder.join("V1__notes.sql"), folder.join("V1__orders.sql")).unwrap();
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"
    ------- stderr -------
    error: the migration files do not agree with what was applied
      divergent: V1 `notes` was applied, and the file of that version is `migrations/tenant/V1__orders.sql` now
        in acme
    hint: nothing was changed; restore the file as it was and write a new migration, or add `--allow-divergent` to go on
    [exit status: 3]
    ");
}

#[tokio::test]
async fn an_applied_file_that_was_edited_stops_everything() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --schema acme");
    project.tenant_migration("V1__notes.sql", "create table notes (id bigint);\n");
    project.tenant_migration("V2__orders.sql", "create table orders (id int);\n");
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    ------- stderr -------
    error: the migration files do not agree with what was applied
      divergent: V1 `notes` was applied, and `migrations/tenant/V1__notes.sql` has changed since
        in acme
    hint: nothing was changed; restore the file as it was and write a new migration, or add `--allow-divergent` to go on
    [exit status: 3]
    ");
    assert_eq!(project.tables("globex").await, "");
    insta::assert_snapshot!(project.run("migrate-schemas --all --check"), @"
    2 migrations pending, none applied: globex
    divergent: V1 `notes` was applied, and `migrations/tenant/V1__notes.sql` has changed since: acme
    [exit status: 3]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --all --allow-divergent --jobs 1"), @"
    2 schemas migrated, 1 up to date
    ------- stderr -------
    acme: applied V2 `orders`
    globex: applied V1 `notes`, V2 `orders`
    ");
}

#[tokio::test]
async fn an_applied_file_that_was_deleted_stops_everything() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.tenant_migration("V2__orders.sql", "create table orders (id int);\n");
    project.run("migrate-schemas --schema acme");
    std::fs::remove_file(project.path("migrations/tenant/V1__notes.sql")).unwrap();
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    ------- stderr -------
    error: the migration files do not agree with what was applied
      missing: V1 `notes` was applied, and there is no such file in `migrations/tenant`
        in acme
    hint: nothing was changed; deploy the release that has the file, or add `--allow-missing` to go on
    [exit status: 3]
    ");
    assert_eq!(project.tables("globex").await, "");
    insta::assert_snapshot!(project.run("migrate-schemas --all --allow-missing --jobs 1"), @"
    1 schema migrated, 2 up to date
    ------- stderr -------
    globex: applied V2 `orders`
    ");
}

#[tokio::test]
async fn a_file_below_the_newest_applied_stops_everything() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V2__orders.sql", "create table orders (id int);\n");
    project.run("migrate-schemas --schema acme");
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    ------- stderr -------
    error: the migration files do not agree with what was applied
      out of order: `migrations/tenant/V1__notes.sql` was not applied, and is older than V2, which was
        in acme
    hint: nothing was changed; give the file a version above the newest: `tenantctl makemigrations --renumber FILE`
    [exit status: 3]
    ");
    assert_eq!(project.tables("globex").await, "");
    insta::assert_snapshot!(project.run("migrate-schemas --all --allow-missing --jobs 1"), @"
    1 schema migrated, 2 up to date
    ------- stderr -------
    globex: applied V1 `notes`, V2 `orders`
    ");
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    1 schema at V2 · 1 schema in disagreement with the files: acme
      out of order: `migrations/tenant/V1__notes.sql` was not applied, and is older than V2, which was
        in acme
    ------- stderr -------
    hint: `tenantctl migrate-schemas` would refuse that: give the file a version above the newest: `tenantctl makemigrations --renumber FILE`
    ");
}

#[tokio::test]
async fn an_older_release_is_not_applied_to_newer_schemas() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.tenant_migration("V2__orders.sql", "create table orders (id int);\n");
    project.run("migrate-schemas --all");
    std::fs::remove_file(project.path("migrations/tenant/V2__orders.sql")).unwrap();
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    ------- stderr -------
    error: the migration files do not agree with what was applied
      missing: V2 `orders` was applied, and there is no such file in `migrations/tenant`
        in acme
    hint: nothing was changed; deploy the release that has the file, or add `--allow-missing` to go on
    [exit status: 3]
    ");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    1 schema in disagreement with the files: acme
      missing: V2 `orders` was applied, and there is no such file in `migrations/tenant`
        in acme
    ------- stderr -------
    hint: `tenantctl migrate-schemas` would refuse that: deploy the release that has the file, or add `--allow-missing` to go on
    [exit status: 3]
    ");
}

#[tokio::test]
async fn versions_of_14_digits_and_the_greatest_of_all_work() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V20260101120000__notes.sql", NOTES);
    project.tenant_migration("V9223372036854775807__last.sql", "select 1;");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V20260101120000 `notes`, V9223372036854775807 `last`
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"1 schema up to date");
}

#[tokio::test]
async fn versions_that_are_none_are_refused() {
    let project = Project::with_tenants(["acme"]).await;
    for name in ["V9223372036854775808__a.sql", "V1.1__a.sql", "v1__a.sql", "V1_a.sql", "1__a.sql"]
    {
        project.tenant_migration(name, NOTES);
        let said = project.run("migrate-schemas --tenants");
        assert!(said.contains(name) && said.ends_with("[exit status: 2]\n"), "{said}");
        std::fs::remove_file(project.path(&format!("migrations/tenant/{name}"))).unwrap();
    }
    assert_eq!(project.tables("acme").await, "");
}

#[tokio::test]
async fn a_folder_without_migrations_is_refused() {
    let project = Project::with_tenants(["acme"]).await;
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    ------- stderr -------
    error: migration folder `migrations/tenant` is empty
    hint: write a migration with `tenantctl makemigrations NAME --tenant`, or name another folder with `--migrations-dir`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --all --migrations-dir elsewhere"), @"
    ------- stderr -------
    error: there is no migration folder `elsewhere/shared`
    hint: make the project's folders with `tenantctl init`, or name another with `--migrations-dir`
    [exit status: 2]
    ");
    project.write("file/tenant", "");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --migrations-dir file"), @"
    ------- stderr -------
    error: migration folder `file/tenant` is not a folder
    [exit status: 2]
    ");
    std::os::unix::fs::symlink("nowhere.sql", project.path("migrations/tenant/V1__a.sql")).unwrap();
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    ------- stderr -------
    error: `migrations/tenant/V1__a.sql` is a link to `nowhere.sql`, which is not there
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_large_file_works() {
    let project = Project::with_tenants(["acme"]).await;
    let statements: String = (0..5000).map(|n| format!("create table t{n} (id int);\n")).collect();
    project.tenant_migration("V1__many.sql", &statements);
    let text = format!(
        "create table big (t text);\ninsert into big values ('{}');\n",
        "x".repeat(10_000_000)
    );
    project.tenant_migration("V2__large.sql", &text);
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    1 schema migrated
    ------- stderr -------
    acme: applied V1 `many`, V2 `large`
    ");
    assert_eq!(
        project.query("select count(*) from pg_tables where schemaname = 'acme'").await,
        "5002"
    );
}

#[tokio::test]
async fn an_enum_value_used_at_once_gets_advice() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__mood.sql", "create type mood as enum ('ok');");
    project.run("migrate-schemas --all");
    project
        .tenant_migration("V2__sad.sql", "alter type mood add value 'sad';\nselect 'sad'::mood;\n");
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @r#"
    1 schema up to date, 1 failed
    ------- stderr -------
    error: migration V2 `sad` could not be applied to schema `acme`
      caused by: unsafe use of new value "sad" of enum type mood
         --> migrations/tenant/V2__sad.sql:2:8
          |
        2 | select 'sad'::mood;
          |        ^
        server's hint: New enum values must be committed before they can be used.
        SQLSTATE 55P04
        a new enum value cannot be used in the transaction that adds it, which all pending files share: add it in a file of its own that begins with `-- tenantctl: no-transaction`
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --schema=acme`
    [exit status: 4]
    "#);
    project.tenant_migration(
        "V2__sad.sql",
        "-- tenantctl: no-transaction\nalter type mood add value 'sad';\n",
    );
    project.tenant_migration("V3__use.sql", "select 'sad'::mood;\n");
    assert!(project.run("migrate-schemas --tenants").starts_with("1 schema migrated\n"));
    let created = project.run("create-tenant --schema globex --name Globex");
    assert!(created.starts_with("created tenant `globex`\n"), "{created}");
}

#[tokio::test]
async fn a_concurrent_index_over_duplicates_is_built_again() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --all");
    project.sql("insert into acme.notes values (7), (7)").await;
    project.tenant_migration("V2__unique.sql", "-- tenantctl: no-transaction\ncreate table if not exists extra (id int);\ncreate unique index concurrently if not exists only_once on notes (id);\n");
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @r#"
    1 schema up to date, 1 failed
    ------- stderr -------
    error: migration V2 `unique` could not be applied to schema `acme`
      caused by: could not create unique index "only_once"
         --> migrations/tenant/V2__unique.sql:3
          |
        3 | create unique index concurrently if not exists only_once on notes (id);
        detail: Key (id)=(7) is duplicated.
        SQLSTATE 23505
        left behind: `CREATE TABLE` in line 2 took effect
        left behind: the invalid index `only_once`; the next run removes it and builds it again
        the next run begins the file anew, and keeps the concurrent indexes that are there
    hint: mend what failed and run `tenantctl migrate-schemas --jobs 1 --schema=acme`
    [exit status: 4]
    "#);
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @r#"
    1 schema up to date, 1 failed
    ------- stderr -------
    error: migration V2 `unique` could not be applied to schema `acme`
      caused by: could not create unique index "only_once"
         --> migrations/tenant/V2__unique.sql:3
          |
        3 | create unique index concurrently if not exists only_once on notes (id);
        detail: Key (id)=(7) is duplicated.
        SQLSTATE 23505
        left behind: `CREATE TABLE` in line 2 took effect
        left behind: the invalid index `only_once`; the next run removes it and builds it again
        the next run begins the file anew, and keeps the concurrent indexes that are there
    hint: mend what failed and run `tenantctl migrate-schemas --jobs 1 --schema=acme`
    [exit status: 4]
    "#);
    project.sql("delete from acme.notes").await;
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    1 schema migrated, 1 up to date
    ------- stderr -------
    acme: applied V2 `unique`
    ");
    assert_eq!(
        project
            .query("select indisvalid from pg_index where indexrelid = 'acme.only_once'::regclass")
            .await,
        "t"
    );
}

#[tokio::test]
async fn a_finished_concurrent_index_is_kept() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --all");
    project.tenant_migration("V2__index.sql", "-- tenantctl: no-transaction\ncreate index concurrently by_id on notes (id);\ncreate table gone (id int);\nselect 1 / 0;\n");
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    1 schema up to date, 1 failed
    ------- stderr -------
    error: migration V2 `index` could not be applied to schema `acme`
      caused by: division by zero
         --> migrations/tenant/V2__index.sql:4
          |
        4 | select 1 / 0;
        SQLSTATE 22012
        left behind: `CREATE INDEX` in line 2 took effect
        left behind: `CREATE TABLE` in line 3 took effect
        the next run begins the file anew, and keeps the concurrent indexes that are there
    hint: mend what failed and run `tenantctl migrate-schemas --jobs 1 --schema=acme`
    [exit status: 4]
    ");
    let index = project.query("select 'acme.by_id'::regclass::oid").await;
    project.sql("drop table acme.gone").await;
    project.tenant_migration("V2__index.sql", "-- tenantctl: no-transaction\ncreate index concurrently by_id on notes (id);\ncreate table gone (id int);\n");
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    1 schema migrated, 1 up to date
    ------- stderr -------
    acme: applied V2 `index`
    ");
    assert_eq!(project.query("select 'acme.by_id'::regclass::oid").await, index);
}

// --- looking ---

#[tokio::test]
async fn a_dry_run_prints_the_sql_and_changes_nothing() {
    let project = Project::with_tenants(["acme", "globex", "o'brien; drop"]).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int); -- all of them\n\n-- seen by all\ngrant select on notes to public -- at last");
    project.run("migrate-schemas --schema acme");
    project.tenant_migration("V2__orders.sql", "create table orders (id int);\n");
    insta::assert_snapshot!(project.run("migrate-schemas --all --dry-run"), @r#"
    -- 2 schemas: globex, o'brien; drop
    -- V1 `notes`, V2 `orders`, shown for globex

    -- what everything below runs with
    begin isolation level read committed, read write;
    select set_config('search_path', '"globex", "public"', true),
           set_config('application_name', 'tenantctl', true),
           set_config('lock_timeout', '[time]', true),
           set_config('statement_timeout', '0', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           set_config('client_connection_check_interval', '[time]', true);

    -- go on only where the schema is there, nobody else works on it, and its history is what this was made from
    select cast(case
        when to_regnamespace('"globex"') is null
        then 'tenantctl:no-schema'
        when not pg_catalog.pg_try_advisory_xact_lock(hashtextextended('tenantctl:globex', 0))
        then 'tenantctl:locked'
        else '0' end as integer);
    select cast(case
        when to_regclass('"globex"."refinery_schema_history"') is not null
        then 'tenantctl:history-changed'
        else '0' end as integer);

    -- where to record what is applied
    create table "globex"."refinery_schema_history" (
        version int4 primary key,
        name varchar(255),
        applied_on varchar(255),
        checksum varchar(255)
    );

    -- what belongs to the schema, for the check below
    with tables as (
        select d.objid as oid from pg_catalog.pg_depend d
         where d.refclassid = 'pg_catalog.pg_namespace'::regclass
           and d.refobjid = '"globex"'::regnamespace and d.classid = 'pg_catalog.pg_class'::regclass
        union all
        select t.typrelid from pg_catalog.pg_depend d join pg_catalog.pg_type t on t.oid = d.objid
         where d.refclassid = 'pg_catalog.pg_namespace'::regclass
           and d.refobjid = '"globex"'::regnamespace and d.classid = 'pg_catalog.pg_type'::regclass
           and t.typrelid <> 0
    ), heaps as (
        select oid from tables union all
        select c.reltoastrelid from tables join pg_catalog.pg_class c using (oid)
         where c.reltoastrelid <> 0
    ), own as (
        select oid from heaps union all
        select i.indexrelid from heaps join pg_catalog.pg_index i on i.indrelid = heaps.oid
    )
    select set_config('tenantctl.own', coalesce(string_agg(oid::text, ','), ''), true),
           set_config('tenantctl.mark', (select max(oid)::text from pg_catalog.pg_class), true)
      from own;

    -- migrations/tenant/V1__notes.sql
    create table notes (id int);

    -- fail if anything outside the schema was changed
    select cast(coalesce(case
        when not bool_or(s.nspname = 'globex')
        then 'tenantctl:outside:' || min(quote_ident(s.nspname)) || '.' || quote_ident('notes')
        else '0' end, '0') as integer)
      from (select relnamespace as oid from pg_catalog.pg_class where relname = 'notes' union all
            select pronamespace as oid from pg_catalog.pg_proc where proname = 'notes' union all
            select typnamespace as oid from pg_catalog.pg_type where typname = 'notes') as found join pg_catalog.pg_namespace s using (oid)
     where s.nspname = any (pg_catalog.current_schemas(false));

    -- migrations/tenant/V1__notes.sql
    grant select on notes to public;

    -- migrations/tenant/V2__orders.sql
    create table orders (id int);

    -- fail if anything outside the schema was changed
    set constraints all immediate;
    reset role;
    set local search_path = "globex", pg_catalog, pg_temp;
    select cast(case
        when to_regnamespace('"globex"') is null then 'tenantctl:no-schema'
        when count(*) > 0 then 'tenantctl:outside:' || string_agg(l.relation::regclass::text, ', ')
        else '0' end as integer)
      from pg_catalog.pg_lock_status() as l
     where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
       and l.relation >= 16384
       and l.mode not in ('AccessShareLock', 'RowShareLock', 'ShareRowExclusiveLock')
       and pg_catalog.pg_table_is_visible(l.relation) is not true
       and l.relation::regclass::text !~ '^pg_(toast|temp)'
       and not (l.relation::regclass::text ~ '^[0-9]+$'
                and (l.relation > current_setting('tenantctl.mark')::oid
                     or l.relation = any (string_to_array(current_setting('tenantctl.own'), ',')::oid[])));

    -- record it
    discard temp;
    insert into "globex"."refinery_schema_history" (version, name, applied_on, checksum) values
        (1, 'notes', '[timestamp]', '7039002131610428797'),
        (2, 'orders', '[timestamp]', '14598102398745047444');
    reset all;
    commit;

    -- 1 schema: acme
    -- V2 `orders`

    -- what everything below runs with
    begin isolation level read committed, read write;
    select set_config('search_path', '"acme", "public"', true),
           set_config('application_name', 'tenantctl', true),
           set_config('lock_timeout', '[time]', true),
           set_config('statement_timeout', '0', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           set_config('client_connection_check_interval', '[time]', true);

    -- go on only where the schema is there, nobody else works on it, and its history is what this was made from
    select cast(case
        when to_regnamespace('"acme"') is null
        then 'tenantctl:no-schema'
        when not pg_catalog.pg_try_advisory_xact_lock(hashtextextended('tenantctl:acme', 0))
        then 'tenantctl:locked'
        else '0' end as integer);
    select cast(case
        when (sum(hashtextextended(checksum::text, version)) = '-6406326511278261131') is not true
        then 'tenantctl:history-changed'
        else '0' end as integer) from "acme"."refinery_schema_history";

    -- migrations/tenant/V2__orders.sql
    create table orders (id int);

    -- fail if anything outside the schema was changed
    set constraints all immediate;
    reset role;
    set local search_path = "acme", pg_catalog, pg_temp;
    select cast(case
        when to_regnamespace('"acme"') is null then 'tenantctl:no-schema'
        when count(*) > 0 then 'tenantctl:outside:' || string_agg(l.relation::regclass::text, ', ')
        else '0' end as integer)
      from pg_catalog.pg_lock_status() as l
     where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
       and l.relation >= 16384
       and l.mode not in ('AccessShareLock', 'RowShareLock', 'ShareRowExclusiveLock')
       and pg_catalog.pg_table_is_visible(l.relation) is not true
       and l.relation::regclass::text !~ '^pg_(toast|temp)';

    -- record it
    discard temp;
    insert into "acme"."refinery_schema_history" (version, name, applied_on, checksum) values
        (2, 'orders', '[timestamp]', '14598102398745047444');
    reset all;
    commit;
    "#);
    assert_eq!(project.tables("globex").await, "");
    project.run("migrate-schemas --all");
    insta::assert_snapshot!(project.run("migrate-schemas --all --dry-run"), @"-- nothing is pending");
}

#[tokio::test]
async fn a_dry_run_over_a_schema_that_is_missing_is_no_success() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.write("seeds/tenant/demo.sql", "insert into notes values (1)");
    project.migrate();
    project.sql("drop schema acme cascade").await;
    insta::allow_duplicates! {
        for command in ["migrate-schemas --tenants", "baseline --tenants --to latest"] {
            insta::assert_snapshot!(project.run(&format!("{command} --dry-run")), @"
            -- nothing is pending elsewhere
            ------- stderr -------
            warning: schema `acme` is missing
            [exit status: 3]
            ");
        }
    }
    let seeds = project.run("seed demo --tenants --dry-run");
    assert!(seeds.contains("warning: schema `acme` is missing\n"), "{seeds}");
    assert!(seeds.trim_end().ends_with("[exit status: 3]"), "{seeds}");
}

#[tokio::test]
async fn a_pattern_that_means_nobody_is_told_of() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    for command in [
        "migrate-schemas",
        "migrate-schemas --check",
        "migrate-schemas --dry-run",
        "baseline --to latest",
        "status",
        "all-tenants-command",
    ] {
        let (command, work) = match command {
            "all-tenants-command" => (command, " sql 'select 1'"),
            _ => (command, ""),
        };
        let shown = project.run(&format!("{command} --match 'acne*' --match 'b?'{work}"));
        assert!(shown.contains("warning: no tenant is meant by `acne*`, `b?`\n"), "{shown}");
    }
}

#[tokio::test]
async fn failures_that_differ_by_the_schemas_name_alone_are_told_of_once() {
    let project = Project::with_tenants(["acme", "globex", "hooli"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.migrate();
    project.tenant_migration(
        "V2__x.sql",
        "do $$ begin raise exception 'nothing for % to do', current_schema; end $$",
    );
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    3 schemas failed
    ------- stderr -------
    error: migration V2 `x` could not be applied to 3 schemas: acme, globex, hooli
      caused by: nothing for acme to do
         --> migrations/tenant/V2__x.sql:1
          |
        1 | do $$ begin raise exception 'nothing for % to do', current_schema; end $$
        context: PL/pgSQL function inline_code_block line 1 at RAISE
        SQLSTATE P0001
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --schema=acme --schema=globex --schema=hooli`
    [exit status: 1]
    ");
    let json = project.command("migrate-schemas --tenants --format json --quiet").output().unwrap();
    let said = String::from_utf8(json.stdout).unwrap();
    for schema in ["acme", "globex", "hooli"] {
        assert!(said.contains(&format!(r#""message":"nothing for {schema} to do""#)), "{said}");
    }
}

#[tokio::test]
async fn what_a_dry_run_prints_can_be_fed_to_psql() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.write(
        "plan.sql",
        project.command("migrate-schemas --all --dry-run").output().unwrap().stdout,
    );
    let url = project.database().url();
    let psql = std::process::Command::new("psql")
        .args(["-v", "ON_ERROR_STOP=1", "-qf"])
        .arg(project.path("plan.sql"))
        .arg(url)
        .output()
        .unwrap();
    assert!(psql.status.success(), "{}", project.shown(&psql));
    insta::assert_snapshot!(project.run("migrate-schemas --all --check"), @"2 schemas up to date");
}

#[tokio::test]
async fn a_check_names_the_schemas() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --schema acme");
    project.sql("drop schema globex").await;
    project.tenant_migration("V2__orders.sql", "create table orders (id int);\n");
    insta::assert_snapshot!(project.run("migrate-schemas --all --check"), @"
    1 migration pending after V1: acme
    the schema is missing: globex
    [exit status: 3]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --all --check --format json"), @r#"
    {"type":"not_clean","what":"1 migration pending after V1","schemas":["acme"]}
    {"type":"not_clean","what":"the schema is missing","schemas":["globex"]}
    {"type":"check","clean":false,"schemas":3}
    [exit status: 3]
    "#);
}

#[tokio::test]
async fn a_rehearsal_leaves_nothing_behind() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.sql("create table globex.notes (id int)").await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --all --rehearse"), @r#"
    1 schema could be migrated, 1 up to date, 1 failed
    ------- stderr -------
    acme: could apply V1 `notes`
    error: migration V1 `notes` could not be applied to schema `globex`
      caused by: relation "notes" already exists
         --> migrations/tenant/V1__notes.sql:1
          |
        1 | create table notes (id int);
        SQLSTATE 42P07
    hint: every schema is as it was; mend what failed and rehearse again
    [exit status: 4]
    "#);
    assert_eq!(project.tables("acme").await, "");
}

#[tokio::test]
async fn a_version_that_no_file_has_is_refused() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --to 7"), @"
    ------- stderr -------
    error: there is no migration with version 7 in `migrations/tenant`
    hint: `tenantctl status` shows the versions
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --all --to 1"), @"
    ------- stderr -------
    error: `--to` names a version of one folder, and two are selected
    hint: say `--shared --to VERSION`, then `--tenants --to VERSION`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --to one"), @"
    ------- stderr -------
    error: invalid value 'one' for '--to <VERSION>': it is not a version such as `7`

    For more information, try '--help'.
    [exit status: 2]
    ");
}

#[tokio::test]
async fn going_back_is_not_offered() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.tenant_migration("V2__orders.sql", "create table orders (id int);");
    project.run("migrate-schemas --tenants");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --to 1"), @"
    1 schema up to date
    ------- stderr -------
    warning: 1 schema beyond V1, and nothing is undone: acme
    ");
}

// --- registry and history ---

#[tokio::test]
async fn the_shared_schema_comes_first_and_must_succeed() {
    let project = Project::with_tenants(["acme"]).await;
    project.shared_migration("V2__bad.sql", "create table plans (id int);\nselect 1 / 0;");
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    1 schema failed, 1 not attempted
    ------- stderr -------
    error: migration V2 `bad` could not be applied to schema `public`
      caused by: division by zero
         --> migrations/shared/V2__bad.sql:2
          |
        2 | select 1 / 0;
        SQLSTATE 22012
    not attempted: acme
    error: no tenant was started, as the shared schema comes first
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --all --jobs 1` again: it does only what is left
    [exit status: 1]
    ");
    assert_eq!(project.tables("acme").await, "");
}

#[tokio::test]
async fn nothing_was_initialised() {
    let project = Project::empty().await;
    project.run("init --without-users");
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    ------- stderr -------
    error: there is no table `tenants` in schema `public` of database `[database]` at 127.0.0.1:[port] as user `postgres`
    hint: apply the shared migrations with `tenantctl migrate-schemas --shared`; `tenantctl init` writes them
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --all --dry-run --quiet"), @r#"
    -- 1 schema: public
    -- V1 `create_tenants_and_domains`

    -- what everything below runs with
    begin isolation level read committed, read write;
    select set_config('search_path', '"public"', true),
           set_config('application_name', 'tenantctl', true),
           set_config('lock_timeout', '[time]', true),
           set_config('statement_timeout', '0', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           set_config('client_connection_check_interval', '[time]', true);

    -- go on only where the schema is there, nobody else works on it, and its history is what this was made from
    select cast(case
        when to_regnamespace('"public"') is null
        then 'tenantctl:no-schema'
        when not pg_catalog.pg_try_advisory_xact_lock(hashtextextended('tenantctl:public', 0))
        then 'tenantctl:locked'
        else '0' end as integer);
    select cast(case
        when to_regclass('"public"."refinery_schema_history"') is not null
        then 'tenantctl:history-changed'
        else '0' end as integer);

    -- where to record what is applied
    create table "public"."refinery_schema_history" (
        version int4 primary key,
        name varchar(255),
        applied_on varchar(255),
        checksum varchar(255)
    );

    -- migrations/shared/V1__create_tenants_and_domains.sql
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
    create unique index tenants_schema_name_ignoring_case on tenants (lower(schema_name));
    create table domains (
        id          bigserial primary key,
        tenant_id   bigint not null references tenants (id) on delete cascade,
        domain      varchar(253) not null unique check (domain <> '' and domain = lower(domain)),
        is_primary  boolean not null default true
    );
    create index domains_tenant_id on domains (tenant_id);
    create unique index domains_one_primary_a_tenant on domains (tenant_id) where is_primary;

    -- record it
    set constraints all immediate;
    reset role;
    discard temp;
    insert into "public"."refinery_schema_history" (version, name, applied_on, checksum) values
        (1, 'create_tenants_and_domains', '[timestamp]', '11021802972152314329');
    reset all;
    commit;
    "#);
    insta::assert_snapshot!(project.run("migrate-schemas --all --check"), @"
    1 migration pending, none applied: public
    [exit status: 3]
    ");
    assert_eq!(
        project
            .query("select count(*) from pg_tables where schemaname !~ '^pg_|information'")
            .await,
        "0"
    );
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    1 schema migrated
    ------- stderr -------
    public: applied V1 `create_tenants_and_domains`
    ");
}

#[tokio::test]
async fn a_schema_that_no_row_names_is_left_alone() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create schema stray").await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --all");
    assert_eq!(project.tables("stray").await, "");
    insta::assert_snapshot!(project.run("migrate-schemas --schema stray"), @"
    ------- stderr -------
    error: there is no tenant with schema `stray`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_row_without_a_schema_fails_alone() {
    let project = Project::with_tenants(["acme", "ghost"]).await;
    project.sql("drop schema ghost").await;
    project.tenant_migration("V1__notes.sql", NOTES);
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @"
    1 schema migrated, 1 up to date, 1 failed
    ------- stderr -------
    acme: applied V1 `notes`
    error: schema `ghost` could not be migrated
      caused by: there is no such schema
        unless it has just been deleted or renamed, the registry still has a row for it: make the schema anew with `create schema` in psql, or remove the row there
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --schema=ghost`
    [exit status: 4]
    ");
    assert_eq!(project.tables("public").await, "domains, tenants");
}

#[tokio::test]
async fn odd_names_are_exactly_that() {
    let odd = [
        "eha-meetup",
        "1234",
        "select",
        "Tenant 1",
        "bücher",
        "x\", \"y",
        "o'brien; drop schema x",
        "Acme",
        "acme",
        r"back\slash",
        "null",
        "user",
        "default",
        "a\nb",
    ];
    let project = Project::new().await;
    // `Acme` and `acme` are from earlier days.
    project
        .sql("drop index tenants_schema_name_ignoring_case; alter table tenants drop constraint tenants_schema_name_check")
        .await;
    project.add_tenants(&odd).await;
    project.tenant_migration(
        "V1__notes.sql",
        "create table notes (id int);\ninsert into notes values (1);",
    );
    project.tenant_migration(
        "V2__index.sql",
        "-- tenantctl: no-transaction\ncreate index concurrently by_id on notes (id);",
    );
    insta::assert_snapshot!(project.run("migrate-schemas --all --jobs 1"), @r#"
    14 schemas migrated, 1 up to date
    ------- stderr -------
    1234: applied V1 `notes`, V2 `index`
    Acme: applied V1 `notes`, V2 `index`
    Tenant 1: applied V1 `notes`, V2 `index`
    a\nb: applied V1 `notes`, V2 `index`
    acme: applied V1 `notes`, V2 `index`
    back\slash: applied V1 `notes`, V2 `index`
    bücher: applied V1 `notes`, V2 `index`
    default: applied V1 `notes`, V2 `index`
    eha-meetup: applied V1 `notes`, V2 `index`
    null: applied V1 `notes`, V2 `index`
    o'brien; drop schema x: applied V1 `notes`, V2 `index`
    select: applied V1 `notes`, V2 `index`
    user: applied V1 `notes`, V2 `index`
    x", "y: applied V1 `notes`, V2 `index`
    "#);
    project.tenant_migration("V3__body.sql", "alter table notes add column body text;");
    insta::assert_snapshot!(project.run("status"), @r"
    shared schema `public` at V1
    14 behind: 1234 V2, Acme V2, Tenant 1 V2, a\nb V2, acme V2 and 9 more
    ------- stderr -------
    hint: `tenantctl migrate-schemas --all` applies what is pending
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --all --one-by-one --jobs 1 --quiet"), @"14 schemas migrated, 1 up to date");
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    14 schemas at V3
    ");
    let tables = "select count(*) from pg_attribute where attname = 'body' and attrelid::regclass::text like '%notes'";
    assert_eq!(project.query(tables).await, odd.len().to_string());
    assert_eq!(project.tables("public").await, "domains, tenants");
    for name in odd {
        let name = shell_words::quote(name);
        let said = project.run(&format!("migrate-schemas --check --schema={name}"));
        assert_eq!(said, "1 schema up to date\n", "{name}");
    }
}

#[tokio::test]
async fn what_cannot_run_in_a_transaction_is_dry_run_apart() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.tenant_migration(
        "V2__index.sql",
        "-- tenantctl: no-transaction\ncreate index concurrently by_id on notes (id);",
    );
    project.tenant_migration("V3__orders.sql", "create table orders (id int);");
    insta::assert_snapshot!(project.run("migrate-schemas --all --dry-run"), @r#"
    -- 1 schema: acme
    -- V1 `notes`, V2 `index`, V3 `orders`

    -- what everything below runs with
    begin isolation level read committed, read write;
    select set_config('search_path', '"acme", "public"', true),
           set_config('application_name', 'tenantctl', true),
           set_config('lock_timeout', '[time]', true),
           set_config('statement_timeout', '0', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           set_config('client_connection_check_interval', '[time]', true);

    -- go on only where the schema is there, nobody else works on it, and its history is what this was made from
    select cast(case
        when to_regnamespace('"acme"') is null
        then 'tenantctl:no-schema'
        when not pg_catalog.pg_try_advisory_xact_lock(hashtextextended('tenantctl:acme', 0))
        then 'tenantctl:locked'
        else '0' end as integer);
    select cast(case
        when to_regclass('"acme"."refinery_schema_history"') is not null
        then 'tenantctl:history-changed'
        else '0' end as integer);

    -- where to record what is applied
    create table "acme"."refinery_schema_history" (
        version int4 primary key,
        name varchar(255),
        applied_on varchar(255),
        checksum varchar(255)
    );

    -- migrations/tenant/V1__notes.sql
    create table notes (id int);

    -- fail if anything outside the schema was changed
    set constraints all immediate;
    reset role;
    set local search_path = "acme", pg_catalog, pg_temp;
    select cast(case
        when to_regnamespace('"acme"') is null then 'tenantctl:no-schema'
        when count(*) > 0 then 'tenantctl:outside:' || string_agg(l.relation::regclass::text, ', ')
        else '0' end as integer)
      from pg_catalog.pg_lock_status() as l
     where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
       and l.relation >= 16384
       and l.mode not in ('AccessShareLock', 'RowShareLock', 'ShareRowExclusiveLock')
       and pg_catalog.pg_table_is_visible(l.relation) is not true
       and l.relation::regclass::text !~ '^pg_(toast|temp)';

    -- record it
    discard temp;
    insert into "acme"."refinery_schema_history" (version, name, applied_on, checksum) values
        (1, 'notes', '[timestamp]', '1118135553043109165');
    reset all;
    commit;

    -- the same checks again, on the history as it is by then

    -- what everything below runs with
    select set_config('search_path', '"acme", "public"', false),
           set_config('application_name', 'tenantctl', false),
           set_config('lock_timeout', '[time]', false),
           set_config('statement_timeout', '0', false),
           set_config('idle_in_transaction_session_timeout', '60s', false),
           set_config('client_connection_check_interval', '[time]', false);

    -- migrations/tenant/V2__index.sql
    create index concurrently by_id on notes (id);

    -- record it
    set constraints all immediate;
    reset role;
    discard temp;
    insert into "acme"."refinery_schema_history" (version, name, applied_on, checksum) values
        (2, 'index', '[timestamp]', '16342908401027934619');

    -- what everything below runs with
    begin isolation level read committed, read write;
    select set_config('search_path', '"acme", "public"', true),
           set_config('application_name', 'tenantctl', true),
           set_config('lock_timeout', '[time]', true),
           set_config('statement_timeout', '0', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           set_config('client_connection_check_interval', '[time]', true);

    -- the same checks again, on the history as it is by then

    -- migrations/tenant/V3__orders.sql
    create table orders (id int);

    -- fail if anything outside the schema was changed
    set constraints all immediate;
    reset role;
    set local search_path = "acme", pg_catalog, pg_temp;
    select cast(case
        when to_regnamespace('"acme"') is null then 'tenantctl:no-schema'
        when count(*) > 0 then 'tenantctl:outside:' || string_agg(l.relation::regclass::text, ', ')
        else '0' end as integer)
      from pg_catalog.pg_lock_status() as l
     where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
       and l.relation >= 16384
       and l.mode not in ('AccessShareLock', 'RowShareLock', 'ShareRowExclusiveLock')
       and pg_catalog.pg_table_is_visible(l.relation) is not true
       and l.relation::regclass::text !~ '^pg_(toast|temp)';

    -- record it
    discard temp;
    insert into "acme"."refinery_schema_history" (version, name, applied_on, checksum) values
        (3, 'orders', '[timestamp]', '7669375082545851597');
    reset all;
    commit;
    "#);
}

#[tokio::test]
async fn an_empty_list_of_names_means_nobody() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.write("nobody.txt", "\n");
    insta::assert_snapshot!(
        project.run("migrate-schemas --schemas-from nobody.txt --where true"), @"0 schemas: there is nothing to do");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --schemas-from nobody.txt"), @"0 schemas: there is nothing to do");
}

#[tokio::test]
async fn of_several_files_the_one_that_reached_outside_is_named() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table public.users (id int)").await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.tenant_migration("V2__clean.sql", "select 1;\ndrop table if exists users;\n");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    1 schema failed
    ------- stderr -------
    error: migration V2 `clean` could not be applied to schema `acme`
      caused by: it reached outside the schema and touched public.users
         --> migrations/tenant/V2__clean.sql:2:22
          |
        2 | drop table if exists users;
          |                      ^
        the names were found outside the schema: by the search path, because they are qualified, or by a trigger or function; it was rolled back, and where it is meant, say so on the file's first lines: `-- tenantctl: allow other-schema`
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --jobs 1 --schema=acme`
    [exit status: 1]
    ");
    assert_eq!(project.columns("public.users").await, "id");
}

// R4 and R5: the checksums are those that refinery 0.8 to 0.10 stores.
#[tokio::test]
async fn histories_of_refinery_in_both_widths_are_read_in_one_run() {
    let project = Project::with_tenants(["narrow", "wide", "ours"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.tenant_migration("V2__orders.sql", "create table orders (id int);\n");
    let names = [("notes", NOTES), ("orders", "create table orders (id int);\n")];
    for (schema, version_type, offset) in [("narrow", "int4", "+02:00"), ("wide", "int8", "-11:30")]
    {
        let table = format!("{schema}.refinery_schema_history");
        project.sql(&format!(
            "create table {table} (version {version_type} primary key, name varchar(255), applied_on varchar(255), checksum varchar(255))"
        )).await;
        for (index, (name, sql)) in names.iter().enumerate() {
            let version = index as i64 + 1;
            let checksum = match version_type {
                "int4" => refinery_narrow(name, version as i32, sql),
                _ => refinery_core::Migration::unapplied(&format!("V{version}__{name}"), sql)
                    .unwrap()
                    .checksum(),
            };
            project.sql(&format!(
                "insert into {table} values ({version}, '{name}', '2023-05-0{version}T10:11:12.123456789{offset}', '{checksum}')"
            )).await;
        }
    }
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    1 schema migrated, 2 up to date
    ------- stderr -------
    ours: applied V1 `notes`, V2 `orders`
    ");
    insta::assert_snapshot!(project.run("status"), @"
    shared schema `public` at V1
    3 schemas at V2
    ");
    insta::assert_snapshot!(project.run("status --schema wide"), @"
    version	name	state	applied_on
    V1	notes	applied	[timestamp]
    V2	orders	applied	[timestamp]
    ");
    // The next migration goes into each as it is.
    project.tenant_migration("V3__more.sql", "select 1;");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    3 schemas migrated
    ------- stderr -------
    narrow: applied V3 `more`
    ours: applied V3 `more`
    wide: applied V3 `more`
    ");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    3 schemas at V3
    ");
}

/// Returns the checksum of a refinery that was built without `int8-versions`.
fn refinery_narrow(name: &str, version: i32, sql: &str) -> u64 {
    use siphasher::sip::SipHasher13;
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = SipHasher13::new();
    name.hash(&mut hasher);
    version.hash(&mut hasher);
    sql.hash(&mut hasher);
    hasher.finish()
}

#[tokio::test]
async fn a_history_row_on_which_refinery_would_panic_stops_that_schema() {
    let project = Project::with_tenants(["acme", "globex", "initech", "hooli"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --tenants");
    project.sql("update acme.refinery_schema_history set checksum = 'x'").await;
    project.sql("update globex.refinery_schema_history set applied_on = 'yesterday'").await;
    project.sql("alter table initech.refinery_schema_history drop column name").await;
    project.tenant_migration("V2__orders.sql", "create table orders (id int);\n");
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    ------- stderr -------
    error: the migration files do not agree with what was applied
      broken: refinery cannot read the history row of version 1: its checksum is `x`
        in acme
      broken: refinery cannot read the history row of version 1: its time is `yesterday`
        in globex
    hint: nothing was changed; mend the history table
    [exit status: 3]
    ");
    insta::assert_snapshot!(project.run("status --check"), @"
    shared schema `public` at V1
    1 behind: hooli V1 · 2 schemas in disagreement with the files: acme, globex · 1 schema unreadable: initech
      unreadable: its table `refinery_schema_history` does not have refinery's columns
        in initech
      broken: refinery cannot read the history row of version 1: its checksum is `x`
        in acme
      broken: refinery cannot read the history row of version 1: its time is `yesterday`
        in globex
    ------- stderr -------
    hint: `tenantctl migrate-schemas` would refuse that: mend the history table
    [exit status: 3]
    ");
    insta::assert_snapshot!(project.run("migrate-schemas --schema hooli --schema initech"), @"
    1 schema migrated, 1 failed
    ------- stderr -------
    hooli: applied V2 `orders`
    error: schema `initech` could not be migrated
      caused by: its history cannot be used: its table `refinery_schema_history` does not have refinery's columns
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=initech`
    [exit status: 4]
    ");
}

#[tokio::test]
async fn an_empty_schema_that_is_registered_starts_from_the_first_file() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__notes.sql", NOTES);
    project.run("migrate-schemas --tenants");
    project.add_tenants(&["late"]).await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --jobs 1"), @"
    1 schema migrated, 1 up to date
    ------- stderr -------
    late: applied V1 `notes`
    ");
}

#[tokio::test]
async fn a_comment_without_an_end_does_not_take_the_rest_of_a_file_along() {
    let project = Project::with_tenants(["acme"]).await;
    let sql = "create table a (id int);\n/* to do\ncreate table b (id int);\n";
    project.tenant_migration("V1__a.sql", sql);
    let shown = project.run("migrate-schemas --tenants");
    assert!(shown.contains("unterminated /* comment"), "{shown}");
    assert!(shown.contains("V1__a.sql:2"), "{shown}");
    assert_eq!(project.query("select to_regclass('acme.a') is null").await, "t");
}

#[tokio::test]
async fn a_file_that_drops_its_own_schema_is_told_so() {
    let project = Project::with_tenants(["acme", "eha", "globex"]).await;
    let sql = "do $$ begin execute format('drop schema %I cascade', current_schema()); end $$";
    project.tenant_migration("V1__a.sql", sql);
    insta::assert_snapshot!(project.run("migrate-schemas --tenants"), @"
    1 schema failed, 2 not attempted
    ------- stderr -------
    error: schema `acme` could not be migrated
      caused by: its migrations dropped or renamed the schema itself; it was rolled back
    error: stopped early: the same migrations would do the same from every other schema
    not attempted: eha, globex
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --schema=acme --schema=eha --schema=globex`
    [exit status: 1]
    ");
    assert_eq!(project.query("select to_regnamespace('acme') is null").await, "f");
}

#[tokio::test]
async fn a_project_begun_in_sequence_goes_on_with_timestamps() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__a.sql", "create table a (id int);");
    project.run("migrate-schemas --tenants");
    project.tenant_migration("V20260101120000__b.sql", "create table b (id int);");
    let shown = project.run("migrate-schemas --tenants");
    assert!(shown.contains("acme: applied V20260101120000 `b`"), "{shown}");
    let shown = project.run("status --check");
    assert!(shown.contains("1 schema at V20260101120000"), "{shown}");
    assert!(!shown.contains("exit status"), "{shown}");
    let width = "select pg_typeof(version) from acme.refinery_schema_history limit 1";
    assert_eq!(project.query(&format!("select ({width})::text")).await, "bigint");
}

#[tokio::test]
async fn what_takes_no_lock_stays_in_the_schema_too() {
    let project = Project::with_tenants(["acme"]).await;
    let own = "create table public.users (id int); create type public.mood as enum ('a'); \
               create function public.f() returns trigger language plpgsql as 'begin return new; end'";
    project.sql(own).await;
    for sql in [
        "grant select on users to public",
        "drop function f()",
        "alter function f() cost 7",
        "drop type mood",
        "alter type mood add value 'b'",
        "comment on function f() is 'x'",
        "create trigger t before insert on users for each row execute function f()",
    ] {
        project.tenant_migration("V1__out.sql", sql);
        let said = project.run("migrate-schemas --tenants");
        assert!(
            said.contains("it reached outside the schema and touched public."),
            "{sql}: {said}"
        );
    }
    let fine = "create table users (id int); create trigger t before insert on users \
                for each row execute function f(); grant select on users to public; \
                create function g() returns int language sql as 'select 1'; drop function g();";
    project.tenant_migration("V1__out.sql", fine);
    let said = project.run("migrate-schemas --tenants");
    assert!(said.contains("1 schema migrated"), "{said}");
}

#[tokio::test]
async fn in_json_an_error_lists_what_it_speaks_of() {
    let project = Project::with_tenants(["acme"]).await;
    project.tenant_migration("V1__x.sql", "commit;");
    let output = project.command("migrate-schemas --tenants --format json").output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let error: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let finding = &error["findings"][0];
    assert_eq!(finding["file"], "migrations/tenant/V1__x.sql");
    assert_eq!((&finding["line"], &error["exit_status"]), (&1.into(), &2.into()));

    project.tenant_migration("V1__x.sql", "create table x ();");
    project.run("migrate-schemas --tenants");
    project.tenant_migration("V1__x.sql", "create table y ();");
    let output = project.command("migrate-schemas --tenants --format json").output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let error: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(error["disagreements"][0]["schemas"], serde_json::json!(["acme"]));
    assert_eq!(error["exit_status"], 3);
}

#[tokio::test]
async fn a_wrong_flag_is_an_object_in_json() {
    let project = Project::empty().await;
    insta::assert_snapshot!(project.run("status --nope --format json"), @r#"
    {"type":"error","message":"unexpected argument '--nope' found","exit_status":2}
    ------- stderr -------
    error: unexpected argument '--nope' found

    Usage: tenantctl status [OPTIONS]

    For more information, try '--help'.
    [exit status: 2]
    "#);
}
