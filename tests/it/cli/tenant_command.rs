use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use argon2::password_hash::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use rustix::process::{Pid, Signal, kill_process};
use tenantctl::pg::server::ServerConnection;

use crate::support::{Project, eventually};

const PASSWORD: &str = "correct horse\n";

/// Returns a project as `init` makes it, with tenants that are migrated.
async fn project_with<const N: usize>(schemas: [&str; N]) -> Project {
    let project = Project::empty().await;
    succeed(&project, "init");
    succeed(&project, "migrate-schemas --shared");
    project.add_tenants(&schemas).await;
    succeed(&project, "migrate-schemas --tenants");
    project
}

fn succeed(project: &Project, arguments: &str) {
    let output = project.command(arguments).output().unwrap();
    assert!(output.status.success(), "{}", project.shown(&output));
}

/// Returns the arguments that run a shell script in `acme`.
fn exec(script: &str) -> String {
    let script = shell_words::quote(script);
    format!("tenant-command --schema acme exec -- sh -c {script}")
}

/// Returns who is in which schema's table of users.
async fn users(project: &Project, schemas: &[&str]) -> String {
    let users = |schema: &&str| {
        format!(
            "select '{schema}' as schema, username, email, is_superuser from \"{schema}\".users"
        )
    };
    let all: Vec<String> = schemas.iter().map(users).collect();
    project.query(&(all.join(" union all ") + " order by 1, 2")).await
}

