mod other_schemas;

use super::*;
use crate::migration::sql::{Rule, Script, Severity};

fn found(folder: Folder, text: &str) -> Vec<String> {
    let context =
        Context { extra_schemas: vec!["extensions".to_owned()], ..Context::new(folder, "public") };
    let findings = Script::read(text, &context).findings;
    assert_eq!(findings, check(text, &context));
    let refused = findings.iter().filter(|finding| finding.severity() == Severity::Refused);
    refused.map(|finding| finding.rule().name().to_owned()).collect()
}

/// Each of these is refused in a tenant's file, for this reason only.
fn refused(rule: Rule, texts: &[&str]) {
    for text in texts {
        assert_eq!(found(Folder::Tenant, text), [rule.name()], "{text}");
    }
}

/// Each of these is fine in a tenant's file.
fn fine(texts: &[&str]) {
    for text in texts {
        assert!(
            found(Folder::Tenant, text).is_empty(),
            "{text}: {:?}",
            found(Folder::Tenant, text)
        );
    }
}

fn fine_when_shared(texts: &[&str]) {
    for text in texts {
        assert!(found(Folder::Shared, text).is_empty(), "{text}");
    }
}

const LATER: &str = "create function f() returns int language plpgsql as $$ begin commit; set role x; \
     drop schema y; perform pg_advisory_lock(1); end $$";

#[test]
fn the_transaction_is_not_the_files_to_end() {
    refused(
        Rule::TransactionControl,
        &[
            "begin",
            "start transaction isolation level serializable",
            "commit",
            "COMMIT AND CHAIN;",
            "end",
            "rollback",
            "abort",
            "prepare transaction 'x'",
            "commit prepared 'x'",
            "rollback prepared 'x'",
            "set transaction read only",
            "insert into t values (1); /* why not */ commit",
            "-- tenantctl: no-transaction\nbegin",
            "do $$ begin insert into t values (1); commit; end $$",
            "do $$ begin if true then rollback; end if; end $$",
        ],
    );
    fine(&[
        "savepoint a; rollback to a; release a; release savepoint a; rollback to savepoint a",
        "create table commits (\"commit\" int, begin_at timestamp)",
        "select 'commit; rollback'",
        "do $$ begin insert into t values (1); end $$",
        "-- tenantctl: no-transaction\ndo $$ begin insert into t values (1); commit; end $$",
        "create procedure p() language plpgsql as $$ begin commit; end $$",
        "create function f() returns int begin atomic select 1; end",
        LATER,
    ]);
}

#[test]
fn the_search_path_stays() {
    refused(
        Rule::SearchPath,
        &[
            "set search_path = other",
            "set local search_path to other, public",
            "SET SESSION \"search_path\" = x",
            "set Search_Path from current",
            "reset search_path",
            "set schema 'other'",
            "select set_config('search_path', 'x', true)",
            "select pg_catalog.set_config('search_path', '', false)",
            "do $$ begin set search_path = x; end $$",
            "do $$ begin perform set_config('Search_Path', 'x', true); end $$",
        ],
    );
    fine(&[
        "create function f() returns int language sql set search_path = public as 'select 1'",
        "alter function f() set search_path = ''",
        "select current_setting('search_path')",
        "show search_path",
        "insert into settings values ('set search_path = x')",
        "create view v as select set_config('search_path', 'x', true)",
    ]);
}

#[test]
fn the_role_stays() {
    refused(
        Rule::Role,
        &[
            "set role app",
            "set local role app",
            "set session role none",
            "reset role",
            "set session authorization app",
            "set session authorization default",
            "reset session authorization",
            "select set_config('role', 'app', true)",
            "do $$ begin set local role app; end $$",
        ],
    );
    fine(&[
        "create table role (role text)",
        "alter table t owner to app",
        "grant select on t to app",
    ]);
}

#[test]
fn settings_end_with_the_transaction() {
    refused(
        Rule::SessionSetting,
        &[
            "set statement_timeout = '5s'",
            "set session lock_timeout = 0",
            "set default_transaction_read_only = on",
            "set app.tenant = 'x'",
            "set time zone 'UTC'",
            "set session characteristics as transaction read only",
            "reset statement_timeout",
            "reset all",
            "discard all",
            "select set_config('app.tenant', 'x', false)",
            "select set_config('app.tenant', 'x', is_local) from t",
            "select set_config('app.tenant', 'x', 'f')",
            "-- tenantctl: no-transaction\nset maintenance_work_mem = '1GB'",
        ],
    );
    fine(&[
        "set local statement_timeout = '5s'",
        "set local lock_timeout = '1s'",
        "set local app.tenant to 'x'",
        "set local time zone 'UTC'",
        "set constraints all deferred",
        "select set_config('app.tenant', 'x', true)",
        "update settings set statement_timeout = 5",
        "discard temp; discard plans; discard sequences",
        "-- tenantctl: no-transaction\nset local work_mem = '1GB'",
        "-- tenantctl: no-transaction\ndo $$ begin set local work_mem = '1GB'; end $$",
    ]);
}

