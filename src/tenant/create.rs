//! Creating tenants: schema, migrations, registry row and domains, there whole or not at all.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::column::{Column, columns};
use super::registry::{Registry, RegistryError};
use super::taken::Taken;
use crate::event::{Cause, Event, Failure, Observer};
use crate::migration::preflight;
use crate::migration::{
    ExecuteOptions, Executor, Fleet, Found, History, Interrupt, MigrationSet, Mode, Outcome, Plan,
    PlanOptions, PreflightError, Registration, history, history_is_locked,
};
use crate::name::{Hostname, SchemaName};
use crate::pg::{Connection, Database, Incomplete, Spare, SqlError, identifier, literal};

use crate::structure::Template;

use super::migrate::{FileFinding, MigrateError, check_files};
use super::seed::check_seeds;

/// A tenant that is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// Its schema.
    pub schema: SchemaName,
    /// Its registry row's other columns and their values, as text; NULL where there is none.
    pub values: Vec<(String, Option<String>)>,
    /// Its domains; the first is primary.
    pub domains: Vec<Hostname>,
}

/// Why one tenant cannot be created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The registry has it.
    #[error("tenant `{schema}` exists")]
    Exists {
        /// The schema.
        schema: SchemaName,
        /// Whether it has every domain that was asked for.
        has_domains: bool,
    },
    /// The registry has one whose name differs in upper and lower case alone.
    #[error("tenant `{schema}` differs from `{registered}` in upper and lower case alone")]
    Lookalike {
        /// The schema.
        schema: SchemaName,
        /// The one that is there.
        registered: String,
    },
    /// The schema exists, and no registry row names it.
    #[error("schema `{schema}` exists, but is not registered")]
    SchemaExists {
        /// The schema.
        schema: SchemaName,
    },
    /// There is no such schema to adopt.
    #[error("there is no schema `{schema}` to adopt")]
    NothingToAdopt {
        /// The schema.
        schema: SchemaName,
    },
    /// The domain leads to another tenant.
    #[error("domain `{domain}` is taken by tenant `{by}`")]
    DomainTaken {
        /// The domain.
        domain: Hostname,
        /// The tenant's schema.
        by: String,
    },
    /// The same schema or domain is asked for twice.
    #[error("{what} is asked for twice")]
    Twice {
        /// ``schema `acme` `` or ``domain `acme.example.com` ``.
        what: String,
    },
    /// The registry has no such column, or it is not for setting.
    #[error("the table of tenants has no column `{column}` that can be set")]
    NoSuchColumn {
        /// The column.
        column: String,
    },
    /// A column that needs a value was given none.
    #[error("column `{column}` ({type_name}) needs a value")]
    Required {
        /// The column.
        column: String,
        /// Its type.
        type_name: String,
    },
    /// A value is not of its column's type.
    #[error("`{value}` is no value for column `{column}` ({type_name}): {reason}")]
    Value {
        /// The column.
        column: String,
        /// Its type.
        type_name: String,
        /// What was given.
        value: String,
        /// The server's words.
        reason: String,
    },
}

impl Obstacle {
    /// Whether the command line is wrong, rather than what is in the database in the way.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoSuchColumn { .. }
                | Self::Required { .. }
                | Self::Value { .. }
                | Self::Twice { .. }
        )
    }
}

/// How tenants are created.
#[derive(Clone, Copy)]
pub struct CreateTenants<'a> {
    /// The database.
    pub database: &'a Database,
    /// Its registry.
    pub registry: &'a Registry,
    /// The tenants' migrations; none is fine.
    pub migrations: &'a MigrationSet,
    /// What is run in each tenant's schema after the migrations, in the same transaction.
    pub seeds: Option<&'a MigrationSet>,
    /// Register a schema that is there, as it is; nothing is applied to it.
    pub adopt: bool,
    /// What each tenant's schema is made from instead of by the migrations, and proven to be the
    /// same ([`Self::prove_template`]).
    pub template: Option<&'a Template>,
}

