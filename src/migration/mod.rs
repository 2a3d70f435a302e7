//! Migrations: files, statements, history, plan and apply.

mod beyond;
mod checksum;
mod executor;
pub mod file;
mod file_name;
pub mod folder;
pub mod history;
mod holders;
mod interrupt;
pub(crate) mod listing;
mod no_transaction;
mod numbering;
mod plan;
pub(crate) mod preflight;
mod queue;
mod refused;
pub(crate) mod replay;
mod run;
pub mod scaffold;
mod script;
pub mod seeds;
mod set;
pub mod sql;
mod survey;
mod watch;
mod waves;
mod worker;

pub use checksum::Width;
pub use executor::{ExecuteOptions, Executor, Mode, Outcome, Stop};
pub use file::MigrationFile;
pub use file_name::{Kind, VersionRule};
pub use folder::{FileProblem, FolderError, MigrationFolder};
pub(crate) use history::locked as history_is_locked;
pub use history::{Fleet, Found, History, LookError};
pub(crate) use holders::{
    in_schemas as holders_in_schemas, of_schema_lock as holders_of_schema_lock,
    of_tables as holders_of_tables,
};
pub use interrupt::{Interrupt, Urgency};
pub use listing::Duplicate;
pub use plan::{Finding, Plan, PlanOptions};
pub use preflight::{ConnectionLimit, FreeConnections, PreflightError, SmallLockTable, room_for};
pub use script::{BEING_CREATED, Creating, Origin, Registration, Script, ScriptOptions, Subject};
pub(crate) use script::{lock_key, lock_key_of};
pub use seeds::SeedsError;
pub use set::MigrationSet;
pub use survey::{Disagreement, State, Survey};
pub(crate) use watch::watched;
pub use waves::{Canaries, Share, ShareError, Waves};