#[test]
fn what_stays_on_the_connection_is_undone_by_the_file() {
    refused(
        Rule::SessionState,
        &[
            "prepare p as select 1",
            "deallocate p; prepare p as select 1",
            "prepare p as select 1; deallocate q",
            "declare c cursor with hold for select 1",
            "listen news",
        ],
    );
    fine(&[
        "prepare p as select 1; execute p; deallocate p",
        "prepare \"P\" as select 1; deallocate all",
        "declare c cursor for select 1",
        "declare c cursor with hold for select 1; close c",
        "listen news; unlisten *",
        "notify news, 'x'",
        "load 'auto_explain'",
    ]);
}

#[test]
fn temporary_objects_are_dropped_by_the_file_or_at_commit() {
    refused(
        Rule::TemporaryObject,
        &[
            "create temp table t (id int)",
            "create temporary table t on commit delete rows as select 1",
            "create table pg_temp.t (id int)",
            "select * into temp t from u",
            "create temp view v as select 1",
            "create temp sequence s",
            "drop table if exists t; create temp table t (id int)",
            "do $$ begin create temp table t (id int); end $$",
        ],
    );
    fine(&[
        "create temp table t (id int) on commit drop",
        "create temporary table t on commit drop as select 1",
        "create temp table T (id int); drop table t",
        "create temp table t (id int); drop table pg_temp.t",
        "create temp view v as select 1; drop view v",
        "create temp table t (id int); discard temp",
        "create table temp (temp int)",
        "create unlogged table t (id int)",
        "select * into t from u",
    ]);
}

#[test]
fn advisory_locks_end_with_the_transaction() {
    refused(
        Rule::AdvisoryLock,
        &[
            "select pg_advisory_lock(1)",
            "select pg_catalog.pg_try_advisory_lock_shared(1, 2)",
            "select pg_advisory_unlock_all()",
            "insert into t select pg_try_advisory_lock(1)",
            "do $$ begin perform pg_advisory_lock(1); end $$",
        ],
    );
    fine(&[
        "select pg_advisory_xact_lock(1)",
        "select pg_try_advisory_xact_lock_shared(1)",
        "create view v as select pg_advisory_lock(1)",
        "select pg_advisory_lock from t",
        LATER,
    ]);
}

#[test]
fn schemas_come_and_go_with_tenants() {
    let changes =
        ["drop schema x", "drop schema if exists x cascade", "alter schema x rename to y"];
    refused(Rule::SchemaChange, &changes);
    refused(
        Rule::SchemaChange,
        &["create schema x", "do $$ begin if true then drop schema x; end if; end $$"],
    );
    for text in changes {
        assert_eq!(found(Folder::Shared, text), ["schema-change"], "{text}");
    }
    fine_when_shared(&[
        "create schema extensions",
        "-- tenantctl: allow schema-change\ndrop schema old",
    ]);
    fine(&["create table schema (schema text)", "select current_schema()", LATER]);
}

#[test]
fn extensions_belong_to_the_database() {
    let texts = [
        "create extension citext",
        "create extension if not exists citext with schema public",
        "alter extension citext set schema extensions",
        "drop extension citext",
    ];
    fine_when_shared(&texts);
    refused(Rule::Extension, &texts);
    refused(Rule::Extension, &["alter extension citext add table public.t"]);
    fine(&["create table extension (extension text)"]);
}

