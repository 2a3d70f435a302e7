//! Schemas that take but a moment travel together, a transaction each: what stops one of them says
//! nothing of the others.

use rustix::process::Signal;

use crate::support::proxy::{Lose, Proxy};
use crate::support::{Blocker, Program, Project, eventually};

/// Returns thirty tenants with notes, and a migration that adds a column to them.
async fn thirty() -> Project {
    let project = Project::new().await;
    let names: Vec<String> = (1..=30).map(|number| format!("t{number:02}")).collect();
    project.add_tenants(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    project.tenant_migration("V1__notes.sql", "create table notes (id int)");
    project.migrate();
    project.tenant_migration("V2__text.sql", "alter table notes add column text text");
    project
}

impl Project {
    /// Returns who uses the table of a schema that travels between others.
    async fn blocks_t11(&self) -> Blocker {
        self.blocker("lock table t11.notes in access share mode").await
    }

    /// Starts a run, and returns it with who is in its way once it waits.
    async fn waits_for_t11(&self) -> (Blocker, Program) {
        let blocker = self.blocks_t11().await;
        let program = self.start("migrate-schemas --tenants --quiet --jobs 1 --lock-timeout off");
        self.waits_among_others().await;
        (blocker, program)
    }

    /// Waits until that schema is waited for, in a message that another one's statements are in.
    async fn waits_among_others(&self) -> i64 {
        let question = "select coalesce(max(pid), 0) from pg_stat_activity \
             where wait_event_type = 'Lock' and datname = current_database() \
               and query like '%tenantctl_guard (''tenantctl:t1_''%tenantctl_guard (''tenantctl:t1_''%'";
        let mut pid = 0;
        eventually("several schemas travel together", async || {
            pid = self.query(question).await.parse().unwrap();
            pid > 0
        })
        .await;
        pid
    }

    /// Returns the schemas that have no column `text`, or another history than that says.
    async fn without_text(&self) -> String {
        let recorded: Vec<String> = (1..=30)
            .map(|number| {
                format!(
                    "select 't{number:02}' as schema, count(*) as times \
                     from t{number:02}.refinery_schema_history where version = 2"
                )
            })
            .collect();
        let question = format!(
            "select coalesce(string_agg(r.schema || case when times = 0 then '' else '!' end, ' ' \
               order by r.schema), '') from ({}) as r \
             where times <> 1 or not exists (select from pg_attribute where attname = 'text' \
               and attrelid = to_regclass(r.schema || '.notes'))",
            recorded.join(" union all ")
        );
        self.query(&question).await
    }
}

#[tokio::test]
async fn one_that_is_in_use_does_not_hold_up_those_behind_it() {
    let project = thirty().await;
    let blocker = project.blocks_t11().await;
    let said = project.run("migrate-schemas --tenants --quiet --jobs 1 --retries 1");
    insta::assert_snapshot!(said, @"
    29 schemas migrated, 1 busy
    ------- stderr -------
    error: schema `t11` is busy
      caused by: V2 `text`: canceling statement due to lock timeout
         --> migrations/tenant/V2__text.sql:1
          |
        1 | alter table notes add column text text
        held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; lock table t11.notes in access share mode
    hint: run `tenantctl migrate-schemas --quiet --jobs 1 --retries 1 --schema=t11`
    [exit status: 6]
    ");
    assert_eq!(project.without_text().await, "t11");
    blocker.release().await;
    project.migrate();
    assert_eq!(project.without_text().await, "");
}

#[tokio::test]
async fn what_is_done_is_told_of_while_one_is_in_use() {
    let project = thirty().await;
    let blocker = project.blocks_t11().await;
    let mut terminal = project.terminal("migrate-schemas --tenants --jobs 1 --retries 1000");
    terminal.sees("29 of 30 schemas");
    blocker.release().await;
    assert_eq!(terminal.ends().1, 0);
}

#[tokio::test]
async fn one_that_is_refused_is_told_what_is_wrong_with_it() {
    let project = thirty().await;
    project.sql("alter table t11.notes add column text int; drop table t12.notes").await;
    insta::assert_snapshot!(project.run("migrate-schemas --tenants --quiet --jobs 1"), @r#"
    28 schemas migrated, 2 failed
    ------- stderr -------
    error: migration V2 `text` could not be applied to schema `t11`
      caused by: column "text" of relation "notes" already exists
         --> migrations/tenant/V2__text.sql:1
          |
        1 | alter table notes add column text text
        SQLSTATE 42701
    error: migration V2 `text` could not be applied to schema `t12`
      caused by: relation "notes" does not exist
         --> migrations/tenant/V2__text.sql:1
          |
        1 | alter table notes add column text text
        SQLSTATE 42P01
    hint: what failed is as it was; mend it and run `tenantctl migrate-schemas --quiet --jobs 1 --schema=t11 --schema=t12`
    [exit status: 4]
    "#);
    assert_eq!(project.without_text().await, "t11 t12");
}

#[tokio::test]
async fn of_a_lost_connection_each_is_looked_up() {
    let project = thirty().await;
    let (blocker, program) = project.waits_for_t11().await;
    let pid = project.waits_among_others().await;
    project.query(&format!("select pg_terminate_backend({pid})")).await;
    eventually("it waits again", async || {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
             and datname = current_database()";
        project.query(waiting).await == "1"
    })
    .await;
    blocker.release().await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    30 schemas migrated
    ------- stderr -------
    warning: the connection to database `[database]` at 127.0.0.1:[port] as user `postgres` was lost: terminating connection due to administrator command; connecting again
    ");
    assert_eq!(project.without_text().await, "");
}

#[tokio::test]
async fn whoever_is_asked_to_stop_finishes_them() {
    let project = thirty().await;
    let (blocker, program) = project.waits_for_t11().await;
    program.heeds(Signal::INT).await;
    blocker.release().await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    13 schemas migrated, 17 not attempted
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    error: interrupted
    not attempted: t14, t15, t16, t17, t18 and 12 more
    hint: run `tenantctl migrate-schemas --tenants --quiet --jobs 1 --lock-timeout off` again: it does only what is left
    [exit status: 130]
    ");
}

#[tokio::test]
async fn whoever_is_asked_twice_says_what_became_of_each() {
    let project = thirty().await;
    let (_blocker, program) = project.waits_for_t11().await;
    program.heeds(Signal::INT).await;
    program.signal(Signal::TERM);
    insta::assert_snapshot!(project.shown(&program.ends()), @"
    10 schemas migrated, 3 failed, 17 not attempted
    ------- stderr -------
    stopping; interrupt again to cancel what is under way
    cancelling what is running
    error: 3 schemas: t11, t12, t13 could not be migrated
      caused by: it was cancelled by the second interrupt
    error: interrupted
    not attempted: t14, t15, t16, t17, t18 and 12 more
    hint: run `tenantctl migrate-schemas --tenants --quiet --jobs 1 --lock-timeout off` again: it does only what is left
    [exit status: 130]
    ");
    project.nobody_is_connected().await;
    assert!(project.without_text().await.starts_with("t11 t12 t13"));
}

/// A run whose first question who is in its way is never answered.
async fn unanswered(project: &Project) -> (Blocker, Program) {
    let proxy = Proxy::start(project.database(), Lose::Nothing { hold: "pg_blocking_pids" });
    let blocker = project.blocks_t11().await;
    let mut command = project.command("migrate-schemas --tenants --quiet --lock-timeout off");
    command.env("DATABASE_URL", proxy.url());
    let program = project.start_command(command);
    eventually("it asks who is in the way", async || proxy.holds()).await;
    (blocker, program)
}

#[tokio::test]
async fn an_answer_that_never_comes_does_not_hold_up_the_end() {
    let project = thirty().await;
    let (blocker, program) = unanswered(&project).await;
    blocker.release().await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"30 schemas migrated");
}

#[tokio::test]
async fn who_gets_no_answer_asks_over_another_connection() {
    let project = thirty().await;
    let (blocker, program) = unanswered(&project).await;
    eventually("it asks again", async || {
        let asked = "select count(*) from pg_stat_activity where application_name = 'tenantctl' \
             and datname = current_database() and query like '%pg_blocking_pids%'";
        project.query(asked).await == "1"
    })
    .await;
    blocker.release().await;
    insta::assert_snapshot!(project.shown(&program.ends()), @"30 schemas migrated");
}

/// Whoever asks later than a few hundredths of a second after the beginning has a connection of its own
/// by then, and the answer is not missed.
#[tokio::test]
async fn a_worker_that_gets_no_answer_as_it_leaves_does_not_hold_up_the_end() {
    let project = thirty().await;
    let hold = "set_config('application_name', 'tenantctl', false)";
    let proxy = Proxy::start(project.database(), Lose::Nothing { hold });
    let mut command = project.command("migrate-schemas --tenants --quiet --jobs 1");
    command.env("DATABASE_URL", proxy.url());
    let program = project.start_command(command);
    insta::assert_snapshot!(project.shown(&program.ends()), @"30 schemas migrated");
}
