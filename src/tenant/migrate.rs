//! Migrating the shared schema and the tenants': look at all, refuse early, act on each.

use std::collections::HashSet;

use super::registry::{Registry, RegistryError};
use super::selection::{Selection, SelectionError};
use crate::event::{Event, Observer, Site};
use crate::migration::preflight::{self, PreflightError};
use crate::migration::sql::Severity;
use crate::migration::{
    Disagreement, ExecuteOptions, Executor, Fleet, Interrupt, Kind, LookError, MigrationSet, Mode,
    Outcome, PlanOptions, Survey, Waves,
};
use crate::name::SchemaName;
use crate::pg::{ConnectError, Database, Incomplete, Lane, Spare};

/// What is to be migrated, and how.
#[derive(Clone, Copy)]
pub struct Migrate<'a> {
    /// The database.
    pub database: &'a Database,
    /// Its registry.
    pub registry: &'a Registry,
    /// Which schemas.
    pub selection: &'a Selection,
    /// The shared schema's migrations, where it is selected.
    pub shared: Option<&'a MigrationSet>,
    /// The tenants' migrations, where tenants are selected.
    pub tenants: Option<&'a MigrationSet>,
    /// How plans are made.
    pub plan: PlanOptions,
}

/// What was found before anything is done.
#[derive(Debug, Default)]
pub struct Prepared {
    /// The shared schema, where it is selected.
    pub shared: Option<Survey>,
    /// The tenants, where they are selected; `None` also while there is no registry yet.
    pub tenants: Option<Survey>,
    /// The server's version, such as 150018.
    pub server_version: u32,
    /// What the files say that should be known although it is not refused.
    pub warnings: Vec<FileFinding>,
    /// Tenants that are being deleted, and are left alone.
    pub being_deleted: Vec<SchemaName>,
    /// The connection that looked; it stays open for the run.
    spare: Option<Spare>,
}

/// Something a migration file says that it may not, or had better not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFinding {
    /// Where.
    pub site: Site,
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub advice: String,
}

/// What became of the shared schema and of the tenants.
#[derive(Debug, Default)]
pub struct Migrated {
    /// Of the shared schema, where it was selected.
    pub shared: Option<Outcome>,
    /// Of the tenants.
    pub tenants: Outcome,
}

impl Migrated {
    /// Whether every schema is where it should be.
    pub fn is_complete(&self) -> bool {
        self.shared.iter().chain([&self.tenants]).all(Outcome::is_complete)
    }

    /// Returns the schemas that were not tried.
    pub fn not_attempted(&self) -> impl Iterator<Item = &SchemaName> {
        self.shared.iter().chain([&self.tenants]).flat_map(|outcome| &outcome.not_attempted)
    }

    /// Returns how many schemas something was applied to.
    pub fn applied(&self) -> usize {
        self.shared.iter().chain([&self.tenants]).map(|outcome| outcome.applied).sum()
    }
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The selection does not stand for schemas, or the registry did not answer.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The histories could not be read.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The server, or the way to it, is not one on which this can be done.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// Histories and files disagree.
    #[error("the migration files do not agree with what was applied")]
    Disagree {
        /// What is wrong, with the words of the file or row and the schemas.
        disagreements: Vec<(String, Vec<SchemaName>)>,
    },
    /// Files say what they may not.
    #[error("{} cannot be run as they are", files(.0))]
    Forbidden(Vec<FileFinding>),
    /// `--to` names a version that no file has.
    #[error("there is no migration with version {version} in `{folder}`")]
    NoSuchVersion {
        /// The version.
        version: i64,
        /// The folder.
        folder: String,
    },
}

fn files(findings: &[FileFinding]) -> &'static str {
    let is_seed = |it: &FileFinding| it.site.migration.starts_with("seed ");
    if findings.iter().all(is_seed) { "the seeds" } else { "the migration files" }
}

impl From<RegistryError> for MigrateError {
    fn from(error: RegistryError) -> Self {
        Self::Selection(error.into())
    }
}

impl From<ConnectError> for MigrateError {
    fn from(error: ConnectError) -> Self {
        Self::Look(error.into())
    }
}

impl From<Incomplete> for MigrateError {
    fn from(incomplete: Incomplete) -> Self {
        Self::Look(incomplete.into())
    }
}

impl Prepared {
    /// Returns how many schemas were looked at.
    pub fn total(&self) -> usize {
        let surveys = [&self.shared, &self.tenants].into_iter().flatten();
        surveys.map(|survey| survey.fleet.schemas.len()).sum()
    }

    /// Whether there is anything to do.
    pub fn has_work(&self) -> bool {
        [&self.shared, &self.tenants].into_iter().flatten().any(|survey| !survey.is_clean())
    }

