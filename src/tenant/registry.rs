//! The registry: the user's own tables of tenants and domains, in the shared schema.

use std::collections::HashSet;

use crate::name::SchemaName;
use crate::pg::{
    ConnectError, Connection, Incomplete, Row, SqlError, identifier, literal, qualified,
};

/// What the registry's tables and columns are called; django-tenants' serve as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The schema every tenant reads, where the registry is.
    pub shared_schema: SchemaName,
    /// The table of tenants.
    pub tenants: String,
    /// The table of domains.
    pub domains: String,
    /// Primary key of the tenants.
    pub id: String,
    /// The tenant's schema.
    pub schema_name: String,
    /// The tenant's name as people write it, where there is such a column.
    pub name: String,
    /// The domain's tenant.
    pub tenant_id: String,
    /// The hostname.
    pub domain: String,
    /// Whether it is the tenant's primary domain.
    pub is_primary: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            shared_schema: SchemaName::registered("public"),
            tenants: "tenants".into(),
            domains: "domains".into(),
            id: "id".into(),
            schema_name: "schema_name".into(),
            name: "name".into(),
            tenant_id: "tenant_id".into(),
            domain: "domain".into(),
            is_primary: "is_primary".into(),
        }
    }
}

/// Why the registry did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or it was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There are no such tables: the shared migrations have not been applied here.
    #[error("there is no table `{table}` in schema `{schema}` of {place}")]
    NotInitialised {
        /// The table that is missing.
        table: String,
        /// The shared schema.
        schema: SchemaName,
        /// Which database.
        place: Box<crate::pg::Place>,
    },
    /// The server refused to answer.
    #[error("the registry could not be read")]
    Sql(#[source] SqlError),
    /// The server knows no order of these columns' values.
    #[error("the tenants cannot be ordered by {}", quoted(columns))]
    Order {
        /// The columns.
        columns: Vec<String>,
        /// The server's answer.
        source: SqlError,
    },
    /// `--where` is not a condition on the registry.
    #[error("`{condition}` is not a condition on the registry")]
    Condition {
        /// What was given.
        condition: String,
        /// The server's answer.
        source: SqlError,
    },
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|it| format!("`{}`", it.escape_debug())).collect();
    names.join(", ")
}

/// A column by which tenants are ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// Its name, unquoted.
    pub column: String,
    /// The greatest first.
    pub is_descending: bool,
}

impl std::str::FromStr for SortKey {
    type Err = String;

    /// Reads `created_on` or `size:desc`. A column with a colon in its name needs one of the two behind
    /// it.
    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let (column, is_descending) = match given.rsplit_once(':') {
            Some((column, "desc")) => (column, true),
            Some((column, "asc")) => (column, false),
            Some((_, order)) => return Err(format!("`{order}` is neither `asc` nor `desc`")),
            None => (given, false),
        };
        match column.is_empty() {
            true => Err("it is not a column such as `created_on` or `size:desc`".into()),
            false => Ok(Self { column: column.to_owned(), is_descending }),
        }
    }
}

/// The registry of one database.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    names: Names,
}

impl Registry {
    /// Returns the registry with these names.
    pub fn new(names: Names) -> Self {
        Self { names }
    }

    /// Returns the names of its tables and columns.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Returns `"public"."tenants"`.
    pub(crate) fn tenants_table(&self) -> String {
        qualified(&self.names.shared_schema, &self.names.tenants)
    }

    /// Returns `"public"."domains"`.
    pub(crate) fn domains_table(&self) -> String {
        qualified(&self.names.shared_schema, &self.names.domains)
    }

    /// Returns the schema of every tenant, ordered by name. The shared schema's own row is left
    /// out.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotInitialised`] when there is no such table.
    pub async fn schemas(
        &self,
        connection: &mut Connection,
    ) -> Result<Vec<SchemaName>, RegistryError> {
        self.schemas_by(connection, &[]).await
    }

