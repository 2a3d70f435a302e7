//! Deleting a tenant: its domains, its registry row and, if that is meant, its schema.
//!
//! A schema that fits the server's lock table goes in one transaction. A larger one is marked first,
//! loses its domains, so that no hostname leads to what is half there, and goes in batches; the
//! registry row comes last. Nothing outside the schema is ever dropped along: see `dropping.rs`.

use std::time::Duration;

use super::change::{Change, ChangeError, Decision, must_change, must_hold};
use super::details::tables_and_bytes;
use super::domain_sql::Sql;
use super::dropping::{MEMBERS_AT_ONCE, SchemaOid, drop_statement};
use super::registry::{Registry, RegistryError};
use super::selection::{Selection, SelectionError};
use crate::event::{Event, Observer};
use crate::migration::{Interrupt, Urgency};
use crate::name::{SchemaName, SchemaNameError};
use crate::pg::{BEING_DELETED, ConnectError, Connection, Database, Incomplete, Row, SqlError};
use crate::pg::{identifier, literal};

/// So many of the objects outside that depend on a tenant are named.
const NAMED: usize = 20;

/// For how long the server may take to cancel what is running.
const CANCEL_WITHIN: Duration = Duration::from_secs(1);

/// A tenant that is to be deleted.
#[derive(Clone, Copy)]
pub struct DeleteTenant<'a> {
    /// The database.
    pub database: &'a Database,
    /// Its registry.
    pub registry: &'a Registry,
    /// The tenant's schema.
    pub schema: &'a SchemaName,
    /// Whether its schema, with all that is in it, goes as well.
    pub drop_schema: bool,
}

/// What there is of a tenant that may be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doomed {
    /// Its hostnames, ordered.
    pub domains: Vec<String>,
    /// How many tables its schema has; `None` where there is no schema.
    pub tables: Option<usize>,
    /// How much room they take on disk, in bytes; `None` where somebody has locked one of them.
    pub bytes: Option<u64>,
    /// Whether an earlier run has begun to drop them.
    pub is_being_deleted: bool,
}

/// Why a tenant was not deleted, or not wholly.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeleteError {
    /// There is no such tenant, or it is the shared schema.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// A schema of this name is never dropped.
    #[error(transparent)]
    Name(#[from] SchemaNameError),
    /// These would be dropped along, or depend on what would be.
    #[error("`{schema}` is not deleted: what is not its own depends on it")]
    Outside {
        /// The tenant's schema.
        schema: SchemaName,
        /// The first of them, in the server's words.
        objects: Vec<String>,
        /// How many there are.
        total: usize,
    },
    /// Part of its schema is gone: it cannot be kept any more.
    #[error("the deletion of `{schema}` has begun, and its schema cannot be kept any more")]
    HasBegun {
        /// The tenant's schema.
        schema: SchemaName,
    },
    /// Somebody else has just deleted it.
    #[error("there is no tenant `{schema}` any more: somebody else has just deleted it")]
    Gone {
        /// The tenant's schema.
        schema: SchemaName,
    },
    /// The server refused; in a schema that goes in batches, those before it are done.
    #[error("`{schema}` could not be deleted")]
    Sql {
        /// The tenant's schema.
        schema: SchemaName,
        /// The server's answer.
        source: SqlError,
    },
    /// A person did not want to wait for the end.
    #[error("interrupted while `{schema}` was being deleted")]
    Interrupted {
        /// The tenant's schema.
        schema: SchemaName,
        /// Whether anything is gone already.
        has_begun: bool,
    },
    /// Somebody else is in the way, or the connection was lost.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The registry could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl From<ConnectError> for DeleteError {
    fn from(error: ConnectError) -> Self {
        Self::Change(error.into())
    }
}

impl From<Incomplete> for DeleteError {
    fn from(incomplete: Incomplete) -> Self {
        Self::Change(incomplete.into())
    }
}

/// What one transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The last one.
    Last,
    /// There are so many objects left after it.
    Batch { left: usize },
}

/// What is there of a tenant.
struct Found {
    schema: Option<SchemaOid>,
    is_registered: bool,
    is_being_deleted: bool,
    /// Of the server's lock table, so many entries are ours to fill in one transaction.
    locks: usize,
}

