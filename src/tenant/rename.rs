//! Renaming a tenant: schema and registry row in one transaction. Domains follow, as they lead to the
//! row.

use super::change::{Change, ChangeError, Decision, must_be_free, must_change, must_hold};
use super::create::{CreateTenants, NewTenant, Obstacle};
use super::domain_sql::Sql;
use super::naming;
use super::registry::RegistryError;
use super::selection::{Selection, SelectionError};
use crate::migration::BEING_CREATED;
use crate::name::SchemaName;
use crate::pg::{
    BEING_DELETED, ConnectError, Connection, Database, Incomplete, identifier, literal,
};

/// A tenant that is to be renamed.
#[derive(Clone, Copy)]
pub struct RenameTenant<'a> {
    /// How tenants are created here: what stands in a new one's way stands in the new name's.
    pub create: CreateTenants<'a>,
    /// The tenant's schema.
    pub old: &'a SchemaName,
    /// What it is to be called.
    pub new: &'a SchemaName,
    /// Do everything but the commit.
    pub rehearse: bool,
}

/// What was renamed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renamed {
    /// Functions of the tenant whose text still says the old name.
    pub naming_old: Vec<String>,
}

/// Why a tenant was not renamed; nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RenameError {
    /// There is no such tenant, or it is the shared schema.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The new name is in use.
    #[error(transparent)]
    Obstacle(Obstacle),
    /// The two names are one.
    #[error("`{schema}` is what it is called already")]
    SameName {
        /// The name.
        schema: SchemaName,
    },
    /// The registry has the tenant, but the database has no such schema.
    #[error("tenant `{schema}` has no schema")]
    NoSchema {
        /// The tenant's schema.
        schema: SchemaName,
    },
    /// An earlier command has not finished with it.
    #[error("`{schema}` is {state}")]
    Unfinished {
        /// The tenant's schema.
        schema: SchemaName,
        /// `being created` or `being deleted`.
        state: String,
    },
    /// Somebody else is in the way, the server refused, or the connection was lost.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The registry could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl From<ConnectError> for RenameError {
    fn from(error: ConnectError) -> Self {
        Self::Change(error.into())
    }
}

impl From<Incomplete> for RenameError {
    fn from(incomplete: Incomplete) -> Self {
        Self::Change(incomplete.into())
    }
}

impl RenameTenant<'_> {
    /// Renames the tenant, wholly or not at all.
    ///
    /// Who has a transaction open in its schema is waited for, for a while: what they had found there
    /// by an unqualified name, they would look for in the shared schema from then on.
    ///
    /// # Errors
    ///
    /// [`RenameError`]; nothing was changed then.
    pub async fn run(&self) -> Result<Renamed, RenameError> {
        self.selection().refuse_shared(self.create.registry)?;
        if self.old == self.new {
            return Err(RenameError::SameName { schema: self.old.clone() });
        }
        let schemas = &[self.old.clone(), self.new.clone()];
        let (database, registry) = (self.create.database, self.create.registry);
        let rehearse = self.rehearse;
        let change = Change { schemas, rehearse, ..Change::of(database, registry) };
        change
            .make(async |connection: &mut Connection, unheard| {
                let schema = match self.find(connection).await? {
                    Some(oid) => oid,
                    None => match unheard {
                        Some(()) => return Ok(Decision::Done(())),
                        None => return Err(self.unknown(connection).await?),
                    },
                };
                Ok::<_, RenameError>(Decision::Change {
                    statements: self.statements(schema),
                    answer: (),
                })
            })
            .await?;
        self.naming_old(database).await
    }

    fn statements(&self, schema: i64) -> Vec<String> {
        let registry = self.create.registry;
        let (old, new) = (self.old.as_str(), self.new.as_str());
        let is_still = format!(
            "exists (select from pg_namespace where oid = {schema} and nspname = {})",
            literal(old)
        );
        // Autovacuum does not mind what a table's schema is called.
        let is_in_use = format!(
            "exists (select from pg_locks l join pg_class c on c.oid = l.relation \
               join pg_stat_activity a on a.pid = l.pid \
             where c.relnamespace = {schema} and l.granted and l.pid <> pg_backend_pid() \
               and l.database = (select oid from pg_database where datname = current_database()) \
               and a.backend_type <> 'autovacuum worker')"
        );
        let update = format!(
            "update {} as t set {} = {} where {}",
            registry.tenants_table(),
            identifier(&registry.names().schema_name),
            literal(new),
            Sql(registry).is_schema(self.old),
        );
        vec![
            must_hold(&is_still),
            format!("alter schema {} rename to {}", identifier(old), identifier(new)),
            must_be_free(&format!("not {is_in_use}")),
            must_change(&update),
        ]
    }

    /// Returns the schema's oid, where the tenant is there, after a look at what forbids to rename it.
    async fn find(&self, connection: &mut Connection) -> Result<Option<i64>, RenameError> {
        let registry = self.create.registry;
        let question = format!(
            "select n.oid, obj_description(n.oid, 'pg_namespace') from {} as t \
             left join pg_namespace n on n.nspname = {} where {}",
            registry.tenants_table(),
            literal(self.old.as_str()),
            Sql(registry).is_schema(self.old),
        );
        let rows = registry.ask(connection, &question).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let schema = self.old.clone();
        let Some(oid) = row.number(0) else { return Err(RenameError::NoSchema { schema }) };
        if let mark @ (BEING_CREATED | BEING_DELETED) = row.text(1) {
            let state = mark.trim_start_matches("tenantctl: ").to_owned();
            return Err(RenameError::Unfinished { schema, state });
        }
        let tenant =
            NewTenant { schema: self.new.clone(), values: Vec::new(), domains: Vec::new() };
        match self.create.taken(connection, &tenant).await? {
            None => Ok(Some(oid)),
            // Another spelling of its own name.
            Some(Obstacle::Lookalike { registered, .. }) if registered == self.old.as_str() => {
                Ok(Some(oid))
            }
            Some(obstacle) => Err(RenameError::Obstacle(obstacle)),
        }
    }

    async fn unknown(&self, connection: &mut Connection) -> Result<RenameError, RenameError> {
        let resolved = self.selection().resolve(connection, self.create.registry).await;
        Ok(resolved.err().map_or(ChangeError::Unsettled.into(), RenameError::from))
    }

    fn selection(&self) -> Selection {
        Selection { names: vec![self.old.to_string()], ..Selection::default() }
    }

    async fn naming_old(&self, database: &Database) -> Result<Renamed, RenameError> {
        let mut connection = database.connect("tenantctl").await?;
        let schema = if self.rehearse { self.old } else { self.new };
        let functions = connection.ask(&naming::question(schema)).await?.rows;
        connection.close().await;
        Ok(Renamed { naming_old: naming::naming(&functions, self.old) })
    }
}
