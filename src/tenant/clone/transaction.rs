//! One attempt at a clone: a transaction on a connection of its own.

use super::rows::{self, Table};
use super::{CloneError, CloneTenant, Cloned, Source};
use crate::event::{Blockage, BlockageKind};
use crate::migration::{holders_of_schema_lock, lock_key};
use crate::name::SchemaName;
use crate::pg::{
    BEING_DELETED, Connection, Incomplete, Row, Spare, SqlError, identifier, literal, qualified,
    search_path,
};
use crate::structure::{self, Structure};
use crate::tenant::commit;
use crate::tenant::create::NewTenant;

/// One attempt.
pub(super) struct Transaction<'a> {
    pub(super) clone: &'a CloneTenant<'a>,
    /// With every value that its row needs.
    pub(super) tenant: &'a NewTenant,
    pub(super) connection: Connection,
    pub(super) spare: &'a Spare,
}

impl Transaction<'_> {
    /// Makes the clone and commits it.
    pub(super) async fn run(&mut self, known: &Source) -> Result<Cloned, CloneError> {
        self.begin(known).await?;
        let source = self.structure(self.clone.source).await?;
        if !source.unknown.is_empty() {
            let (source_schema, objects) = (self.clone.source.clone(), source.unknown);
            return Err(CloneError::Unknown { source_schema, objects });
        }
        let tables = self.tables(known).await?;
        self.check_masks(&tables).await?;
        let rows = self.make(&source, &tables).await?;
        self.prove(&source).await?;
        let naming_source = self.naming_source().await?;
        self.register().await?;
        Ok(Cloned { tables: tables.len(), rows, naming_source })
    }

    /// Says goodbye. What is not committed is rolled back.
    pub(super) async fn close(mut self) {
        // Where the connection is gone, so is the transaction.
        let _ = self.connection.roll_back().await;
        self.connection.close().await;
    }

    /// Locks the new name, the source against being migrated, renamed or deleted, and the source's
    /// tables, and only then takes the snapshot, as every statement but SET and
    /// LOCK does: to an older one, a table that is rewritten or emptied while it is waited for would
    /// be empty (Postgres documentation, "Caveats" of "Concurrency Control", and `LOCK`).
    async fn begin(&mut self, known: &Source) -> Result<(), CloneError> {
        let (new, source) = (&self.tenant.schema, self.clone.source);
        let mut message =
            vec!["begin isolation level repeatable read, read write".to_owned(), self.settings()];
        if !known.tables.is_empty() {
            let tables = known.tables.iter().map(|it| format!("only {}", qualified(source, it)));
            let tables: Vec<String> = tables.collect();
            message.push(format!("lock table {} in access share mode", tables.join(", ")));
        }
        message.push(format!(
            "select pg_catalog.pg_try_advisory_xact_lock({}), \
               pg_catalog.pg_try_advisory_xact_lock_shared({}), \
               (select pg_catalog.obj_description(oid, 'pg_namespace') = {} \
                  from pg_catalog.pg_namespace where nspname = {})",
            lock_key(new),
            lock_key(source),
            literal(BEING_DELETED),
            literal(source.as_str()),
        ));
        let answer = match self.connection.send(message.join(";\n")).await {
            Err((Incomplete::Sql(error), _)) if error.is("42P01") || error.is("3F000") => {
                return Err(self.changing());
            }
            other => other.map_err(|(incomplete, _)| self.refused(incomplete))?,
        };
        let row = answer.last().map(|it| it.rows[0].clone());
        let is = |column| row.as_ref().is_some_and(|it| it.flag(column));
        match (is(0), is(1), is(2)) {
            (false, ..) => Err(self.locked(new).await?),
            (_, false, _) => Err(self.locked(source).await?),
            (.., true) => Err(CloneError::BeingDeleted { source_schema: source.clone() }),
            _ => Ok(()),
        }
    }

    async fn locked(&self, schema: &SchemaName) -> Result<CloneError, CloneError> {
        let mut lane = self.spare.lane().await;
        let holders = holders_of_schema_lock(lane.serve(0).await?, schema).await;
        let (kind, holders) = (BlockageKind::SchemaLock, holders.unwrap_or_default());
        let blockage = Box::new(Blockage::new(None, kind, holders));
        Ok(CloneError::Busy { schema: schema.clone(), blockage })
    }

    /// Nothing is left to the role's own.
    fn settings(&self) -> String {
        let mut settings = vec![
            ("lock_timeout", "2s"),
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "60s"),
            ("check_function_bodies", "off"),
            ("standard_conforming_strings", "on"),
            ("row_security", "off"),
            ("default_table_access_method", "heap"),
            ("default_tablespace", "''"),
        ];
        let version = self.connection.server_version();
        if version >= 140_000 {
            settings.push(("client_connection_check_interval", "500ms"));
        }
        if version >= 170_000 {
            settings.push(("transaction_timeout", "0"));
        }
        let set = |(name, value): &(&str, &str)| match *value {
            "''" => format!("set local {name} = ''"),
            value => format!("set local {name} = {}", literal(value)),
        };
        settings.iter().map(set).collect::<Vec<_>>().join("; ")
    }

    /// Returns the tables that hold rows themselves, unless others are there than were locked.
    async fn tables(&mut self, known: &Source) -> Result<Vec<Table>, CloneError> {
        let lockable = self.send(rows::lockable(self.clone.source)).await?;
        let there = lockable.last().into_iter().flatten().map(|row| row.text(0));
        if !there.eq(known.tables.iter().map(String::as_str)) {
            return Err(self.changing());
        }
        let answers = self.send(rows::question(self.clone.source)).await?;
        Ok(Table::read(answers.last().map_or(&[], Vec::as_slice)))
    }

    /// Makes the schema with its rows, and returns how many those are.
    async fn make(&mut self, source: &Structure, tables: &[Table]) -> Result<u64, CloneError> {
        let new = &self.tenant.schema;
        let path = literal(&search_path([new.as_str()]));
        let mut message = vec![
            format!("create schema {}", identifier(new.as_str())),
            format!("select set_config('search_path', {path}, true)"),
        ];
        message.extend(source.statements(new, false));
        self.send(message.join(";\n")).await?;
        let mut rows = 0;
        for table in tables {
            rows += self.copy(table).await?;
        }
        let mut message = self.sequences().await?;
        message.extend(source.statements(new, true));
        self.send(message.join(";\n")).await?;
        Ok(rows)
    }

    /// Refuses a clone that is not like its source, or leads to it.
    async fn prove(&mut self, source: &Structure) -> Result<(), CloneError> {
        let made = self.structure(&self.tenant.schema).await?;
        let mut objects = source.differences(&made);
        objects.extend(self.leaks().await?);
        match objects.is_empty() {
            true => Ok(()),
            false => Err(CloneError::Differs { source_schema: self.clone.source.clone(), objects }),
        }
    }

    /// Writes the registry's rows, and commits.
    async fn register(&mut self) -> Result<(), CloneError> {
        let registry = self.clone.create.registry;
        let path = literal(&search_path([registry.names().shared_schema.as_str()]));
        let mut message = vec![format!("select set_config('search_path', {path}, true)")];
        let rows = self.clone.create.registrations(self.tenant).into_iter().map(|it| it.sql);
        message.extend(rows);
        message.push(format!("select {}", commit::NUMBER));
        let answer = self.send(message.join(";\n")).await?;
        let id = answer.last().map(|rows| rows[0].text(0).to_owned()).unwrap_or_default();
        if self.clone.rehearse {
            return self.send("set constraints all immediate; rollback".into()).await.map(drop);
        }
        match self.connection.send("commit".into()).await {
            Err((Incomplete::Lost(lost), _)) => match commit::is_committed(self.spare, &id).await {
                Some(true) => Ok(()),
                Some(false) => Err(lost.into()),
                None => Err(CloneError::Unanswered(lost)),
            },
            other => other.map(drop).map_err(|(incomplete, _)| self.refused(incomplete)),
        }
    }

    async fn structure(&mut self, schema: &SchemaName) -> Result<Structure, CloneError> {
        let answers = self.send(structure::questions(schema).join(";\n")).await?;
        Ok(Structure::of(&answers[1], &answers[2]))
    }

    pub(super) async fn send(&mut self, message: String) -> Result<Vec<Vec<Row>>, CloneError> {
        let answers = self.connection.send(message).await;
        let answers = answers.map_err(|(incomplete, _)| self.refused(incomplete))?;
        Ok(answers.into_iter().map(|it| it.rows).collect())
    }

    fn changing(&self) -> CloneError {
        CloneError::Changing { source_schema: self.clone.source.clone() }
    }

    pub(super) fn refused(&self, incomplete: Incomplete) -> CloneError {
        let busy = |kind| CloneError::Busy {
            schema: self.clone.source.clone(),
            blockage: Box::new(Blockage::new(None, kind, Vec::new())),
        };
        match incomplete {
            Incomplete::Lost(error) => error.into(),
            Incomplete::Sql(error) if error.is_lock_not_available() => {
                busy(BlockageKind::Lock(error))
            }
            Incomplete::Sql(error) if error.is_conflict() && !is_of_the_name(&error) => {
                busy(BlockageKind::Conflict(error))
            }
            Incomplete::Sql(source) => {
                CloneError::Sql { source_schema: self.clone.source.clone(), source }
            }
        }
    }
}

/// Whether somebody else has just created a schema of the new one's name.
fn is_of_the_name(error: &SqlError) -> bool {
    error.constraint.as_deref() == Some("pg_namespace_nspname_index")
}
