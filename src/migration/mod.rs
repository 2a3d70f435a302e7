//! Migrations: files, statements, history, plan and apply.

mod checksum;
pub mod file;
mod file_name;
pub mod folder;
pub(crate) mod listing;
mod numbering;
pub mod scaffold;

pub use checksum::Width;
pub use file::MigrationFile;
pub use file_name::{Kind, VersionRule};
pub use folder::{FileProblem, FolderError, MigrationFolder};
pub use listing::Duplicate;
