//! The domains of tenants: which hostname leads to whom, and which one is shown.

use super::change::{Change, ChangeError, Decision};
use super::domain_sql::Sql;
use super::registry::{Registry, RegistryError};
use super::selection::SelectionError;
use crate::name::{Hostname, SchemaName};
use crate::pg::{Connection, Database, Row};

/// A hostname that leads to a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The hostname, as the registry has it.
    pub host: String,
    /// The tenant's schema.
    pub schema: SchemaName,
    /// Whether it is the one that is shown for the tenant.
    pub is_primary: bool,
}

/// A new primary domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrimary {
    /// What is primary now.
    pub domain: Domain,
    /// What was primary before; empty when nothing was, itself when nothing has changed.
    pub before: Vec<String>,
}

/// A domain that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedDomain {
    /// What it was.
    pub domain: Domain,
    /// How many domains the tenant has left.
    pub left: usize,
}

/// Why a domain was not created, changed or deleted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DomainError {
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// There is no such tenant.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// It was not to be changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The shared schema has a row of its own in the registry only where one was made.
    #[error("the shared schema `{schema}` has no row in the registry that a domain could lead to")]
    NoSharedRow {
        /// The shared schema.
        schema: SchemaName,
    },
    /// A domain leads to one tenant.
    #[error("domain `{}` is taken: it leads to `{}`", .0.host, .0.schema)]
    Taken(Domain),
    /// It leads to that very tenant.
    #[error("domain `{}` leads to `{}` already", .0.host, .0.schema)]
    AlreadyThere(Domain),
    /// No tenant has it.
    #[error("no tenant has domain `{host}`")]
    NoSuchDomain {
        /// The hostname.
        host: Hostname,
    },
    /// While a tenant has domains, one of them is shown.
    #[error("`{}` is the primary domain of `{}`, which has others", .domain.host, .domain.schema)]
    Primary {
        /// The domain.
        domain: Domain,
        /// One of the others.
        another: String,
    },
    /// A tenant without domains cannot be reached, and nobody has said that it may be so.
    #[error("`{}` is the last domain of `{}`", .0.host, .0.schema)]
    Last(Domain),
}

/// Returns the domains of every tenant, or of the one whose schema is given, ordered by schema,
/// each tenant's primary domain first.
///
/// # Errors
///
/// [`SelectionError::Unknown`] when there is no such tenant.
pub async fn list_domains(
    connection: &mut Connection,
    registry: &Registry,
    schema: Option<&str>,
) -> Result<Vec<Domain>, DomainError> {
    let condition = match schema {
        Some(schema) => {
            let tenant = find_tenant(connection, registry, schema).await?;
            Sql(registry).is_schema(&tenant.schema)
        }
        None => "true".into(),
    };
    let rows = registry.ask(connection, &Sql(registry).list(&condition)).await?;
    Ok(rows.iter().map(Domain::read).collect())
}

/// The domains of one database, for changing them.
#[derive(Clone, Copy)]
pub struct ChangeDomains<'a> {
    /// The database.
    pub database: &'a Database,
    /// Its registry.
    pub registry: &'a Registry,
    /// Find out what would be done, and change nothing.
    pub dry_run: bool,
}