#[test]
fn a_tenants_file_does_not_reach_for_the_whole_database() {
    let once = [
        "create role app",
        "alter user app set work_mem = '1MB'",
        "drop group app",
        "grant admin to app",
        "create publication p for all tables",
        "create event trigger e on ddl_command_end execute function f()",
        "create foreign data wrapper w",
        "create server s foreign data wrapper w",
        "create language plperl",
        "drop owned by app",
        "reassign owned by app to other",
        "alter default privileges grant select on tables to app",
        "grant connect on database app to reader",
        "comment on database app is 'x'",
        "alter table all in tablespace a set tablespace b",
        "analyze",
    ];
    fine_when_shared(&once);
    refused(Rule::DatabaseWide, &once);
    refused(
        Rule::DatabaseWide,
        &[
            "create database x",
            "alter system set work_mem = 1",
            "create tablespace t location '/x'",
            "vacuum",
        ],
    );
    fine(&[
        "analyze t",
        "create cast (money_amount as text) with inout",
        "grant select on t to app",
        "grant usage on type mood to app",
        "create collation de (locale = 'de')",
        "alter publication p add table t",
    ]);
}

#[test]
fn what_cannot_run_in_a_transaction_says_so() {
    let texts = [
        "create index concurrently i on t (x)",
        "create unique index concurrently if not exists i on only t (x)",
        "drop index concurrently i",
        "reindex index concurrently i",
        "reindex (concurrently, verbose) table t",
        "alter table t detach partition u concurrently",
        "vacuum (analyze) t",
    ];
    refused(Rule::NeedsNoTransaction, &texts);
    for text in texts {
        fine(&[&format!("-- tenantctl: no-transaction\n{text}")]);
    }
    for text in [
        "reindex schema x",
        "reindex database",
        "reindex system",
        "alter system set work_mem = 1",
        "create database x",
        "drop database x",
        "create tablespace t location '/x'",
        "drop tablespace t",
        "alter database x set tablespace y",
        "cluster",
        "vacuum",
        "create subscription s connection 'x' publication p",
    ] {
        assert_eq!(found(Folder::Shared, text), ["needs-no-transaction"], "{text}");
        fine_when_shared(&[&format!("-- tenantctl: no-transaction\n{text}")]);
    }
    fine_when_shared(&[
        "create subscription s connection 'x' publication p with (create_slot = false)",
        "create subscription s connection 'x' publication p with (connect = off)",
    ]);
    fine(&[
        "create index i on t (x)",
        "create index concurrently_built on t (\"concurrently\")",
        "reindex table t",
        "reindex (concurrently off) table t",
        "cluster t using i",
        "cluster i on t",
        "refresh materialized view concurrently m",
        "alter type mood add value 'happy'",
        "alter table t detach partition u",
    ]);
}

#[test]
fn psql_is_not_there() {
    refused(
        Rule::PsqlCommand,
        &[
            "\\i other.sql",
            "\\copy t from 'x.csv' csv\nselect 1",
            "select 1;\n\\c other\n",
            "\\set x 1",
            "select 1 \\gset",
            "select :name",
            "select :'name'",
            "insert into t values (:\"x\")",
        ],
    );
    fine(&[
        "select '\\i other.sql', E'\\\\d', $$\\copy$$ -- \\i\n/* \\c */",
        "select a[1:2], a[:2], a[x:y], a[x :y], '1'::int, x ::text",
        "select json_object('a': b), json_object(k :v)",
        "comment on table \"\\d\" is '\\'",
    ]);
}

#[test]
fn data_does_not_come_over_the_connection() {
    refused(
        Rule::CopyFromStdin,
        &[
            "copy t from stdin",
            "copy t (a, b) from stdin with (format csv);\n1,it's\n\\.\nselect 1; commit;",
            "copy t to stdout",
            "copy (select 1) to stdout",
        ],
    );
    fine(&["copy t from '/tmp/x'", "copy t from program 'x'", "create table stdin (stdin int)"]);
}

#[test]
fn a_rule_is_set_aside_for_the_file_or_for_a_statement() {
    fine(&[
        "-- tenantctl: allow other-schema\nselect 1; insert into public.t values (1)",
        "select 1;\n-- tenantctl: allow other-schema\n\ninsert into public.t values (1)",
        "-- tenantctl: no-transaction\n-- tenantctl: allow role, session-setting\nset role x; set y = 1",
        "--tenantctl : allow role\r\nset role x;\r\n",
    ]);
    let only_the_next =
        "select 1;\n-- tenantctl: allow role\nset role a;\nset role b;\n-- a comment\nset role c";
    assert_eq!(found(Folder::Tenant, only_the_next), ["role", "role"]);
}

