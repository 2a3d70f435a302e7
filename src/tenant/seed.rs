//! Running seeds in tenants that are there.

use super::migrate::{FileFinding, MigrateError, check_files};
use super::registry::Registry;
use super::selection::Selection;
use crate::event::Observer;
use crate::migration::preflight;
use crate::migration::{
    ExecuteOptions, Executor, Fleet, Interrupt, MigrationSet, Mode, Outcome, PlanOptions, history,
};
use crate::pg::{Database, Spare};

/// Which seeds are run, and where.
#[derive(Clone, Copy)]
pub struct RunSeeds<'a> {
    /// The database.
    pub database: &'a Database,
    /// Its registry.
    pub registry: &'a Registry,
    /// Which tenants.
    pub selection: &'a Selection,
    /// The seeds, all of which are run.
    pub seeds: &'a MigrationSet,
}

/// What was found before anything is done.
#[derive(Debug)]
pub struct PreparedSeeds {
    /// The tenants.
    pub fleet: Fleet,
    /// The server's version, such as 150018.
    pub server_version: u32,
    /// What the files say that should be known although it is not refused.
    pub warnings: Vec<FileFinding>,
}

impl RunSeeds<'_> {
    /// Finds the tenants and reads the files, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`MigrateError`] when a file says what it may not, or no tenants can be found.
    pub async fn prepare(&self) -> Result<PreparedSeeds, MigrateError> {
        let warnings = check_seeds(self.seeds)?;
        let mut connection = self.database.connect("tenantctl").await?;
        let server_version = connection.server_version();
        let schemas = self.selection.resolve(&mut connection, self.registry).await?;
        connection.close().await;
        let fleet = history::read(self.database, &schemas).await?;
        Ok(PreparedSeeds { fleet, server_version, warnings })
    }

    /// Runs the seeds in each tenant's schema, in one transaction.
    ///
    /// # Errors
    ///
    /// [`MigrateError`] when nothing was done; what went wrong with single schemas is in the
    /// answer.
    pub async fn run(
        &self,
        prepared: PreparedSeeds,
        options: &ExecuteOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<Outcome, MigrateError> {
        let options = ExecuteOptions { mode: Mode::Seed, ..options.clone() };
        let files = (0..self.seeds.folder().files().len()).collect();
        let work = [(self.seeds, files)];
        let spare = Spare::new(self.database);
        let options = match prepared.fleet.schemas.is_empty() {
            true => options,
            false => preflight::check(&spare, self.database, &work, &options, observer).await?,
        };
        let executor = Executor {
            database: self.database,
            spare: &spare,
            migrations: self.seeds,
            seeds: None,
            template: None,
            plan: PlanOptions::default(),
            options: &options,
            observer,
            interrupt,
        };
        let outcome = executor.run(prepared.fleet).await;
        spare.close().await;
        Ok(outcome)
    }
}

/// Checks what seeds say. They run in one transaction, so one that cannot is refused.
pub(super) fn check_seeds(seeds: &MigrationSet) -> Result<Vec<FileFinding>, MigrateError> {
    let files = 0..seeds.folder().files().len();
    let alone = files.clone().filter(|&file| seeds.is_no_transaction(file));
    let refused: Vec<FileFinding> = alone.map(|file| without_transaction(seeds, file)).collect();
    if !refused.is_empty() {
        return Err(MigrateError::Forbidden(refused));
    }
    check_files(files.map(|file| (seeds, file)))
}

fn without_transaction(seeds: &MigrationSet, file: usize) -> FileFinding {
    FileFinding {
        site: seeds.site_at(file, 1, None),
        message: "a seed runs in a transaction, together with the others".into(),
        advice: "leave the line out".into(),
    }
}