    /// Returns the tenants' schemas that were looked at, in their order.
    pub fn tenants(&self) -> impl Iterator<Item = &SchemaName> {
        self.tenants.iter().flat_map(|survey| &survey.fleet.schemas).map(|(schema, _)| schema)
    }

    /// Returns the connection that looked, and that will be the run's spare one.
    pub fn spare(&mut self, database: &Database) -> &Spare {
        self.spare.get_or_insert_with(|| Spare::new(database))
    }

    /// Returns the connection that looked and was the run's spare one, for what comes after it.
    pub fn take_spare(&mut self) -> Option<Spare> {
        self.spare.take()
    }

    /// Closes the connection that looked.
    pub async fn close(&mut self) {
        if let Some(spare) = self.spare.take() {
            spare.close().await;
        }
    }
}

impl<'a> Migrate<'a> {
    /// Looks at every schema that is meant, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`MigrateError`]; what can be known beforehand is refused here, for all files and schemas
    /// at once.
    pub async fn prepare(&self) -> Result<Prepared, MigrateError> {
        self.prepare_over(ExecuteOptions::default().jobs).await
    }

    /// Looks at every schema that is meant as [`Self::prepare`] does, over at most `jobs`
    /// connections and one.
    pub async fn prepare_over(&self, jobs: usize) -> Result<Prepared, MigrateError> {
        let mut prepared = self.look_over(jobs).await?;
        if let Some(tenants) = &mut prepared.tenants {
            prepared.being_deleted = tenants.leave_out_being_deleted(&self.selection.names);
        }
        self.refuse_disagreements(&prepared)?;
        prepared.warnings = self.check_files(&prepared)?;
        Ok(prepared)
    }

    /// Looks at every schema that is meant, for recording files without running them: what they
    /// say does not matter then.
    pub async fn prepare_baseline(&self, jobs: usize) -> Result<Prepared, MigrateError> {
        let prepared = self.look_over(jobs).await?;
        self.refuse_disagreements(&prepared)?;
        Ok(prepared)
    }

    /// Looks at every schema that is meant; what stands in the way is not an error here.
    pub async fn look(&self) -> Result<Prepared, MigrateError> {
        let mut prepared = self.look_over(Survey::HELPERS).await?;
        prepared.close().await;
        Ok(prepared)
    }

    async fn look_over(&self, jobs: usize) -> Result<Prepared, MigrateError> {
        self.check_target()?;
        let spare = Spare::new(self.database);
        let mut lane = spare.lane().await;
        let server_version = lane.serve(0).await?.server_version();
        let shared = match self.shared {
            Some(set) => {
                let shared = [self.shared_schema()];
                Some(Survey::take_over(&mut lane, &mut [], set, &shared, self.plan).await?)
            }
            None => None,
        };
        let tenants = self.look_at_tenants(&spare, &mut lane, shared.as_ref(), jobs).await?;
        drop(lane);
        let spare = Some(spare);
        Ok(Prepared { shared, tenants, server_version, spare, ..Prepared::default() })
    }

    fn shared_schema(&self) -> SchemaName {
        self.registry.names().shared_schema.clone()
    }

    async fn look_at_tenants(
        &self,
        spare: &Spare,
        lane: &mut Lane,
        shared: Option<&Survey>,
        jobs: usize,
    ) -> Result<Option<Survey>, MigrateError> {
        let Some(set) = self.tenants else {
            return Ok(None);
        };
        let resolved = self.selection.resolve(lane.serve(0).await?, self.registry).await;
        let schemas = match resolved {
            // The registry is about to be made by the shared migrations, with no tenant in it.
            Err(SelectionError::Registry(RegistryError::NotInitialised { .. }))
                if self.selection.names.is_empty() && shared.is_some_and(|it| !it.is_clean()) =>
            {
                return Ok(None);
            }
            other => other?,
        };
        let mut survey = Survey::take_for_run(spare, lane, set, &schemas, self.plan, jobs).await?;
        if survey.missing().next().is_some() {
            self.catch_up(lane, set, &mut survey).await?;
        }
        // An order that somebody asked for is not given up for a little speed.
        if !self.selection.order.is_empty() {
            survey.fleet.read_by.clear();
        }
        Ok(Some(survey))
    }

