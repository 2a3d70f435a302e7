//! Which schemas are meant.

use wildmatch::WildMatch;

use super::registry::{Registry, RegistryError};
use crate::name::SchemaName;
use crate::pg::Connection;

/// Which schemas a person means. The same everywhere that many can be meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The shared schema.
    pub shared: bool,
    /// Every tenant.
    pub tenants: bool,
    /// These tenants, each of which must have a registry row.
    pub names: Vec<String>,
    /// Tenants whose schema matches one of these patterns of `*` and `?`.
    pub matching: Vec<String>,
    /// But none that matches one of these.
    pub excluding: Vec<String>,
    /// Only tenants for which this SQL expression on the registry's columns holds.
    pub condition: Option<String>,
}

/// Why a selection does not stand for schemas.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SelectionError {
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A name that no registry row has.
    #[error("there is no tenant with schema {}", quoted(names))]
    Unknown {
        /// The names, as they were given.
        names: Vec<String>,
        /// A tenant whose name is much like the first of them.
        similar: Option<SchemaName>,
    },
    /// The shared schema was named where a tenant's is meant.
    #[error("`{name}` is the shared schema, not a tenant's")]
    Shared {
        /// Its name.
        name: String,
    },
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("`{}`", name.escape_debug()))
        .collect();
    names.join(", ")
}

impl SelectionError {
    /// Says of these names that none of the `known` schemas is called so.
    pub(super) fn unknown<'a>(
        names: Vec<String>,
        mut known: impl Iterator<Item = &'a str>,
    ) -> Self {
        let alike = |it: &&str| it.to_lowercase() == names[0].trim().to_lowercase();
        let similar = known.find(alike).map(SchemaName::registered);
        Self::Unknown { names, similar }
    }
}

impl Selection {
    /// Whether tenants are meant, be it none in the end.
    pub fn wants_tenants(&self) -> bool {
        self.tenants
            || !self.names.is_empty()
            || !self.matching.is_empty()
            || self.condition.is_some()
    }

    /// Returns the tenants' schemas that are meant, ordered by name.
    ///
    /// # Errors
    ///
    /// [`SelectionError::Unknown`] names every given name that no registry row has.
    pub async fn resolve(
        &self,
        connection: &mut Connection,
        registry: &Registry,
    ) -> Result<Vec<SchemaName>, SelectionError> {
        if !self.wants_tenants() {
            return Ok(Vec::new());
        }
        self.refuse_shared(registry)?;
        let condition = self.condition.as_deref();
        let mut schemas = registry.schemas(connection, condition).await?;
        self.refuse_unknown(connection, registry, &schemas).await?;
        schemas.retain(|schema| self.means(schema));
        Ok(schemas)
    }

    /// Whether the registry row with this schema is meant, which may be the shared schema's own.
    pub(super) fn means_row(&self, registry: &Registry, schema: &SchemaName) -> bool {
        if *schema == registry.names().shared_schema {
            self.shared && !matches_any(&self.excluding, schema)
        } else {
            self.wants_tenants() && self.means(schema)
        }
    }

    fn means(&self, schema: &SchemaName) -> bool {
        let name = schema.as_str();
        let only_condition = self.names.is_empty() && self.matching.is_empty();
        let is_meant = self.tenants
            || only_condition
            || self.names.iter().any(|it| it == name)
            || matches_any(&self.matching, schema);
        is_meant && !matches_any(&self.excluding, schema)
    }

    pub(super) fn refuse_shared(&self, registry: &Registry) -> Result<(), SelectionError> {
        let shared = registry.names().shared_schema.as_str();
        match self.names.iter().any(|name| name == shared) {
            true => Err(SelectionError::Shared {
                name: shared.to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// Refuses names that no registry row has; `schemas` are those for which the condition holds.
    pub(super) async fn refuse_unknown(
        &self,
        connection: &mut Connection,
        registry: &Registry,
        schemas: &[SchemaName],
    ) -> Result<(), SelectionError> {
        if self.names.is_empty() {
            return Ok(());
        }
        // A name that `--where` leaves out is known all the same.
        let known = match self.condition {
            None => schemas.to_vec(),
            Some(_) => registry.schemas(connection, None).await?,
        };
        let mut names = self.names.clone();
        let known: std::collections::HashSet<&str> = known.iter().map(SchemaName::as_str).collect();
        names.retain(|name| !known.contains(name.as_str()));
        if names.is_empty() {
            return Ok(());
        }
        Err(SelectionError::unknown(names, known.into_iter()))
    }
}

fn matches_any(patterns: &[String], schema: &SchemaName) -> bool {
    patterns
        .iter()
        .any(|it| WildMatch::new(it).matches(schema.as_str()))
}
