//! Who a user is, asked for at the terminal where no flag says it.
//!
//! A password never comes from a flag, which everybody on the machine can see.

use std::io::{IsTerminal as _, Read as _};

use super::Target;
use crate::cli::error::CommandError;
use crate::cli::prompt::{Person, Verdict};
use crate::cli::report::Report;
use crate::tenant::user::{self, Email, Password, Username};

const VARIABLE: &str = "TENANTCTL_SUPERUSER_PASSWORD";

// What the commands that ask have in common.
#[derive(Debug, clap::Args)]
pub(super) struct AskArgs {
    /// Take the password from stdin, instead of asking
    ///
    /// All of it, without the line feed at the end. Nothing else is asked for either.
    #[arg(long)]
    password_stdin: bool,

    /// Ask nothing; what is missing is an error
    #[arg(long)]
    no_input: bool,

    /// Say what would be done, and change nothing; no password is asked for
    #[arg(long)]
    dry_run: bool,
}

impl AskArgs {
    /// Whether what can be left out is to be left out.
    pub(super) fn asks_nothing(&self) -> bool {
        self.no_input || self.password_stdin
    }

    /// Returns the password, where one is given.
    pub(super) fn given_password(&self) -> Result<Option<Password>, CommandError> {
        let text = if self.password_stdin {
            Some(from_stdin()?)
        } else {
            let variable = std::env::var_os(VARIABLE).map(|it| it.into_string());
            variable.transpose().map_err(|_| not_utf8())?
        };
        Ok(text.map(|text| text.parse()).transpose()?)
    }

    /// Whether nothing is to be changed.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Returns the password that is given, or else asks for it, twice.
    pub(super) async fn password(
        &self,
        report: &Report,
        given: Option<Password>,
    ) -> Result<Password, CommandError> {
        if let Some(password) = given {
            return Ok(password);
        }
        let hint = format!("give it with `--password-stdin` or in `{VARIABLE}`");
        let person = self.person(report, "the password", &hint)?;
        let check = async |given: &str| Ok(verdict(given));
        person.new_password("Password", check).await
    }

    /// Asks for the name of a user who is in the schema, or is not yet, as `wanted` says.
    pub(super) async fn username(
        &self,
        report: &Report,
        target: &Target,
        hint: &str,
        wanted: Wanted,
    ) -> Result<Username, CommandError> {
        let person = self.person(report, "the username", hint)?;
        let check = async |given: &str| {
            let username = match verdict::<Username>(given) {
                Ok(username) => username,
                Err(objection) => return Ok(Err(objection)),
            };
            let refusal = wanted.refusal(target, &username).await?;
            Ok(refusal.map_or(Ok(username), |error| Err(error.to_string())))
        };
        person.text("Username", None, check).await
    }

    /// Asks for the name of a user who is to be in many schemas, none of which is looked at.
    pub(super) async fn any_username(
        &self,
        report: &Report,
        hint: &str,
    ) -> Result<Username, CommandError> {
        let person = self.person(report, "the username", hint)?;
        let check = async |given: &str| Ok(verdict::<Username>(given));
        person.text("Username", None, check).await
    }

    /// Whether the password comes from stdin.
    pub(super) fn reads_stdin(&self) -> bool {
        self.password_stdin
    }

    /// Asks for an e-mail address, which may be left out unless it `is_required`.
    pub(super) async fn email(
        &self,
        report: &Report,
        is_required: bool,
    ) -> Result<Option<Email>, CommandError> {
        if self.asks_nothing() && !is_required {
            return Ok(None);
        }
        let hint = match is_required {
            true => "give it with `--email`",
            false => "give it with `--email`, or go without by `--no-input`",
        };
        let person = self.person(report, "the e-mail address", hint)?;
        let check = async |given: &str| match given {
            "" if !is_required => Ok(Ok(None)),
            given => Ok(verdict(given).map(Some)),
        };
        let question = if is_required { "E-mail" } else { "E-mail [none]" };
        person.text(question, None, check).await
    }

    fn person(&self, report: &Report, missing: &str, hint: &str) -> Result<Person, CommandError> {
        if self.asks_nothing() {
            return Err(CommandError::Usage {
                message: format!("{missing} is missing"),
                hint: hint.into(),
            });
        }
        Person::or_refuse(report, missing, hint)
    }
}

fn verdict<T: std::str::FromStr<Err = user::InputError>>(given: &str) -> Verdict<T> {
    given.parse().map_err(|error: T::Err| error.to_string())
}

/// Which usernames are welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    New,
    Known,
}

impl Wanted {
    /// Returns what there is against a name, if anything.
    pub(super) async fn refusal(
        self,
        target: &Target,
        username: &Username,
    ) -> Result<Option<user::UserError>, CommandError> {
        let mut connection = target.connect().await?;
        let exists = user::exists(&mut connection, &target.scope, username).await?;
        connection.close().await;
        let (schema, username) = (target.scope.schema.clone(), username.clone());
        Ok(match (self, exists) {
            (Self::New, true) => Some(user::UserError::Taken { schema, username }),
            (Self::Known, false) => Some(user::UserError::Unknown { schema, username }),
            _ => None,
        })
    }
}

fn from_stdin() -> Result<String, CommandError> {
    if std::io::stdin().is_terminal() {
        return Err(CommandError::Usage {
            message: "stdin is a terminal, which would show the password".into(),
            hint: "leave out `--password-stdin` to be asked for it".into(),
        });
    }
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|_| not_utf8())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn not_utf8() -> CommandError {
    CommandError::Usage {
        message: "the password cannot be read".into(),
        hint: "it has to be UTF-8".into(),
    }
}
