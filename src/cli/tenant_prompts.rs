//! Asking for a tenant: for its schema, its name, its domain, and what the registry's columns want.

use super::error::CommandError;
use super::prompt::{Person, Verdict};
use crate::name::{Hostname, SchemaName};
use crate::pg::Connection;
use crate::tenant::{Column, CreateTenants, NewTenant, check_value};

type Values = Vec<(String, Option<String>)>;

/// Returns the tenant that the flags and the person describe.
///
/// Where the flags name the schema, only what the registry requires and they leave open is asked
/// for; otherwise everything is.
pub(crate) async fn complete(
    person: &Person,
    create: &CreateTenants<'_>,
    schema: Option<SchemaName>,
    mut domains: Vec<Hostname>,
    mut values: Values,
) -> Result<NewTenant, CommandError> {
    let asks_all = schema.is_none();
    let mut connection = create.database.connect("tenantctl").await?;
    let columns = create.settable_columns(&mut connection).await?;
    let schema = match schema {
        Some(schema) => schema,
        None => ask_schema(person, create, &mut connection).await?,
    };
    let is_given =
        |values: &Values, column: &Column| values.iter().any(|(it, _)| *it == column.name);
    let name_column = &create.registry.names().name;
    for column in &columns {
        let is_name = column.name == *name_column;
        // A tenant without a name is given its schema's, so it is not required either.
        let is_asked = asks_all || (column.is_required() && !is_name);
        if is_asked && !is_given(&values, column) {
            let default = is_name.then(|| schema.as_str());
            let value = ask_value(person, &mut connection, column, default).await?;
            values.extend(value.map(|value| (column.name.clone(), Some(value))));
        }
        if is_name && asks_all && domains.is_empty() {
            domains.extend(ask_domain(person, create, &mut connection, &schema).await?);
        }
    }
    connection.close().await;
    Ok(NewTenant { schema, values, domains })
}

async fn ask_schema(
    person: &Person,
    create: &CreateTenants<'_>,
    connection: &mut Connection,
) -> Result<SchemaName, CommandError> {
    let shared = create.registry.names().shared_schema.as_str();
    let check = async |answer: &str| match SchemaName::tenant(answer, shared) {
        Err(error) => Ok(Err(error.to_string())),
        Ok(schema) => free(create, connection, &schema, None, schema.clone()).await,
    };
    person.text("schema", None, check).await
}

async fn ask_domain(
    person: &Person,
    create: &CreateTenants<'_>,
    connection: &mut Connection,
    schema: &SchemaName,
) -> Result<Option<Hostname>, CommandError> {
    let check = async |answer: &str| {
        if answer.is_empty() {
            return Ok(Ok(None));
        }
        match answer.parse::<Hostname>() {
            Err(error) => Ok(Err(error.to_string())),
            Ok(host) => free(create, connection, schema, Some(&host), Some(host.clone())).await,
        }
    };
    person.text("domain (Enter for none)", None, check).await
}

/// Returns `answer` unless the schema or the domain is taken.
async fn free<T>(
    create: &CreateTenants<'_>,
    connection: &mut Connection,
    schema: &SchemaName,
    host: Option<&Hostname>,
    answer: T,
) -> Result<Verdict<T>, CommandError> {
    let domains = host.into_iter().cloned().collect();
    let tenant = NewTenant { schema: schema.clone(), values: Vec::new(), domains };
    Ok(match create.taken(connection, &tenant).await? {
        Some(obstacle) => Err(obstacle.to_string()),
        None => Ok(answer),
    })
}

/// Asks for a column's value; `None` leaves it to its default, or NULL.
async fn ask_value(
    person: &Person,
    connection: &mut Connection,
    column: &Column,
    default: Option<&str>,
) -> Result<Option<String>, CommandError> {
    let check = async |answer: &str| {
        if answer.is_empty() {
            return Ok(match column.is_required() {
                true => Err("it needs a value".to_owned()),
                false => Ok(None),
            });
        }
        Ok(match check_value(connection, column, answer).await? {
            Ok(()) => Ok(Some(answer.to_owned())),
            Err(error) => Err(error.message.clone()),
        })
    };
    person.text(&question(column, default), default, check).await
}

/// Returns `on_trial (boolean, Enter for true)`.
fn question(column: &Column, default: Option<&str>) -> String {
    let Column { name, type_name, .. } = column;
    match (&column.default, column.is_required() || default.is_some()) {
        (_, true) => format!("{name} ({type_name})"),
        (Some(value), _) => format!("{name} ({type_name}, Enter for {value})"),
        (None, _) => format!("{name} ({type_name}, Enter for none)"),
    }
}
