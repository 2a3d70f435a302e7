//! The statements of a transaction: their order, and how names are written in them.

use super::*;
use crate::migration::history::HISTORY_TABLE;
use crate::migration::sql::{Context, Folder};
use crate::migration::{MigrationFolder, PlanOptions, Width, plan::Plan};

fn set(files: &[(&str, &str)]) -> MigrationSet {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in files {
        std::fs::write(folder.path().join(name), sql).unwrap();
    }
    let context = Context {
        folder: Folder::Tenant,
        shared_schema: "public".into(),
        extra_schemas: Vec::new(),
    };
    MigrationSet::new(MigrationFolder::read(folder.path()).unwrap(), context)
}

fn options() -> ScriptOptions {
    ScriptOptions {
        lock_timeout: Some(Duration::from_millis(200)),
        statement_timeout: None,
        path: vec!["public".into(), "extra".into()],
        rehearse: false,
        application_name: "tenantctl".into(),
        server_version: 150_000,
        waits_for_disk: true,
        is_shared: false,
    }
}

fn script(set: &MigrationSet, schema: &str, options: &ScriptOptions) -> Script {
    let history = History::default();
    let plan = Plan::new(set.folder(), &history, PlanOptions::default());
    let subject = Subject {
        schema: &SchemaName::registered(schema),
        history: &history,
        migrations: set,
        files: &plan.pending,
        creation: None,
    };
    Script::apply(subject, options)
}

fn text(script: &Script) -> String {
    script.messages(false).iter().map(|it| it.text.as_str()).collect()
}

const NOTES: (&str, &str) = (
    "V1__notes.sql",
    "create table notes (id int); -- last\ninsert into notes values (1) -- no semicolon",
);

#[test]
fn it_is_one_message_or_one_a_statement() {
    let script = script(&set(&[NOTES]), "acme", &options());
    assert_eq!(script.messages(false).len(), 1);
    let one_by_one = script.messages(true);
    assert_eq!(one_by_one.len(), script.steps.len());
    assert!(one_by_one.iter().all(|it| it.steps.len() == 1));
}

#[test]
fn a_statement_that_is_not_understood_travels_alone() {
    let odd = ("V1__odd.sql", "select 1;\nfrobnicate the tables;\nselect 2;");
    let script = script(&set(&[odd]), "acme", &options());
    let alone: Vec<_> = script.steps.iter().filter(|it| it.alone).collect();
    let messages = script.messages(false);
    assert_eq!(messages.len(), 1 + 2 * alone.len(), "{messages:#?}");
}

#[test]
fn the_guard_comes_first_and_the_commit_last() {
    let script = script(&set(&[NOTES]), "acme", &options());
    let origins: Vec<Origin> = script.steps.iter().map(|it| it.origin).collect();
    let file = |statement| Origin::File { file: 0, statement };
    use Origin::*;
    let begin = [Begin, Begin, Guard, Guard, HistoryTable];
    let end = [Audit, Audit, Audit, Audit, Record, Record, End, End];
    assert_eq!(origins, [&begin[..], &[file(0), file(1)], &end].concat());
    assert_eq!(script.steps.last().unwrap().sql, "commit");
}

fn creation<'a>(seeds: &'a MigrationSet, register: Option<&'a [Registration]>) -> Creating<'a> {
    Creating { is_new: true, may_be_there: false, register, seeds: Some(seeds), template: None }
}

#[test]
fn seeds_come_after_the_migrations_of_the_last_step_and_before_the_audit() {
    let (set, seeds) = (set(&[NOTES]), set(&[("V1__seed.sql", "delete from notes")]));
    let history = History::default();
    let origins = |register| {
        let subject = Subject {
            schema: &SchemaName::registered("acme"),
            history: &history,
            migrations: &set,
            files: &[0],
            creation: Some(creation(&seeds, register)),
        };
        let script = Script::apply(subject, &options());
        script.steps.iter().map(|it| it.origin).collect::<Vec<_>>()
    };
    let seed = Origin::Seed { file: 0, statement: 0 };
    let last = origins(Some(&[]));
    let at = last.iter().position(|it| *it == seed).unwrap();
    assert_eq!(last[at - 1], Origin::File { file: 0, statement: 1 });
    assert_eq!(last[at + 1], Origin::Audit);
    assert!(!origins(None).contains(&seed));
}

#[test]
fn a_seed_is_neither_guarded_by_the_history_nor_recorded_in_it() {
    let seeds = set(&[("V1__seed.sql", "insert into notes values (1)")]);
    let subject = Subject {
        schema: &SchemaName::registered("acme"),
        history: &History::default(),
        migrations: &seeds,
        files: &[0],
        creation: None,
    };
    let script = Script::seed(subject, &options(), None);
    assert!(!text(&script).contains(HISTORY_TABLE));
    assert_eq!(script.steps.last().unwrap().sql, "commit");
    assert!(script.steps.iter().any(|it| it.origin == Origin::Audit));
}

