//! What is wrong with a fleet: a look at the server, the registry, the schemas and their histories
//! in a bounded number of questions, none of which waits for anybody; and mending what can be mended
//! without harm.

mod finding;
mod histories;
mod indexes;
mod names;
mod orphans;
mod repair;
mod rights;
mod rows;
mod server;
mod strays;

pub use finding::Finding;
pub use repair::{Repair, Repaired};

use super::registry::{Registry, RegistryError};
use crate::event::Holder;
use crate::migration::history::ask;
use crate::migration::{LookError, MigrationSet, holders_of_tables};
use crate::pg::{ConnectError, Connection, Database, Incomplete, Lane, Row, SqlError};

/// Histories that one connection reads before it is replaced: each stays in the backend's caches.
const READS_PER_CONNECTION: usize = 4000;

/// A look at a whole fleet.
#[derive(Clone, Copy)]
pub struct Doctor<'a> {
    /// The database.
    pub database: &'a Database,
    /// Its registry.
    pub registry: &'a Registry,
    /// The shared schema's migrations.
    pub shared: &'a MigrationSet,
    /// The tenants' migrations.
    pub tenants: &'a MigrationSet,
    /// How many schemas a run works on at once.
    pub jobs: usize,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examination {
    /// What is wrong, the server's troubles first.
    pub findings: Vec<Finding>,
    /// How many tenants the registry has; `None` where the role may not read it.
    pub tenants: Option<usize>,
}

/// Why nothing can be said.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DoctorError {
    /// The registry is not there, or did not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Somebody has locked the registry, as who alters its tables does.
    #[error("the registry is locked")]
    RegistryLocked {
        /// Who has.
        holders: Vec<Holder>,
        /// The server's answer.
        source: SqlError,
    },
    /// The server did not answer.
    #[error(transparent)]
    Look(#[from] LookError),
}

impl From<ConnectError> for DoctorError {
    fn from(error: ConnectError) -> Self {
        Self::Look(error.into())
    }
}

impl From<Incomplete> for DoctorError {
    fn from(incomplete: Incomplete) -> Self {
        Self::Look(incomplete.into())
    }
}

impl<'a> Doctor<'a> {
    /// Looks at everything, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`DoctorError`] when there is no registry, somebody has locked it, or the server does not
    /// answer. What the role may not see is a finding.
    pub async fn examine(&self) -> Result<Examination, DoctorError> {
        let lane = Lane::new(self.database, "tenantctl doctor", READS_PER_CONNECTION);
        let mut look = Look { doctor: *self, lane, findings: Vec::new() };
        let server = server::look(&mut look).await?;
        let rights = rights::look(&mut look).await?;
        let mut rows = Vec::new();
        if rights.may_read_registry {
            rows = rows::read(&mut look).await?;
            rights::of_schemas(&mut look.findings, &rights.role, &rows);
            names::look(&mut look, &rows);
            rows::look(&mut look.findings, &rows);
            orphans::look(&mut look).await?;
        }
        let surveys = histories::look(&mut look, &rights, &rows).await?;
        indexes::look(&mut look, &surveys).await?;
        strays::look(&mut look).await?;
        server::settings(&mut look, &server, &surveys);
        look.lane.close().await;
        let tenants = rights.may_read_registry.then_some(rows.len());
        look.findings.sort_by_key(|it| !is_about_the_server(it));
        Ok(Examination { findings: look.findings, tenants })
    }
}

fn is_about_the_server(finding: &Finding) -> bool {
    matches!(finding, Finding::SmallLockTable(_) | Finding::FewConnections { .. })
        || matches!(finding, Finding::UnsupportedServer { .. } | Finding::Standby | Finding::Pooler)
}

/// One look, and what has been found so far.
struct Look<'a> {
    doctor: Doctor<'a>,
    lane: Lane,
    findings: Vec<Finding>,
}

impl<'a> Look<'a> {
    async fn connection(&mut self) -> Result<&mut Connection, DoctorError> {
        Ok(self.lane.serve(0).await?)
    }

    async fn ask(&mut self, question: &str) -> Result<Vec<Row>, DoctorError> {
        Ok(ask(&mut self.lane, question, 0).await?)
    }

    /// Asks about the registry's tables, which may be missing, or locked.
    async fn ask_registry(&mut self, question: &str) -> Result<Vec<Row>, DoctorError> {
        let source = match ask(&mut self.lane, question, 0).await {
            Err(LookError::Sql(error)) => error,
            other => return Ok(other?),
        };
        let registry = self.doctor.registry;
        let connection = self.connection().await?;
        if source.is_lock_not_available() {
            let tables = [registry.tenants_table(), registry.domains_table()];
            let holders = holders_of_tables(connection, &tables).await.unwrap_or_default();
            return Err(DoctorError::RegistryLocked { holders, source });
        }
        Err(registry.error(connection, Incomplete::Sql(source)).await.into())
    }
}
