//! Mending what can be mended without harm: missing schemas are created, invalid indexes that a
//! pending migration builds anyway are dropped.
//!
//! Each in a transaction of its own that holds the schema's lock and looks again first.

use super::indexes;
use super::{Doctor, DoctorError, Examination, Finding};
use crate::migration::{Interrupt, Urgency, lock_key};
use crate::name::SchemaName;
use crate::pg::{Connection, Incomplete, Lane, SqlError, identifier, literal, qualified};
use crate::tenant::change::settings;

/// How long the attempts to lock an index's table wait: all but the last less than
/// anybody notices, the last long enough for autovacuum to yield.
const LOCK_TIMEOUTS: [&str; 3] = ["200ms", "500ms", "1500ms"];

/// Something that can be mended without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// To create the schema of a tenant, empty.
    CreateSchema {
        /// The schema.
        schema: SchemaName,
    },
    /// To drop an invalid index that a pending migration builds.
    DropIndex {
        /// The schema.
        schema: SchemaName,
        /// The table.
        table: String,
        /// The index.
        index: String,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    /// It is done.
    Done,
    /// Somebody else has seen to it meanwhile.
    NotNeeded,
    /// Somebody is working there.
    Busy,
    /// The server refused.
    Failed(SqlError),
}

impl Repair {
    /// Returns the schema it is about.
    pub fn schema(&self) -> &SchemaName {
        match self {
            Self::CreateSchema { schema } | Self::DropIndex { schema, .. } => schema,
        }
    }
}

impl Finding {
    /// Returns what would mend it, where that does no harm.
    pub fn repairs(&self) -> Vec<Repair> {
        let each = |repair: &dyn Fn(SchemaName) -> Repair| {
            self.schemas().iter().cloned().map(repair).collect()
        };
        match self {
            Self::SchemaMissing { .. } => each(&|schema| Repair::CreateSchema { schema }),
            Self::InvalidIndex { table, index, is_pending: true, .. } => each(&|schema| {
                Repair::DropIndex { schema, table: table.clone(), index: index.clone() }
            }),
            _ => Vec::new(),
        }
    }
}

impl Examination {
    /// Returns everything that can be mended without harm.
    pub fn repairs(&self) -> Vec<Repair> {
        self.findings.iter().flat_map(Finding::repairs).collect()
    }
}

impl Doctor<'_> {
    /// Mends what is to be mended, until a person wishes to stop, and tells `told` what came of each.
    ///
    /// # Errors
    ///
    /// [`DoctorError`] when the connection is lost; what was done stays done.
    pub async fn repair(
        &self,
        repairs: Vec<Repair>,
        interrupt: &Interrupt,
        mut told: impl FnMut(Repair, Repaired),
    ) -> Result<(), DoctorError> {
        let mut lane = Lane::new(self.database, "tenantctl doctor", usize::MAX);
        for repair in repairs {
            if interrupt.urgency() != Urgency::None {
                break;
            }
            let repaired = self.carry_out(lane.serve(0).await?, &repair).await?;
            told(repair, repaired);
        }
        lane.close().await;
        Ok(())
    }

    async fn carry_out(
        &self,
        connection: &mut Connection,
        repair: &Repair,
    ) -> Result<Repaired, DoctorError> {
        let mut repaired = Repaired::Busy;
        for lock_timeout in LOCK_TIMEOUTS {
            repaired = match self.attempt(connection, repair, lock_timeout).await {
                Ok(repaired) => repaired,
                Err(Incomplete::Lost(error)) => return Err(error.into()),
                Err(Incomplete::Sql(error)) => {
                    connection.roll_back().await?;
                    match error.is_lock_not_available() || error.is_conflict() {
                        true => Repaired::Busy,
                        false => Repaired::Failed(error),
                    }
                }
            };
            if repaired != Repaired::Busy {
                break;
            }
        }
        Ok(repaired)
    }

    async fn attempt(
        &self,
        connection: &mut Connection,
        repair: &Repair,
        lock_timeout: &str,
    ) -> Result<Repaired, Incomplete> {
        let begin = format!(
            "begin isolation level read committed, read write; {}; select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.{}); {}",
            settings(connection.server_version(), self.registry, lock_timeout),
            lock_key(repair.schema()),
            self.is_needed(repair),
        );
        let answers = connection.send(begin).await.map_err(|(incomplete, _)| incomplete)?;
        let flag = |index: usize| {
            answers.iter().rev().nth(index).is_some_and(|it| it.rows.iter().any(|row| row.flag(0)))
        };
        let refusal = match (flag(1), flag(0)) {
            (false, _) => Repaired::Busy,
            (_, false) => Repaired::NotNeeded,
            (true, true) => {
                let act = format!("{}; commit", statement(repair));
                connection.send(act).await.map_err(|(incomplete, _)| incomplete)?;
                return Ok(Repaired::Done);
            }
        };
        connection.roll_back().await?;
        Ok(refusal)
    }

    /// Asks, once the lock is held, whether what was found is still so.
    fn is_needed(&self, repair: &Repair) -> String {
        let schema = literal(repair.schema().as_str());
        match repair {
            Repair::CreateSchema { .. } => format!(
                "select not exists (select from pg_catalog.pg_namespace where nspname::text = {schema}) \
                   and exists (select from {} as t where t.{}::text = {schema})",
                self.registry.tenants_table(),
                identifier(&self.registry.names().schema_name),
            ),
            Repair::DropIndex { table, index, .. } => {
                let condition = format!(
                    "n.nspname = {schema} and t.relname = {} and c.relname = {}",
                    literal(table),
                    literal(index)
                );
                format!("select count(*) > 0 from ({}) as it", indexes::question(&condition))
            }
        }
    }
}

fn statement(repair: &Repair) -> String {
    match repair {
        Repair::CreateSchema { schema } => format!("create schema {}", identifier(schema.as_str())),
        Repair::DropIndex { schema, index, .. } => {
            format!("drop index {}", qualified(schema, index))
        }
    }
}
