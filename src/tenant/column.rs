//! The columns of the registry's tenants, whatever the project has added to them.

use super::registry::{Registry, RegistryError};
use crate::pg::{Connection, Row, literal};

/// A column of the table of tenants (Postgres documentation, `pg_attribute`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, unquoted.
    pub name: String,
    /// Its type as Postgres writes it, such as `character varying(63)`; types outside
    /// `pg_catalog` with their schema.
    pub type_name: String,
    /// Whether NULL is refused, by the column or by its domain.
    pub not_null: bool,
    /// The default, as an SQL expression.
    pub default: Option<String>,
    /// Whether the server makes the value itself: a generated or an identity column.
    pub is_generated: bool,
    /// Whether it is (part of) the primary key.
    pub is_primary_key: bool,
}

impl Column {
    /// Whether a new row needs a value for this column.
    pub fn is_required(&self) -> bool {
        self.not_null && self.default.is_none() && !self.is_generated
    }

    fn read(row: &Row) -> Self {
        Self {
            name: row.text(0).to_owned(),
            type_name: row.text(1).to_owned(),
            not_null: row.flag(2),
            default: row.get(3).map(str::to_owned),
            is_generated: row.flag(4),
            is_primary_key: row.flag(5),
        }
    }
}

/// Returns the columns of the table of tenants, in the table's order.
///
/// # Errors
///
/// [`RegistryError::NotInitialised`] when there is no such table.
pub async fn columns(
    connection: &mut Connection,
    registry: &Registry,
) -> Result<Vec<Column>, RegistryError> {
    let question = format!(
        "select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull or t.typnotnull, \
           case when a.attgenerated = '' then coalesce(pg_get_expr(d.adbin, d.adrelid), t.typdefault) end, \
           a.attgenerated <> '' or a.attidentity <> '', \
           exists (select from pg_index i where i.indrelid = a.attrelid and i.indisprimary \
             and a.attnum = any (i.indkey)) \
         from pg_attribute a join pg_type t on t.oid = a.atttypid \
         left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
         where a.attrelid = {}::regclass and a.attnum > 0 and not a.attisdropped \
         order by a.attnum",
        literal(&registry.tenants_table())
    );
    let rows = registry.ask(connection, &question).await?;
    Ok(rows.iter().map(Column::read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_fills_in_is_not_required() {
        let column = Column {
            name: "created_on".into(),
            type_name: "date".into(),
            not_null: true,
            default: None,
            is_generated: false,
            is_primary_key: false,
        };
        assert!(column.is_required());
        for filled in [
            Column { default: Some("CURRENT_DATE".into()), ..column.clone() },
            Column { is_generated: true, ..column.clone() },
            Column { not_null: false, ..column.clone() },
        ] {
            assert!(!filled.is_required(), "{filled:?}");
        }
    }
}