#[test]
fn a_comment_with_a_typing_error_is_not_skipped_in_silence() {
    refused(
        Rule::Directive,
        &[
            "-- tenantctl: no-transactions\nselect 1",
            "-- tenantctl: no_transaction\nselect 1",
            "-- TenantCtl: No-Transaction\nselect 1",
            "\n-- tenantctl: no-transaction\nselect 1",
            "-- tenantctl: no-transaction please\nselect 1",
            "-- tenantctl: allow\nselect 1",
            "-- tenantctl: allow other_schema\nselect 1",
            "-- tenantctl: allow other-schema, rolle\nselect 1",
            "-- tenantctl: allow transaction-control\nselect 1",
            "-- tenantctl:\nselect 1",
            "/* tenantctl: no-transaction */ select 1",
            "select 1; -- tenantctl: allow role\nselect 2",
            "select 1;\nselect\n-- tenantctl: allow role\n2",
            "select 1;\n-- tenantctl: allow role",
        ],
    );
    fine(&[
        "-- tenantctl runs this for every tenant\nselect 1",
        "select '-- tenantctl: nonsense'",
        "-- see tenantctl: the manual\nselect 1",
        "-- tenantctl: no-transaction\n",
    ]);
}

#[test]
fn what_the_parser_does_not_understand_is_left_to_the_server() {
    fine(&[
        "frobnicate the commit; select 1",
        "alter table t frobnicate set role x",
        "select 1 select 2 set role x",
        "select 'unterminated",
        "select (1",
        "",
        "-- nothing",
    ]);
    assert_eq!(found(Folder::Tenant, "drop schema x frobnicate"), ["schema-change"]);
}

#[test]
fn a_finding_says_where_what_and_what_to_write_instead() {
    let context = Context::new(Folder::Tenant, "public");
    let text =
        "select 1;\n  drop table é, public.users;\ndo $x$ begin\n  set role x; commit; end $x$";
    let findings = check(text, &context);
    let shown: Vec<String> = findings
        .iter()
        .map(|f| format!("{}:{} {}\nhint: {}", f.line, f.column, f.message(), f.advice()))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    2:17 `public.users` is in the shared schema `public`, which a tenant's migration may only read
    hint: move the statement to a file in `migrations/shared`
    4:3 `SET ROLE` would change who owns everything that comes after it
    hint: delete it, and give ownership away with `ALTER TABLE … OWNER TO …`
    4:15 `COMMIT` interferes with the transaction that makes a migration whole
    hint: delete `COMMIT`, or, for work in batches, begin the file with `-- tenantctl: no-transaction`
    ");
}

#[test]
fn a_file_that_defeats_the_parser_is_not_refused_in_silence() {
    let text = format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    let findings = check(&text, &Context::new(Folder::Tenant, "public"));
    assert_eq!(findings[0].rule(), Rule::Unread);
    assert_eq!(findings[0].severity(), Severity::Warned);
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    for rule in Rule::ALL {
        assert_eq!(Rule::named(rule.name()), Some(rule));
    }
}

#[test]
fn where_strings_end_is_not_the_files_to_decide() {
    refused(
        Rule::TransactionControl,
        &[
            "set local standard_conforming_strings = off",
            "set standard_conforming_strings to 'off'",
            "set local Standard_Conforming_Strings to default",
            "select set_config('standard_conforming_strings', 'off', true)",
            "do $$ begin perform set_config('standard_conforming_strings', 'off', true); end $$",
        ],
    );
    fine(&[
        "set local standard_conforming_strings = on",
        "set local standard_conforming_strings to 'on'",
        "select set_config('standard_conforming_strings', 'on', true)",
    ]);
}

#[test]
fn what_sets_a_sequence_is_known() {
    let sets = |sql: &str| {
        let context = Context::new(Folder::Tenant, "public");
        Script::read(sql, &context).statements[0].sets_a_sequence
    };
    assert!(sets("select setval('a_id_seq', max(id)) from a"));
    assert!(sets("do $$ begin perform setval('a_id_seq', 7); end $$"));
    assert!(!sets("insert into a values (nextval('a_id_seq'))"));
    assert!(!sets("create view v as select setval('a_id_seq', 1)"));
}

#[test]
fn the_history_is_not_the_files_to_change() {
    refused(
        Rule::History,
        &[
            "delete from refinery_schema_history",
            "update Refinery_Schema_History set name = 'x'",
            "insert into \"refinery_schema_history\" values (1)",
            "truncate refinery_schema_history",
            "drop table refinery_schema_history",
            "alter table refinery_schema_history add column x int",
            "do $$ begin delete from refinery_schema_history; end $$",
        ],
    );
    fine(&[
        "select * from refinery_schema_history",
        "create table h as table refinery_schema_history",
    ]);
}
