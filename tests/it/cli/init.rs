use std::fs;

use crate::support::Project;

#[tokio::test]
async fn an_empty_folder_becomes_a_project() {
    let project = Project::empty().await;
    insta::assert_snapshot!(project.run("init"), @"
    wrote tenantctl.toml
    wrote migrations/shared/V1__create_tenants_and_domains.sql
    wrote migrations/shared/V2__create_users.sql
    wrote migrations/tenant/V1__create_users.sql
    wrote .gitignore
    ------- stderr -------
    next: `tenantctl quickstart`, or `tenantctl migrate-schemas --shared` with a database of yours
    ");
    insta::assert_snapshot!(project.run("init"), @"nothing was missing");
    insta::assert_snapshot!(fs::read_to_string(project.path("tenantctl.toml")).unwrap(), @r#"
    # tenantctl's configuration. Every key may be left out; the values shown are the defaults.

    [migrations]
    # dir = "migrations"        # holds `shared/` and `tenant/`
    # numbering = "sequence"    # V1, V2, …; or "timestamp": V20260131120000

    [registry]
    # shared_schema = "public"  # the schema that every tenant reads
    # tenants = "tenants"       # the tables in it that list the tenants …
    # domains = "domains"       # … and their hostnames

    [registry.columns]
    # id = "id"
    # schema_name = "schema_name"
    # name = "name"
    # tenant_id = "tenant_id"
    # domain = "domain"
    # is_primary = "is_primary"

    [database]
    # extra_search_path = []    # schemas that tenants read besides the shared one

    [migrate]
    # jobs = 4                  # schemas worked on at once
    # lock_timeout = "2s"       # see `tenantctl help migrate-schemas`
    # statement_timeout = "off"

    [seeds]
    # dir = "seeds"             # holds `tenant/`

    [hooks]
    # pre_migrate = []          # a program and its arguments, run before `migrate-schemas` changes anything
    # post_migrate = []         # after it
    # post_create = []          # after each tenant that is created
    # pre_delete = []           # before a tenant is deleted
    # timeout = "off"           # how long each may take
    "#);
    insta::assert_snapshot!(fs::read_to_string(project.path(".gitignore")).unwrap(), @"/.tenantctl/");
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let project = Project::empty().await;
    project.write("tenantctl.toml", "# mine\n");
    project.write(".gitignore", "target");
    project.write("migrations/shared/V1__mine.sql", "select 1;");
    insta::assert_snapshot!(project.run("init --format json"), @r#"
    {"type":"file","path":"tenantctl.toml","state":"kept"}
    {"type":"file","path":"migrations/shared","state":"kept"}
    {"type":"file","path":"migrations/tenant/V1__create_users.sql","state":"wrote"}
    {"type":"file","path":".gitignore","state":"extended"}
    ------- stderr -------
    next: `tenantctl quickstart`, or `tenantctl migrate-schemas --shared` with a database of yours
    "#);
    assert_eq!(fs::read_to_string(project.path("tenantctl.toml")).unwrap(), "# mine\n");
    assert!(fs::read_to_string(project.path(".gitignore")).unwrap().starts_with("target\n"));
    insta::assert_snapshot!(project.run("status --shared"), @"
    shared schema `public` with nothing applied, 1 migration pending
    ------- stderr -------
    hint: `tenantctl migrate-schemas --shared` applies what is pending
    ");
}

#[tokio::test]
async fn a_project_without_users() {
    let project = Project::empty().await;
    insta::assert_snapshot!(project.run("init --without-users app"), @"
    wrote app/tenantctl.toml
    wrote app/migrations/shared/V1__create_tenants_and_domains.sql
    wrote app/migrations/tenant/.gitkeep
    wrote app/.gitignore
    ------- stderr -------
    next: `tenantctl quickstart`, or `tenantctl migrate-schemas --shared` with a database of yours
    ");
}

#[tokio::test]
async fn what_it_writes_can_be_applied() {
    let project = Project::empty().await;
    project.run("init");
    insta::assert_snapshot!(project.run("migrate-schemas --all"), @"
    1 schema migrated
    ------- stderr -------
    public: applied V1 `create_tenants_and_domains`, V2 `create_users`
    ");
    assert_eq!(project.tables("public").await, "domains, tenants, users");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_said() {
    let project = Project::empty().await;
    project.write("file", "");
    insta::assert_snapshot!(project.run("init file"), @"
    ------- stderr -------
    error: `file/tenantctl.toml` could not be written
      caused by: file exists
    [exit status: 1]
    ");
    project.write("other/migrations", "");
    insta::assert_snapshot!(project.run("init other"), @"
    ------- stderr -------
    error: migration folder `other/migrations/shared` could not be read
      caused by: not a directory
    [exit status: 1]
    ");
}

#[test]
fn an_answer_that_cannot_be_written_is_no_success() {
    let run = |to: &str| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_tenantctl"));
        let full = std::fs::OpenOptions::new().write(true).open(to).unwrap();
        let folder = std::env::temp_dir();
        let arguments = ["makemigrations", "--check", "--migrations-dir", "."];
        let empty = tempfile::tempdir_in(folder).unwrap();
        for name in ["shared", "tenant"] {
            std::fs::create_dir(empty.path().join(name)).unwrap();
        }
        program.current_dir(empty.path()).args(arguments).stdout(full).output().unwrap()
    };
    assert_eq!(run("/dev/null").status.code(), Some(0));
    let failed = run("/dev/full");
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("the answer could not be written: No space left on device"), "{said}");
}