    /// Returns the schema of every tenant, ordered by these columns, as the server compares their
    /// values, and then by name. Rows without a value come last.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Order`] when the server cannot order by them.
    pub async fn schemas_by(
        &self,
        connection: &mut Connection,
        order: &[SortKey],
    ) -> Result<Vec<SchemaName>, RegistryError> {
        let column = identifier(&self.names.schema_name);
        let keys = order.iter().map(|key| {
            let direction = if key.is_descending { "desc" } else { "asc" };
            format!("t.{} {direction} nulls last, ", identifier(&key.column))
        });
        let question = format!(
            "select t.{column}::text from {} as t where t.{column}::text <> {} \
             order by {}t.{column}::text collate \"C\"",
            self.tenants_table(),
            literal(self.names.shared_schema.as_str()),
            keys.collect::<String>(),
        );
        let rows = match self.ask(connection, &question).await {
            Err(RegistryError::Sql(source)) if source.is("42883") && !order.is_empty() => {
                let columns = order.iter().map(|key| key.column.clone()).collect();
                return Err(RegistryError::Order { columns, source });
            }
            other => other?,
        };
        let schemas = rows.iter().map(|row| SchemaName::registered(row.text(0)));
        Ok(schemas.collect())
    }

    /// Returns the schemas of the rows for which `condition` holds, an SQL expression on the
    /// tenants' columns, the shared schema's among them. What it says is not to be trusted with
    /// more than choosing among the rows that are known.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Condition`] when it is none. Whatever it says, nothing is changed.
    pub async fn schemas_where(
        &self,
        connection: &mut Connection,
        condition: &str,
    ) -> Result<HashSet<String>, RegistryError> {
        let question = format!(
            "select t.{}::text from {} as t where ({condition}\n)",
            identifier(&self.names.schema_name),
            self.tenants_table(),
        );
        let path = identifier(self.names.shared_schema.as_str());
        match connection.ask_one(question, &path).await {
            Ok(rows) => Ok(rows.rows.iter().map(|row| row.text(0).to_owned()).collect()),
            Err(Incomplete::Lost(error)) => Err(error.into()),
            Err(Incomplete::Sql(source)) => {
                let condition = condition.to_owned();
                Err(RegistryError::Condition { condition, source })
            }
        }
    }

    /// Asks a question about the registry; where its tables are missing, says so.
    pub(crate) async fn ask(
        &self,
        connection: &mut Connection,
        question: &str,
    ) -> Result<Vec<Row>, RegistryError> {
        match connection.ask(question).await {
            Ok(rows) => Ok(rows.rows),
            Err(incomplete) => Err(self.error(connection, incomplete).await),
        }
    }

    /// Returns what an error in a statement about the registry means.
    pub(crate) async fn error(
        &self,
        connection: &mut Connection,
        incomplete: Incomplete,
    ) -> RegistryError {
        match incomplete {
            Incomplete::Lost(error) => error.into(),
            Incomplete::Sql(error) if error.is("42P01") => match self.missing(connection).await {
                Some(missing) => missing,
                None => RegistryError::Sql(error),
            },
            Incomplete::Sql(error) => RegistryError::Sql(error),
        }
    }

    async fn missing(&self, connection: &mut Connection) -> Option<RegistryError> {
        for table in [&self.names.tenants, &self.names.domains] {
            let qualified = qualified(&self.names.shared_schema, table);
            let question = format!("select to_regclass({}) is null", literal(&qualified));
            if connection.ask(&question).await.is_ok_and(|it| it.rows[0].flag(0)) {
                return Some(RegistryError::NotInitialised {
                    table: table.clone(),
                    schema: self.names.shared_schema.clone(),
                    place: connection.place().clone().into(),
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sort_key_is_a_column_and_may_be_descending() {
        let key = |given: &str| given.parse::<SortKey>().map(|it| (it.column, it.is_descending));
        assert_eq!(key("size"), Ok(("size".into(), false)));
        assert_eq!(key("size:asc"), Ok(("size".into(), false)));
        assert_eq!(key("size:desc"), Ok(("size".into(), true)));
        assert_eq!(key("a:b:asc"), Ok(("a:b".into(), false)));
        assert_eq!(key("a:desc:desc"), Ok(("a:desc".into(), true)));
        for given in ["", ":desc", "size:up"] {
            assert!(key(given).is_err(), "{given}");
        }
    }
}
