//! Files that change but tables of the schema's own travel in fewer words; what is refused, and what
//! is said of it, is as ever.

use crate::support::{Blocker, Project, eventually};

/// Returns tenants that have notes, and a migration that adds a column to them.
async fn with_notes() -> Project {
    let others = ["initech", "oscorp", "stark", "umbrella", "wayne", "wonka"];
    let project = Project::with_tenants(["acme", "globex", "hooli"]).await;
    project.add_tenants(&others).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    project.migrate();
    project.tenant_migration("V2__text.sql", "alter table notes add column text text");
    project
}

impl Project {
    /// Runs the migration until it waits for `globex`, whose lock the blocker holds; returns what
    /// comes of it once the blocker has committed.
    async fn migrates_when_let(&self, blocker: Blocker) -> String {
        let program = self.start("migrate-schemas --tenants --quiet --jobs 1 --retries 50");
        let waiting = "select query from pg_stat_activity where wait_event_type = 'Lock' \
            and datname = current_database() and application_name like 'tenantctl %'";
        eventually("it waits in few words", async || {
            let query = self.query(waiting).await;
            query.contains("execute tenantctl_guard ('tenantctl:globex'")
        })
        .await;
        blocker.commit().await;
        self.shown(&program.ends())
    }

    /// Returns which of the first three have the column.
    async fn texts(&self) -> String {
        self.query(
            "select string_agg(attrelid::regclass::text, ' ' order by attrelid::regclass::text) \
             from pg_attribute where attname = 'text' \
               and attrelid::regclass::text in ('acme.notes', 'globex.notes', 'hooli.notes', 'notes')",
        )
        .await
    }
}

#[tokio::test]
async fn somebody_elses_migration_is_not_repeated() {
    let project = with_notes().await;
    let output = project.command("migrate-schemas --schema acme").output().unwrap();
    assert!(output.status.success(), "{}", project.shown(&output));
    let blocker = project
        .blocker(
            "alter table globex.notes add column text text; \
             insert into globex.refinery_schema_history \
             select * from acme.refinery_schema_history where version = 2",
        )
        .await;
    insta::assert_snapshot!(project.migrates_when_let(blocker).await, @"7 schemas migrated, 2 up to date");
    assert_eq!(project.texts().await, "acme.notes globex.notes hooli.notes");
}

#[tokio::test]
async fn a_history_that_has_changed_meanwhile_is_looked_at_again() {
    let project = with_notes().await;
    let blocker = project
        .blocker(
            "lock table globex.notes; insert into globex.refinery_schema_history \
             values (9, 'other', '2026-01-01T00:00:00Z', '1')",
        )
        .await;
    insta::assert_snapshot!(project.migrates_when_let(blocker).await, @"
    8 schemas migrated, 1 failed
    ------- stderr -------
    error: schema `globex` could not be migrated
      caused by: its history cannot be used: it does not agree with the migration files (missing: V9 `other` was applied, and there is no such file in `migrations/tenant`)
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --quiet --jobs 1 --retries 50 --schema=globex`
    [exit status: 4]
    ");
    assert_eq!(project.texts().await, "acme.notes hooli.notes");
}

#[tokio::test]
async fn a_table_that_the_schema_lacks_is_not_found_in_the_shared_one() {
    let project = with_notes().await;
    project.sql("create table public.notes (id int); drop table globex.notes").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --quiet"), @"
    8 schemas migrated, 1 failed
    ------- stderr -------
    error: migration V2 `text` could not be applied to schema `globex`
      caused by: it reached outside the schema and touched public.notes
         --> migrations/tenant/V2__text.sql:1:13
          |
        1 | alter table notes add column text text
          |             ^
        the names were found outside the schema: by the search path, because they are qualified, or by a trigger or function; it was rolled back, and where it is meant, say so on the file's first lines: `-- tenantctl: allow other-schema`
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --quiet --schema=globex`
    [exit status: 4]
    ");
    assert_eq!(project.texts().await, "acme.notes hooli.notes");
}

#[tokio::test]
async fn a_table_that_is_nowhere_is_said_to_be_missing_as_ever() {
    let project = with_notes().await;
    project.sql("drop table globex.notes").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --quiet"), @r#"
    8 schemas migrated, 1 failed
    ------- stderr -------
    error: migration V2 `text` could not be applied to schema `globex`
      caused by: relation "notes" does not exist
         --> migrations/tenant/V2__text.sql:1
          |
        1 | alter table notes add column text text
        SQLSTATE 42P01
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --quiet --schema=globex`
    [exit status: 4]
    "#);
    assert_eq!(project.texts().await, "acme.notes hooli.notes");
}

#[tokio::test]
async fn a_table_with_children_elsewhere_changes_these_too_which_is_refused() {
    let project = with_notes().await;
    project.sql("create table public.all_notes () inherits (hooli.notes)").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --quiet"), @"
    8 schemas migrated, 1 failed
    ------- stderr -------
    error: migration V2 `text` could not be applied to schema `hooli`
      caused by: it reached outside the schema and touched public.all_notes
         --> migrations/tenant/V2__text.sql:1
          |
        1 | alter table notes add column text text
        the names were found outside the schema: by the search path, because they are qualified, or by a trigger or function; it was rolled back, and where it is meant, say so on the file's first lines: `-- tenantctl: allow other-schema`
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --quiet --schema=hooli`
    [exit status: 4]
    ");
    assert_eq!(project.texts().await, "acme.notes globex.notes");
}

#[tokio::test]
async fn an_event_trigger_that_writes_elsewhere_is_found() {
    let project = with_notes().await;
    project
        .sql(
            "create table public.changes (at timestamptz); \
             create function public.note() returns event_trigger language plpgsql \
               as 'begin insert into public.changes values (now()); end'; \
             create event trigger note on ddl_command_end execute function public.note()",
        )
        .await;
    let shown = project.run("migrate-schemas --tenants --quiet");
    assert!(shown.contains("reached outside the schema and touched public.changes"), "{shown}");
    assert_eq!(project.texts().await, "null");
    assert_eq!(project.query("select count(*) from public.changes").await, "0");
}

#[tokio::test]
async fn a_rehearsal_leaves_nothing() {
    let project = with_notes().await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --quiet --rehearse"), @"9 schemas could be migrated");
    assert_eq!(project.texts().await, "null");
    assert_eq!(project.recorded(2).await, 0);
}

#[tokio::test]
async fn several_files_are_recorded_together() {
    let project = with_notes().await;
    project.tenant_migration("V3__index.sql", "create index notes_text on notes (text)");
    project.migrate();
    assert_eq!((project.recorded(2).await, project.recorded(3).await), (9, 9));
    let indexes = "select count(*) from pg_indexes where indexname = 'notes_text'";
    assert_eq!(project.query(indexes).await, "9");
}
