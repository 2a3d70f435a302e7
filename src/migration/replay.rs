//! Every migration run in a new schema, to be looked at and rolled back.

use std::collections::BTreeSet;

use super::beyond;
use super::history::History;
use super::refused::Refused;
use super::script::{Creating, Origin, Script, ScriptOptions, Subject};
use super::set::MigrationSet;
use crate::event::{Cause, Failure};
use crate::name::SchemaName;
use crate::pg::{ConnectError, Connection, Incomplete, SqlError};

/// Why the migrations could not be replayed. The transaction is still open where the connection is.
#[derive(Debug)]
pub(crate) enum ReplayError {
    /// A statement was refused.
    Failed(Box<Failure>),
    /// Somebody was in the way, or another time may end otherwise.
    Busy(SqlError),
    /// The connection was lost.
    Lost(ConnectError),
}

/// Runs every file in a new schema as creating a tenant does, guard and audit included, and leaves
/// the transaction open.
pub(crate) async fn replay(
    connection: &mut Connection,
    migrations: &MigrationSet,
    schema: &SchemaName,
    options: &ScriptOptions,
) -> Result<(), ReplayError> {
    let used_up =
        connection.ask(&beyond::question(&BTreeSet::new())).await.map_err(lost)?.rows[0].flag(0);
    let files: Vec<usize> = (0..migrations.folder().files().len()).collect();
    let creation = Creating {
        is_new: true,
        may_be_there: false,
        register: Some(&[]),
        seeds: None,
        template: None,
    };
    let history = History::default();
    let subject =
        Subject { schema, history: &history, migrations, files: &files, creation: Some(creation) };
    let mut script = Script::trial(subject, options, used_up);
    script.steps.retain(|step| step.origin != Origin::End);
    for message in script.messages(false) {
        if let Err((incomplete, complete)) = connection.send(message.text.clone()).await {
            return Err(match incomplete {
                Incomplete::Lost(error) => ReplayError::Lost(error),
                Incomplete::Sql(error) if error.is_lock_not_available() || error.is_conflict() => {
                    ReplayError::Busy(error)
                }
                Incomplete::Sql(error) => {
                    let refused = Refused::find(&script, &message, complete, error);
                    ReplayError::Failed(Box::new(refused.failure(migrations)))
                }
            });
        }
    }
    Ok(())
}

fn lost(incomplete: Incomplete) -> ReplayError {
    match incomplete {
        Incomplete::Lost(error) => ReplayError::Lost(error),
        Incomplete::Sql(error) => ReplayError::Failed(Box::new(Cause::Sql(error).into())),
    }
}
