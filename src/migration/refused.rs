//! A statement that was refused: which of a script's it was, and where in it.

use std::collections::HashMap;

use super::executor::Executor;
use super::script::{self, Message, Origin, REFUSAL, Script, Step};
use super::set::MigrationSet;
use crate::event::{Cause, Failure, Site};
use crate::pg::SqlError;

/// A statement that was refused.
pub(super) struct Refused {
    pub(super) step: Step,
    /// Bytes from the beginning of the statement, where the server said so.
    offset: Option<usize>,
    pub(super) error: SqlError,
}

impl Refused {
    pub(super) fn find(
        script: &Script,
        message: &Message,
        complete: usize,
        error: SqlError,
    ) -> Self {
        let byte = error.position.and_then(|position| {
            message.text.char_indices().nth(position.saturating_sub(1)).map(|(byte, _)| byte)
        });
        let located = byte.and_then(|byte| message.step_at(byte));
        let running = message.steps.get(complete).or(message.steps.last());
        let index = located.map(|(index, _)| index).or(running.map(|(_, index)| *index));
        let step = script.steps[index.expect("a message has a statement")].clone();
        let offset = located.map(|(_, offset)| offset);
        let error = match offset.is_some_and(|offset| offset >= step.sql.len()) {
            true => error.at_end_of_input(),
            false => error,
        };
        Self { step, offset, error }
    }

    /// Whether it may do another time what it did not now.
    pub(super) fn is_passing(&self) -> bool {
        let error = &self.error;
        self.refusal() == Some("locked")
            || error.is_lock_not_available()
            || error.is_conflict()
            // Cancelled, by somebody or by `statement_timeout`.
            || error.is("57014")
    }

    /// Returns the word with which the guard or the audit refused.
    pub(super) fn refusal(&self) -> Option<&str> {
        if !matches!(self.step.origin, Origin::Guard | Origin::Audit) {
            return None;
        }
        // `invalid input syntax for type integer: "tenantctl:locked"`, in the server's language.
        let (_, quoted) = self.error.message.split_once(REFUSAL)?;
        Some(quoted.rsplit_once('"').map_or(quoted, |(word, _)| word))
    }

    /// Returns what went wrong with one of `migrations`' statements, or with the guard or the audit
    /// around them.
    pub(super) fn failure(self, migrations: &MigrationSet) -> Failure {
        let files: Vec<usize> = (0..migrations.folder().files().len()).collect();
        let site = match self.step.origin {
            Origin::File { file, statement } => Some(migrations.site(file, statement, self.offset)),
            _ => None,
        };
        let cause = match self.refusal() {
            None => Cause::Sql(self.error),
            Some("no-schema") => Cause::DroppedItself,
            Some(other) => match other.strip_prefix("beyond:") {
                Some(objects) => Cause::Beyond { objects: objects.to_owned() },
                None => {
                    let touched = other.strip_prefix("outside:").unwrap_or(other);
                    Cause::Outside { touched: script::touched(touched, &HashMap::new()) }
                }
            },
        };
        let mentioned = match &cause {
            Cause::Outside { touched } => migrations.mention(&files, touched),
            _ => None,
        };
        Failure { site: site.or(mentioned), ..cause.into() }
    }

    pub(super) fn site(&self, executor: Executor<'_>) -> Option<Site> {
        match self.step.origin {
            Origin::File { file, statement } => {
                Some(executor.migrations.site(file, statement, self.offset))
            }
            Origin::Seed { file, statement } => {
                Some(executor.seeds?.site(file, statement, self.offset))
            }
            _ => None,
        }
    }
}
