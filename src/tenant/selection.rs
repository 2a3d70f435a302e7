//! Which schemas are meant.

use std::collections::HashSet;

use wildmatch::WildMatch;

use super::column::columns;
use super::registry::{Registry, RegistryError, SortKey};
use crate::name::SchemaName;
use crate::pg::Connection;

/// Which schemas a person means. The same everywhere that many can be meant.
///
/// Names and patterns are the tenants that are meant, each of them; what else is said leaves fewer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The shared schema.
    pub shared: bool,
    /// Every tenant; where names or patterns are given, those.
    pub tenants: bool,
    /// These tenants, each of which must have a registry row.
    pub names: Vec<String>,
    /// Tenants whose schema matches one of these patterns of `*` and `?`.
    pub matching: Vec<String>,
    /// But none that matches one of these.
    pub excluding: Vec<String>,
    /// Only tenants for which this SQL expression on the registry's columns holds.
    pub condition: Option<String>,
    /// In the order of these columns; by name where nothing is said.
    pub order: Vec<SortKey>,
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
    /// A column to order by that the registry does not have.
    #[error("the table of tenants has no column `{}`", column.escape_debug())]
    NoSuchColumn {
        /// What was given.
        column: String,
        /// The columns that it has.
        columns: Vec<String>,
    },
    /// The shared schema was named where a tenant's is meant.
    #[error("`{name}` is the shared schema, not a tenant's")]
    Shared {
        /// Its name.
        name: String,
    },
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> =
        names.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
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

    /// Returns the tenants' schemas that are meant, in the order that is asked for.
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
        self.refuse_unknown_columns(connection, registry).await?;
        let mut schemas = registry.schemas_by(connection, &self.order).await?;
        self.refuse_unknown(&schemas)?;
        if let Some(condition) = &self.condition {
            let holds = registry.schemas_where(connection, condition).await?;
            schemas.retain(|schema| holds.contains(schema.as_str()));
        }
        schemas.retain(|schema| self.means(schema));
        Ok(schemas)
    }

    async fn refuse_unknown_columns(
        &self,
        connection: &mut Connection,
        registry: &Registry,
    ) -> Result<(), SelectionError> {
        if self.order.is_empty() {
            return Ok(());
        }
        let columns: Vec<String> =
            columns(connection, registry).await?.into_iter().map(|it| it.name).collect();
        match self.order.iter().find(|key| !columns.contains(&key.column)) {
            Some(key) => {
                let column = key.column.clone();
                Err(SelectionError::NoSuchColumn { column, columns })
            }
            None => Ok(()),
        }
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
        let is_meant = self.names.is_empty() && self.matching.is_empty()
            || self.names.iter().any(|it| it == name)
            || matches_any(&self.matching, schema);
        is_meant && !matches_any(&self.excluding, schema)
    }

    pub(super) fn refuse_shared(&self, registry: &Registry) -> Result<(), SelectionError> {
        let shared = registry.names().shared_schema.as_str();
        match self.names.iter().any(|name| name == shared) {
            true => Err(SelectionError::Shared { name: shared.to_owned() }),
            false => Ok(()),
        }
    }

    /// Refuses names that none of `schemas`, those of the registry, is.
    pub(super) fn refuse_unknown(&self, schemas: &[SchemaName]) -> Result<(), SelectionError> {
        let known: HashSet<&str> = schemas.iter().map(SchemaName::as_str).collect();
        let mut names = self.names.clone();
        names.retain(|name| !known.contains(name.as_str()));
        if names.is_empty() {
            return Ok(());
        }
        Err(SelectionError::unknown(names, known.into_iter()))
    }
}

fn matches_any(patterns: &[String], schema: &SchemaName) -> bool {
    patterns.iter().any(|it| WildMatch::new(it).matches(schema.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(selection: &Selection) -> Vec<&'static str> {
        let all = ["Acme", "acme", "acme_test", "globex"];
        all.into_iter().filter(|name| selection.means(&SchemaName::registered(name))).collect()
    }

    #[test]
    fn names_are_exact_and_patterns_match() {
        let names = |name: &str| vec![name.to_owned()];
        for (selection, expected) in [
            (
                Selection { tenants: true, ..Selection::default() },
                &["Acme", "acme", "acme_test", "globex"][..],
            ),
            (Selection { names: names("acme"), ..Selection::default() }, &["acme"]),
            (
                Selection { matching: names("acme*"), ..Selection::default() },
                &["acme", "acme_test"],
            ),
            (Selection { matching: names("?cme"), ..Selection::default() }, &["Acme", "acme"]),
            (
                Selection {
                    names: names("globex"),
                    matching: names("*_test"),
                    ..Selection::default()
                },
                &["acme_test", "globex"],
            ),
            (
                Selection { tenants: true, excluding: names("acme*"), ..Selection::default() },
                &["Acme", "globex"],
            ),
            (
                Selection {
                    condition: Some("true".into()),
                    excluding: names("*"),
                    ..Selection::default()
                },
                &[],
            ),
        ] {
            assert_eq!(meant(&selection), expected, "{selection:?}");
        }
    }

    #[test]
    fn a_name_is_no_pattern() {
        let selection = Selection { names: vec!["*".into()], ..Selection::default() };
        assert!(meant(&selection).is_empty());
    }

    #[test]
    fn unknown_names_are_all_told_with_what_may_be_meant() {
        let selection = Selection {
            names: vec!["ACME ".into(), "globex".into(), "ghost".into()],
            ..Selection::default()
        };
        let schemas = ["acme", "globex"].map(SchemaName::registered);
        let error = selection.refuse_unknown(&schemas).unwrap_err();
        assert_eq!(error.to_string(), "there is no tenant with schema `ACME `, `ghost`");
        let SelectionError::Unknown { similar, .. } = error else { unreachable!() };
        assert_eq!(similar.unwrap().as_str(), "acme");
    }
}
