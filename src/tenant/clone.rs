//! Cloning a tenant: schema, rows, registry row and domains in one transaction that proves itself.

use super::column::columns;
use super::create::{CreateTenants, NewTenant, Obstacle};
use super::migrate::MigrateError;
use super::registry::RegistryError;
use crate::migration::lock_key;
use crate::name::SchemaName;
use crate::pg::{
    ConnectError, Connection, Incomplete, Row, SqlError, identifier, literal, qualified,
    search_path,
};
use crate::structure::{self, Structure};

/// What replaces the values of one column in a clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The table, without a schema.
    pub table: String,
    /// The column.
    pub column: String,
    /// An SQL expression on the row.
    pub expression: String,
}

/// A clone that is to be made.
#[derive(Clone, Copy)]
pub struct CloneTenant<'a> {
    /// How tenants are created here; its migrations are not run.
    pub create: CreateTenants<'a>,
    /// The tenant that is cloned.
    pub source: &'a SchemaName,
    /// The tables whose rows come along; the history's alone where there are some.
    pub only_rows_of: Option<&'a str>,
    /// What replaces what.
    pub masks: &'a [Mask],
    /// Do everything but the commit.
    pub rehearse: bool,
}

/// What was cloned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cloned {
    /// How many tables.
    pub tables: usize,
    /// How many rows.
    pub rows: u64,
    /// Functions whose text names the source, as a word.
    pub naming_source: Vec<String>,
}