impl DeleteTenant<'_> {
    /// Looks at what there is of the tenant, and changes nothing.
    ///
    /// # Errors
    ///
    /// What forbids to delete it: [`DeleteError::Outside`] and its like.
    pub async fn look(&self) -> Result<Doomed, DeleteError> {
        let mut connection = self.database.connect("tenantctl").await?;
        let names = vec![self.schema.to_string()];
        let selection = Selection { names, ..Selection::default() };
        selection.resolve(&mut connection, self.registry).await?;
        let found = self.find(&mut connection).await?;
        if let Some(schema) = found.schema.filter(|_| self.drop_schema) {
            self.check_name()?;
            self.refuse_outside(&mut connection, schema).await?;
        }
        let question = format!(
            "select json_agg(d.host order by d.host collate \"C\") from ({}) as d(host, s, p)",
            Sql(self.registry).list(&Sql(self.registry).is_schema(self.schema)),
        );
        let rows = self.registry.ask(&mut connection, &question).await?;
        let (tables, bytes) = tables_and_bytes(&mut connection, self.registry, self.schema).await?;
        connection.close().await;
        Ok(Doomed {
            domains: serde_json::from_str(rows[0].text(0)).unwrap_or_default(),
            tables: found.schema.map(|_| tables),
            bytes,
            is_being_deleted: found.is_being_deleted,
        })
    }

    /// Deletes the tenant. Where it goes in batches, `observer` hears of each, and an interrupt ends
    /// the work between two of them.
    ///
    /// # Errors
    ///
    /// [`DeleteError`]. The tenant is as it was, unless it goes in batches and one has been dropped:
    /// then the same call again does what is left.
    pub async fn run(
        &self,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<(), DeleteError> {
        let name = format!("tenantctl delete {:08x}", fastrand::u32(..));
        let mut has_begun = false;
        loop {
            if interrupt.urgency() > Urgency::None {
                return Err(self.interrupted(has_begun));
            }
            let step = tokio::select! {
                step = self.step(&name, has_begun) => step?,
                () = interrupt.wait_for(Urgency::Now) => {
                    self.cancel(&name).await;
                    return Err(self.interrupted(has_begun));
                }
            };
            match step {
                Step::Last => return Ok(()),
                Step::Batch { left } => {
                    has_begun = true;
                    observer.observe(&Event::Dropping { schema: self.schema, left });
                }
            }
        }
    }

    /// Carries out one transaction.
    async fn step(&self, name: &str, has_begun: bool) -> Result<Step, DeleteError> {
        let schemas = std::slice::from_ref(self.schema);
        let change = Change { schemas, name, ..Change::of(self.database, self.registry) };
        let decide = async |connection: &mut Connection, unheard: Option<Step>| {
            let found = self.find(connection).await?;
            if !found.is_registered {
                return match (unheard, has_begun) {
                    (Some(Step::Last), _) => Ok(Decision::Done(Step::Last)),
                    _ => Err(DeleteError::Gone { schema: self.schema.clone() }),
                };
            }
            self.decide(connection, &found).await
        };
        change.make(decide).await.map_err(|error| match error {
            DeleteError::Change(ChangeError::Sql(source)) => {
                DeleteError::Sql { schema: self.schema.clone(), source }
            }
            other => other,
        })
    }

    async fn decide(
        &self,
        connection: &mut Connection,
        found: &Found,
    ) -> Result<Decision<Step>, DeleteError> {
        let change = |statements, answer| Ok(Decision::Change { statements, answer });
        let Some(schema) = found.schema else {
            return change(self.registry_statements(), Step::Last);
        };
        if !self.drop_schema {
            return match found.is_being_deleted {
                true => Err(DeleteError::HasBegun { schema: self.schema.clone() }),
                false => change(self.registry_statements(), Step::Last),
            };
        }
        self.check_name()?;
        self.refuse_outside(connection, schema).await?;
        let newest = connection.ask(&schema.newest()).await?.rows;
        let total = newest.first().map_or(0, |row| number(row, 5));
        let all = newest.last().map_or(0, |row| number(row, 4));
        if total <= MEMBERS_AT_ONCE && all <= found.locks {
            return change(self.last(schema), Step::Last);
        }
        let fitting = newest.iter().take_while(|row| number(row, 4) <= found.locks).count();
        let batch = &newest[..fitting.max(1)];
        let left = total - batch.len();
        change(self.batch(schema, batch, found.is_being_deleted), Step::Batch { left })
    }

    /// Drops what is left, and the registry row.
    fn last(&self, schema: SchemaOid) -> Vec<String> {
        let mut statements = vec![
            self.is_still(schema),
            schema.guard_all(),
            format!("drop schema {} cascade", identifier(self.schema.as_str())),
            schema.audit(),
        ];
        statements.extend(self.registry_statements());
        statements
    }

    /// Drops some of a schema's objects. The first batch tries whether the registry row can go, when
    /// that is still of use.
    fn batch(&self, schema: SchemaOid, objects: &[Row], has_begun: bool) -> Vec<String> {
        let oids = objects.iter().map(|row| (row.number(0), row.number(1)));
        let oids = oids.filter_map(|(catalog, oid)| catalog.zip(oid));
        let mut statements = vec![self.is_still(schema)];
        if !has_begun {
            statements.push("savepoint as_it_was".into());
            statements.extend(self.registry_statements());
            statements.push("set constraints all immediate".into());
            statements.push("rollback to savepoint as_it_was".into());
            statements.push(self.mark());
            statements.push(self.delete_domains());
        }
        statements.push(schema.guard_these(oids));
        statements.extend(objects.iter().map(|row| drop_statement(row.text(2), row.text(3))));
        statements.push(schema.audit());
        statements
    }

    fn mark(&self) -> String {
        let schema = identifier(self.schema.as_str());
        format!("comment on schema {schema} is {}", literal(BEING_DELETED))
    }

    fn is_still(&self, schema: SchemaOid) -> String {
        let name = literal(self.schema.as_str());
        must_hold(&format!(
            "exists (select from pg_namespace where oid = {} and nspname = {name})",
            schema.0
        ))
    }

    fn registry_statements(&self) -> Vec<String> {
        let sql = Sql(self.registry);
        let delete = format!(
            "delete from {} as t where {}",
            self.registry.tenants_table(),
            sql.is_schema(self.schema)
        );
        vec![self.delete_domains(), must_change(&delete)]
    }

    fn delete_domains(&self) -> String {
        Sql(self.registry).delete_all(self.schema)
    }

    async fn find(&self, connection: &mut Connection) -> Result<Found, DeleteError> {
        let question = format!(
            "select n.oid, coalesce(obj_description(n.oid, 'pg_namespace') = {mark}, false), \
               exists (select from {tenants} as t where {is_schema}), \
               current_setting('max_locks_per_transaction')::int8 \
                 * (current_setting('max_connections')::int8 \
                   + current_setting('max_prepared_transactions')::int8) / 2 \
             from (values (true)) as one left join pg_namespace n on n.nspname = {schema}",
            mark = literal(BEING_DELETED),
            tenants = self.registry.tenants_table(),
            is_schema = Sql(self.registry).is_schema(self.schema),
            schema = literal(self.schema.as_str()),
        );
        let rows = self.registry.ask(connection, &question).await?;
        let row = &rows[0];
        Ok(Found {
            schema: row.number(0).map(SchemaOid),
            is_being_deleted: row.flag(1),
            is_registered: row.flag(2),
            locks: number(row, 3),
        })
    }

    /// Whatever a registry row says, Postgres' own schemas and ours are never dropped.
    fn check_name(&self) -> Result<(), DeleteError> {
        let shared = self.registry.names().shared_schema.as_str();
        match SchemaName::tenant(self.schema.as_str(), shared) {
            Err(error) if error.is_reserved() => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn refuse_outside(
        &self,
        connection: &mut Connection,
        schema: SchemaOid,
    ) -> Result<(), DeleteError> {
        let rows = connection.ask(&schema.outside(NAMED)).await?.rows;
        if rows.is_empty() {
            return Ok(());
        }
        let objects = rows.iter().map(|row| row.text(0).to_owned()).collect();
        let (schema, total) = (self.schema.clone(), number(&rows[0], 1));
        Err(DeleteError::Outside { schema, objects, total })
    }

    fn interrupted(&self, has_begun: bool) -> DeleteError {
        DeleteError::Interrupted { schema: self.schema.clone(), has_begun }
    }

    /// Cancels on the server what runs there for us.
    async fn cancel(&self, name: &str) {
        let cancel = async {
            let mut connection = self.database.connect("tenantctl").await?;
            let ended = connection.end_backends(name).await;
            connection.close().await;
            ended.map_err(DeleteError::from)
        };
        // Where that is not possible, the server notices by itself that nobody listens.
        let _ = tokio::time::timeout(CANCEL_WITHIN, cancel).await;
    }
}

fn number(row: &Row, column: usize) -> usize {
    row.number(column).and_then(|it| it.try_into().ok()).unwrap_or_default()
}
