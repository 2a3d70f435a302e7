use std::path::PathBuf;

use crate::support::terminal::Terminal;
use crate::support::{Project, cluster};

/// A project whose folder goes with the tests' cluster, and no database but its own.
struct Alone {
    project: Project,
    folder: PathBuf,
}

impl Alone {
    async fn new() -> Alone {
        Alone { project: Project::empty().await, folder: cluster::folder_for_a_server() }
    }

    fn run(&self, arguments: &str) -> String {
        let mut command = self.project.command(arguments);
        command.env_remove("DATABASE_URL").current_dir(&self.folder);
        let shown = self.project.shown(&command.output().unwrap());
        let shown = shown.replace(&self.folder.display().to_string(), "[project]");
        let port = regex::Regex::new(r#"127\.0\.0\.1:\d+|"port":\d+"#).unwrap();
        port.replace_all(&shown, "[there]").into_owned()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.run("dev destroy --yes");
    }
}

#[tokio::test]
async fn an_empty_folder_becomes_a_fleet() {
    let alone = Alone::new().await;
    insta::assert_snapshot!(alone.run("quickstart"), @"
    wrote tenantctl.toml
    wrote migrations/shared/V1__create_tenants_and_domains.sql
    wrote migrations/shared/V2__create_users.sql
    wrote migrations/tenant/V1__create_users.sql
    wrote .gitignore
    started Postgres 15 at [there] (pid [pid])
    registered the public tenant `public` at mydomain.localhost
    created tenant `eha` at eha.mydomain.localhost
    shared schema `public` at V2
    1 schema at V1
    ------- stderr -------
    public: applied V1 `create_tenants_and_domains`, V2 `create_users`
    try next:
      tenantctl create-tenant --schema=acme --domain=acme.mydomain.localhost
      tenantctl makemigrations add_orders --tenant
      tenantctl tenant-command --schema=eha createsuperuser
    ");
    insta::assert_snapshot!(alone.run("quickstart"), @"
    everything was there already; nothing was changed
    shared schema `public` at V2
    1 schema at V1
    ------- stderr -------
    try next:
      tenantctl create-tenant --schema=acme --domain=acme.mydomain.localhost
      tenantctl makemigrations add_orders --tenant
      tenantctl tenant-command --schema=eha createsuperuser
    ");
    insta::assert_snapshot!(alone.run("create-tenant --schema=acme --domain=acme.mydomain.localhost"), @"
    created tenant `acme` at acme.mydomain.localhost
    ------- stderr -------
    acme: created with V1 `create_users`
    ");
    insta::assert_snapshot!(alone.run("status"), @"
    shared schema `public` at V2
    2 schemas at V1
    ");
    insta::assert_snapshot!(alone.run("dev stop"), @"private server: stopped");
    insta::assert_snapshot!(alone.run("status"), @"
    ------- stderr -------
    error: no database was given, and the project's private server is not running
    hint: start it with `tenantctl dev start`, or give another database with `--database-url` or `DATABASE_URL`
    [exit status: 5]
    ");
    insta::assert_snapshot!(alone.run("quickstart --quiet"), @"
    started Postgres 15 at [there] (pid [pid])
    shared schema `public` at V2
    2 schemas at V1
    ");
}

#[tokio::test]
async fn the_private_server_is_started_and_stopped() {
    let alone = Alone::new().await;
    insta::assert_snapshot!(alone.run("dev status"), @"private server: there is none");
    insta::assert_snapshot!(alone.run("dev stop"), @"private server: not running");
    alone.run("init");
    insta::assert_snapshot!(alone.run("status"), @"
    ------- stderr -------
    error: no database was given
    hint: give one with `--database-url` or `DATABASE_URL`, or start the project's own with `tenantctl quickstart`
    [exit status: 2]
    ");
    insta::assert_snapshot!(alone.run("dev start"), @"private server: made and started, Postgres 15 at [there] (pid [pid])");
    insta::assert_snapshot!(alone.run("dev start"), @"private server: was running already, Postgres 15 at [there] (pid [pid])");
    insta::assert_snapshot!(alone.run("dev status"), @"
    private server: running, Postgres 15 at [there] (pid [pid])
    data in `[project]/.tenantctl/postgres/data`, since [timestamp]
    ");
    insta::assert_snapshot!(alone.run("dev status --format json"), @r#"{"type":"server","state":"running","major":15,"host":"127.0.0.1",[there],"pid":[pid],"data":"[project]/.tenantctl/postgres/data","since":"[timestamp]"}"#);
    insta::assert_snapshot!(alone.run("dev destroy"), @"
    ------- stderr -------
    error: this deletes the private server with all its data
    hint: if that is meant, say `tenantctl dev destroy --yes`
    [exit status: 2]
    ");
    insta::assert_snapshot!(alone.run("dev stop"), @"private server: stopped");
    insta::assert_snapshot!(alone.run("dev destroy --yes"), @"private server: destroyed");
    insta::assert_snapshot!(alone.run("dev status"), @"private server: there is none");
}

#[tokio::test]
async fn on_a_terminal_it_is_asked_whether_the_server_may_go() {
    let alone = Alone::new().await;
    alone.run("dev start");
    let ask = |answer| {
        let mut command = alone.project.command("dev destroy");
        command.env_remove("DATABASE_URL").current_dir(&alone.folder);
        let question = "Delete the private server with all its data?";
        Terminal::open(command).answers(question, answer).ends()
    };
    let (seen, status) = ask("n");
    assert!(seen.contains("private server: kept"), "{seen}");
    assert_eq!(status, 1);
    assert!(alone.run("dev status").starts_with("private server: running"));
    let (seen, status) = ask("y");
    assert!(seen.contains("private server: destroyed"), "{seen}");
    assert_eq!(status, 0);
    assert_eq!(alone.run("dev status").trim(), "private server: there is none");
}

#[tokio::test]
async fn server_programs_that_are_none_are_said() {
    let alone = Alone::new().await;
    let mut command = alone.project.command("quickstart");
    command
        .env_remove("DATABASE_URL")
        .env("TENANTCTL_PG_BIN", "/usr/share")
        .current_dir(&alone.folder);
    insta::assert_snapshot!(alone.project.shown(&command.output().unwrap()), @"
    ------- stderr -------
    error: `TENANTCTL_PG_BIN` names `/usr/share`, which has no `postgres`
    hint: it must name a folder with `initdb`, `pg_ctl` and `postgres`
    [exit status: 1]
    ");
}
