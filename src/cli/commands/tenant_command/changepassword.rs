//! `tenant-command changepassword`: a new password for a user of one schema.

use serde_json::{Value, json};

use super::Target;
use super::asking::{AskArgs, Wanted};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::report::Report;
use crate::name::SchemaName;
use crate::tenant::user::{self, Password, Username, UsersTable};

const USERNAME_HINT: &str = "give it as an argument: `changepassword USERNAME`";

/// Give a user of the schema a new password
///
/// The password is asked for twice, or comes from `--password-stdin` or from the environment
/// variable TENANTCTL_SUPERUSER_PASSWORD; its Argon2id hash is stored.
#[derive(Debug, clap::Args)]
pub(crate) struct ChangepasswordArgs {
    /// The name the user logs in with, exactly
    #[arg(value_name = "USERNAME")]
    username: Option<String>,

    #[command(flatten)]
    ask: AskArgs,
}

pub(super) async fn run(
    context: &mut Context,
    target: &Target,
    args: &ChangepasswordArgs,
) -> CommandResult {
    let (username, given) = args.user(&context.report, target).await?;
    if args.ask.is_dry_run() {
        let mut connection = target.connect().await?;
        user::foresee_password(&mut connection, &target.scope, &username).await?;
        connection.close().await;
        say_changed(&context.report, target, &username, true);
        return Ok(ExitCode::Done);
    }
    let password = args.ask.password(&context.report, given).await?;
    let mut connection = target.connect().await?;
    user::change_password(&mut connection, &target.scope, &username, &password).await?;
    connection.close().await;
    let what = format!("changed the password of `{username}`");
    let (database, schema) = (&target.database, &target.scope.schema);
    context.record_done("tenant-command", database, schema, what).await;
    say_changed(&context.report, target, &username, false);
    Ok(ExitCode::Done)
}

impl ChangepasswordArgs {
    /// Returns what the command line says, and asks for the rest but the password. What can be
    /// refused is refused before anybody is asked.
    async fn user(
        &self,
        report: &Report,
        target: &Target,
    ) -> Result<(Username, Option<Password>), CommandError> {
        let username: Option<Username> = self.username.as_deref().map(str::parse).transpose()?;
        let given = self.ask.given_password()?;
        let mut connection = target.connect().await?;
        UsersTable::of(&mut connection, &target.scope).await?;
        connection.close().await;
        let username = match username {
            Some(username) => known(target, username).await?,
            None => self.ask.username(report, target, USERNAME_HINT, Wanted::Known).await?,
        };
        Ok((username, given))
    }

    /// Returns the change for many schemas, none of which is looked at beforehand; for a dry run
    /// without a password.
    pub(in crate::cli::commands) async fn change_in_many(
        &self,
        report: &Report,
    ) -> Result<(Username, Option<Password>), CommandError> {
        let username: Option<Username> = self.username.as_deref().map(str::parse).transpose()?;
        let given = self.ask.given_password()?;
        let username = match username {
            Some(username) => username,
            None => self.ask.any_username(report, USERNAME_HINT).await?,
        };
        let password = match self.ask.is_dry_run() {
            true => None,
            false => Some(self.ask.password(report, given).await?),
        };
        Ok((username, password))
    }

    /// Whether the password comes from stdin.
    pub(in crate::cli::commands) fn reads_stdin(&self) -> bool {
        self.ask.reads_stdin()
    }
}

async fn known(target: &Target, username: Username) -> Result<Username, CommandError> {
    match Wanted::Known.refusal(target, &username).await? {
        Some(refusal) => Err(refusal.into()),
        None => Ok(username),
    }
}

fn say_changed(report: &Report, target: &Target, username: &Username, dry_run: bool) {
    let verb = if dry_run { "would change" } else { "changed" };
    report.answer(format!("{verb} the password of `{username}` in schema `{}`", target.shown()));
    report.object("user", changed(&target.scope.schema, username, dry_run));
}

/// Returns what JSON says of a user who has a new password, or would.
pub(in crate::cli::commands) fn changed(
    schema: &SchemaName,
    username: &Username,
    dry_run: bool,
) -> Value {
    json!({
        "state": "changed",
        "schema": schema,
        "username": username.as_str(),
        "dry_run": dry_run,
    })
}
