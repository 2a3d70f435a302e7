//! Cloning a tenant: schema, rows, registry row and domains in one transaction that proves itself.
//!
//! The transaction locks the source's tables as a SELECT does and only then looks: what it sees from
//! there on is one moment, in which no table is being rewritten or emptied. Where somebody is in the
//! way it is tried again for a while, from the beginning.

mod proof;
pub(super) mod rows;
mod transaction;

use self::transaction::Transaction;
use super::change::Patience;
use super::column::columns;
use super::create::{CreateTenants, NewTenant, Obstacle};
use super::migrate::MigrateError;
use super::registry::RegistryError;
use crate::event::{Blockage, BlockageKind, Event, Observer};
use crate::migration::{preflight, watched};
use crate::name::SchemaName;
use crate::pg::{ConnectError, Connection, Incomplete, Spare, SqlError, identifier, literal};

/// What replaces the values of one column in a clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The table, without a schema.
    pub table: String,
    /// The column.
    pub column: String,
    /// An SQL expression on the row.
    pub expression: String,
}

/// A clone that is to be made.
#[derive(Clone, Copy)]
pub struct CloneTenant<'a> {
    /// How tenants are created here; its migrations are not run.
    pub create: CreateTenants<'a>,
    /// The tenant that is cloned.
    pub source: &'a SchemaName,
    /// The tables whose rows come along; the history's alone where there are some.
    pub only_rows_of: Option<&'a str>,
    /// What replaces what.
    pub masks: &'a [Mask],
    /// Do everything but the commit.
    pub rehearse: bool,
}

/// What was cloned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cloned {
    /// How many tables.
    pub tables: usize,
    /// How many rows.
    pub rows: u64,
    /// Functions whose text names the source, as a word.
    pub naming_source: Vec<String>,
}

/// Why a tenant was not cloned; nothing was.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// The registry or the database has no such tenant.
    #[error("there is no tenant `{source_schema}` to clone")]
    NoSource {
        /// What was named.
        source_schema: SchemaName,
    },
    /// The source is only there to be deleted.
    #[error("tenant `{source_schema}` is being deleted")]
    BeingDeleted {
        /// The source.
        source_schema: SchemaName,
    },
    /// The source is the shared schema.
    #[error("`{source_schema}` is the shared schema, and no tenant")]
    Shared {
        /// What was named.
        source_schema: SchemaName,
    },
    /// The new tenant's name, domains or columns are in the way.
    #[error(transparent)]
    Obstacle(Obstacle),
    /// Something in the source cannot be made again.
    #[error("`{source_schema}` holds what cannot be cloned: {}", objects.join(", "))]
    Unknown {
        /// The source.
        source_schema: SchemaName,
        /// The objects, in the server's words.
        objects: Vec<String>,
    },
    /// A mask names a column that is not there, or is given twice.
    #[error("there is no column `{table}.{column}` to mask")]
    NoSuchColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A mask is no expression on its table.
    #[error("`{expression}` cannot stand for `{table}.{column}`")]
    Mask {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What was given.
        expression: String,
        /// The server's answer.
        source: SqlError,
    },
    /// The clone would not have been like its source.
    #[error("the clone would differ from `{source_schema}` in {}", objects.join(", "))]
    Differs {
        /// The source.
        source_schema: SchemaName,
        /// The objects.
        objects: Vec<String>,
    },
    /// Somebody works on a schema of the new one's name, or holds what is needed.
    #[error("{}", busy(schema, &blockage.kind))]
    Busy {
        /// The schema that somebody works on; the source where it is a lock on something else.
        schema: SchemaName,
        /// What is in the way.
        blockage: Box<Blockage>,
    },
    /// Tables came and went whenever the source was looked at.
    #[error("the tables of `{source_schema}` kept changing while it was being cloned")]
    Changing {
        /// The source.
        source_schema: SchemaName,
    },
    /// The connection was lost during the commit, and nobody could be asked what came of it.
    #[error("the connection was lost during the commit, and whether it was made is not known")]
    Unanswered(#[source] ConnectError),
    /// A statement was refused.
    #[error("`{source_schema}` could not be cloned")]
    Sql {
        /// The source.
        source_schema: SchemaName,
        /// The server's answer.
        source: SqlError,
    },
    /// Nothing could be created at all.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The registry could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No connection, or it was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

fn busy(schema: &SchemaName, kind: &BlockageKind) -> String {
    match kind {
        BlockageKind::SchemaLock | BlockageKind::HistoryLock => {
            format!("somebody else is at work on `{schema}`")
        }
        BlockageKind::Lock(_) | BlockageKind::Locks => {
            format!("`{schema}` could not be cloned: somebody else is using what that takes")
        }
        BlockageKind::Conflict(error) => format!("`{schema}` could not be cloned: {error}"),
    }
}

impl From<Incomplete> for CloneError {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Sql(error) => Self::Registry(RegistryError::Sql(error)),
            Incomplete::Lost(error) => Self::Connect(error),
        }
    }
}