#[test]
fn what_is_the_schemas_own_is_noted_only_where_something_may_be_dropped() {
    for (sql, is_noted) in [
        ("create table a (id int); insert into a values (1)", false),
        ("alter table a add column b int", false),
        ("alter table a drop column b", true),
        ("alter table a alter column b type text", true),
        ("drop table a", true),
        ("do $$ begin execute 'drop table a'; end $$", true),
        ("select 1", true),
    ] {
        let script = script(&set(&[("V1__a.sql", sql)]), "acme", &options());
        let noted = script.steps.iter().any(|it| it.origin == Origin::Note);
        assert_eq!(noted, is_noted, "{sql}");
    }
}

#[test]
fn a_rehearsal_ends_in_a_rollback() {
    let options = ScriptOptions { rehearse: true, ..options() };
    let script = script(&set(&[NOTES]), "acme", &options);
    assert_eq!(script.steps.last().unwrap().sql, "rollback");
    assert!(!script.steps.iter().any(|it| it.sql == "commit"));
}

#[test]
fn in_few_words_it_is_guarded_and_recorded_all_the_same() {
    let set = set(&[NOTES, ("V2__a.sql", "alter table \"No\"\"tes\" add column a int")]);
    let history = History { width: Some(Width::Int4), digest: "42".into(), ..History::default() };
    let subject = Subject {
        schema: &SchemaName::registered("o'brien"),
        history: &history,
        migrations: &set,
        files: &[1],
        creation: None,
    };
    for has_session in [true, false] {
        let script = Script::brief(subject, &options(), has_session);
        let text = text(&script);
        for part in [
            "'tenantctl:o''brien'",
            if has_session { "search_path = \"o'brien\"\n" } else { "'\"o''brien\"'" },
            "add column a int",
            "version)) = '42') is not true",
            "else '2' end as bigint), 'a', '",
            "from \"o'brien\".\"refinery_schema_history\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("public"), "{text}");
        assert_eq!(script.messages(false).len(), 1);
        assert_eq!(text.contains("set_config"), !has_session);
        assert_eq!(script.steps.last().unwrap().sql, "commit");
    }
    assert_eq!(set.own_tables(&[0, 1]), None);
}

#[test]
fn files_without_a_statement_have_no_table_to_be_guarded_by() {
    let set = set(&[("V1__later.sql", "-- nothing yet")]);
    assert_eq!(set.own_tables(&[0]), None);
}

#[test]
fn odd_names_are_quoted_everywhere() {
    for (name, as_identifier, as_literal) in [
        ("eha-meetup", "\"eha-meetup\"", "'eha-meetup'"),
        ("x\", \"y", "\"x\"\", \"\"y\"", "'x\", \"y'"),
        ("o'brien; drop", "\"o'brien; drop\"", "'o''brien; drop'"),
        ("back\\slash", "\"back\\slash\"", " E'back\\\\slash'"),
    ] {
        let text = text(&script(&set(&[NOTES]), name, &options()));
        let table = format!("create table {as_identifier}.\"refinery_schema_history\"");
        assert!(text.contains(&table), "{text}");
        let is_there = format!("to_regnamespace({})", literal(as_identifier));
        assert!(text.contains(&is_there), "{text}");
        let is_locked = format!("'tenantctl:{}", &as_literal.trim_start_matches([' ', 'E'])[1..]);
        assert!(text.contains(&is_locked), "{text}");
        let path = format!("{as_identifier}, \"public\", \"extra\"");
        assert!(text.contains(&literal(&path)), "{text}");
    }
}

#[test]
fn a_setting_that_the_server_does_not_know_is_left_out() {
    for (server_version, known) in
        [(130_000, [false, false]), (150_000, [true, false]), (170_000, [true, true])]
    {
        let options = ScriptOptions { server_version, ..options() };
        let text = text(&script(&set(&[NOTES]), "acme", &options));
        let settings = ["client_connection_check_interval", "transaction_timeout"];
        // `idle_in_transaction_session_timeout` is another one.
        assert_eq!(settings.map(|it| text.contains(&format!("'{it}'"))), known);
    }
}

#[test]
fn a_byte_of_a_message_belongs_to_a_statement() {
    let mut message = Message::default();
    message.push(4, "select 1");
    message.push(5, "select 2");
    let second = message.text.find("select 2").unwrap();
    assert_eq!(message.step_at(0), Some((4, 0)));
    assert_eq!(message.step_at(second + 7), Some((5, 7)));
}

#[test]
fn what_a_backend_learns_is_weighed_by_what_files_say() {
    let set = set(&[
        ("V1__one.sql", "alter table notes add column a int"),
        ("V2__five.sql", &"create index on notes (a); ".repeat(5)),
        ("V3__many.sql", &"create table t (id int); ".repeat(30)),
        ("V4__unknown.sql", "do $$ begin execute 'drop table a'; end $$"),
    ]);
    let weights = [0, 1, 2, 3].map(|file| set.weight(&[file]));
    assert_eq!(weights, [5, 9, 30, 20]);
    assert_eq!(set.weight(&[0, 1]), 10);
}
