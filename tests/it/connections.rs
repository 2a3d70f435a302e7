//! How many connections a run has: never more than its jobs and one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use sqlx::{ConnectOptions, Connection, Executor, Row};
use tenantctl::pg::server::ServerConnection;

use crate::support::{OwnServer, Project, eventually};

/// Counts the program's connections all the time.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<i64>,
}

impl Sampler {
    fn start(database: &ServerConnection) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, database) = (stop.clone(), database.clone());
        let thread = thread::spawn(move || sample_until(&stopped, &database));
        Sampler { stop, thread }
    }

    /// Returns the most there ever were at once.
    fn most(self) -> i64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn sample_until(stopped: &AtomicBool, database: &ServerConnection) -> i64 {
    let mut connection = database.options().connect().await.unwrap();
    let mut most = 0;
    while !stopped.load(Ordering::SeqCst) {
        let now = connection
            .fetch_one(
                "select count(*) from pg_stat_activity where datname = current_database() \
                 and application_name like 'tenantctl%'",
            )
            .await;
        most = most.max(now.unwrap().get(0));
    }
    connection.close().await.unwrap();
    most
}

impl Project {
    /// Returns what the program said, and the most connections it had at once.
    async fn sampled(&self, arguments: &str) -> (String, i64) {
        let sampler = Sampler::start(self.database());
        let output = self.start(arguments).ends();
        (self.shown(&output), sampler.most())
    }
}

#[tokio::test]
async fn a_large_fleet_with_somebody_in_the_way_takes_jobs_and_one() {
    let project = Project::new().await;
    // Enough that histories are read over several connections, and so many statements that a worker's
    // is replaced after 250 schemas.
    project.add_many_tenants(620).await;
    let statements = "create table a (); ".to_owned() + &"comment on table a is 'b'; ".repeat(39);
    project.tenant_migration("V1__a.sql", &statements);
    let (said, most) = project.sampled("migrate-schemas --all --jobs 2 --quiet").await;
    assert_eq!(said, "620 schemas migrated, 1 up to date\n");
    assert_eq!(most, 3);

    let blocker = project.blocker("select from t1.a").await;
    project.tenant_migration("V2__b.sql", "alter table a add column b int");
    let (said, most) = project.sampled("migrate-schemas --all --jobs 2 --quiet --retries 2").await;
    assert!(said.starts_with("619 schemas migrated, 1 up to date, 1 busy\n"), "{said}");
    assert!(said.contains("held by pid"), "{said}");
    assert_eq!(most, 3);
    blocker.release().await;

    let (said, most) = project.sampled("status --check").await;
    assert!(said.contains("1 behind"), "{said}");
    assert!(most <= 4, "{most}");
}

#[tokio::test]
async fn the_connection_that_looked_works_on_what_it_has_read() {
    let project = Project::new().await;
    project.add_many_tenants(8).await;
    project.add_traces(1, 0.0);
    project.migrate();
    project.add_traces(2, 60.0);
    let program = project.start("migrate-schemas --tenants --jobs 2");
    project.pausing(1).await;
    let worked = "select count(*) from pg_stat_activity, tenantctl.runs as run \
         where datname = current_database() and application_name ~ '^tenantctl [0-9a-f]{8} 0$' \
           and backend_start < began_at and ended_at is null";
    assert_eq!(project.query(worked).await, "1");
    program.signal(Signal::INT);
    program.signal(Signal::TERM);
    assert_eq!(program.ends().status.code(), Some(130));
    project.nobody_is_connected().await;
}

#[tokio::test]
async fn several_runs_over_one_fleet_take_theirs_each() {
    let project = Project::new().await;
    project.add_many_tenants(40).await;
    project.add_traces(1, 0.01);
    let sampler = Sampler::start(project.database());
    let runs: Vec<_> =
        (0..3).map(|_| project.start("migrate-schemas --all --jobs 2 --quiet")).collect();
    for run in runs {
        assert_eq!(run.ends().status.code(), Some(0));
    }
    let most = sampler.most();
    assert!(most <= 9, "{most}");
}

#[tokio::test]
async fn a_file_without_a_transaction_takes_its_workers_place() {
    let project = Project::new().await;
    project.add_many_tenants(12).await;
    project.tenant_migration("V1__a.sql", "create table a (id int)");
    project.tenant_migration(
        "V2__b.sql",
        "-- tenantctl: no-transaction\ncreate index concurrently b on a (id);",
    );
    project.tenant_migration("V3__c.sql", "create table c (id int)");
    let (said, most) = project.sampled("migrate-schemas --tenants --jobs 2 --quiet").await;
    assert_eq!(said, "12 schemas migrated\n");
    assert_eq!(most, 3);
}