/// Why a tenant was not cloned; nothing was.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// The registry or the database has no such tenant.
    #[error("there is no tenant `{source_schema}` to clone")]
    NoSource {
        /// What was named.
        source_schema: SchemaName,
    },
    /// The source is the shared schema.
    #[error("`{source_schema}` is the shared schema, and no tenant")]
    Shared {
        /// What was named.
        source_schema: SchemaName,
    },
    /// The new tenant's name, domains or columns are in the way.
    #[error(transparent)]
    Obstacle(Obstacle),
    /// Something in the source cannot be made again.
    #[error("`{source_schema}` holds what cannot be cloned: {}", objects.join(", "))]
    Unknown {
        /// The source.
        source_schema: SchemaName,
        /// The objects, in the server's words.
        objects: Vec<String>,
    },
    /// A mask names a column that is not there, or is given twice.
    #[error("there is no column `{table}.{column}` to mask")]
    NoSuchColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A mask is no expression on its table.
    #[error("`{expression}` cannot stand for `{table}.{column}`")]
    Mask {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What was given.
        expression: String,
        /// The server's answer.
        source: SqlError,
    },
    /// The clone would not have been like its source.
    #[error("the clone would differ from `{source_schema}` in {}", objects.join(", "))]
    Differs {
        /// The source.
        source_schema: SchemaName,
        /// The objects.
        objects: Vec<String>,
    },
    /// Somebody works on a schema of the new one's name, or holds what is needed.
    #[error("somebody else is at work on `{schema}`")]
    Busy {
        /// The schema.
        schema: SchemaName,
    },
    /// A statement was refused.
    #[error("`{source_schema}` could not be cloned")]
    Sql {
        /// The source.
        source_schema: SchemaName,
        /// The server's answer.
        source: SqlError,
    },
    /// Nothing could be created at all.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The registry could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No connection, or it was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl CloneTenant<'_> {
    /// Clones the source as `tenant`, wholly or not at all.
    ///
    /// # Errors
    ///
    /// [`CloneError`]; nothing has been created then.
    pub async fn run(&self, tenant: &NewTenant) -> Result<Cloned, CloneError> {
        let registry = self.create.registry;
        let mut connection = self.create.database.connect("tenantctl").await?;
        let source_schema = self.source.clone();
        if *self.source == registry.names().shared_schema {
            return Err(CloneError::Shared { source_schema });
        }
        if !registry.schemas(&mut connection).await?.contains(self.source) {
            return Err(CloneError::NoSource { source_schema });
        }
        let tenant = self.completed(&mut connection, tenant).await?;
        let prepared = self.create.prepare(std::slice::from_ref(&tenant)).await?;
        if let Some((_, obstacle)) = prepared.obstacles.into_iter().next() {
            return Err(CloneError::Obstacle(obstacle));
        }
        let cloned = self.transaction(&mut connection, &tenant).await;
        if cloned.is_err() {
            // Where the connection is gone, so is the transaction.
            let _ = connection.roll_back().await;
        }
        connection.close().await;
        cloned
    }

    /// Gives columns that need a value and were given none the source's.
    async fn completed(
        &self,
        connection: &mut Connection,
        tenant: &NewTenant,
    ) -> Result<NewTenant, CloneError> {
        let registry = self.create.registry;
        let names = registry.names();
        let all = columns(connection, registry).await?;
        let mut tenant = self.create.named(&all, tenant);
        let is_given = |name: &str| {
            name == names.name
                || name == names.schema_name
                || tenant.values.iter().any(|it| it.0 == name)
        };
        let open: Vec<String> = all
            .iter()
            .filter(|it| it.is_required() && !it.is_generated && !it.is_primary_key)
            .filter(|it| !is_given(&it.name))
            .map(|it| it.name.clone())
            .collect();
        if open.is_empty() {
            return Ok(tenant);
        }
        let values: Vec<String> =
            open.iter().map(|it| format!("t.{}::text", identifier(it))).collect();
        let question = format!(
            "select {} from {} as t where t.{} = {}",
            values.join(", "),
            registry.tenants_table(),
            identifier(&names.schema_name),
            literal(self.source.as_str())
        );
        for row in registry.ask(connection, &question).await? {
            let values = open.iter().zip(row.values());
            tenant
                .values
                .extend(values.map(|(name, value)| (name.clone(), value.map(str::to_owned))));
        }
        Ok(tenant)
    }

    async fn transaction(
        &self,
        connection: &mut Connection,
        tenant: &NewTenant,
    ) -> Result<Cloned, CloneError> {
        let new = &tenant.schema;
        let begin = format!(
            "begin isolation level repeatable read, read write; \
             select set_config('lock_timeout', '2s', true), set_config('statement_timeout', '0', true), \
               set_config('idle_in_transaction_session_timeout', '60s', true), \
               set_config('check_function_bodies', 'off', true), \
               set_config('standard_conforming_strings', 'on', true), \
               set_config('row_security', 'off', true), \
               set_config('default_table_access_method', 'heap', true), \
               set_config('default_tablespace', '', true); \
             select pg_catalog.pg_try_advisory_xact_lock({lock}), \
               exists (select from pg_catalog.pg_namespace where nspname = {source})",
            lock = lock_key(new),
            source = literal(self.source.as_str()),
        );
        let answer = self.send(connection, begin).await?;
        let row = answer.last().and_then(|rows| rows.first().cloned());
        if !row.as_ref().is_some_and(|it| it.flag(0)) {
            return Err(CloneError::Busy { schema: new.clone() });
        }
        if !row.is_some_and(|it| it.flag(1)) {
            return Err(CloneError::NoSource { source_schema: self.source.clone() });
        }
        let source = self.structure(connection, self.source).await?;
        if !source.unknown.is_empty() {
            let (source_schema, objects) = (self.source.clone(), source.unknown);
            return Err(CloneError::Unknown { source_schema, objects });
        }
        let tables = self.tables(connection).await?;
        self.check_masks(&tables).await?;

        let path = literal(&search_path([new.as_str()]));
        let mut message = vec![
            format!("create schema {}", identifier(new.as_str())),
            format!("select set_config('search_path', {path}, true)"),
        ];
        message.extend(source.statements(new, false));
        let mut rows = 0;
        self.send(connection, message.join(";\n")).await?;
        for table in &tables {
            rows += self.copy(connection, new, table).await?;
        }
        let mut message = self.sequences(connection, new).await?;
        message.extend(source.statements(new, true));
        self.send(connection, message.join(";\n")).await?;

        let made = self.structure(connection, new).await?;
        let mut objects = source.differences(&made);
        objects.extend(self.leaks(connection, new).await?);
        if !objects.is_empty() {
            return Err(CloneError::Differs { source_schema: self.source.clone(), objects });
        }
        let naming_source = self.naming_source(connection).await?;
        let shared = self.create.registry.names().shared_schema.as_str();
        let path = literal(&search_path([shared]));
        let mut message = vec![format!("select set_config('search_path', {path}, true)")];
        message.extend(self.create.registrations(tenant).into_iter().map(|it| it.sql));
        message.push(if self.rehearse { "rollback" } else { "commit" }.into());
        self.send(connection, message.join(";\n")).await?;
        Ok(Cloned { tables: tables.len(), rows, naming_source })
    }

    async fn structure(
        &self,
        connection: &mut Connection,
        schema: &SchemaName,
    ) -> Result<Structure, CloneError> {
        let answers = self.send(connection, structure::questions(schema).join(";\n")).await?;
        Ok(Structure::of(&answers[1], &answers[2]))
    }

    /// Tables that hold rows themselves, with the columns that can be written.
    async fn tables(&self, connection: &mut Connection) -> Result<Vec<Table>, CloneError> {
        let question = format!(
            "select c.relname, a.attname, y.typname from pg_catalog.pg_depend as d \
             join pg_catalog.pg_class as c on c.oid = d.objid and c.relkind = 'r' \
             left join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 \
               and not a.attisdropped and a.attgenerated = '' \
             left join pg_catalog.pg_type as y on y.oid = a.atttypid and y.typnamespace = d.refobjid \
             where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
               and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
               and d.refobjid = {}::pg_catalog.regnamespace order by c.relname, a.attnum",
            literal(&identifier(self.source.as_str()))
        );
        let answers = self.send(connection, question).await?;
        let mut tables: Vec<Table> = Vec::new();
        for row in answers.last().into_iter().flatten() {
            if tables.last().is_none_or(|it| it.name != row.text(0)) {
                tables.push(Table {
                    name: row.text(0).into(),
                    columns: Vec::new(),
                    own_types: Vec::new(),
                });
            }
            if let (Some(table), Some(column)) = (tables.last_mut(), row.get(1)) {
                table.columns.push(column.to_owned());
                table.own_types.push(row.get(2).map(str::to_owned));
            }
        }
        Ok(tables)
    }

    async fn check_masks(&self, tables: &[Table]) -> Result<(), CloneError> {
        for (index, mask) in self.masks.iter().enumerate() {
            let is_same = |it: &Mask| it.table == mask.table && it.column == mask.column;
            let table = tables.iter().find(|it| it.name == mask.table);
            let is_there = table.is_some_and(|it| it.columns.contains(&mask.column));
            if !is_there || self.masks[..index].iter().any(is_same) {
                let (table, column) = (mask.table.clone(), mask.column.clone());
                return Err(CloneError::NoSuchColumn { table, column });
            }
            let from = qualified(self.source, &mask.table);
            let path = search_path([self.source.as_str()]);
            let text = &mask.expression;
            // On a connection of its own, in a transaction that can only read. What is right in
            // both places is one expression: `1), (2` is not, nor is `1, 2`.
            let mut other = self.create.database.connect("tenantctl").await?;
            for place in [format!("({text}\n)"), format!("case when true then {text}\n end")] {
                let question = format!("select {place} from only {from} where false");
                let answer = other.ask_one(question, &path).await;
                answer.map_err(|incomplete| self.refused_mask(mask, incomplete))?;
            }
            other.close().await;
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

    async fn copy(
        &self,
        connection: &mut Connection,
        new: &SchemaName,
        table: &Table,
    ) -> Result<u64, CloneError> {
        let is_left_out = self.only_rows_of.is_some_and(|it| it != table.name);
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
                let mut masks = self.masks.iter();
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
        let path = if mask_given.is_some() { self.source } else { new };
        let message = format!(
            "select set_config('search_path', {path}, true); \
             insert into {into} ({columns}) overriding system value select {values} from only {from}",
            path = literal(&search_path([path.as_str()])),
            into = qualified(new, &table.name),
            from = qualified(self.source, &table.name),
            columns = columns.join(", "),
            values = values.join(", "),
        );
        match (connection.send(message).await, mask_given) {
            (Ok(answers), _) => Ok(answers.last().map_or(0, |it| it.affected)),
            (Err((incomplete, _)), Some(mask)) => Err(self.refused_mask(mask, incomplete)),
            (Err((incomplete, _)), None) => Err(self.refused(incomplete)),
        }
    }

    /// Sets the sequences to where the source's are; they stay at their start where no rows come.
    async fn sequences(
        &self,
        connection: &mut Connection,
        new: &SchemaName,
    ) -> Result<Vec<String>, CloneError> {
        let path = literal(&search_path([new.as_str()]));
        let mut message = vec![format!("select set_config('search_path', {path}, true)")];
        if self.only_rows_of.is_some() {
            return Ok(message);
        }
        let question = format!(
            "select c.relname from pg_catalog.pg_depend as d \
             join pg_catalog.pg_class as c on c.oid = d.objid and c.relkind = 'S' \
             where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
               and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
               and d.refobjid = {}::pg_catalog.regnamespace order by c.relname",
            literal(&identifier(self.source.as_str()))
        );
        let answers = self.send(connection, question).await?;
        message.extend(answers.last().into_iter().flatten().map(|row| {
            let (to, from) = (qualified(new, row.text(0)), qualified(self.source, row.text(0)));
            format!(
                "select pg_catalog.setval({}::pg_catalog.regclass, last_value, is_called) from {from}",
                literal(&to)
            )
        }));
        Ok(message)
    }

    /// Names what of the new schema leads to the source.
    async fn leaks(
        &self,
        connection: &mut Connection,
        new: &SchemaName,
    ) -> Result<Vec<String>, CloneError> {
        let members = |schema: &SchemaName| {
            format!(
                "select classid, objid from pg_catalog.pg_depend \
                 where refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
                   and refobjid = {}::pg_catalog.regnamespace",
                literal(&identifier(schema.as_str()))
            )
        };
        // What hangs on a member, such as a table's constraint, refers from its own row.
        let question = format!(
            "with recursive mine(classid, objid) as ({mine} union select d.classid, d.objid from mine \
               join pg_catalog.pg_depend as d on d.refclassid = mine.classid and d.refobjid = mine.objid), \
             theirs as ({theirs}) \
             select distinct pg_catalog.pg_describe_object(d.classid, d.objid, 0) from mine \
             join pg_catalog.pg_depend as d on d.classid = mine.classid and d.objid = mine.objid \
             join theirs on theirs.classid = d.refclassid and theirs.objid = d.refobjid",
            mine = members(new),
            theirs = members(self.source),
        );
        let answers = self.send(connection, question).await?;
        let rows = answers.last().into_iter().flatten();
        Ok(rows.map(|row| format!("{}, which leads to it", row.text(0))).collect())
    }

    /// Names the functions in whose text, which the server does not read, the source's name is.
    async fn naming_source(&self, connection: &mut Connection) -> Result<Vec<String>, CloneError> {
        let question = format!(
            "select p.oid::pg_catalog.regprocedure, p.prosrc || ' ' \
               || coalesce(pg_catalog.array_to_string(p.proconfig, ' '), '') \
             from pg_catalog.pg_depend as d join pg_catalog.pg_proc as p on p.oid = d.objid \
             where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
               and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
               and d.refobjid = {}::pg_catalog.regnamespace order by 1::text",
            literal(&identifier(self.source.as_str()))
        );
        let answers = self.send(connection, question).await?;
        let rows = answers.last().into_iter().flatten();
        let naming = rows.filter(|row| has_word(row.text(1), self.source.as_str()));
        Ok(naming.map(|row| row.text(0).to_owned()).collect())
    }

    async fn send(
        &self,
        connection: &mut Connection,
        message: String,
    ) -> Result<Vec<Vec<Row>>, CloneError> {
        let answers = connection.send(message).await;
        let answers = answers.map_err(|(incomplete, _)| self.refused(incomplete))?;
        Ok(answers.into_iter().map(|it| it.rows).collect())
    }

    fn refused(&self, incomplete: Incomplete) -> CloneError {
        let source_schema = self.source.clone();
        match incomplete {
            Incomplete::Lost(error) => error.into(),
            Incomplete::Sql(error) if error.is_lock_not_available() || error.is_conflict() => {
                CloneError::Busy { schema: source_schema }
            }
            Incomplete::Sql(source) => CloneError::Sql { source_schema, source },
        }
    }
}

struct Table {
    name: String,
    columns: Vec<String>,
    /// The column's type where it is the schema's own.
    own_types: Vec<Option<String>>,
}

/// Whether `text` holds `word` with no letter, digit or underscore at either side.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_not_part_of_another() {
        assert!(has_word("select * from acme.users", "acme"));
        assert!(!has_word("select * from acme_2.users", "acme"));
    }
}
