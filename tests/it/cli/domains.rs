//! `create-domain`, `list-domains`, `set-primary-domain`, `delete-domain` and `resolve`.

use std::process::{Child, Stdio};

use crate::support::{Project, eventually};

const DOMAINS: &str = "select schema_name, domain, is_primary from tenants t
    join domains d on d.tenant_id = t.id order by 1, is_primary desc, domain";

/// A project whose tenant `acme` has two domains.
async fn project() -> Project {
    let project = Project::with_tenants(["acme", "globex"]).await;
    project.sql(
        "insert into domains (tenant_id, domain, is_primary) select id, domain, domain = 'acme.example'
         from tenants, unnest(array['acme.example', 'www.acme.example']) as domain where schema_name = 'acme'",
    )
    .await;
    project
}

/// Starts the program as often as there are arguments, and returns each one's output.
async fn at_once(project: &Project, arguments: &[&str]) -> Vec<String> {
    let start = |it: &&str| {
        let mut command = project.command(it);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let started: Vec<Child> = arguments.iter().map(start).collect();
    let end = |it: Child| project.shown(&it.wait_with_output().unwrap());
    started.into_iter().map(end).collect()
}

#[tokio::test]
async fn the_first_domain_is_primary_and_a_later_one_on_demand() {
    let project = Project::with_tenants(["acme"]).await;
    insta::assert_snapshot!(project.run("create-domain acme.example --schema acme"), @"created primary domain `acme.example` of `acme`");
    insta::assert_snapshot!(project.run("create-domain www.acme.example --schema acme"), @"created domain `www.acme.example` of `acme`");
    insta::assert_snapshot!(
        project.run("create-domain new.acme.example --schema acme --primary --format json"), @r#"{"type":"domain","domain":"new.acme.example","schema":"acme","is_primary":true,"state":"created","dry_run":false}"#);
    insta::assert_snapshot!(project.run("list-domains"), @"
    domain	schema	is_primary
    new.acme.example	acme	true
    acme.example	acme	false
    www.acme.example	acme	false
    ");
    insta::assert_snapshot!(project.run("list-domains --format json"), @r#"
    {"type":"domain","domain":"new.acme.example","schema":"acme","is_primary":true}
    {"type":"domain","domain":"acme.example","schema":"acme","is_primary":false}
    {"type":"domain","domain":"www.acme.example","schema":"acme","is_primary":false}
    "#);
}

#[tokio::test]
async fn a_host_has_one_form_however_it_is_written() {
    let project = Project::with_tenants(["acme", "bücher"]).await;
    for host in ["ACME.Example.", "bücher.example"] {
        project.run(&format!("create-domain {host} --schema bücher"));
    }
    insta::assert_snapshot!(project.run("create-domain acme.example --schema acme"), @"
    ------- stderr -------
    error: domain `acme.example` is taken: it leads to `bücher`
    hint: to move it, first `tenantctl delete-domain acme.example`
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("create-domain xn--bcher-kva.example --schema bücher"), @"
    ------- stderr -------
    error: domain `xn--bcher-kva.example` leads to `bücher` already
    hint: `tenantctl set-primary-domain xn--bcher-kva.example` makes it the primary one
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("list-domains --schema bücher"), @"
    domain	schema	is_primary
    acme.example	bücher	true
    xn--bcher-kva.example	bücher	false
    ");
    insta::assert_snapshot!(project.run("resolve BÜCHER.example:8000"), @"
    bücher
    ------- stderr -------
    `xn--bcher-kva.example` is a domain of `bücher`
    ");
}

#[tokio::test]
async fn what_is_no_hostname_is_refused_with_the_host_within() {
    let project = project().await;
    insta::assert_snapshot!(project.run("create-domain https://new.example:80/x --schema acme"), @"
    ------- stderr -------
    error: `https://new.example:80/x` is not a hostname: it contains a scheme, `https://`
    hint: use `new.example`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("create-domain 'new .example' --schema acme"), @"
    ------- stderr -------
    error: `new .example` is not a hostname: it contains white space
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("set-primary-domain acme.example:8000"), @"
    ------- stderr -------
    error: `acme.example:8000` is not a hostname: it contains a port
    hint: use `acme.example`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("delete-domain '*.acme.example' --yes"), @"
    ------- stderr -------
    error: `*.acme.example` is not a hostname: a wildcard stands for many hosts
    hint: use `acme.example`
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("resolve '[::1]:80'"), @"
    ------- stderr -------
    error: `[::1]` is not a hostname: it is an IPv6 address
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_domain_leads_to_a_tenant_that_is_there() {
    let project = project().await;
    insta::assert_snapshot!(project.run("create-domain new.example --schema Globex"), @"
    ------- stderr -------
    error: there is no tenant with schema `Globex`
    hint: did you mean `globex`? `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("create-domain new.example --schema public"), @"
    ------- stderr -------
    error: the shared schema `public` has no row in the registry that a domain could lead to
    hint: name a tenant's schema; `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("list-domains --schema=--all"), @"
    ------- stderr -------
    error: there is no tenant with schema `--all`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    ");
    project.add_tenants(&["o'brien; drop schema acme"]).await;
    insta::assert_snapshot!(
        project.run(r#"create-domain o.example --schema "o'brien; drop schema acme""#), @"created primary domain `o.example` of `o'brien; drop schema acme`");
}

#[tokio::test]
async fn the_shared_schema_has_domains_where_it_has_a_row() {
    let project = project().await;
    project.sql("insert into tenants (schema_name, name) values ('public', 'Public')").await;
    insta::assert_snapshot!(project.run("create-domain mydomain.localhost --schema public"), @"created primary domain `mydomain.localhost` of `public`");
    insta::assert_snapshot!(project.run("resolve mydomain.localhost"), @"
    public
    ------- stderr -------
    `mydomain.localhost` is the primary domain of `Public`
    ");
}

#[tokio::test]
async fn odd_names_have_domains_like_any_other() {
    let odd = ["eha-meetup", "1234", "select", "Tenant 1", "bücher"];
    let project = Project::with_tenants(odd).await;
    for (number, name) in odd.iter().enumerate() {
        for host in ["a", "b"] {
            let created =
                project.run(&format!("create-domain {host}{number}.example --schema '{name}'"));
            assert!(created.contains(&format!("of `{name}`")), "{created}");
        }
        project.run(&format!("set-primary-domain b{number}.example"));
        project.run(&format!("delete-domain a{number}.example"));
        assert_eq!(project.run(&format!("resolve -q b{number}.example")), format!("{name}\n"));
    }
    assert_eq!(project.query("select count(*), bool_and(is_primary) from domains").await, "5|t");
}

#[tokio::test]
async fn another_domain_becomes_primary() {
    let project = project().await;
    insta::assert_snapshot!(project.run("set-primary-domain WWW.acme.example"), @"`www.acme.example` is now the primary domain of `acme`, instead of `acme.example`");
    insta::assert_snapshot!(project.run("set-primary-domain www.acme.example"), @"`www.acme.example` is the primary domain of `acme` already");
    insta::assert_snapshot!(project.run("set-primary-domain nobody.example"), @"
    ------- stderr -------
    error: no tenant has domain `nobody.example`
    hint: `tenantctl list-domains` lists those there are
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.query(DOMAINS).await, @"
    acme|www.acme.example|t
    acme|acme.example|f
    ");
}

#[tokio::test]
async fn the_primary_domain_goes_last() {
    let project = project().await;
    insta::assert_snapshot!(project.run("delete-domain acme.example --yes"), @"
    ------- stderr -------
    error: `acme.example` is the primary domain of `acme`, which has others
    hint: first make another one primary: `tenantctl set-primary-domain www.acme.example`
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("delete-domain www.acme.example"), @"deleted domain `www.acme.example` of `acme`; it has 1 domain left");
    insta::assert_snapshot!(project.run("delete-domain acme.example"), @"
    ------- stderr -------
    error: `acme.example` is the last domain of `acme`
    hint: no hostname would lead to the tenant any more; if that is meant: `tenantctl delete-domain acme.example --yes`
    [exit status: 2]
    ");
    assert_eq!(project.query(DOMAINS).await, "acme|acme.example|t");
    insta::assert_snapshot!(project.run("delete-domain acme.example --yes --format json"), @r#"{"type":"domain","domain":"acme.example","schema":"acme","state":"deleted","left":0,"dry_run":false}"#);
    insta::assert_snapshot!(project.run("delete-domain acme.example --yes"), @"
    ------- stderr -------
    error: no tenant has domain `acme.example`
    hint: `tenantctl list-domains` lists those there are
    [exit status: 1]
    ");
}

#[tokio::test]
async fn in_a_terminal_a_person_is_asked_about_the_last_domain() {
    let project = project().await;
    project.run("delete-domain www.acme.example");
    let question = "is the last domain of `acme`. Delete it?";
    for (answer, status, left) in [("n", 1, "1"), ("", 1, "1"), ("y", 0, "0")] {
        let mut terminal = project.terminal("delete-domain acme.example");
        let (shown, ended) = terminal.answers(question, answer).ends();
        assert_eq!(ended, status, "{shown}");
        assert_eq!(project.query("select count(*) from domains").await, left);
    }
}

#[tokio::test]
async fn a_host_resolves_to_its_tenant() {
    let project = project().await;
    project.sql("update tenants set name = 'Acme Ltd' where schema_name = 'acme'").await;
    insta::assert_snapshot!(project.run("resolve ACME.example.:8080"), @"
    acme
    ------- stderr -------
    `acme.example` is the primary domain of `Acme Ltd`
    ");
    insta::assert_snapshot!(project.run("resolve www.acme.example --format json"), @r#"
    {"type":"domain","domain":"www.acme.example","schema":"acme","name":"Acme Ltd","is_primary":false}
    ------- stderr -------
    `www.acme.example` is a domain of `Acme Ltd`
    "#);
    insta::assert_snapshot!(project.run("resolve nobody.example"), @"
    ------- stderr -------
    error: no tenant has domain `nobody.example`
    hint: `tenantctl list-domains` lists those there are
    [exit status: 1]
    ");
}

#[tokio::test]
async fn without_a_registry_every_command_says_what_to_type() {
    let project = Project::empty().await;
    let expected = project.run("resolve acme.example");
    insta::assert_snapshot!(expected, @"
    ------- stderr -------
    error: there is no table `tenants` in schema `public` of database `[database]` at 127.0.0.1:[port] as user `postgres`
    hint: apply the shared migrations with `tenantctl migrate-schemas --shared`; `tenantctl init` writes them
    [exit status: 1]
    ");
    for arguments in [
        "create-domain acme.example --schema acme",
        "list-domains",
        "set-primary-domain acme.example",
        "delete-domain acme.example",
    ] {
        assert!(project.run(arguments).contains("migrate-schemas --shared"), "{arguments}");
    }
    let made = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    assert_eq!(project.query(made).await, "0");
}

#[tokio::test]
async fn of_two_who_want_one_host_one_gets_it() {
    let project = Project::with_tenants(["acme", "globex"]).await;
    for round in 0..5 {
        let ends = at_once(
            &project,
            &[
                &format!("create-domain r{round}.example --schema acme"),
                &format!("create-domain r{round}.example --schema globex"),
            ],
        )
        .await;
        let created = ends.iter().filter(|end| end.starts_with("created "));
        let taken = ends.iter().filter(|end| end.contains("is taken"));
        assert_eq!((created.count(), taken.count()), (1, 1), "{ends:?}");
    }
    assert_eq!(project.query("select count(*) from domains").await, "5");
    let primary = "select count(*) filter (where is_primary) from domains group by tenant_id";
    assert!(project.query(primary).await.lines().all(|count| count == "1"));
}

#[tokio::test]
async fn of_many_first_domains_one_is_primary() {
    let project = Project::with_tenants(["acme"]).await;
    let arguments: Vec<String> =
        (0..6).map(|it| format!("create-domain d{it}.example --schema acme")).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ends = at_once(&project, &arguments).await;
    let primary = ends.iter().filter(|end| end.starts_with("created primary domain"));
    assert_eq!(primary.count(), 1, "{ends:?}");
    let counts = "select count(*), count(*) filter (where is_primary) from domains";
    assert_eq!(project.query(counts).await, "6|1", "{ends:?}");
}

#[tokio::test]
async fn two_choices_of_a_primary_domain_come_one_after_the_other() {
    for with_index in [true, false] {
        let project = project().await;
        project.run("create-domain new.acme.example --schema acme");
        if !with_index {
            project.sql("drop index domains_one_primary_a_tenant").await;
        }
        for _ in 0..5 {
            let ends = at_once(
                &project,
                &["set-primary-domain www.acme.example", "set-primary-domain new.acme.example"],
            )
            .await;
            assert!(ends.iter().all(|end| end.contains("primary domain of `acme`")), "{ends:?}");
            let primary = "select count(*) from domains where is_primary";
            assert_eq!(project.query(primary).await, "1", "{ends:?}");
        }
    }
}

#[tokio::test]
async fn of_two_last_domains_one_is_kept() {
    let project = project().await;
    project.sql("update domains set is_primary = false").await;
    let arguments = ["delete-domain acme.example", "delete-domain www.acme.example"];
    let ends = at_once(&project, &arguments).await;
    let deleted = ends.iter().filter(|end| end.starts_with("deleted "));
    assert_eq!(deleted.count(), 1, "{ends:?}");
    assert_eq!(project.query("select count(*) from domains").await, "1");
}

#[tokio::test]
async fn whoever_is_in_the_way_is_named() {
    let project = project().await;
    let blocker = project.blocker("update tenants set name = 'x'").await;
    let shown = project.run("set-primary-domain www.acme.example");
    let age = regex::Regex::new(r"for [\d.]+ s:").unwrap();
    insta::assert_snapshot!(age.replace(&shown, "for [time]:"), @r#"
    ------- stderr -------
    error: the registry is busy
      held by pid [pid] (blocker, 127.0.0.1), idle in transaction, its transaction open for [time]; last statement: begin; update tenants set name = 'x'
      caused by: canceling statement due to lock timeout
        context: while locking tuple (0,1) in relation "tenants"
        SQLSTATE 55P03
    hint: nothing was changed; run the same command again
    [exit status: 6]
    "#);
    blocker.release().await;
    assert!(project.query(DOMAINS).await.starts_with("acme|acme.example|t"));
}

#[tokio::test]
async fn a_short_wait_is_waited_out() {
    let project = project().await;
    let blocker = project.blocker("update tenants set name = 'x'").await;
    let mut waiting = project.command("set-primary-domain www.acme.example");
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    project.somebody_waits().await;
    blocker.release().await;
    let output = waiting.wait_with_output().unwrap();
    insta::assert_snapshot!(project.shown(&output), @"`www.acme.example` is now the primary domain of `acme`, instead of `acme.example`");
}

#[tokio::test]
async fn a_lost_connection_is_opened_again() {
    let project = project().await;
    let blocker = project.blocker("update tenants set name = 'x'").await;
    let mut lost = project.command("create-domain new.example --schema acme --primary");
    let lost = lost.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where wait_event_type = 'Lock' and datname = current_database()";
    eventually("it is ended", async || project.query(terminate).await == "1").await;
    blocker.release().await;
    let output = lost.wait_with_output().unwrap();
    insta::assert_snapshot!(project.shown(&output), @"created primary domain `new.example` of `acme`");
    insta::assert_snapshot!(project.query(DOMAINS).await, @"
    acme|new.example|t
    acme|acme.example|f
    acme|www.acme.example|f
    ");
}

#[tokio::test]
async fn the_roles_settings_change_nothing() {
    let project = project().await;
    project
        .sql(
            "create function slow() returns trigger language plpgsql as
                 'begin perform pg_sleep(0.1); return new; end';
             create trigger slow before insert or update on domains
                 for each row execute function slow()",
        )
        .await;
    let database = &project.database().database;
    for setting in [
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "statement_timeout = '50ms'",
        "search_path = 'nowhere'",
    ] {
        project.sql(&format!("alter database {database} set {setting}")).await;
    }
    insta::assert_snapshot!(project.run("set-primary-domain www.acme.example"), @"`www.acme.example` is now the primary domain of `acme`, instead of `acme.example`");
    insta::assert_snapshot!(project.run("create-domain new.example --schema globex"), @"created primary domain `new.example` of `globex`");
}

#[tokio::test]
async fn a_registry_under_other_names_serves_as_it_is() {
    let project = Project::empty().await;
    project.write(
        "tenantctl.toml",
        "[registry]\ntenants = 'customers_client'\ndomains = 'customers_domain'\n\
         [registry.columns]\nis_primary = 'Primary?'\n",
    );
    project
        .sql(
            "create table customers_client (id serial primary key, paid_until date,
                 schema_name varchar(63) not null unique);
             create table customers_domain (id serial primary key, domain varchar(253) not null unique,
                 \"Primary?\" boolean not null, tenant_id int not null references customers_client);
             insert into customers_client (schema_name) values ('public'), ('acme'), ('select');
             insert into customers_domain (domain, \"Primary?\", tenant_id) values
                 ('Old.Acme.example', true, 2)",
        )
        .await;
    insta::assert_snapshot!(project.run("create-domain old.acme.example --schema select"), @"
    ------- stderr -------
    error: domain `Old.Acme.example` is taken: it leads to `acme`
    hint: to move it, first `tenantctl delete-domain Old.Acme.example`
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("create-domain new.acme.example --schema acme"), @"created domain `new.acme.example` of `acme`");
    insta::assert_snapshot!(project.run("set-primary-domain new.acme.example"), @"`new.acme.example` is now the primary domain of `acme`, instead of `Old.Acme.example`");
    insta::assert_snapshot!(project.run("delete-domain old.acme.example"), @"deleted domain `Old.Acme.example` of `acme`; it has 1 domain left");
    insta::assert_snapshot!(project.run("resolve new.acme.example"), @"
    acme
    ------- stderr -------
    `new.acme.example` is the primary domain of `acme`
    ");
    insta::assert_snapshot!(project.run("list-tenants"), @"
    schema	name	primary_domain	id	paid_until
    public			1	
    acme		new.acme.example	2	
    select			3
    ");
}

#[tokio::test]
async fn wrong_names_in_the_configuration_are_told_apart_from_no_registry() {
    let project = project().await;
    project.write("tenantctl.toml", "[registry.columns]\ndomain = 'host'\n");
    insta::assert_snapshot!(project.run("list-domains"), @"
    ------- stderr -------
    error: the registry could not be read
      caused by: column d.host does not exist
        SQLSTATE 42703
    hint: say what the registry's columns are called under `[registry.columns]` in `tenantctl.toml`
    [exit status: 1]
    ");
    insta::assert_snapshot!(project.run("create-domain new.example --schema acme"), @"
    ------- stderr -------
    error: the registry could not be read
      caused by: column d.host does not exist
        SQLSTATE 42703
    hint: say what the registry's columns are called under `[registry.columns]` in `tenantctl.toml`
    [exit status: 1]
    ");
}

#[tokio::test]
async fn a_role_that_may_not_change_the_registry_is_told_so() {
    let project = project().await;
    let role = format!("reader_{}", project.database().database);
    project
        .sql(&format!(
            "create role {role} login password 'x'; grant select on tenants, domains to {role}"
        ))
        .await;
    let url = project.database().url().replace("postgres://", "");
    let (_, place) = url.split_once('@').unwrap();
    let shown = project.run(&format!(
        "set-primary-domain www.acme.example --database-url postgres://{role}:x@{place}"
    ));
    project.sql(&format!("drop owned by {role}; drop role {role}")).await;
    insta::assert_snapshot!(shown, @"
    ------- stderr -------
    error: the registry could not be changed
      caused by: permission denied for table tenants
        SQLSTATE 42501
    hint: the role needs `select, insert, update, delete` on the registry's tables
    [exit status: 1]
    ");
}