#[tokio::test]
async fn cancelling_takes_no_more_either() {
    let project = Project::new().await;
    project.add_many_tenants(4).await;
    project.tenant_migration("V1__a.sql", "-- tenantctl: allow other-schema\nselect pg_sleep(60);");
    let sampler = Sampler::start(project.database());
    let program = project.start("migrate-schemas --tenants --jobs 2");
    project.pausing(2).await;
    program.signal(Signal::INT);
    program.signal(Signal::TERM);
    assert_eq!(program.ends().status.code(), Some(130));
    let most = sampler.most();
    assert_eq!(most, 3);
    project.nobody_is_connected().await;
}

#[tokio::test]
async fn the_connections_that_looked_do_not_count_against_the_jobs() {
    let server = OwnServer::start(&[("max_connections", "12")]);
    let project = Project::new_on(&server.connection()).await;
    project.add_many_tenants(400).await;
    project.add_traces(1, 0.0);
    let warned = |selection: &str| {
        let shown = project.run(&format!("migrate-schemas {selection} --jobs 20 --quiet"));
        shown.lines().find(|it| it.contains("free connections")).unwrap().to_owned()
    };
    let (one, all) = (warned("--schema t1"), warned("--tenants"));
    assert_eq!(one, all);
}

#[tokio::test]
async fn fewer_places_than_before_are_made_do_with() {
    for left in [2, 1] {
        let project = Project::new().await;
        project.add_many_tenants(8).await;
        project.add_traces(1, 0.2);
        let theirs = with_a_role(&project).await;
        let role = &theirs.user;
        let mut command = project.command("migrate-schemas --tenants --jobs 3 --quiet");
        command.env("DATABASE_URL", theirs.url());
        let program = project.start_command(command);
        project.pausing(3).await;
        project
            .sql(&format!(
                "alter role {role} connection limit {left}; \
                 select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'"
            ))
            .await;
        let gone =
            format!("select count(*) <= {left} from pg_stat_activity where usename = '{role}'");
        eventually("they are gone", async || project.query(&gone).await == "t").await;
        let output = program.ends();
        assert_eq!(output.status.code(), Some(0), "{left}: {}", project.shown(&output));
        assert_eq!(project.versions().await, "V1: 8");
        drop_role(&project, role).await;
    }
}

#[tokio::test]
async fn the_limits_of_the_role_and_the_database_are_kept_and_told_of() {
    let project = Project::new().await;
    project.add_many_tenants(8).await;
    project.write("tenantctl.toml", "[migrate]\njobs = 8\n");
    let theirs = with_a_role(&project).await;
    let role = &theirs.user;
    let database = &theirs.database;
    for (version, limit, says) in [
        (1, format!("alter role {role} connection limit 5"), "role's connection limit leaves 4"),
        (
            2,
            format!(
                "alter role {role} connection limit -1; alter database {database} connection limit 6"
            ),
            // How many others there are just then depends.
            "database's connection limit leaves ",
        ),
    ] {
        project.add_traces(version, 0.1);
        project.sql(&limit).await;
        let run = |arguments: &str| {
            let mut command = project.command(arguments);
            command.env("DATABASE_URL", theirs.url());
            project.shown(&project.start_command(command).ends())
        };
        let doctor = run("doctor");
        assert!(doctor.contains(&format!("the {says}")), "{doctor}");
        assert!(doctor.contains("too few for 8 jobs at once: run with `--jobs "), "{doctor}");
        project.nobody_is_connected().await;
        let sampler = Sampler::start(project.database());
        let shown = run("migrate-schemas --tenants --quiet");
        assert!(shown.starts_with("8 schemas migrated\n"), "{shown}");
        assert!(shown.contains(&format!("warning: the {says}")), "{shown}");
        assert!(shown.contains(" at once instead of 8\n"), "{shown}");
        assert!(sampler.most() <= 3, "{shown}");
        project.nobody_is_connected().await;
    }
    drop_role(&project, role).await;
}

/// Returns the database as a role sees it that may do all that a run needs, and is no superuser.
async fn with_a_role(project: &Project) -> ServerConnection {
    let database = project.database();
    let role = format!("role_{}", database.database);
    project
        .sql(&format!(
            "create role {role} login password 'secret'; \
             grant create on database {} to {role}; \
             do $$ declare s text; begin \
               for s in select nspname from pg_namespace where nspname ~ '^t[0-9]' loop \
                 execute format('alter schema %I owner to {role}', s); end loop; end $$; \
             grant all on all tables in schema public to {role}; \
             grant all on schema public to {role}",
            database.database
        ))
        .await;
    ServerConnection { user: role, password: "secret".into(), ..database.clone() }
}

async fn drop_role(project: &Project, role: &str) {
    project.sql(&format!("drop owned by {role}")).await;
    let mut connection = project.database().options().connect().await.unwrap();
    // Somebody's backend may not have ended yet.
    eventually("the role can be dropped", async || {
        let drop = format!("drop role if exists {role}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&mut connection).await.is_ok()
    })
    .await;
}