    /// Leaves out what was deleted or renamed since the registry was read, and looks at what is new there,
    /// such as by another name. It is quickly done, so that little can happen meanwhile.
    async fn catch_up(
        &self,
        lane: &mut Lane,
        set: &MigrationSet,
        survey: &mut Survey,
    ) -> Result<(), MigrateError> {
        let now = self.selection.resolve(lane.serve(0).await?, self.registry).await?;
        let gone: HashSet<SchemaName> = {
            let now: HashSet<&SchemaName> = now.iter().collect();
            survey.missing().filter(|schema| !now.contains(schema)).cloned().collect()
        };
        survey.fleet.schemas.retain(|(schema, _)| !gone.contains(schema));
        let known: HashSet<&SchemaName> =
            survey.fleet.schemas.iter().map(|(schema, _)| schema).collect();
        let new: Vec<SchemaName> = now.iter().filter(|it| !known.contains(it)).cloned().collect();
        if !new.is_empty() {
            survey.extend(Survey::take_over(lane, &mut [], set, &new, self.plan).await?);
        }
        Ok(())
    }

    fn check_target(&self) -> Result<(), MigrateError> {
        let Some(version) = self.plan.to else {
            return Ok(());
        };
        for set in [self.shared, self.tenants].into_iter().flatten() {
            if set.folder().get(version).is_none() {
                let folder = set.folder().path().display().to_string();
                return Err(MigrateError::NoSuchVersion { version, folder });
            }
        }
        Ok(())
    }