/// What was found before anything is done.
#[derive(Debug)]
pub struct PreparedTenants {
    /// What stands in the way of which of the tenants, by index.
    pub obstacles: Vec<(usize, Obstacle)>,
    /// What the files say that should be known although it is not refused.
    pub warnings: Vec<FileFinding>,
    fleet: Fleet,
    registrations: HashMap<SchemaName, Vec<Registration>>,
}

impl CreateTenants<'_> {
    /// Looks for what stands in the way of each tenant, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`MigrateError`] when nothing could be created at all: the registry is missing, or the
    /// migrations cannot be run as they are.
    pub async fn prepare(&self, tenants: &[NewTenant]) -> Result<PreparedTenants, MigrateError> {
        let warnings = self.check_files()?;
        let mut connection = self.database.connect("tenantctl").await?;
        let columns = columns(&mut connection, self.registry).await?;
        let named: Vec<NewTenant> = tenants.iter().map(|it| self.named(&columns, it)).collect();
        let tenants = named.as_slice();
        let taken = Taken::read(&mut connection, self.registry, tenants).await?;
        let mut obstacles = self.obstacles(&mut connection, &taken, &columns, tenants).await?;
        let names: Vec<SchemaName> = tenants.iter().map(|it| it.schema.clone()).collect();
        let mut fleet = history::read(self.database, &names).await?;
        for (index, (schema, found)) in fleet.schemas.iter().enumerate() {
            let there = *found != Found::NoSchema;
            if there && !taken.schemas.contains_key(schema.as_str()) {
                // Somebody else has just created it.
                let tenant = std::slice::from_ref(&tenants[index]);
                let has_domains = !self.whole(&mut connection, tenant).await?.is_empty();
                let schema = schema.clone();
                obstacles.push((index, Obstacle::Exists { schema, has_domains }));
            } else if self.adopt && !there {
                obstacles.push((index, Obstacle::NothingToAdopt { schema: schema.clone() }));
            }
        }
        connection.close().await;
        let blocked: HashSet<usize> = obstacles.iter().map(|(index, _)| *index).collect();
        let mut index = 0..;
        fleet.schemas.retain(|_| !blocked.contains(&index.next().expect("endless")));
        let free = tenants.iter().enumerate().filter(|(index, _)| !blocked.contains(index));
        let registrations =
            free.map(|(_, tenant)| (tenant.schema.clone(), self.registrations(tenant))).collect();
        Ok(PreparedTenants { obstacles, warnings, fleet, registrations })
    }

    /// Returns the schemas of the tenants in whose way nothing was found, each with the files that
    /// would be applied, or what is wrong with what is there of it.
    pub fn foresee<'b>(
        &self,
        prepared: &'b PreparedTenants,
    ) -> Vec<(&'b SchemaName, Result<Vec<usize>, Cause>)> {
        let plan = |history: &History| {
            let plan = Plan::new(self.migrations.folder(), history, PlanOptions::default());
            match plan.refused {
                true => Err(Cause::Unreadable(self.migrations.refusal(&plan))),
                false => Ok(plan.pending),
            }
        };
        let files = |found: &Found| match found {
            _ if self.adopt => Ok(Vec::new()),
            Found::NoSchema => plan(&History::default()),
            Found::BeingDeleted => Err(Cause::BeingDeleted),
            Found::Locked => Err(Cause::Unreadable(history_is_locked())),
            Found::Unreadable(why) => Err(Cause::Unreadable(why.clone())),
            Found::History(index) => plan(&prepared.fleet.histories[*index]),
        };
        prepared.fleet.schemas.iter().map(|(schema, found)| (schema, files(found))).collect()
    }

    /// Looks at the server as [`Self::run`] does before the first tenant, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Preflight`] when nothing can be created there.
    pub async fn check_server(
        &self,
        options: &ExecuteOptions,
        observer: &dyn Observer,
    ) -> Result<(), MigrateError> {
        let spare = Spare::new(self.database);
        self.preflight(&spare, options, observer).await?;
        spare.close().await;
        Ok(())
    }

    /// Returns what is taken already of a tenant's schema and domains, so that it can be asked
    /// for while the rest is still open.
    pub async fn taken(
        &self,
        connection: &mut Connection,
        tenant: &NewTenant,
    ) -> Result<Option<Obstacle>, RegistryError> {
        let taken = Taken::read(connection, self.registry, std::slice::from_ref(tenant)).await?;
        Ok(taken.by_registry(tenant).or_else(|| taken.by_catalog(tenant, self.adopt)))
    }

    /// Returns the columns of the registry that a new tenant's row may be given values for, but
    /// the schema's name.
    pub async fn settable_columns(
        &self,
        connection: &mut Connection,
    ) -> Result<Vec<Column>, RegistryError> {
        let mut columns = columns(connection, self.registry).await?;
        columns.retain(|column| self.is_settable(column) && !column.is_primary_key);
        Ok(columns)
    }

    fn is_settable(&self, column: &Column) -> bool {
        !column.is_generated && column.name != self.registry.names().schema_name
    }

    /// Creates the tenants in whose way nothing was found. Those of `given_again` may as well have
    /// been created by somebody else meanwhile, with their domains.
    pub async fn run(
        &self,
        prepared: PreparedTenants,
        given_again: &[NewTenant],
        options: &ExecuteOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<Outcome, MigrateError> {
        let spare = Spare::new(self.database);
        let options = self.preflight(&spare, options, observer).await?;
        let executor = Executor {
            database: self.database,
            spare: &spare,
            migrations: self.migrations,
            seeds: self.seeds,
            template: self.template,
            plan: PlanOptions::default(),
            options: &options,
            observer,
            interrupt,
        };
        let mut outcome = executor.create(prepared.fleet, prepared.registrations).await;
        if !outcome.made_by_others.is_empty() {
            self.look_at_others(&spare, given_again, &mut outcome, observer).await;
        }
        spare.close().await;
        Ok(outcome)
    }

    /// Sees whether what others have created meanwhile is what was asked for.
    async fn look_at_others(
        &self,
        spare: &Spare,
        given_again: &[NewTenant],
        outcome: &mut Outcome,
        observer: &dyn Observer,
    ) {
        let made = std::mem::take(&mut outcome.made_by_others);
        let is_made = |tenant: &&NewTenant| made.contains(&tenant.schema);
        let tenants: Vec<NewTenant> = given_again.iter().filter(is_made).cloned().collect();
        let there = match spare.lane().await.serve(0).await {
            Ok(connection) => self.whole(connection, &tenants).await.unwrap_or_default(),
            Err(_) => HashSet::new(),
        };
        let failure = Rc::new(Failure::from(Cause::SchemaExists));
        for schema in made {
            if there.contains(&schema) {
                observer.observe(&Event::UpToDate { schema: &schema });
                outcome.made_by_others.push(schema);
            } else {
                let event = Event::Failed { schema: &schema, version: None, failure: &failure };
                observer.observe(&event);
                outcome.failed.push((schema, failure.clone()));
            }
        }
    }

    /// Returns those of the tenants that are registered with all of their domains.
    async fn whole(
        &self,
        connection: &mut Connection,
        tenants: &[NewTenant],
    ) -> Result<HashSet<SchemaName>, RegistryError> {
        let taken = Taken::read(connection, self.registry, tenants).await?;
        let is_whole = |tenant: &&NewTenant| {
            matches!(taken.by_registry(tenant), Some(Obstacle::Exists { has_domains: true, .. }))
        };
        Ok(tenants.iter().filter(is_whole).map(|tenant| tenant.schema.clone()).collect())
    }

    async fn preflight(
        &self,
        spare: &Spare,
        options: &ExecuteOptions,
        observer: &dyn Observer,
    ) -> Result<ExecuteOptions, PreflightError> {
        let options = ExecuteOptions {
            mode: if self.adopt { Mode::Adopt } else { Mode::Create },
            ..options.clone()
        };
        let files = (0..self.migrations.folder().files().len()).collect();
        let work = [(self.migrations, files)];
        preflight::check(spare, self.database, &work, &options, observer).await
    }

    /// Gives a tenant without a name its schema's, where the registry has a column for it.
    pub(super) fn named(&self, columns: &[Column], tenant: &NewTenant) -> NewTenant {
        let mut tenant = tenant.clone();
        let name = &self.registry.names().name;
        let is_given = tenant.values.iter().any(|(column, _)| column == name);
        if !is_given && columns.iter().any(|column| column.name == *name) {
            tenant.values.insert(0, (name.clone(), Some(tenant.schema.to_string())));
        }
        tenant
    }

    /// Gives the shared schema a registry row and domains, so that its hostname resolves, and
    /// returns whether it had none.
    pub async fn register_shared_schema(&self, tenant: &NewTenant) -> Result<bool, MigrateError> {
        let mut connection = self.database.connect("tenantctl").await?;
        let question = format!(
            "select count(*) > 0 from {} where {} = {}",
            self.registry.tenants_table(),
            identifier(&self.registry.names().schema_name),
            literal(tenant.schema.as_str())
        );
        let rows = self.registry.ask(&mut connection, &question).await?;
        if rows[0].flag(0) {
            return Ok(false);
        }
        let rows = self.registrations(tenant).into_iter().map(|it| it.sql);
        let rows: Vec<String> = rows.collect();
        let message = format!(
            "begin isolation level read committed, read write; set local lock_timeout = '2s'; \
             set local statement_timeout = '30s'; {}; commit",
            rows.join("; ")
        );
        connection.send(message).await.map_err(|(incomplete, _)| incomplete)?;
        connection.close().await;
        Ok(true)
    }

    fn check_files(&self) -> Result<Vec<FileFinding>, MigrateError> {
        let files = 0..if self.adopt { 0 } else { self.migrations.folder().files().len() };
        let mut warnings = check_files(files.map(|file| (self.migrations, file)))?;
        if let Some(seeds) = self.seeds {
            warnings.extend(check_seeds(seeds)?);
        }
        Ok(warnings)
    }

    /// Asks about all tenants at once, whatever their number.
    async fn obstacles(
        &self,
        connection: &mut Connection,
        taken: &Taken,
        columns: &[Column],
        tenants: &[NewTenant],
    ) -> Result<Vec<(usize, Obstacle)>, RegistryError> {
        let mut asked_for = HashSet::new();
        let mut obstacles = Vec::new();
        for (index, tenant) in tenants.iter().enumerate() {
            let found = self
                .column_obstacle(columns, tenant)
                .or_else(|| taken.by_registry(tenant))
                .or_else(|| taken.by_catalog(tenant, self.adopt))
                .or_else(|| twice(&mut asked_for, tenant));
            obstacles.extend(found.map(|obstacle| (index, obstacle)));
        }
        if let [tenant] = tenants
            && obstacles.is_empty()
        {
            // Of many, a wrong value is found when its row is written; of one, before.
            obstacles.extend(value_obstacle(connection, columns, tenant).await?.map(|it| (0, it)));
        }
        Ok(obstacles)
    }

    fn column_obstacle(&self, columns: &[Column], tenant: &NewTenant) -> Option<Obstacle> {
        let settable = |it: &&Column| self.is_settable(it);
        for (column, _) in &tenant.values {
            if !columns.iter().filter(settable).any(|it| it.name == *column) {
                return Some(Obstacle::NoSuchColumn { column: column.clone() });
            }
        }
        let is_given = |column: &Column| tenant.values.iter().any(|(name, _)| *name == column.name);
        let missing = |it: &&Column| it.is_required() && !is_given(it);
        columns.iter().filter(settable).find(missing).map(|column| Obstacle::Required {
            column: column.name.clone(),
            type_name: column.type_name.clone(),
        })
    }

    /// Returns the rows that register a tenant. Each does nothing when it is there already, as it
    /// is after a COMMIT whose answer was lost.
    pub(super) fn registrations(&self, tenant: &NewTenant) -> Vec<Registration> {
        let names = self.registry.names();
        let (tenants, domains) = (self.registry.tenants_table(), self.registry.domains_table());
        let (schema_column, schema) =
            (identifier(&names.schema_name), literal(tenant.schema.as_str()));
        let mut columns = vec![schema_column.clone()];
        let mut values = vec![schema.clone()];
        for (column, value) in &tenant.values {
            columns.push(identifier(column));
            values.push(value.as_deref().map_or("null".into(), literal));
        }
        let mut registrations = vec![Registration {
            sql: format!(
                "insert into {tenants} ({}) select {} where not exists \
                 (select from {tenants} where {schema_column} = {schema})",
                columns.join(", "),
                values.join(", "),
            ),
            what: format!("tenant `{}`", tenant.schema),
        }];
        let (id, tenant_id) = (identifier(&names.id), identifier(&names.tenant_id));
        let (domain, is_primary) = (identifier(&names.domain), identifier(&names.is_primary));
        for (index, host) in tenant.domains.iter().enumerate() {
            let value = literal(host.as_str());
            let primary = index == 0;
            registrations.push(Registration {
                sql: format!(
                    "insert into {domains} ({tenant_id}, {domain}, {is_primary}) \
                     select t.{id}, {value}, {primary} from {tenants} as t \
                     where t.{schema_column} = {schema} and not exists (select from {domains} as d \
                       where d.{domain} = {value} and d.{tenant_id} = t.{id})"
                ),
                what: format!("domain `{host}`"),
            });
        }
        registrations
    }
}