/// What is known of the source before it is locked.
struct Source {
    /// Its tables, in the order of their names.
    tables: Vec<String>,
    /// How many locks a clone takes: on every relation, here and there.
    locks: usize,
}

impl CloneTenant<'_> {
    /// Clones the source as `tenant`, wholly or not at all, and tries again while somebody is in the
    /// way.
    ///
    /// # Errors
    ///
    /// [`CloneError`]; nothing has been created then, unless it is [`CloneError::Unanswered`].
    pub async fn run(
        &self,
        tenant: &NewTenant,
        observer: &dyn Observer,
    ) -> Result<Cloned, CloneError> {
        if *self.source == self.create.registry.names().shared_schema {
            return Err(CloneError::Shared { source_schema: self.source.clone() });
        }
        let spare = Spare::new(self.create.database);
        let cloned = self.keep_trying(&spare, tenant, observer).await;
        spare.close().await;
        cloned
    }

    async fn keep_trying(
        &self,
        spare: &Spare,
        tenant: &NewTenant,
        observer: &dyn Observer,
    ) -> Result<Cloned, CloneError> {
        // A server that was there is waited for when it is gone.
        spare.lane().await.serve(0).await?.refuse_standby().await?;
        let (mut patience, mut attempts) = (None, Attempts::default());
        loop {
            let error = match self.attempt(spare, tenant, observer, attempts.number == 0).await {
                Ok(cloned) => return Ok(cloned),
                Err(error) => error,
            };
            // Only from here on: much may have been copied before somebody was met.
            let patience = patience.get_or_insert_with(Patience::new);
            if !attempts.may_pass(&error) || !patience.is_left() {
                return Err(error);
            }
            match &error {
                CloneError::Busy { blockage, .. } => {
                    let (schema, attempts) = (&tenant.schema, attempts.number);
                    observer.observe(&Event::Deferred { schema, blockage, attempts });
                }
                CloneError::Connect(error) => {
                    observer.observe(&Event::Reconnecting { reason: &error.to_string() });
                }
                _ => {}
            }
            patience.pause().await;
        }
    }

    /// Looks what is there and what is in the way, and makes the clone.
    async fn attempt(
        &self,
        spare: &Spare,
        tenant: &NewTenant,
        observer: &dyn Observer,
        is_first: bool,
    ) -> Result<Cloned, CloneError> {
        let mut lane = spare.lane().await;
        lane.check().await;
        let connection = lane.serve(0).await?;
        let source = self.source(connection).await?;
        let tenant = self.completed(connection, tenant).await?;
        if is_first {
            let what = format!("cloning `{}`", self.source);
            let warning = preflight::room_for_locks(connection, &what, source.locks).await?;
            warning.into_iter().for_each(|text| observer.observe(&Event::Warning(text)));
        }
        drop(lane);
        let prepared = self.create.prepare(std::slice::from_ref(&tenant)).await?;
        if let Some((_, obstacle)) = prepared.obstacles.into_iter().next() {
            return Err(CloneError::Obstacle(obstacle));
        }
        let run = format!("tenantctl {:08x} ", fastrand::u32(..));
        let connection = self.create.database.connect(&format!("{run}0")).await?;
        let mut transaction = Transaction { clone: self, tenant: &tenant, connection, spare };
        let (cloned, seen) = watched(spare, &run, transaction.run(&source)).await;
        transaction.close().await;
        cloned.map_err(|error| error.with_holders(seen))
    }

    async fn source(&self, connection: &mut Connection) -> Result<Source, CloneError> {
        let registry = self.create.registry;
        let is_registered = format!(
            "select count(*) > 0 from {} as t where t.{}::text = {}",
            registry.tenants_table(),
            identifier(&registry.names().schema_name),
            literal(self.source.as_str()),
        );
        if !registry.ask(connection, &is_registered).await?[0].flag(0) {
            return Err(CloneError::NoSource { source_schema: self.source.clone() });
        }
        let locks = connection.ask(&rows::locks(self.source)).await?.rows[0].number(0);
        let tables = connection.ask(&rows::lockable(self.source)).await?.rows;
        Ok(Source {
            tables: tables.iter().map(|row| row.text(0).to_owned()).collect(),
            locks: usize::try_from(locks.unwrap_or_default()).unwrap_or_default(),
        })
    }

    /// Gives columns that need a value and were given none the source's.
    async fn completed(
        &self,
        connection: &mut Connection,
        tenant: &NewTenant,
    ) -> Result<NewTenant, CloneError> {
        let registry = self.create.registry;
        let names = registry.names();
        let all = columns(connection, registry).await?;
        let mut tenant = self.create.named(&all, tenant);
        let is_given = |name: &str| {
            name == names.name
                || name == names.schema_name
                || tenant.values.iter().any(|it| it.0 == name)
        };
        let open: Vec<String> = all
            .iter()
            .filter(|it| it.is_required() && !it.is_generated && !it.is_primary_key)
            .filter(|it| !is_given(&it.name))
            .map(|it| it.name.clone())
            .collect();
        if open.is_empty() {
            return Ok(tenant);
        }
        let values: Vec<String> =
            open.iter().map(|it| format!("t.{}::text", identifier(it))).collect();
        let question = format!(
            "select {} from {} as t where t.{} = {}",
            values.join(", "),
            registry.tenants_table(),
            identifier(&names.schema_name),
            literal(self.source.as_str())
        );
        for row in registry.ask(connection, &question).await? {
            let values = open.iter().zip(row.values());
            tenant
                .values
                .extend(values.map(|(name, value)| (name.clone(), value.map(str::to_owned))));
        }
        Ok(tenant)
    }
}

/// What has come of the attempts so far.
#[derive(Default)]
struct Attempts {
    number: u32,
    was_overtaken: bool,
}

impl Attempts {
    /// Notes another one, and returns whether the next may end otherwise.
    fn may_pass(&mut self, error: &CloneError) -> bool {
        self.number += 1;
        match error {
            CloneError::Busy { .. } | CloneError::Changing { .. } => true,
            // A name or a domain was taken meanwhile, which the next look will see.
            CloneError::Sql { source, .. } if source.is("23505") || source.is("42P06") => {
                !std::mem::replace(&mut self.was_overtaken, true)
            }
            CloneError::Connect(error) => error.may_pass(),
            _ => false,
        }
    }
}

impl CloneError {
    /// Names who was seen in the way, where it is not known yet.
    fn with_holders(mut self, seen: Vec<crate::event::Holder>) -> Self {
        if let Self::Busy { blockage, .. } = &mut self
            && blockage.holders.is_empty()
        {
            blockage.holders = seen;
        }
        self
    }
}
