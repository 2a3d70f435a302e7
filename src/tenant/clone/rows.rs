//! The rows of a clone: which tables there are, what stands for which column, and copying.

use super::transaction::Transaction;
use super::{CloneError, Mask};
use crate::name::SchemaName;
use crate::pg::{Incomplete, Row, identifier, literal, qualified, search_path};

/// A table that holds rows itself.
pub(in crate::tenant) struct Table {
    pub(in crate::tenant) name: String,
    /// Those that can be written.
    pub(in crate::tenant) columns: Vec<String>,
    /// The column's type where it is the schema's own.
    own_types: Vec<Option<String>>,
}

/// Asks for the names of the tables that can be locked, in their order.
pub(super) fn lockable(schema: &SchemaName) -> String {
    format!(
        "select c.relname {} and c.relkind in ('r', 'p') order by c.relname collate \"C\"",
        relations_of(schema)
    )
}

/// Asks how many locks a clone takes: on every relation, its TOAST table included, here and there.
pub(super) fn locks(schema: &SchemaName) -> String {
    format!(
        "select 2 * (count(*) + sum((select count(*) from pg_catalog.pg_index as i \
           where i.indrelid = c.oid)) + count(*) filter (where c.reltoastrelid <> 0))::int8 {}",
        relations_of(schema)
    )
}

/// Found by index; `pg_class` has none on its schemas.
fn relations_of(schema: &SchemaName) -> String {
    format!(
        "from pg_catalog.pg_namespace as n \
         join pg_catalog.pg_depend as d on d.refobjid = n.oid \
           and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
           and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
         join pg_catalog.pg_class as c on c.oid = d.objid where n.nspname = {}",
        literal(schema.as_str())
    )
}

/// Asks for the tables of a schema that hold rows themselves, with the columns that can be written.
pub(in crate::tenant) fn question(schema: &SchemaName) -> String {
    format!(
        "select c.relname, a.attname, y.typname from pg_catalog.pg_depend as d \
         join pg_catalog.pg_class as c on c.oid = d.objid and c.relkind = 'r' \
         left join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 \
           and not a.attisdropped and a.attgenerated = '' \
         left join pg_catalog.pg_type as y on y.oid = a.atttypid and y.typnamespace = d.refobjid \
         where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
           and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
           and d.refobjid = {}::pg_catalog.regnamespace order by c.relname, a.attnum",
        literal(&identifier(schema.as_str()))
    )
}

/// Asks for the names of a schema's sequences, in their order.
pub(in crate::tenant) fn sequences(schema: &SchemaName) -> String {
    format!(
        "select c.relname from pg_catalog.pg_depend as d \
         join pg_catalog.pg_class as c on c.oid = d.objid and c.relkind = 'S' \
         where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
           and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
           and d.refobjid = {}::pg_catalog.regnamespace order by c.relname",
        literal(&identifier(schema.as_str()))
    )
}

impl Table {
    /// Reads the answer to the [`question`].
    pub(in crate::tenant) fn read(rows: &[Row]) -> Vec<Self> {
        let mut tables: Vec<Self> = Vec::new();
        for row in rows {
            if tables.last().is_none_or(|it| it.name != row.text(0)) {
                let name = row.text(0).to_owned();
                tables.push(Self { name, columns: Vec::new(), own_types: Vec::new() });
            }
            if let (Some(table), Some(column)) = (tables.last_mut(), row.get(1)) {
                table.columns.push(column.to_owned());
                table.own_types.push(row.get(2).map(str::to_owned));
            }
        }
        tables
    }
}

