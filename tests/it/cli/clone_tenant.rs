//! `clone-tenant`.

use crate::support::proxy::{Lose, Proxy};
use crate::support::{OwnServer, Program, Project, eventually};

const EVERY_KIND: &str = include_str!("clone_tenant/every_kind.sql");

#[tokio::test]
async fn a_tenant_of_every_kind_of_object_is_cloned() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table if not exists public.users (id bigint primary key)").await;
    project.sql(&format!("set search_path = acme, public; {EVERY_KIND}")).await;
    insta::assert_snapshot!(project.run("clone-tenant acme globex --domain globex.example"), @"cloned tenant `acme` as `globex` at globex.example: 11 tables, 114 rows");
    let rows = "select concat_ws(' ', (select count(*) from acme.orders) = (select count(*) from globex.orders),
        (select last_value from acme.codes) = (select last_value from globex.codes),
        (select count(*) from globex.totals))";
    assert_eq!(project.query(rows).await, "t t 20");
}

#[tokio::test]
async fn a_source_that_is_no_tenant_is_named_and_nothing_is_made() {
    let project = Project::with_tenants(["acme"]).await;
    insta::assert_snapshot!(project.run("clone-tenant nobody globex"), @"
    ------- stderr -------
    error: there is no tenant `nobody` to clone
    hint: `tenantctl list-tenants` lists the tenants
    [exit status: 2]
    ");
    assert_eq!(
        project.query("select count(*) from pg_namespace where nspname = 'globex'").await,
        "0"
    );
}

#[tokio::test]
async fn a_mask_stands_for_a_column_and_is_one_expression() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table acme.people (id int, email text); insert into acme.people values (1, 'a@b')").await;
    insta::assert_snapshot!(project.run("clone-tenant acme globex --mask people.email=id::text"), @"cloned tenant `acme` as `globex`: 1 table, 1 row");
    assert_eq!(project.query("select email from globex.people").await, "1");
    insta::assert_snapshot!(project.run("clone-tenant acme other --mask people.email=1),(2"), @r#"
    ------- stderr -------
    error: `1),(2` cannot stand for `people.email`
      caused by: syntax error at or near ")"
        SQLSTATE 42601
    [exit status: 2]
    "#);
    assert_eq!(
        project.query("select count(*) from pg_namespace where nspname = 'other'").await,
        "0"
    );
}

/// How much there is of a tenant: schemas, registry rows and domains.
async fn there_is(project: &Project, schema: &str) -> String {
    let schema = schema.replace('\'', "''");
    project
        .query(&format!(
            "select (select count(*) from pg_namespace where nspname = '{schema}'),
               (select count(*) from tenants where schema_name = '{schema}'),
               (select count(*) from domains d join tenants t on t.id = d.tenant_id
                 where t.schema_name = '{schema}')"
        ))
        .await
}

/// A source whose clone takes a while: the mask that is given with it sleeps a moment for each row.
async fn slow_source() -> Project {
    let project = Project::with_tenants(["acme"]).await;
    project
        .sql(
            "create table acme.slow (id int);
             insert into acme.slow select generate_series(1, 20);
             create function acme.nap(int) returns int language plpgsql as
               'begin perform pg_sleep(0.05); return $1; end'",
        )
        .await;
    project
}

const SLOWLY: &str = "--mask 'slow.id=nap(id)'";

async fn is_copying(project: &Project) {
    let copying = "select count(*) > 0 from pg_stat_activity where datname = current_database()
        and state = 'active' and query like '%nap(id)%' and pid <> pg_backend_pid()";
    eventually("rows are copied", async || project.query(copying).await == "t").await;
}

#[tokio::test]
async fn a_live_source_is_cloned_as_it_was_at_one_moment() {
    let project = slow_source().await;
    project
        .sql(
            "create table acme.debits (n int); create table acme.credits (n int);
             create table acme.zeal (n int); insert into acme.zeal values (1)",
        )
        .await;
    let clone = project.start(&format!("clone-tenant acme globex {SLOWLY}"));
    // Tables are copied in the order of their names, and `zeal` is not yet.
    is_copying(&project).await;
    for n in 0..20 {
        project
            .sql(&format!(
                "insert into acme.debits values ({n}); insert into acme.credits values ({n})"
            ))
            .await;
    }
    let late = "insert into acme.zeal values (2); update acme.zeal set n = 3 where n = 1";
    project.sql(late).await;
    let output = clone.ends();
    assert!(output.status.success(), "{}", project.shown(&output));
    let sums =
        "select (select count(*) from globex.debits) = (select count(*) from globex.credits),
        (select string_agg(n::text, ',') from globex.zeal)";
    assert_eq!(project.query(sums).await, "t|1");
}

#[tokio::test]
async fn writers_never_see_half_of_what_they_wrote_in_a_clone() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table acme.debits (n int); create table acme.credits (n int)").await;
    let writes = async {
        for n in 0..300 {
            let both = "begin; insert into acme.debits values (1); insert into acme.credits values (1); commit";
            project.sql(both).await;
            if n % 100 == 99 {
                project.sql("begin; truncate acme.debits, acme.credits; commit").await;
            }
        }
    };
    let clones = async {
        let mut ends = Vec::new();
        for round in 0..6 {
            let command = project.command(&format!("clone-tenant acme c{round}"));
            ends.push(tokio::process::Command::from(command).output().await.unwrap());
        }
        ends
    };
    let ((), ends) = tokio::join!(writes, clones);
    for (round, output) in ends.iter().enumerate() {
        assert!(output.status.success(), "{}", project.shown(output));
        let equal = format!(
            "select (select count(*) from c{round}.debits) = (select count(*) from c{round}.credits)"
        );
        assert_eq!(project.query(&equal).await, "t");
    }
}