fn twice(asked_for: &mut HashSet<String>, tenant: &NewTenant) -> Option<Obstacle> {
    let schema = format!("schema `{}`", tenant.schema.as_str().to_lowercase());
    let domains = tenant.domains.iter().map(|domain| format!("domain `{domain}`"));
    let mut asked = std::iter::once(schema).chain(domains);
    let what = asked.find(|what| !asked_for.insert(what.clone()))?;
    Some(Obstacle::Twice { what })
}

async fn value_obstacle(
    connection: &mut Connection,
    columns: &[Column],
    tenant: &NewTenant,
) -> Result<Option<Obstacle>, RegistryError> {
    for (name, value) in &tenant.values {
        let column = columns.iter().find(|it| it.name == *name);
        if let Some((column, value)) = column.zip(value.as_deref())
            && let Err(error) = check_value(connection, column, value).await?
        {
            return Ok(Some(Obstacle::Value {
                column: name.clone(),
                type_name: column.type_name.clone(),
                value: value.to_owned(),
                reason: error.message.clone(),
            }));
        }
    }
    Ok(None)
}

/// Asks the server whether `value` is one of `column`'s type.
pub async fn check_value(
    connection: &mut Connection,
    column: &Column,
    value: &str,
) -> Result<Result<(), SqlError>, RegistryError> {
    if value.contains('\0') {
        return Ok(Err(SqlError::of_text("it contains a NUL character")));
    }
    // An explicit cast would cut a text that is too long for its column in silence.
    let base = column.type_name.split('(').next().unwrap_or_default();
    let limit = length_limit(&column.type_name);
    if let Some(limit) = limit
        && value.chars().count() > limit
    {
        return Ok(Err(SqlError::of_text(&format!("it is longer than {limit} characters"))));
    }
    let type_name = if limit.is_some() { base } else { &column.type_name };
    match connection.ask(&format!("select {}::{type_name}", literal(value))).await {
        Ok(_) => Ok(Ok(())),
        Err(Incomplete::Sql(error)) => Ok(Err(error)),
        Err(Incomplete::Lost(error)) => Err(error.into()),
    }
}

/// Returns the length limit of a character type, such as `character varying(63)`.
fn length_limit(type_name: &str) -> Option<usize> {
    let limit =
        type_name.strip_prefix("character varying(").or(type_name.strip_prefix("character("));
    limit?.trim_end_matches(')').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_character_types_have_a_length() {
        assert_eq!(length_limit("character varying(63)"), Some(63));
        assert_eq!(length_limit("numeric(10,2)"), None);
        assert_eq!(length_limit("text"), None);
    }
}