    /// Returns each selected folder with what was found in its schemas.
    pub fn parts<'b>(&self, prepared: &'b Prepared) -> Vec<(&'a MigrationSet, &'b Survey)> {
        let shared = self.shared.zip(prepared.shared.as_ref());
        shared.into_iter().chain(self.tenants.zip(prepared.tenants.as_ref())).collect()
    }

    fn refuse_disagreements(&self, prepared: &Prepared) -> Result<(), MigrateError> {
        let mut disagreements = Vec::new();
        for (set, survey) in self.parts(prepared) {
            for Disagreement { finding, schemas } in survey.disagreements() {
                disagreements.push((set.describe(&finding), schemas));
            }
        }
        match disagreements.is_empty() {
            true => Ok(()),
            false => Err(MigrateError::Disagree { disagreements }),
        }
    }

    /// Checks the files that would run. An old file that was applied long ago is left in peace.
    fn check_files(&self, prepared: &Prepared) -> Result<Vec<FileFinding>, MigrateError> {
        let parts = self.parts(prepared).into_iter();
        check_files(parts.flat_map(|(set, survey)| {
            survey.pending_files().into_iter().map(move |file| (set, file))
        }))
    }

    /// Migrates what was found to be behind: the shared schema first, and the tenants once it is
    /// where it should be. The connection that looked stays open ([`Prepared::close`]).
    ///
    /// # Errors
    ///
    /// [`MigrateError`] when nothing was done; what went wrong with single schemas is in the
    /// answer.
    pub async fn run(
        &self,
        prepared: &mut Prepared,
        options: &ExecuteOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<Migrated, MigrateError> {
        let spare = prepared.take_spare().unwrap_or_else(|| Spare::new(self.database));
        // Since it looked, the server may have ended it: what comes between takes its time.
        spare.lane().await.check().await;
        let migrated = self.run_over(&spare, prepared, options, observer, interrupt).await;
        prepared.spare = Some(spare);
        migrated
    }

    async fn run_over(
        &self,
        spare: &Spare,
        prepared: &mut Prepared,
        options: &ExecuteOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<Migrated, MigrateError> {
        let options = &self.preflight(spare, prepared, options, observer).await?;
        let at_once = &ExecuteOptions { waves: Waves::default(), ..options.clone() };
        let executor = |migrations, options| Executor {
            database: self.database,
            spare,
            migrations,
            seeds: None,
            template: None,
            plan: self.plan,
            options,
            observer,
            interrupt,
        };
        let mut migrated = Migrated::default();
        if let Some((set, survey)) = self.shared.zip(prepared.shared.take()) {
            let mut outcome = executor(set, at_once).run(survey.fleet).await;
            outcome.miss(observer, |_| true);
            let is_complete = outcome.is_complete();
            migrated.shared = Some(outcome);
            if !is_complete {
                let tenants = prepared.tenants.take().unwrap_or_default().fleet.schemas;
                migrated.tenants.not_attempted =
                    tenants.into_iter().map(|(name, _)| name).collect();
                return Ok(migrated);
            }
        }
        let Some(set) = self.tenants else {
            return Ok(migrated);
        };
        let is_rolled_back = migrated.shared.as_ref().is_some_and(|it| it.applied > 0);
        if options.mode == Mode::Rehearse && is_rolled_back {
            let text = "the shared migrations were rolled back, as this is a rehearsal, and the \
                        tenants are rehearsed without them";
            observer.observe(&Event::Warning(text.into()));
        }
        let survey = match prepared.tenants.take() {
            Some(survey) => survey,
            None => self.look_at_new_registry(spare, set, options.jobs).await?,
        };
        migrated.tenants = executor(set, options).run(survey.fleet).await;
        // Who stopped early is not done, and will come again.
        if !migrated.tenants.gone.is_empty() && migrated.tenants.stop.is_none() {
            let looked = self.look_for_renamed(spare, set, &mut migrated.tenants, observer).await;
            match looked {
                Ok(renamed) if renamed.schemas.is_empty() => {}
                Ok(renamed) => migrated.tenants.extend(executor(set, at_once).run(renamed).await),
                // By that name they are not there, and whether by another one is not known.
                Err(_) => migrated.tenants.miss(observer, |_| true),
            }
        }
        Ok(migrated)
    }

    /// Looks at the registry once more, as some schemas are gone. Returns those that it has now and that
    /// are behind, such as by another name; counts as failed what it has a row for still.
    ///
    /// # Errors
    ///
    /// Those of [`Self::prepare`]; what was asked for by a name that is gone is one.
    async fn look_for_renamed(
        &self,
        spare: &Spare,
        set: &MigrationSet,
        outcome: &mut Outcome,
        observer: &dyn Observer,
    ) -> Result<Fleet, MigrateError> {
        let mut lane = spare.lane().await;
        let schemas = self.selection.resolve(lane.serve(0).await?, self.registry).await?;
        let mut survey = Survey::take_over(&mut lane, &mut [], set, &schemas, self.plan).await?;
        check_files(survey.pending_files().into_iter().map(|file| (set, file)))?;
        let missing: HashSet<SchemaName> = survey.missing().cloned().collect();
        outcome.miss(observer, |schema| missing.contains(schema));
        let known: HashSet<SchemaName> = outcome.not_done().cloned().collect();
        let behind: HashSet<SchemaName> =
            survey.behind_in_order().filter(|schema| !known.contains(schema)).cloned().collect();
        survey.fleet.schemas.retain(|(schema, _)| behind.contains(schema));
        Ok(survey.fleet)
    }

    async fn look_at_new_registry(
        &self,
        spare: &Spare,
        set: &MigrationSet,
        jobs: usize,
    ) -> Result<Survey, MigrateError> {
        let mut lane = spare.lane().await;
        let resolved = self.selection.resolve(lane.serve(0).await?, self.registry).await;
        let schemas = match resolved {
            // The project's shared migrations make no registry: there are no tenants.
            Err(SelectionError::Registry(RegistryError::NotInitialised { .. })) => Vec::new(),
            other => other?,
        };
        Ok(Survey::take_for_run(spare, &mut lane, set, &schemas, self.plan, jobs).await?)
    }

    /// Looks at the server, unless there is nothing to do on it.
    async fn preflight(
        &self,
        spare: &Spare,
        prepared: &Prepared,
        options: &ExecuteOptions,
        observer: &dyn Observer,
    ) -> Result<ExecuteOptions, PreflightError> {
        let parts = self.parts(prepared);
        if parts.iter().all(|(_, survey)| survey.is_clean()) {
            return Ok(options.clone());
        }
        let pending = parts
            .into_iter()
            .map(|(set, survey)| (set, survey.pending_files().into_iter().collect()));
        let work: Vec<_> = pending.collect();
        preflight::check(spare, self.database, &work, options, observer).await
    }
}

/// Checks what files say, and returns what should be known although it is not refused.
pub(super) fn check_files<'a>(
    files: impl Iterator<Item = (&'a MigrationSet, usize)>,
) -> Result<Vec<FileFinding>, MigrateError> {
    let (mut refused, mut warned) = (Vec::new(), Vec::new());
    for (set, file) in files {
        if set.statements(file).is_empty() {
            warned.push(empty_file(set, file));
        }
        for finding in set.findings(file) {
            let it = FileFinding {
                site: set.site_at(file, finding.line, Some(finding.column)),
                message: finding.message(),
                advice: finding.advice(),
            };
            match finding.severity() {
                Severity::Refused => refused.push(it),
                Severity::Warned => warned.push(it),
            }
        }
    }
    match refused.is_empty() {
        true => Ok(warned),
        false => Err(MigrateError::Forbidden(refused)),
    }
}

fn empty_file(set: &MigrationSet, file: usize) -> FileFinding {
    FileFinding {
        site: set.site_at(file, 1, None),
        message: match set.file(file).kind {
            Kind::Seed => "the file holds no statement",
            _ => "the file holds no statement; it is recorded as applied all the same",
        }
        .into(),
        advice: "write its SQL while no schema has it, or leave it out".into(),
    }
}