#[tokio::test]
async fn a_killed_clone_leaves_nothing_and_is_made_the_next_time() {
    let project = slow_source().await;
    let clone = format!("clone-tenant acme globex --domain globex.example {SLOWLY}");
    let killed = project.start(&clone);
    is_copying(&project).await;
    assert!(killed.kill());
    // What was the client's backend ends soon after it, and until then the name is busy.
    let shown = project.run(&clone);
    let done = "cloned tenant `acme` as `globex` at globex.example: 1 table, 20 rows\n";
    assert!(shown.starts_with(done), "{shown}");
    assert_eq!(there_is(&project, "globex").await, "1|1|1");
    project.nobody_is_connected().await;
    assert_eq!(project.query("select count(*) from globex.slow").await, "20");
}

#[tokio::test]
async fn of_two_that_clone_to_one_name_one_does() {
    let project = slow_source().await;
    let clone = format!("clone-tenant acme globex {SLOWLY}");
    let ends = [project.start(&clone), project.start(&clone)].map(Program::ends);
    let refused = ends.iter().find(|it| !it.status.success()).expect("one of two");
    assert!(ends.iter().any(|it| it.status.success()));
    assert_eq!(refused.status.code(), Some(1));
    assert!(project.shown(refused).contains("error: tenant `globex` exists\n"));
    assert_eq!(there_is(&project, "globex").await, "1|1|0");
}

