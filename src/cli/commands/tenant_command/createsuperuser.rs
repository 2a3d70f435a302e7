//! `tenant-command createsuperuser`: a user who may do everything in one schema.

use serde_json::{Value, json};

use super::Target;
use super::asking::{AskArgs, Wanted};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::report::Report;
use crate::name::SchemaName;
use crate::tenant::user::{self, Email, NewUser, Password, Username, UsersTable};

const USERNAME_HINT: &str = "give it with `--username`";

/// Create a user who may do everything in the schema
///
/// A row in the schema's table `users`, and in no other schema's. What no flag gives is asked for
/// in the terminal. The password is asked for twice, or comes from `--password-stdin` or from the
/// environment variable TENANTCTL_SUPERUSER_PASSWORD; its Argon2id hash is stored.
#[derive(Debug, clap::Args)]
pub(crate) struct CreatesuperuserArgs {
    /// The name to log in with, unlike every other in the schema
    #[arg(long, value_name = "NAME")]
    username: Option<String>,

    /// The e-mail address
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,

    #[command(flatten)]
    ask: AskArgs,
}

pub(super) async fn run(
    context: &mut Context,
    target: &Target,
    args: &CreatesuperuserArgs,
) -> CommandResult {
    let (username, email, given) = args.user(&context.report, target).await?;
    if args.ask.is_dry_run() {
        let mut connection = target.connect().await?;
        user::foresee_superuser(&mut connection, &target.scope, &username, email.as_ref()).await?;
        connection.close().await;
        say_created(&context.report, target, &username, true);
        return Ok(ExitCode::Done);
    }
    let password = args.ask.password(&context.report, given).await?;
    let user = NewUser { username, email, password };
    let mut connection = target.connect().await?;
    user::create_superuser(&mut connection, &target.scope, &user).await?;
    connection.close().await;
    let what = format!("created superuser `{}`", user.username);
    let (database, schema) = (&target.database, &target.scope.schema);
    context.record_done("tenant-command", database, schema, what).await;
    say_created(&context.report, target, &user.username, false);
    Ok(ExitCode::Done)
}

/// What the command line says of a user.
type Given = (Option<Username>, Option<Email>, Option<Password>);

/// A user's name and address, and the password where there is one by now.
type Described = (Username, Option<Email>, Option<Password>);

impl CreatesuperuserArgs {
    /// Returns what the flags say, and asks for the rest but the password. What can be refused is
    /// refused before anybody is asked.
    async fn user(&self, report: &Report, target: &Target) -> Result<Described, CommandError> {
        let (username, email, given) = self.given()?;
        let table = table(target).await?;
        let username = match username {
            Some(username) => new(target, username).await?,
            None => self.ask.username(report, target, USERNAME_HINT, Wanted::New).await?,
        };
        let email = match email {
            None if table.has_email() => self.ask.email(report, table.requires_email()).await?,
            email => email,
        };
        Ok((username, email, given))
    }

    /// Returns the user for many schemas, none of which is looked at beforehand; for a dry run
    /// without a password.
    pub(in crate::cli::commands) async fn user_of_many(
        &self,
        report: &Report,
    ) -> Result<Described, CommandError> {
        let (username, email, given) = self.given()?;
        let username = match username {
            Some(username) => username,
            None => self.ask.any_username(report, USERNAME_HINT).await?,
        };
        let email = match email {
            None => self.ask.email(report, false).await?,
            email => email,
        };
        let password = match self.ask.is_dry_run() {
            true => None,
            false => Some(self.ask.password(report, given).await?),
        };
        Ok((username, email, password))
    }

    fn given(&self) -> Result<Given, CommandError> {
        let username = self.username.as_deref().map(str::parse).transpose()?;
        let email = self.email.as_deref().map(str::parse).transpose()?;
        Ok((username, email, self.ask.given_password()?))
    }

    /// Whether the password comes from stdin.
    pub(in crate::cli::commands) fn reads_stdin(&self) -> bool {
        self.ask.reads_stdin()
    }
}

async fn table(target: &Target) -> Result<UsersTable, CommandError> {
    let mut connection = target.connect().await?;
    let table = UsersTable::of(&mut connection, &target.scope).await?;
    table.check_columns()?;
    connection.close().await;
    Ok(table)
}

async fn new(target: &Target, username: Username) -> Result<Username, CommandError> {
    match Wanted::New.refusal(target, &username).await? {
        Some(refusal) => Err(refusal.into()),
        None => Ok(username),
    }
}

fn say_created(report: &Report, target: &Target, username: &Username, dry_run: bool) {
    let verb = if dry_run { "would create" } else { "created" };
    report.answer(format!("{verb} superuser `{username}` in schema `{}`", target.shown()));
    report.object("user", created(&target.scope.schema, username, dry_run));
}

/// Returns what JSON says of a user who was created, or would be.
pub(in crate::cli::commands) fn created(
    schema: &SchemaName,
    username: &Username,
    dry_run: bool,
) -> Value {
    json!({
        "state": "created",
        "schema": schema,
        "username": username.as_str(),
        "dry_run": dry_run,
    })
}