async fn password_is(project: &Project, schema: &str, username: &str, password: &str) -> bool {
    let question = format!("select password from {schema}.users where username = '{username}'");
    let stored = project.query(&question).await;
    assert!(stored.starts_with("$argon2id$v=19$"), "{stored}");
    let hash = PasswordHash::new(&stored).unwrap();
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

#[tokio::test]
async fn a_superuser_is_in_one_schema_only() {
    let project = project_with(["acme", "globex"]).await;
    let create = "tenant-command --schema acme createsuperuser \
                  --username ada --email ada@example.com --password-stdin";
    insta::assert_snapshot!(project.run_with_stdin(create, PASSWORD), @"created superuser `ada` in schema `acme`");
    insta::assert_snapshot!(users(&project, &["acme", "globex", "public"]).await, @"acme|ada|ada@example.com|t");
    assert!(password_is(&project, "acme", "ada", "correct horse").await);
}

#[tokio::test]
async fn the_schema_may_come_after_the_command() {
    let project = project_with(["eha-meetup", "globex"]).await;
    let create = "tenant-command createsuperuser --schema=eha-meetup --username ada --no-input";
    let mut create = project.command(create);
    create.env("TENANTCTL_SUPERUSER_PASSWORD", "correct horse");
    insta::assert_snapshot!(project.shown(&create.output().unwrap()), @"created superuser `ada` in schema `eha-meetup`");
    insta::assert_snapshot!(users(&project, &["eha-meetup", "globex", "public"]).await, @"eha-meetup|ada||t");
}

#[tokio::test]
async fn the_shared_schema_has_users_of_its_own() {
    let project = project_with(["acme"]).await;
    let create = "tenant-command --shared createsuperuser --username root --password-stdin";
    insta::assert_snapshot!(project.run_with_stdin(create, PASSWORD), @"created superuser `root` in schema `public`");
    insta::assert_snapshot!(users(&project, &["acme", "public"]).await, @"public|root||t");
}

#[tokio::test]
async fn a_schema_has_to_be_named_once_and_be_a_tenants() {
    let project = project_with(["acme", "globex", "-x"]).await;
    project.sql("create schema stray").await;
    let mut shown = String::new();
    for arguments in [
        "tenant-command sql 'select 1'",
        "tenant-command --schema acme sql --schema globex 'select 1'",
        "tenant-command --shared sql --schema globex 'select 1'",
        "tenant-command --schema public sql 'select 1'",
        "tenant-command --schema stray sql 'select 1'",
        "tenant-command --schema ACME sql 'select 1'",
        "tenant-command --schema= sql 'select 1'",
        "tenant-command --schema=--all sql 'select 1'",
        "tenant-command --schema=-x sql 'select current_schema()'",
    ] {
        shown += &format!("$ {arguments}\n{}", project.run(arguments));
    }
    insta::assert_snapshot!(shown, @"
    $ tenant-command sql 'select 1'
    ------- stderr -------
    error: which schema?
    hint: say `--schema NAME` once, or `--shared` for the shared schema; `tenantctl list-tenants` lists the tenants
    [exit status: 2]
    $ tenant-command --schema acme sql --schema globex 'select 1'
    ------- stderr -------
    error: more than one schema is meant
    hint: say `--schema NAME` once, or `--shared` for the shared schema; `tenantctl list-tenants` lists the tenants
    [exit status: 2]
    $ tenant-command --shared sql --schema globex 'select 1'
    ------- stderr -------
    error: more than one schema is meant
    hint: say `--schema NAME` once, or `--shared` for the shared schema; `tenantctl list-tenants` lists the tenants
    [exit status: 2]
    $ tenant-command --schema public sql 'select 1'
    ------- stderr -------
    error: `public` is the shared schema, not a tenant's
    hint: use `--shared` where the shared schema is meant
    [exit status: 2]
    $ tenant-command --schema stray sql 'select 1'
    ------- stderr -------
    error: there is no tenant with schema `stray`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    $ tenant-command --schema ACME sql 'select 1'
    ------- stderr -------
    error: there is no tenant with schema `ACME`
    hint: did you mean `acme`? `tenantctl list-tenants` lists them
    [exit status: 2]
    $ tenant-command --schema= sql 'select 1'
    ------- stderr -------
    error: there is no tenant with schema ``
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    $ tenant-command --schema=--all sql 'select 1'
    ------- stderr -------
    error: there is no tenant with schema `--all`
    hint: `tenantctl list-tenants` lists them
    [exit status: 2]
    $ tenant-command --schema=-x sql 'select current_schema()'
    current_schema
    -x
    ------- stderr -------
    SELECT 1
    ");
}

#[tokio::test]
async fn each_command_has_help_of_its_own() {
    let project = Project::empty().await;
    let first_line = |command| {
        let help = project.run(&format!("tenant-command {command} --help"));
        help.lines().next().unwrap_or_default().to_owned()
    };
    let commands = ["createsuperuser", "changepassword", "sql", "psql", "exec"];
    insta::assert_snapshot!(commands.map(first_line).join("\n"), @r"
    Create a user who may do everything in the schema
    Give a user of the schema a new password
    Run SQL for which unqualified names mean the schema's tables
    Open psql, for which unqualified names mean the schema's tables
    Run a program for which unqualified names mean the schema's tables
    ");
}

#[tokio::test]
async fn nobody_is_created_twice() {
    let project = project_with(["acme", "globex"]).await;
    let create = "tenant-command --schema acme createsuperuser --username ada --password-stdin";
    project.run_with_stdin(create, PASSWORD);
    insta::assert_snapshot!(project.run_with_stdin(create, PASSWORD), @r"
    ------- stderr -------
    error: there is a user `ada` in schema `acme` already
    hint: `changepassword` gives them a new password
    [exit status: 1]
    ");
    // The same name is free elsewhere, and so is another spelling.
    for create in [create.replace("acme", "globex"), create.replace("ada", "Ada")] {
        let shown = project.run_with_stdin(&create, PASSWORD);
        assert!(shown.starts_with("created superuser"), "{shown}");
    }
    insta::assert_snapshot!(users(&project, &["acme", "globex"]).await, @r"
    acme|Ada||t
    acme|ada||t
    globex|ada||t
    ");
}

#[tokio::test]
async fn a_table_that_lets_names_be_the_same_gets_none_twice() {
    let project = project_with(["acme"]).await;
    project.sql("alter table acme.users drop constraint users_username_key").await;
    let create = "tenant-command --schema acme createsuperuser --username ada --password-stdin";
    project.run_with_stdin(create, PASSWORD);
    insta::assert_snapshot!(project.run_with_stdin(create, PASSWORD), @r"
    ------- stderr -------
    error: there is a user `ada` in schema `acme` already
    hint: `changepassword` gives them a new password
    [exit status: 1]
    ");

    project
        .sql("insert into acme.users (username, password) select username, 'x' from acme.users")
        .await;
    let change = "tenant-command --schema acme changepassword ada --password-stdin";
    insta::assert_snapshot!(project.run_with_stdin(change, PASSWORD), @r"
    ------- stderr -------
    error: 2 users of schema `acme` are called `ada`, and which is meant is not known
    [exit status: 1]
    ");
}

#[tokio::test]
async fn a_tenant_without_users_gets_none_in_the_shared_schema() {
    let project = project_with(["acme", "odd", "strict"]).await;
    project.sql("drop table acme.users").await;
    project.sql("alter table odd.users drop column password").await;
    project.sql("alter table strict.users add column age int not null").await;
    let mut shown = String::new();
    for schema in ["--schema acme", "--schema odd", "--schema strict"] {
        let create =
            format!("tenant-command {schema} createsuperuser --username ada --password-stdin");
        shown += &project.run_with_stdin(&create, PASSWORD);
    }
    shown += &project.run_with_stdin(
        "tenant-command --schema acme changepassword ada --password-stdin",
        PASSWORD,
    );
    insta::assert_snapshot!(shown, @r"
    ------- stderr -------
    error: schema `acme` has no table `users`
    hint: apply what is pending with `tenantctl migrate-schemas --schema=acme`, or write a migration that creates it: `tenantctl makemigrations create_users --tenant`
    [exit status: 1]
    ------- stderr -------
    error: table `users` in schema `odd` has no column `password`
    hint: write a migration that adds them: `tenantctl makemigrations add_logins --tenant`
    [exit status: 1]
    ------- stderr -------
    error: table `users` in schema `strict` wants a value for `age`, which has no default
    hint: give them a default, or create the user with `tenantctl tenant-command --schema NAME sql`
    [exit status: 1]
    ------- stderr -------
    error: schema `acme` has no table `users`
    hint: apply what is pending with `tenantctl migrate-schemas --schema=acme`, or write a migration that creates it: `tenantctl makemigrations create_users --tenant`
    [exit status: 1]
    ");
    assert_eq!(users(&project, &["public"]).await, "");
}

#[tokio::test]
async fn columns_that_are_not_there_are_not_filled() {
    let project = project_with(["acme"]).await;
    project.sql("drop table acme.users; create table acme.users (username text, password text, date_joined date not null)").await;
    let create =
        "tenant-command --schema acme createsuperuser --username ada --no-input --password-stdin";
    insta::assert_snapshot!(project.run_with_stdin(create, PASSWORD), @"created superuser `ada` in schema `acme`");
    let joined = "select username, date_joined = current_date from acme.users";
    assert_eq!(project.query(joined).await, "ada|t");
}

#[tokio::test]
async fn weak_input_is_refused_before_anything_is_done() {
    let project = project_with(["acme"]).await;
    let long = "a".repeat(151);
    let mut shown = String::new();
    for (flags, password) in [
        ("--username ''", PASSWORD),
        ("--username ' '", PASSWORD),
        ("--username ' ada'", PASSWORD),
        ("--username 'a\u{1b}[31mb'", PASSWORD),
        (&format!("--username {long}"), PASSWORD),
        ("--username ada --email ''", PASSWORD),
        ("--username ada --email ada", PASSWORD),
        ("--username ada", ""),
        ("--username ada", "         \n"),
        ("--username ada", "short\n"),
        ("--username ada", "two\nlines of it\n"),
    ] {
        let create =
            format!("tenant-command --schema acme createsuperuser {flags} --password-stdin");
        shown += &project.run_with_stdin(&create, password);
    }
    insta::assert_snapshot!(shown, @r"
    ------- stderr -------
    error: a username cannot be empty
    [exit status: 2]
    ------- stderr -------
    error: a username cannot be blank
    [exit status: 2]
    ------- stderr -------
    error: a username cannot begin or end with white space
    [exit status: 2]
    ------- stderr -------
    error: a username cannot contain control characters, such as \u{1b}
    [exit status: 2]
    ------- stderr -------
    error: a username has at most 150 characters, and this has 151
    [exit status: 2]
    ------- stderr -------
    error: an e-mail address cannot be empty
    [exit status: 2]
    ------- stderr -------
    error: `ada` is not an e-mail address, such as `ada@example.com`
    [exit status: 2]
    ------- stderr -------
    error: a password cannot be empty
    [exit status: 2]
    ------- stderr -------
    error: a password cannot be blank
    [exit status: 2]
    ------- stderr -------
    error: a password has at least 8 characters, and this has 5
    [exit status: 2]
    ------- stderr -------
    error: a password cannot contain control characters, such as \n
    [exit status: 2]
    ");
    assert_eq!(users(&project, &["acme", "public"]).await, "");
}

#[tokio::test]
async fn without_a_terminal_nothing_is_asked() {
    let project = project_with(["acme"]).await;
    let mut shown = String::new();
    for arguments in [
        "createsuperuser",
        "createsuperuser --username ada",
        "createsuperuser --username ada --email ada@example.com",
        "createsuperuser --no-input",
        "createsuperuser --no-input --username ada",
        "changepassword",
        "createsuperuser --username ada --password hunter2",
    ] {
        shown += &format!("$ {arguments}\n");
        shown += &project.run(&format!("tenant-command --schema acme {arguments}"));
    }
    insta::assert_snapshot!(shown, @r"
    $ createsuperuser
    ------- stderr -------
    error: the username is missing, and there is no terminal to ask on
    hint: give it with `--username`
    [exit status: 2]
    $ createsuperuser --username ada
    ------- stderr -------
    error: the e-mail address is missing, and there is no terminal to ask on
    hint: give it with `--email`, or go without by `--no-input`
    [exit status: 2]
    $ createsuperuser --username ada --email ada@example.com
    ------- stderr -------
    error: the password is missing, and there is no terminal to ask on
    hint: give it with `--password-stdin` or in `TENANTCTL_SUPERUSER_PASSWORD`
    [exit status: 2]
    $ createsuperuser --no-input
    ------- stderr -------
    error: the username is missing
    hint: give it with `--username`
    [exit status: 2]
    $ createsuperuser --no-input --username ada
    ------- stderr -------
    error: the password is missing
    hint: give it with `--password-stdin` or in `TENANTCTL_SUPERUSER_PASSWORD`
    [exit status: 2]
    $ changepassword
    ------- stderr -------
    error: the username is missing, and there is no terminal to ask on
    hint: give it as an argument: `changepassword USERNAME`
    [exit status: 2]
    $ createsuperuser --username ada --password hunter2
    ------- stderr -------
    error: unexpected argument '--password' found

      tip: a similar argument exists: '--password-stdin'

    Usage: tenantctl tenant-command createsuperuser --username <NAME> --password-stdin

    For more information, try '--help'.
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_person_is_asked_until_the_answers_are_right() {
    let project = project_with(["acme"]).await;
    let create = "tenant-command --schema acme createsuperuser --username ada --password-stdin";
    project.run_with_stdin(create, PASSWORD);

    let (seen, status) = project
        .terminal("tenant-command --schema acme createsuperuser")
        .answers("Username:", "")
        .sees("a username cannot be empty")
        .answers("Username:", "ada")
        .sees("there is a user `ada` in schema `acme` already")
        .answers("Username:", "grace")
        .answers("E-mail [none]:", "grace")
        .sees("`grace` is not an e-mail address")
        .answers("E-mail [none]:", "grace@example.com")
        .answers("Password:", "s3cret")
        .sees("a password has at least 8 characters")
        .answers("Password:", "s3cret s3cret")
        .answers("Password (again):", "s3cret s3cr3t")
        .sees("the two are not the same")
        .answers("Password:", "s3cret s3cret")
        .answers("Password (again):", "s3cret s3cret")
        .ends();
    assert_eq!(status, 0);
    assert!(seen.contains("created superuser `grace` in schema `acme`"), "{seen}");
    assert!(!seen.contains("s3cr"), "{seen}");
    insta::assert_snapshot!(users(&project, &["acme"]).await, @r"
    acme|ada||t
    acme|grace|grace@example.com|t
    ");
    assert!(password_is(&project, "acme", "grace", "s3cret s3cret").await);
}

#[tokio::test]
async fn a_question_ends_with_ctrl_c_and_with_the_end_of_the_input() {
    let project = project_with(["acme"]).await;
    let create = "tenant-command --schema acme createsuperuser";
    let (seen, status) = project.terminal(create).sees("Username:").presses("\x03").ends();
    assert_eq!(status, 130);
    assert!(seen.contains("interrupted"), "{seen}");

    let create = format!("{create} --username ada --email ada@example.com");
    let (_, status) = project.terminal(&create).sees("Password:").presses("\x03").ends();
    assert_eq!(status, 130);

    let (seen, status) = project.terminal(&create).sees("Password:").presses("\x04").ends();
    assert_eq!(status, 2);
    assert!(seen.contains("`Password` was not answered: the input ended"), "{seen}");
    assert_eq!(users(&project, &["acme"]).await, "");
}

#[tokio::test]
async fn the_terminal_is_as_it_was_after_a_question() {
    let project = project_with(["acme"]).await;
    let ask = "tenant-command --schema acme createsuperuser --email ada@example.com";
    for (ask, question) in
        [(ask.to_owned(), "Username:"), (format!("{ask} --username ada"), "Password:")]
    {
        // From a shell, so that something is left to look at the terminal.
        let script = format!(
            "trap : INT; before=$(stty -g); {} {ask}; echo status $?; \
             test \"$before\" = \"$(stty -g)\" && echo as it was",
            env!("CARGO_BIN_EXE_tenantctl")
        );
        let (seen, _) = project.terminal(&exec(&script)).sees(question).presses("\x03").ends();
        assert!(seen.contains("status 130\r\nas it was"), "{seen}");
        assert!(seen.contains("\x1b[?25h"), "the cursor is shown: {seen:?}");
    }
}

#[tokio::test]
async fn a_password_is_changed_for_one_user_of_one_schema() {
    let project = project_with(["acme", "globex"]).await;
    for schema in ["acme", "globex"] {
        let create = format!(
            "tenant-command --schema {schema} createsuperuser --username ada --password-stdin"
        );
        project.run_with_stdin(&create, PASSWORD);
    }
    let change = "tenant-command changepassword ada --schema acme --password-stdin";
    insta::assert_snapshot!(project.run_with_stdin(change, "battery staple"), @"changed the password of `ada` in schema `acme`");
    assert!(password_is(&project, "acme", "ada", "battery staple").await);
    assert!(password_is(&project, "globex", "ada", "correct horse").await);

    let change = "tenant-command changepassword Ada --schema acme --password-stdin";
    insta::assert_snapshot!(project.run_with_stdin(change, "battery staple"), @r"
    ------- stderr -------
    error: there is no user `Ada` in schema `acme`
    hint: names are compared exactly, upper and lower case too
    [exit status: 1]
    ");

    let (_, status) = project
        .terminal("tenant-command --schema globex changepassword")
        .answers("Username:", "nobody")
        .sees("there is no user `nobody` in schema `globex`")
        .answers("Username:", "ada")
        .answers("Password:", "battery staple")
        .answers("Password (again):", "battery staple")
        .ends();
    assert_eq!(status, 0);
    assert!(password_is(&project, "globex", "ada", "battery staple").await);
}

#[tokio::test]
async fn a_table_somebody_holds_is_busy() {
    let project = project_with(["acme"]).await;
    project.write("tenantctl.toml", "[migrate]\nlock_timeout = \"200ms\"\n");
    let blocker = project.blocker("lock table acme.users").await;
    let create = "tenant-command --schema acme createsuperuser --username ada --password-stdin";
    let insert = "tenant-command --schema acme sql 'delete from users'";
    insta::assert_snapshot!(project.run(insert), @r"
    ------- stderr -------
    error: the server refused the statement
         --> command line:1:13
          |
        1 | delete from users
          |             ^
      caused by: canceling statement due to lock timeout
        SQLSTATE 55P03
    hint: nothing was changed; somebody else is working there, try again later
    [exit status: 6]
    ");
    blocker.release().await;
    project.run_with_stdin(create, PASSWORD);
    assert_eq!(users(&project, &["acme"]).await, "acme|ada||t");
}

#[tokio::test]
async fn sql_means_the_tenants_tables() {
    let project = project_with(["acme", "Tenant 1"]).await;
    let sql = "create table notes (id int, body text);
               insert into notes values (1, null), (2, e'two\\tlines\\n');
               update notes set body = 'none' where body is null;
               table notes order by id;
               delete from notes where false";
    project.write("notes.sql", sql);
    insta::assert_snapshot!(project.run("tenant-command --schema 'Tenant 1' sql -f notes.sql"), @r"
    id	body
    1	none
    2	two\tlines\n
    ------- stderr -------
    CREATE TABLE
    INSERT 2
    UPDATE 1
    SELECT 2
    DELETE 0
    ");
    insta::assert_snapshot!(project.run_with_stdin("tenant-command --schema acme sql -f - --format json", "select 1 as a, null as a"), @r#"
    {"type":"row","statement":1,"row":{"a":"1","a (2)":null}}
    {"type":"statement","statement":1,"command":"SELECT","rows":1}
    "#);
    let tables = "select schemaname from pg_tables where tablename = 'notes'";
    assert_eq!(project.query(tables).await, "Tenant 1");
}

#[tokio::test]
async fn sql_that_fails_changes_nothing_and_shows_where() {
    let project = project_with(["acme"]).await;
    let mut shown = String::new();
    for sql in [
        "create table notes (id int);\n  select nope from notes",
        "create table notes (id int); select 1/0",
        "selct 1",
        "insert into users (username, password) values ('é', ''), ('é', '')",
        "create table public.notes (id int); drop schema acme cascade",
    ] {
        let sql = shell_words::quote(sql);
        shown += &project.run(&format!("tenant-command --schema acme sql {sql}"));
    }
    insta::assert_snapshot!(shown, @r#"
    ------- stderr -------
    error: the server refused statement 2 of 2
         --> command line:2:10
          |
        2 |   select nope from notes
          |          ^
      caused by: column "nope" does not exist
        SQLSTATE 42703
    hint: nothing was changed
    [exit status: 1]
    ------- stderr -------
    error: the server refused statement 2 of 2
         --> command line:1
          |
        1 | create table notes (id int); select 1/0
      caused by: division by zero
        SQLSTATE 22012
    hint: nothing was changed
    [exit status: 1]
    ------- stderr -------
    error: the server refused the statement
         --> command line:1:1
          |
        1 | selct 1
          | ^
      caused by: syntax error at or near "selct"
        SQLSTATE 42601
    hint: nothing was changed
    [exit status: 1]
    ------- stderr -------
    error: the server refused the statement
         --> command line:1
          |
        1 | insert into users (username, password) values ('é', ''), ('é', '')
      caused by: duplicate key value violates unique constraint "users_username_key"
        detail: Key (username)=(é) already exists.
        SQLSTATE 23505
    hint: nothing was changed
    [exit status: 1]
    ------- stderr -------
    error: schema `acme` was renamed or dropped before the end
    hint: nothing was changed
    [exit status: 1]
    "#);
    let tables = "select count(*) from pg_tables where tablename = 'notes'";
    assert_eq!(project.query(tables).await, "0");
}

#[tokio::test]
async fn sql_that_cannot_run_in_a_transaction_is_refused() {
    let project = project_with(["acme"]).await;
    let sql =
        "'create table notes (id int); commit;\nset search_path = public; vacuum users;\n\\d'";
    insta::assert_snapshot!(project.run(&format!("tenant-command --schema acme sql {sql}")), @r"
    ------- stderr -------
    error: the SQL says what cannot be run here
      `COMMIT` would break up the transaction that the SQL runs in
         --> command line:1:30
          |
        1 | create table notes (id int); commit;
          |                              ^
        instead: leave `COMMIT` out: all statements are committed at the end, or none
      `SET search_path` would point what comes after it at another schema
         --> command line:2:1
          |
        2 | set search_path = public; vacuum users;
          | ^
        instead: leave it out, and write `schema.table` where another schema is meant
      `VACUUM` cannot run in a transaction, and the SQL runs in one
         --> command line:2:27
          |
        2 | set search_path = public; vacuum users;
          |                           ^
        instead: run it in `psql`: `tenantctl tenant-command --schema NAME psql`
      `\d` is for the program psql
         --> command line:3:1
          |
        3 | \d
          | ^
        instead: run it in `psql`: `tenantctl tenant-command --schema NAME psql`
    hint: nothing was run
    [exit status: 2]
    ");
    let copy = "tenant-command --schema acme sql 'copy users from stdin'";
    insta::assert_snapshot!(project.run(copy), @r"
    ------- stderr -------
    error: the SQL says what cannot be run here
      `COPY … FROM STDIN` wants data on the connection
         --> command line:1:1
          |
        1 | copy users from stdin
          | ^
        instead: run it in `psql`: `tenantctl tenant-command --schema NAME psql`
    hint: nothing was run
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("tenant-command --schema acme sql -f none.sql"), @"
    ------- stderr -------
    error: `none.sql` could not be read
      caused by: no such file or directory
    [exit status: 2]
    ");
    insta::assert_snapshot!(project.run("tenant-command --schema acme sql ''"), @r"
    ------- stderr -------
    error: there is no statement in the SQL
    hint: give it as an argument, or with `--file FILE`
    [exit status: 2]
    ");
}

#[tokio::test]
async fn a_schema_that_is_gone_is_not_skipped() {
    let project = project_with(["acme"]).await;
    project.sql("drop schema acme cascade").await;
    let mut shown = String::new();
    for command in [
        "sql 'create table notes (id int)'",
        "psql",
        "exec true",
        "createsuperuser --username ada --no-input",
    ] {
        let mut command = project.command(&format!("tenant-command --schema acme {command}"));
        command.env("TENANTCTL_SUPERUSER_PASSWORD", "correct horse");
        shown += &project.shown(&command.output().unwrap());
    }
    insta::assert_snapshot!(shown, @r"
    ------- stderr -------
    error: there is no schema `acme`
    hint: `tenantctl status` shows what is missing
    [exit status: 1]
    ------- stderr -------
    error: there is no schema `acme`
    hint: `tenantctl status` shows what is missing
    [exit status: 1]
    ------- stderr -------
    error: there is no schema `acme`
    hint: `tenantctl status` shows what is missing
    [exit status: 1]
    ------- stderr -------
    error: there is no schema `acme`
    hint: `tenantctl status` shows what is missing
    [exit status: 1]
    ");
    let tables = "select count(*) from pg_tables where tablename = 'notes'";
    assert_eq!(project.query(tables).await, "0");
}

const ODD: [&str; 11] = [
    "eha-meetup",
    "1234",
    "select",
    "Tenant 1",
    "bücher",
    "a\"b",
    "o'brien",
    "-x",
    "--all",
    "a\\b",
    "a, b",
];

#[tokio::test]
async fn a_program_finds_the_tenants_tables_whatever_the_name() {
    let project = project_with(ODD).await;
    // libpq by its variables, libpq by the URL alone, and TENANT_SCHEMA.
    let script = "set -e; ask=\"select current_schema(), 'users'::regclass::oid\"
        psql -AtXc \"$ask\"
        env -i PATH=\"$PATH\" psql \"$DATABASE_URL\" -AtXc \"$ask\"
        printf '%s\\n' \"$TENANT_SCHEMA\"";
    let script = shell_words::quote(script);
    for name in ODD {
        let schema = shell_words::quote(&format!("--schema={name}")).into_owned();
        let oid = format!(
            "select c.oid from pg_class c join pg_namespace n on n.oid = relnamespace \
             where nspname = '{}' and relname = 'users'",
            name.replace('\'', "''")
        );
        let found = format!("{name}|{}\n", project.query(&oid).await);
        let exec = project.run(&format!("tenant-command {schema} exec -- sh -c {script}"));
        assert_eq!(exec, format!("{found}{found}{name}\n"));

        let ask =
            shell_words::quote("select current_schema(), 'users'::regclass::oid").into_owned();
        assert_eq!(project.run(&format!("tenant-command psql {schema} -- -AtXc {ask}")), found);
    }
}

/// The driver this program is built on, as a program of its own would use it.
#[tokio::test]
async fn the_url_is_understood_by_sqlx() {
    use sqlx::{Connection, PgConnection};
    let project = project_with(["Tenant 1", "a\"b"]).await;
    for name in ["Tenant 1", "a\"b"] {
        let exec = format!(
            "tenant-command {} exec -- sh -c 'printf %s \"$DATABASE_URL\"'",
            shell_words::quote(&format!("--schema={name}"))
        );
        let output = project.command(&exec).output().unwrap();
        let url = String::from_utf8(output.stdout).unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let schema = sqlx::query_scalar("select current_schema()::text");
        assert_eq!(schema.fetch_one(&mut connection).await.ok(), Some(name.to_owned()));
    }
}

#[tokio::test]
async fn psql_stops_at_the_first_error_and_ends_with_its_status() {
    let project = project_with(["acme"]).await;
    let script = "select 1 / 0;\nselect 'went on';\n";
    let stops = project.run_with_stdin("tenant-command --schema acme psql -- -XAt", script);
    assert!(stops.contains("division by zero") && stops.contains("[exit status: 3]"), "{stops}");
    assert!(!stops.contains("went on"), "{stops}");
    let goes_on = "tenant-command --schema acme psql -- -XAt --set ON_ERROR_STOP=0";
    let goes_on = project.run_with_stdin(goes_on, script);
    assert!(goes_on.contains("went on") && !goes_on.contains("[exit status"), "{goes_on}");
}

#[tokio::test]
async fn a_programs_input_output_and_status_are_its_own() {
    let project = project_with(["acme"]).await;
    let exec = "tenant-command --schema acme exec --";
    let script = "'cat; echo to stderr >&2; exit 7'";
    insta::assert_snapshot!(project.run_with_stdin(&format!("{exec} sh -c {script}"), "to stdout\n"), @r"
    to stdout
    ------- stderr -------
    to stderr
    [exit status: 7]
    ");
    insta::assert_snapshot!(project.run(&format!("{exec} false")), @"[exit status: 1]");
    insta::assert_snapshot!(project.run(&format!("{exec} sh -c 'kill -KILL $$'")), @"[exit status: 137]");
    // Options behind the program are the program's.
    insta::assert_snapshot!(project.run("tenant-command --schema acme exec echo --schema globex -q"), @"--schema globex -q");
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_said_to_be_so() {
    let project = project_with(["acme"]).await;
    project.write("script", "#!/no/such/interpreter\n");
    project.write("text", "");
    fs::set_permissions(project.path("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut shown = String::new();
    for program in ["no-such-program", "./text", "./script", ""] {
        let program = shell_words::quote(program);
        shown += &project.run(&format!("tenant-command --schema acme exec -- {program}"));
    }
    insta::assert_snapshot!(shown, @"
    ------- stderr -------
    error: there is no program `no-such-program`
    [exit status: 127]
    ------- stderr -------
    error: program `./text` could not be run
      caused by: permission denied
    hint: make it executable
    [exit status: 126]
    ------- stderr -------
    error: program `./script` could not be run
      caused by: no such file or directory
    hint: the interpreter that its first line names is missing
    [exit status: 126]
    ------- stderr -------
    error: there is no program ``
    [exit status: 127]
    ");
}

#[tokio::test]
async fn a_signal_is_the_programs() {
    let project = project_with(["acme"]).await;
    let script = "trap 'echo caught TERM; exit 9' TERM; trap 'echo caught INT; exit 8' INT; \
                  touch ready; while :; do sleep 0.05; done";
    let mut shown = String::new();
    for signal in [Signal::TERM, Signal::INT] {
        let mut program = project.command(&exec(script));
        let program = program.stdout(Stdio::piped()).spawn().unwrap();
        let is_ready = async || fs::remove_file(project.path("ready")).is_ok();
        eventually("the child runs", is_ready).await;
        kill_process(Pid::from_child(&program), signal).unwrap();
        shown += &project.shown(&program.wait_with_output().unwrap());
    }
    insta::assert_snapshot!(shown, @r"
    caught TERM
    [exit status: 9]
    caught INT
    [exit status: 8]
    ");
}

#[tokio::test]
async fn ctrl_c_reaches_the_program_once() {
    let project = project_with(["acme"]).await;
    let script = "n=0; trap 'n=$((n+1))' INT; echo ready; sleep 1; sleep 1; echo caught $n; exit 5";
    let (seen, status) = project.terminal(&exec(script)).sees("ready").presses("\x03").ends();
    assert_eq!(status, 5);
    assert!(seen.contains("caught 1"), "{seen}");
}

#[tokio::test]
async fn no_password_is_seen_in_the_list_of_processes() {
    let project = project_with(["acme"]).await;
    let ask = format!("select pg_sleep(30), '{}'", project.path("").display());
    let ask = shell_words::quote(&ask);
    // Other tests do show the password that all of them have.
    let database = project.database();
    let user = format!("secretive_{}", database.database);
    let password = format!("secret_{}", database.database);
    project.sql(&format!("create role {user} superuser login password '{password}'")).await;
    let theirs = ServerConnection { user: user.clone(), password, ..database.clone() };
    let mut psql = project.command(&format!("tenant-command --schema acme psql -- -Xc {ask}"));
    psql.env("DATABASE_URL", theirs.url());
    let mut psql = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut processes = String::new();
    let path = project.path("").display().to_string();
    eventually("psql runs", async || {
        let output = Command::new("ps").args(["-eo", "args"]).output().unwrap();
        processes = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_psql = |line: &str| line.contains("psql --set") && line.contains(&path);
        processes.lines().any(is_psql)
    })
    .await;
    kill_process(Pid::from_child(&psql), Signal::TERM).unwrap();
    psql.wait().unwrap();
    assert!(!processes.contains(&theirs.password));
    project.sql(&format!("drop role {user}")).await;
}

#[tokio::test]
async fn a_role_that_may_not_use_the_schema_does_not_end_up_in_the_shared_one() {
    let project = Project::with_tenants(["acme"]).await;
    let connection = project.database();
    let role = format!("lowly_{}", connection.database);
    project
        .sql(&format!(
            "create role \"{role}\" login password 'lowly'; grant usage on schema public to \"{role}\"; \
             grant select on all tables in schema public to \"{role}\""
        ))
        .await;
    let (port, database) = (connection.port, &connection.database);
    let url = format!("postgres://{role}:lowly@127.0.0.1:{port}/{database}");
    for command in ["sql 'select current_schema()'", "exec -- psql -c 'select 1'"] {
        let shown =
            project.run(&format!("tenant-command --database-url {url} --schema acme {command}"));
        assert!(shown.contains("permission denied for schema acme"), "{shown}");
        assert!(shown.trim_end().ends_with("[exit status: 1]"), "{shown}");
    }
    project.sql(&format!("drop owned by \"{role}\"; drop role \"{role}\"")).await;
}