#[tokio::test]
async fn of_two_that_clone_with_one_domain_one_does() {
    let project = slow_source().await;
    let clone = |to: &str| format!("clone-tenant acme {to} --domain a.example {SLOWLY}");
    let ends = [project.start(&clone("one")), project.start(&clone("two"))].map(Program::ends);
    let refused = ends.iter().find(|it| !it.status.success()).expect("one of two");
    assert!(ends.iter().any(|it| it.status.success()));
    insta::assert_snapshot!(project.shown(refused).replace("`two`", "`one`"), @"
    ------- stderr -------
    error: domain `a.example` is taken by tenant `one`
    hint: `tenantctl list-domains` lists the domains
    [exit status: 1]
    ");
    let there = "select (select count(*) from tenants), (select count(*) from domains),
        (select count(*) from pg_namespace where nspname in ('one', 'two'))";
    assert_eq!(project.query(there).await, "2|1|1");
}

#[tokio::test]
async fn what_is_taken_is_refused_and_nothing_is_made() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.run("create-domain globex.example --schema globex");
    project.sql("create schema stray").await;
    for (arguments, status, says) in [
        ("acme globex", 1, "tenant `globex` exists"),
        ("acme GLOBEX", 1, "differs from `globex` in upper and lower case alone"),
        ("acme stray", 1, "schema `stray` exists, but is not registered"),
        ("acme new --domain globex.example", 1, "is taken by tenant `globex`"),
        ("acme public", 2, "shared schema"),
        ("acme pg_new", 2, "pg_new"),
        ("public new", 2, "`public` is the shared schema, and no tenant"),
        ("stray new", 2, "there is no tenant `stray` to clone"),
        ("acme new --set nothing=1", 2, "no column `nothing`"),
        ("acme new --domain https://x", 2, "is not a hostname"),
    ] {
        let output = project.command(&format!("clone-tenant {arguments}")).output().unwrap();
        let shown = project.shown(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments}: {shown}");
        assert!(shown.contains(says), "{arguments}: {shown}");
    }
    assert_eq!(project.query("select count(*) from tenants").await, "2");
    assert_eq!(there_is(&project, "new").await, "0|0|0");
}

#[tokio::test]
async fn odd_names_are_cloned_from_and_to() {
    let odd = ["eha-meetup", "o'brien; drop schema x", "select", "Acme", "a\"b", r"back\slash"];
    let project = Project::with_tenants(odd).await;
    for (number, name) in odd.iter().enumerate() {
        let quoted = name.replace('"', "\"\"");
        project
            .sql(&format!(
                "create table \"{quoted}\".\"o'dd \"\"t\" (id serial primary key, up int references
                   \"{quoted}\".\"o'dd \"\"t\"); insert into \"{quoted}\".\"o'dd \"\"t\" default values"
            ))
            .await;
        // Each becomes another odd name, one that is like the next but for its end.
        let new = format!("{} 2", odd[(number + 1) % odd.len()]);
        let (from, to) = (shell_words::quote(name), shell_words::quote(&new));
        let output = project.command(&format!("clone-tenant {from} {to}")).output().unwrap();
        assert!(output.status.success(), "{name}: {}", project.shown(&output));
        assert_eq!(there_is(&project, &new).await, "1|1|0", "{new}");
        let quoted = new.replace('"', "\"\"");
        let rows = format!("insert into \"{quoted}\".\"o'dd \"\"t\" default values returning id");
        assert_eq!(project.query(&rows).await, "2", "{new}");
    }
    assert_eq!(project.query("select count(*) from tenants").await, "12");
}

#[tokio::test]
async fn a_busy_source_is_waited_for() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table acme.orders (id int)").await;
    let blocker = project.blocker("lock table acme.orders in access exclusive mode").await;
    let clone = project.start("clone-tenant acme globex");
    project.somebody_waits().await;
    let waiting = "from pg_stat_activity where wait_event_type = 'Lock' \
                   and datname = current_database()";
    let first = project.query(&format!("select max(xact_start) {waiting}")).await;
    let again = format!("select coalesce(max(xact_start) > '{first}', false) {waiting}");
    eventually("it tries again", async || project.query(&again).await == "t").await;
    blocker.release().await;
    let output = clone.ends();
    assert!(output.status.success(), "{}", project.shown(&output));
}

#[tokio::test]
async fn who_keeps_the_source_busy_is_named() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table acme.orders (id int)").await;
    let _blocker = project.blocker("lock table acme.orders in access exclusive mode").await;
    let shown = project.run("clone-tenant acme globex");
    insta::assert_snapshot!(timeless(&shown), @"
    ------- stderr -------
    globex: busy, will be tried again: canceling statement due to lock timeout
    error: `acme` could not be cloned: somebody else is using what that takes
      held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; lock table acme.orders in access exclusive mode
    hint: nothing was changed; run the same command again
    [exit status: 6]
    ");
    assert_eq!(there_is(&project, "globex").await, "0|0|0");
}