impl ChangeDomains<'_> {
    /// Makes `host` lead to the tenant with this schema. A tenant's first domain becomes its primary
    /// one, and a later one if `primary` says so.
    ///
    /// # Errors
    ///
    /// [`DomainError::Taken`] or [`DomainError::AlreadyThere`] when it leads to a tenant already.
    pub async fn create(
        &self,
        host: &Hostname,
        schema: &str,
        primary: bool,
    ) -> Result<Domain, DomainError> {
        let registry = self.registry;
        let decide = async |connection: &mut Connection, unheard: Option<Domain>| {
            if let Some(found) = find(connection, registry, host).await? {
                return match unheard {
                    Some(created) if created == found.domain => Ok(Decision::Done(created)),
                    _ if found.domain.schema.as_str() == schema => {
                        Err(DomainError::AlreadyThere(found.domain))
                    }
                    _ => Err(DomainError::Taken(found.domain)),
                };
            }
            let tenant = find_tenant(connection, registry, schema).await?;
            let answer = Domain {
                host: host.to_string(),
                is_primary: primary || tenant.primaries.is_empty(),
                schema: tenant.schema,
            };
            let statements = Sql(registry).create(&answer, &tenant.primaries);
            Ok(Decision::Change { statements, answer })
        };
        self.change(decide).await
    }

    /// Makes `host` the domain that is shown for its tenant, instead of the present one.
    ///
    /// # Errors
    ///
    /// [`DomainError::NoSuchDomain`] when no tenant has it.
    pub async fn set_primary(&self, host: &Hostname) -> Result<NewPrimary, DomainError> {
        let registry = self.registry;
        let decide = async |connection: &mut Connection, unheard: Option<NewPrimary>| {
            let found = find_existing(connection, registry, host).await?;
            let statements = Sql(registry).set_primary(&found.domain, &found.primaries);
            let answer = NewPrimary {
                domain: Domain { is_primary: true, ..found.domain },
                before: found.primaries,
            };
            if answer.is_unchanged() {
                return Ok(Decision::Done(unheard.unwrap_or(answer)));
            }
            Ok(Decision::Change { statements, answer })
        };
        self.change(decide).await
    }

    /// Deletes a domain; the last one of a tenant only if `even_the_last`.
    ///
    /// # Errors
    ///
    /// [`DomainError::Primary`] for the primary domain of a tenant that has others,
    /// [`DomainError::Last`] for the last one.
    pub async fn delete(
        &self,
        host: &Hostname,
        even_the_last: bool,
    ) -> Result<DeletedDomain, DomainError> {
        let registry = self.registry;
        let decide = async |connection: &mut Connection, unheard: Option<DeletedDomain>| {
            let found = match (find(connection, registry, host).await?, unheard) {
                (Some(found), _) => found,
                (None, Some(deleted)) => return Ok(Decision::Done(deleted)),
                (None, None) => return Err(DomainError::NoSuchDomain { host: host.clone() }),
            };
            let (domain, others) = (found.domain, found.others);
            match others.first() {
                Some(another) if domain.is_primary => {
                    let another = another.clone();
                    return Err(DomainError::Primary { domain, another });
                }
                None if !even_the_last => return Err(DomainError::Last(domain)),
                _ => {}
            }
            let statements = Sql(registry).delete(&domain, others.is_empty());
            let left = others.len();
            let answer = DeletedDomain { domain, left };
            Ok(Decision::Change { statements, answer })
        };
        self.change(decide).await
    }

    async fn change<T: Clone>(
        &self,
        decide: impl AsyncFnMut(&mut Connection, Option<T>) -> Result<Decision<T>, DomainError>,
    ) -> Result<T, DomainError> {
        let change = Change::of(self.database, self.registry);
        match self.dry_run {
            true => change.foresee(decide).await,
            false => change.make(decide).await,
        }
    }
}

impl NewPrimary {
    /// Whether it had been the primary domain already.
    pub fn is_unchanged(&self) -> bool {
        self.before == [self.domain.host.clone()]
    }
}

impl Domain {
    fn read(row: &Row) -> Self {
        Self {
            host: row.text(0).to_owned(),
            schema: SchemaName::registered(row.text(1)),
            is_primary: row.flag(2),
        }
    }
}

/// A domain and what its tenant has besides.
struct FoundDomain {
    domain: Domain,
    /// The tenant's primary domains, this one included: one, unless the registry is in disorder.
    primaries: Vec<String>,
    /// The tenant's other domains.
    others: Vec<String>,
}

struct FoundTenant {
    schema: SchemaName,
    primaries: Vec<String>,
}

async fn find(
    connection: &mut Connection,
    registry: &Registry,
    host: &Hostname,
) -> Result<Option<FoundDomain>, RegistryError> {
    let rows = registry.ask(connection, &Sql(registry).find(host)).await?;
    Ok(rows.first().map(|row| FoundDomain {
        domain: Domain::read(row),
        primaries: list_in(row, 3),
        others: list_in(row, 4),
    }))
}

async fn find_existing(
    connection: &mut Connection,
    registry: &Registry,
    host: &Hostname,
) -> Result<FoundDomain, DomainError> {
    let found = find(connection, registry, host).await?;
    found.ok_or_else(|| DomainError::NoSuchDomain { host: host.clone() })
}

/// Finds the tenant with this schema, which may be the shared one where that has a row.
async fn find_tenant(
    connection: &mut Connection,
    registry: &Registry,
    schema: &str,
) -> Result<FoundTenant, DomainError> {
    let schema = SchemaName::registered(schema);
    let question = Sql(registry).find_tenant(&schema);
    if let Some(row) = registry.ask(connection, &question).await?.first() {
        let primaries = list_in(row, 0);
        return Ok(FoundTenant { schema, primaries });
    }
    if schema == registry.names().shared_schema {
        return Err(DomainError::NoSharedRow { schema });
    }
    let known = registry.schemas(connection).await?;
    let known = known.iter().map(SchemaName::as_str);
    Err(SelectionError::unknown(vec![schema.to_string()], known).into())
}

/// Returns the texts of the JSON array in a row.
fn list_in(row: &Row, column: usize) -> Vec<String> {
    serde_json::from_str(row.text(column)).unwrap_or_default()
}
