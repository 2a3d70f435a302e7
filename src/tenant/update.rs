//! Changing what the registry says of a tenant; its schema is not touched.

use super::change::{Change, ChangeError, Decision, must_change};
use super::column::{Column, columns};
use super::create::{Obstacle, check_value};
use super::domain_sql::Sql;
use super::registry::{Registry, RegistryError};
use super::selection::{Selection, SelectionError};
use crate::name::SchemaName;
use crate::pg::{Connection, Database, Incomplete, identifier, literal};

/// What is to be changed of a tenant.
#[derive(Clone, Copy)]
pub struct UpdateTenant<'a> {
    /// The database.
    pub database: &'a Database,
    /// Its registry.
    pub registry: &'a Registry,
    /// The tenant's schema.
    pub schema: &'a SchemaName,
    /// The columns and their new values, as text; NULL where there is none.
    pub values: &'a [(String, Option<String>)],
    /// Do everything but the commit.
    pub rehearse: bool,
}

/// A column that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The column.
    pub column: String,
    /// What it held, in Postgres' text form; `None` for NULL.
    pub before: Option<String>,
    /// What it holds now.
    pub after: Option<String>,
}

/// Why a tenant was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpdateError {
    /// There is no such tenant, or it is the shared schema.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// There is no such column, or the value is not one for it.
    #[error(transparent)]
    Obstacle(Obstacle),
    /// The column says which tenant it is.
    #[error("column `{column}` says which tenant it is, and is not for changing")]
    Identity {
        /// The column.
        column: String,
        /// Whether it is the schema's name.
        is_schema: bool,
    },
    /// The same column is given twice.
    #[error("column `{column}` is given twice")]
    Twice {
        /// The column.
        column: String,
    },
    /// Somebody else is in the way, the server refused, or the connection was lost.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The registry could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl UpdateTenant<'_> {
    /// Changes the tenant's registry row, and returns the columns that hold something else now.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]; nothing was changed then.
    pub async fn run(&self) -> Result<Vec<Changed>, UpdateError> {
        let change = Change { rehearse: self.rehearse, ..Change::of(self.database, self.registry) };
        change
            .make(async |connection: &mut Connection, unheard| {
                let changed = self.changes(connection).await?;
                Ok::<_, UpdateError>(match changed.is_empty() {
                    true => Decision::Done(unheard.unwrap_or_default()),
                    false => Decision::Change {
                        statements: vec![must_change(&self.statement(&changed))],
                        answer: changed,
                    },
                })
            })
            .await
    }

    /// Relies on every value being what was read.
    fn statement(&self, changed: &[Changed]) -> String {
        let value = |text: &Option<String>| text.as_deref().map_or("null".into(), literal);
        let set =
            changed.iter().map(|it| format!("{} = {}", identifier(&it.column), value(&it.after)));
        let as_before = changed.iter().map(|it| {
            format!(
                " and t.{}::text is not distinct from {}",
                identifier(&it.column),
                value(&it.before)
            )
        });
        format!(
            "update {} as t set {} where {}{}",
            self.registry.tenants_table(),
            set.collect::<Vec<_>>().join(", "),
            Sql(self.registry).is_schema(self.schema),
            as_before.collect::<String>(),
        )
    }

    /// Returns what of the wanted values is not so yet.
    async fn changes(&self, connection: &mut Connection) -> Result<Vec<Changed>, UpdateError> {
        let names = vec![self.schema.to_string()];
        let selection = Selection { names, ..Selection::default() };
        selection.resolve(connection, self.registry).await?;
        let all = columns(connection, self.registry).await?;
        let mut wanted = Vec::new();
        for (index, (name, value)) in self.values.iter().enumerate() {
            if self.values[..index].iter().any(|it| it.0 == *name) {
                return Err(UpdateError::Twice { column: name.clone() });
            }
            let column = self.column(&all, name)?;
            let value = self.checked(connection, column, value.as_deref()).await?;
            wanted.push((column, value));
        }
        let present: Vec<String> = wanted
            .iter()
            .map(|(column, _)| format!("t.{}::text", identifier(&column.name)))
            .collect();
        let question = format!(
            "select {} from {} as t where {}",
            present.join(", "),
            self.registry.tenants_table(),
            Sql(self.registry).is_schema(self.schema)
        );
        let rows = self.registry.ask(connection, &question).await?;
        let present = rows.first().into_iter().flat_map(|row| row.values());
        let changed = wanted.into_iter().zip(present).map(|((column, after), before)| Changed {
            column: column.name.clone(),
            before: before.map(str::to_owned),
            after,
        });
        Ok(changed.filter(|it| it.before != it.after).collect())
    }

    fn column<'c>(&self, all: &'c [Column], name: &str) -> Result<&'c Column, UpdateError> {
        let column = all.iter().find(|it| it.name == name && !it.is_generated);
        let is_schema = name == self.registry.names().schema_name;
        match column {
            _ if is_schema => Err(UpdateError::Identity { column: name.into(), is_schema }),
            None => Err(UpdateError::Obstacle(Obstacle::NoSuchColumn { column: name.into() })),
            Some(it) if it.is_primary_key => {
                Err(UpdateError::Identity { column: name.into(), is_schema })
            }
            Some(column) => Ok(column),
        }
    }

    /// Returns the value as the column will show it.
    async fn checked(
        &self,
        connection: &mut Connection,
        column: &Column,
        value: Option<&str>,
    ) -> Result<Option<String>, UpdateError> {
        let (name, type_name) = (column.name.clone(), column.type_name.clone());
        let Some(value) = value else {
            return match column.not_null {
                true => Err(UpdateError::Obstacle(Obstacle::Required { column: name, type_name })),
                false => Ok(None),
            };
        };
        if let Err(error) = check_value(connection, column, value).await? {
            let (value, reason) = (value.to_owned(), error.message.clone());
            let obstacle = Obstacle::Value { column: name, type_name, value, reason };
            return Err(UpdateError::Obstacle(obstacle));
        }
        let question = format!("select {}::{type_name}::text", literal(value));
        match connection.ask(&question).await {
            Ok(rows) => Ok(rows.rows[0].get(0).map(str::to_owned)),
            Err(Incomplete::Lost(error)) => Err(ChangeError::from(error).into()),
            Err(Incomplete::Sql(error)) => Err(ChangeError::Sql(error).into()),
        }
    }
}