/// Returns what was said without what differs from run to run.
fn timeless(shown: &str) -> String {
    let patterns = [(r"pid \d+", "pid [pid]"), (r"for [\d.]+ s;", "for [time];")];
    let replaced = |text: String, (pattern, by): &(&str, &str)| {
        regex::Regex::new(pattern).unwrap().replace_all(&text, *by).into_owned()
    };
    patterns.iter().fold(shown.to_owned(), replaced)
}

#[tokio::test]
async fn a_table_that_is_rewritten_meanwhile_is_not_taken_for_empty() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table acme.orders (id int); insert into acme.orders values (1), (2)").await;
    let blocker = project.blocker("alter table acme.orders alter id type bigint").await;
    let clone = project.start("clone-tenant acme globex");
    project.somebody_waits().await;
    blocker.commit().await;
    let output = clone.ends();
    assert!(output.status.success(), "{}", project.shown(&output));
    let rows = "select count(*), min(pg_typeof(id)::text) from globex.orders";
    assert_eq!(project.query(rows).await, "2|bigint");
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_looked_up() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table acme.orders (id int)").await;
    let proxy = Proxy::start(project.database(), Lose::Committed);
    let mut command = project.command("clone-tenant acme globex --domain globex.example");
    let output = command.env("DATABASE_URL", proxy.url()).output().unwrap();
    assert!(proxy.has_lost());
    insta::assert_snapshot!(project.shown(&output).replace(&proxy.port(), "[port]"), @"cloned tenant `acme` as `globex` at globex.example: 1 table, 0 rows");
    assert_eq!(there_is(&project, "globex").await, "1|1|1");
}

#[tokio::test]
async fn whatever_message_is_lost_the_clone_is_made_once() {
    let project = Project::with_tenants(["acme"]).await;
    project.sql("create table acme.orders (id int); insert into acme.orders values (1)").await;
    for lost in (0..).step_by(13) {
        let proxy = Proxy::start(project.database(), Lose::Nth(lost));
        let mut command =
            project.command(&format!("clone-tenant acme c{lost} --domain c{lost}.example"));
        let output = command.env("DATABASE_URL", proxy.url()).output().unwrap();
        assert!(output.status.success(), "{lost}: {}", project.shown(&output));
        assert_eq!(there_is(&project, &format!("c{lost}")).await, "1|1|1", "{lost}");
        if !proxy.has_lost() {
            break;
        }
    }
}

#[tokio::test]
async fn a_lock_table_that_may_be_too_small_is_warned_of() {
    let server =
        OwnServer::start(&[("max_locks_per_transaction", "10"), ("max_connections", "20")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_tenants(&["acme"]).await;
    project
        .sql(
            "do $$ begin for n in 1..60 loop
               execute format('create table acme.t%s (id serial primary key, body text)', n);
             end loop; end $$",
        )
        .await;
    let shown = project.run("clone-tenant acme globex");
    let warning = shown.lines().find(|it| it.starts_with("warning:")).unwrap_or_default();
    insta::assert_snapshot!(warning, @"warning: cloning `acme` takes about 480 locks in one transaction; the server is set up for 200 and has room for perhaps 2 times as many (`max_locks_per_transaction` is 10)");
}

#[tokio::test]
async fn a_source_that_somebody_works_on_is_busy_and_one_that_is_being_deleted_is_refused() {
    let project = Project::with_tenants(["acme"]).await;
    let blocker = project
        .blocker("select pg_advisory_xact_lock(hashtextextended('tenantctl:acme', 0))")
        .await;
    let shown = project.run("clone-tenant acme globex");
    assert!(shown.contains("error: somebody else is at work on `acme`\n  held by pid"), "{shown}");
    assert!(shown.contains("[exit status: 6]"), "{shown}");
    blocker.release().await;
    project.sql("comment on schema acme is 'tenantctl: being deleted'").await;
    insta::assert_snapshot!(project.run("clone-tenant acme globex"), @"
    ------- stderr -------
    error: tenant `acme` is being deleted
    [exit status: 1]
    ");
    assert_eq!(there_is(&project, "globex").await, "0|0|0");
}
