//! What is done in each of many schemas, with everything that is asked for or read only once.

use std::ffi::OsString;
use std::fs::File;
use std::io;

use super::InnerCommand;
use crate::cli::child;
use crate::cli::commands::tenant_command::{psql, sql};
use crate::cli::error::CommandError;
use crate::cli::report::Report;
use crate::cli::selection::SelectionArgs;
use crate::tenant::SqlText;
use crate::tenant::user::{Email, NewUser, Password, Username};

/// What is done in each schema.
pub(super) enum Work {
    Sql(SqlText),
    RehearseSql(SqlText),
    CreateSuperuser(NewUser),
    ForeseeSuperuser(Username, Option<Email>),
    ChangePassword(Username, Password),
    ForeseePassword(Username),
    Program(Program),
}

/// A program that is run in each schema.
pub(super) struct Program {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    /// What each reads, from its beginning.
    pub(super) stdin: Option<File>,
}

impl InnerCommand {
    pub(super) fn check_stdin(&self, selection: &SelectionArgs) -> Result<(), CommandError> {
        let reads_stdin = match self {
            Self::Createsuperuser(it) => it.args.reads_stdin(),
            Self::Changepassword(it) => it.args.reads_stdin(),
            Self::Sql(it) => it.args.reads_stdin(),
            Self::Psql(it) => psql_reads_stdin(&it.args.arguments),
            Self::Exec(it) => it.args.stdin,
        };
        if reads_stdin && selection.reads_stdin() {
            return Err(CommandError::Usage {
                message: "stdin cannot be both the schemas' names and what is run".into(),
                hint: "put the names into a file: `--schemas-from FILE`".into(),
            });
        }
        let is_program = matches!(self, Self::Psql(_) | Self::Exec(_));
        if is_program && reads_stdin && io::IsTerminal::is_terminal(&io::stdin()) {
            return Err(CommandError::Usage {
                message: "one terminal cannot be the stdin of many programs".into(),
                hint: match self {
                    Self::Psql(_) => {
                        "say what psql is to run: `psql --tenants -- -c SQL`, or `-f FILE`; \
                         `tenant-command --schema NAME psql` opens it in one schema"
                    }
                    _ => "leave out `--stdin`, or give it a file: `--stdin < FILE`",
                }
                .into(),
            });
        }
        Ok(())
    }

    /// Returns what is to be done, everything that is asked for or read only once included.
    pub(super) async fn work(&self, report: &Report) -> Result<Work, CommandError> {
        Ok(match self {
            Self::Createsuperuser(it) => match it.args.user_of_many(report).await? {
                (username, email, Some(password)) => {
                    Work::CreateSuperuser(NewUser { username, email, password })
                }
                (username, email, None) => Work::ForeseeSuperuser(username, email),
            },
            Self::Changepassword(it) => match it.args.change_in_many(report).await? {
                (username, Some(password)) => Work::ChangePassword(username, password),
                (username, None) => Work::ForeseePassword(username),
            },
            Self::Sql(it) if it.args.is_dry_run() => Work::RehearseSql(it.args.read()?),
            Self::Sql(it) => Work::Sql(it.args.read()?),
            Self::Psql(it) => {
                let arguments = &it.args.arguments;
                let stdin = psql_reads_stdin(arguments).then(spooled).transpose()?;
                let no_password = [OsString::from("--no-password")].into_iter();
                let arguments = no_password.chain(psql::arguments(arguments)).collect();
                Work::program(psql::program(), arguments, stdin)?
            }
            Self::Exec(it) => {
                let command = &it.args.exec.command;
                let (program, arguments) = command.split_first().expect("clap requires one");
                let stdin = it.args.stdin.then(spooled).transpose()?;
                Work::program(program.clone(), arguments.to_vec(), stdin)?
            }
        })
    }
}

impl Work {
    /// Whether it is known to change something.
    pub(super) fn is_recorded(&self) -> bool {
        match self {
            Self::Sql(text) => text.kinds().any(sql::changes),
            Self::Program(_) => false,
            _ => !self.is_dry_run(),
        }
    }

    /// Whether it changes nothing, whatever it says.
    pub(super) fn is_dry_run(&self) -> bool {
        matches!(self, Self::RehearseSql(_) | Self::ForeseeSuperuser(..) | Self::ForeseePassword(_))
    }

    /// Whether other programs are run.
    pub(super) fn is_program(&self) -> bool {
        matches!(self, Self::Program(_))
    }

    fn program(
        program: OsString,
        arguments: Vec<OsString>,
        stdin: Option<File>,
    ) -> Result<Self, CommandError> {
        child::check(&program)?;
        Ok(Self::Program(Program { program, arguments, stdin }))
    }
}

/// Returns a file with all of stdin, which nobody else finds and which is gone with the program.
fn spooled() -> Result<File, CommandError> {
    let spool = || {
        let mut file = tempfile::tempfile()?;
        io::copy(&mut io::stdin().lock(), &mut file)?;
        Ok(file)
    };
    spool().map_err(|source| CommandError::File { path: "stdin".into(), source })
}

/// Whether psql reads what it is to run from stdin: it is given no `-c`, no `-f` but `-f -`, and
/// nothing else after which it ends.
fn psql_reads_stdin(arguments: &[OsString]) -> bool {
    /// The options of one letter that take a value (psql's manual page).
    const WITH_VALUE: &str = "cdfFhLopPRTUv";
    let mut arguments = arguments.iter().map(|it| it.to_string_lossy());
    let mut has_command = false;
    while let Some(argument) = arguments.next() {
        if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            match name {
                "file" => {
                    let value = value.or_else(|| arguments.next().map(Into::into));
                    match value.as_deref() {
                        Some("-") => return true,
                        _ => has_command = true,
                    }
                }
                "command" | "list" | "version" | "help" => has_command = true,
                _ => {}
            }
            continue;
        }
        let Some(short) = argument.strip_prefix('-') else { continue };
        for (at, letter) in short.char_indices() {
            has_command |= "cflV?".contains(letter);
            if WITH_VALUE.contains(letter) {
                let attached = &short[at + letter.len_utf8()..];
                let value = match attached.is_empty() {
                    true => arguments.next().map(Into::into),
                    false => Some(attached.to_owned()),
                };
                if letter == 'f' && value.as_deref() == Some("-") {
                    return true;
                }
                break;
            }
        }
    }
    !has_command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_stdin(arguments: &str) -> bool {
        let arguments: Vec<OsString> = arguments.split_whitespace().map(OsString::from).collect();
        psql_reads_stdin(&arguments)
    }

    #[test]
    fn psql_reads_stdin_unless_it_is_told_what_to_run() {
        for arguments in [
            "-c x",
            "-cx",
            "-Atc x",
            "--command=x",
            "--command x",
            "-f x",
            "--file=x",
            "-l",
            "-v a=b -c x",
        ] {
            assert!(!reads_stdin(arguments), "{arguments}");
        }
        for arguments in ["", "-At", "-v -c", "-f -", "-f-", "--file -", "--file=-", "-P c", "-d c"]
        {
            assert!(reads_stdin(arguments), "{arguments}");
        }
    }
}