impl Transaction<'_> {
    pub(super) async fn check_masks(&mut self, tables: &[Table]) -> Result<(), CloneError> {
        for (index, mask) in self.clone.masks.iter().enumerate() {
            let is_same = |it: &Mask| it.table == mask.table && it.column == mask.column;
            let table = tables.iter().find(|it| it.name == mask.table);
            let is_there = table.is_some_and(|it| it.columns.contains(&mask.column));
            if !is_there || self.clone.masks[..index].iter().any(is_same) {
                let (table, column) = (mask.table.clone(), mask.column.clone());
                return Err(CloneError::NoSuchColumn { table, column });
            }
            let from = qualified(self.clone.source, &mask.table);
            let path = search_path([self.clone.source.as_str()]);
            let text = &mask.expression;
            // On a connection of its own, in a transaction that can only read. What is right in
            // both places is one expression: `1), (2` is not, nor is `1, 2`.
            let mut lane = self.spare.lane().await;
            let other = lane.serve(0).await?;
            for place in [format!("({text}\n)"), format!("case when true then {text}\n end")] {
                let question = format!("select {place} from only {from} where false");
                let answer = other.ask_one(question, &path).await;
                answer.map_err(|incomplete| self.refused_mask(mask, incomplete))?;
            }
        }
        Ok(())
    }

    fn refused_mask(&self, mask: &Mask, incomplete: Incomplete) -> CloneError {
        match incomplete {
            Incomplete::Lost(error) => error.into(),
            Incomplete::Sql(source) => CloneError::Mask {
                table: mask.table.clone(),
                column: mask.column.clone(),
                expression: mask.expression.clone(),
                source,
            },
        }
    }

    pub(super) async fn copy(&mut self, table: &Table) -> Result<u64, CloneError> {
        let (clone, new) = (self.clone, &self.tenant.schema);
        let is_left_out = clone.only_rows_of.is_some_and(|it| it != table.name);
        if is_left_out || table.columns.is_empty() {
            return Ok(0);
        }
        let columns: Vec<String> = table.columns.iter().map(|it| identifier(it)).collect();
        let mut mask_given = None;
        let values: Vec<String> = table
            .columns
            .iter()
            .zip(&columns)
            .zip(&table.own_types)
            .map(|((name, quoted), own_type)| {
                let mut masks = clone.masks.iter();
                let mask = masks.find(|it| it.table == table.name && it.column == *name);
                mask_given = mask.or(mask_given);
                let value =
                    mask.map_or_else(|| quoted.clone(), |it| format!("({}\n)", it.expression));
                // Types of the same name in two schemas have nothing but their text in common.
                match own_type {
                    Some(own) => format!("{value}::text::{}", qualified(new, own)),
                    None => value,
                }
            })
            .collect();
        // Functions that a mask calls are the source's: it is what the mask was checked against.
        let path = if mask_given.is_some() { clone.source } else { new };
        let message = format!(
            "select set_config('search_path', {path}, true); \
             insert into {into} ({columns}) overriding system value select {values} from only {from}",
            path = literal(&search_path([path.as_str()])),
            into = qualified(new, &table.name),
            from = qualified(clone.source, &table.name),
            columns = columns.join(", "),
            values = values.join(", "),
        );
        match (self.connection.send(message).await, mask_given) {
            (Ok(answers), _) => Ok(answers.last().map_or(0, |it| it.affected)),
            (Err((Incomplete::Sql(error), _)), Some(mask)) if !error.is_lock_not_available() => {
                Err(self.refused_mask(mask, Incomplete::Sql(error)))
            }
            (Err((incomplete, _)), _) => Err(self.refused(incomplete)),
        }
    }

    /// Sets the sequences to where the source's are; they stay at their start where no rows come.
    pub(super) async fn sequences(&mut self) -> Result<Vec<String>, CloneError> {
        let (clone, new) = (self.clone, &self.tenant.schema);
        let path = literal(&search_path([new.as_str()]));
        let mut message = vec![format!("select set_config('search_path', {path}, true)")];
        if clone.only_rows_of.is_some() {
            return Ok(message);
        }
        let answers = self.send(sequences(clone.source)).await?;
        message.extend(answers.last().into_iter().flatten().map(|row| {
            let (to, from) = (qualified(new, row.text(0)), qualified(clone.source, row.text(0)));
            format!(
                "select pg_catalog.setval({}::pg_catalog.regclass, last_value, is_called) from {from}",
                literal(&to)
            )
        }));
        Ok(message)
    }
}
