//! Asking a person: in a terminal only, on stderr, and so that a signal still ends the program.
//!
//! A question waits on a thread of its own, because the signals are taken on this one. When a
//! signal ends the program meanwhile, that thread is left behind, and [`give_terminal_back`] undoes
//! what the question did to the terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dialoguer::Confirm;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::error::CommandError;
use super::report::Report;
use super::text::printable;

/// What a check makes of an answer: the value, or what to tell the person, who is asked again.
pub(crate) type Verdict<T> = Result<T, String>;

/// A person who can be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person {
    report: Report,
}

impl Person {
    /// Returns the person at the terminal; `None` when stdin or stderr is something else.
    pub(crate) fn present(report: &Report) -> Option<Self> {
        let is_there = io::stdin().is_terminal() && io::stderr().is_terminal();
        is_there.then_some(Self { report: *report })
    }

    /// Returns the person at the terminal.
    ///
    /// # Errors
    ///
    /// Where there is none, a usage error that says what is `missing`, such as "a username", and
    /// in `hint` which flag gives it.
    pub(crate) fn or_refuse(
        report: &Report,
        missing: &str,
        hint: &str,
    ) -> Result<Self, CommandError> {
        Self::present(report).ok_or_else(|| CommandError::Usage {
            message: format!("{missing} is missing, and there is no terminal to ask on"),
            hint: hint.to_owned(),
        })
    }

    /// Asks for a line of text until `check` accepts it. Who just presses Enter means `default`,
    /// or, where there is none, the empty text.
    pub(crate) async fn text<T>(
        &self,
        question: &str,
        default: Option<&str>,
        mut check: impl AsyncFnMut(&str) -> Result<Verdict<T>, CommandError>,
    ) -> Result<T, CommandError> {
        loop {
            match check(&shown(question, default).await?).await? {
                Ok(value) => return Ok(value),
                Err(objection) => self.object(&objection),
            }
        }
    }

    /// Asks for a new password until `check` accepts it and it was typed twice the same.
    pub(crate) async fn new_password<T>(
        &self,
        question: &str,
        mut check: impl AsyncFnMut(&str) -> Result<Verdict<T>, CommandError>,
    ) -> Result<T, CommandError> {
        let again = format!("{question} (again)");
        loop {
            let password = hidden(question).await?;
            match check(&password).await? {
                Err(objection) => self.object(&objection),
                Ok(value) if hidden(&again).await? == password => return Ok(value),
                Ok(_) => self.object("the two are not the same"),
            }
        }
    }

    /// Asks a question whose answer is yes or no. Who just presses Enter means `default`.
    pub(crate) async fn confirm(
        &self,
        question: &str,
        default: Option<bool>,
    ) -> Result<bool, CommandError> {
        let prompt = question.to_owned();
        ask(question, move || {
            // Not at the first key: one struck by accident must not decide.
            let confirm = Confirm::new().with_prompt(prompt).wait_for_newline(true);
            let confirm = match default {
                Some(default) => confirm.default(default),
                None => confirm,
            };
            Ok(confirm.interact()?)
        })
        .await
    }

    fn object(&self, objection: &str) {
        self.report.always(format!("  {}", printable(objection)));
    }
}

/// Asks for a line of text.
async fn shown(question: &str, default: Option<&str>) -> Result<String, CommandError> {
    let default = default.unwrap_or_default().to_owned();
    let prompt = match default.as_str() {
        "" => format!("{question}: "),
        default => format!("{question} [{default}]: "),
    };
    ask(question, move || {
        show(&prompt)?;
        let answer = line(&io::stdin())?;
        Ok(if answer.is_empty() { default } else { answer })
    })
    .await
}

/// Asks for a line of text that is not shown.
async fn hidden(question: &str) -> Result<String, CommandError> {
    let prompt = format!("{question}: ");
    ask(question, move || {
        let stdin = io::stdin();
        let mut quiet = tcgetattr(&stdin)?;
        quiet.local_modes.remove(LocalModes::ECHO);
        // Before the prompt, so that nothing typed after it is shown or thrown away.
        tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
        show(&prompt)?;
        let answer = line(&stdin)?;
        show("\n")?;
        Ok(answer)
    })
    .await
}

fn line(stdin: &io::Stdin) -> io::Result<String> {
    let mut line = String::new();
    // At the end of the input there is not even a line feed.
    if stdin.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn show(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(text.as_bytes())?;
    stderr.flush()
}

/// The terminal as it was before the question that is being asked.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

fn before() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks on a thread of its own.
async fn ask<T: Send + 'static>(
    question: &str,
    answer: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, CommandError> {
    *before() = tcgetattr(io::stdin()).ok();
    let answer = tokio::task::spawn_blocking(answer).await;
    let answer = answer.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    if answer.is_ok() {
        set_terminal();
    } else {
        give_terminal_back();
    }
    let question = question.to_owned();
    answer.map_err(|source| match source.kind() {
        io::ErrorKind::Interrupted => CommandError::Interrupted,
        io::ErrorKind::UnexpectedEof => CommandError::NoAnswer { question },
        _ => CommandError::Terminal { question, source },
    })
}

/// Makes the terminal what it was before a question that is not going to be answered: it shows
/// what is typed, its cursor is seen, and what is said next begins on a line of its own.
pub(crate) fn give_terminal_back() {
    if set_terminal() {
        let _ = show("\r\n\x1b[?25h");
    }
}

/// Returns whether there was anything to undo.
fn set_terminal() -> bool {
    let before = before().take();
    if let Some(before) = &before {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
    }
    before.is_some()
}
