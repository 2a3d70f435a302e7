//! Restoring a tenant from a dump: schema, rows, registry row and domains in one transaction that
//! proves itself.

use std::collections::BTreeMap;

use tokio::io::BufReader;

use super::archive::{Archive, Manifest};
use super::column::{Column, columns};
use super::copy_stream::{CopyHead, CopyStream};
use super::create::{CreateTenants, NewTenant, Obstacle};
use super::migrate::MigrateError;
use super::registry::RegistryError;
use super::{commit, leaks, naming};
use crate::event::{Event, Observer};
use crate::migration::lock_key;
use crate::name::{Hostname, HostnameError, SchemaName};
use crate::pg::{
    ClientError, ClientProgram, ConnectError, Connection, Incomplete, Needed, Row, Said, Spare,
    SqlError, identifier, literal, qualified, search_path,
};
use crate::structure::{self, Structure};

/// So many bytes of rows travel together.
const ENOUGH: usize = 256 * 1024;

/// A tenant that is to be restored.
#[derive(Clone, Copy)]
pub struct RestoreTenant<'a> {
    /// How tenants are created here; its migrations are not run.
    pub create: CreateTenants<'a>,
    /// The dump.
    pub archive: &'a Archive,
    /// What is to be otherwise than in the dump.
    pub wishes: &'a RestoreWishes,
    /// Do everything but the commit.
    pub rehearse: bool,
}

/// What is to be otherwise than in a dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreWishes {
    /// The schema, if it is not the dump's.
    pub schema: Option<SchemaName>,
    /// The domains. Where nothing is said of them, they are the dump's if the schema is, or else
    /// none.
    pub domains: Option<Vec<Hostname>>,
    /// Values for the registry row.
    pub values: Vec<(String, String)>,
    /// Columns of the registry row whose values in the dump are not wanted.
    pub without: Vec<String>,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The tenant.
    pub tenant: NewTenant,
    /// How many tables.
    pub tables: usize,
    /// How many rows.
    pub rows: u64,
    /// Functions whose text names the dump's schema, as a word, where the new one is another.
    pub naming_source: Vec<String>,
}

/// Why a tenant was not restored; nothing was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A newer server has made the dump.
    #[error("the dump is of a server of version {dumped}, and this server is of version {here}")]
    NewerServer {
        /// The major version of the server that was dumped.
        dumped: u32,
        /// The major version of this one.
        here: u32,
    },
    /// pg_restore is missing, older than the pg_dump that was used, or has failed.
    #[error(transparent)]
    Program(#[from] ClientError),
    /// The registry row has a value for a column that is no longer there.
    #[error("the table of tenants has no column `{column}`, for which the dump has `{value}`")]
    NoSuchColumn {
        /// The column.
        column: String,
        /// The value.
        value: String,
    },
    /// The dump has no value for a column that is to be left out.
    #[error("the dump has no value for column `{column}` that could be left out")]
    NotInDump {
        /// What was named.
        column: String,
    },
    /// One of the dump's domains is no hostname.
    #[error("a domain of the dump cannot be restored")]
    Hostname(#[from] HostnameError),
    /// The tenant's name, domains or columns are in the way.
    #[error(transparent)]
    Obstacle(Obstacle),
    /// pg_restore wrote something that the dump does not speak of.
    #[error("pg_restore's text could not be read")]
    Text(#[source] std::io::Error),
    /// What was restored would not have been like what was dumped.
    #[error("what was restored would differ from the dump in {}", objects.join(", "))]
    Differs {
        /// The objects.
        objects: Vec<String>,
    },
    /// Somebody works on a schema of that name, or holds what is needed.
    #[error("somebody else is at work on `{schema}`")]
    Busy {
        /// The schema.
        schema: SchemaName,
    },
    /// A table's rows were refused.
    #[error("the rows of `{table}` could not be restored")]
    Rows {
        /// The table.
        table: String,
        /// The server's answer.
        source: SqlError,
    },
    /// A statement was refused.
    #[error("`{schema}` could not be restored")]
    Sql {
        /// The schema.
        schema: SchemaName,
        /// The server's answer.
        source: SqlError,
    },
    /// Nothing could be created at all.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The registry could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The connection was lost during the commit, and nobody could be asked what came of it.
    #[error("the connection was lost during the commit, and whether it was made is not known")]
    Unanswered(#[source] ConnectError),
    /// No connection, or it was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl RestoreTenant<'_> {
    /// Returns the tenant as it is to be, after a look at what stands in the way. Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] when it is known now that it cannot be restored.
    pub async fn prepare(&self) -> Result<NewTenant, RestoreError> {
        let mut connection = self.create.database.connect("tenantctl").await?;
        check_versions(&self.archive.manifest, connection.server_version())?;
        let columns = columns(&mut connection, self.create.registry).await?;
        connection.close().await;
        let tenant = self.tenant(&columns)?;
        self.check(&tenant).await?;
        Ok(tenant)
    }

    /// Restores the tenant, wholly or not at all, as it was prepared. When it is no longer waited for, nothing is left.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; nothing has been created then, unless it is [`RestoreError::Unanswered`].
    pub async fn run(
        &self,
        tenant: NewTenant,
        observer: &dyn Observer,
    ) -> Result<Restored, RestoreError> {
        let manifest = &self.archive.manifest;
        let mut connection = self.create.database.connect("tenantctl").await?;
        let program = check_versions(manifest, connection.server_version())?;
        let one = One { restore: self, tenant: &tenant, program: &program, observer };
        let restored = one.transaction(&mut connection).await;
        if restored.is_err() {
            // Where the connection is gone, so is the transaction.
            let _ = connection.roll_back().await;
        }
        connection.close().await;
        match restored {
            Ok(naming_source) => {
                let (tables, rows) = (manifest.tables.len(), manifest.rows());
                Ok(Restored { tenant, tables, rows, naming_source })
            }
            Err(error) => {
                if is_taken(&error) {
                    // By somebody who was quicker.
                    self.check(&tenant).await?;
                }
                Err(error)
            }
        }
    }

    /// Returns the tenant as it is to be registered.
    fn tenant(&self, columns: &[Column]) -> Result<NewTenant, RestoreError> {
        let (manifest, wishes) = (&self.archive.manifest, self.wishes);
        let schema = wishes.schema.clone().unwrap_or_else(|| manifest.schema.clone());
        let domains = match &wishes.domains {
            Some(domains) => domains.clone(),
            None if schema != manifest.schema => Vec::new(),
            None => manifest.domains.iter().map(|it| it.parse()).collect::<Result<_, _>>()?,
        };
        let is_known = |column: &&String| manifest.values.iter().any(|it| it.0 == **column);
        if let Some(column) = wishes.without.iter().find(|it| !is_known(it)) {
            return Err(RestoreError::NotInDump { column: column.clone() });
        }
        let wished = wishes.values.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        let mut values: Vec<(String, Option<String>)> = wished.collect();
        for (name, value) in &manifest.values {
            let is_settled = wishes.without.contains(name) || values.iter().any(|it| it.0 == *name);
            match (columns.iter().find(|it| it.name == *name), value) {
                _ if is_settled => {}
                (None, None) => {}
                (None, Some(value)) => {
                    let (column, value) = (name.clone(), value.clone());
                    return Err(RestoreError::NoSuchColumn { column, value });
                }
                (Some(column), _) if column.is_generated => {}
                (Some(_), value) => values.push((name.clone(), self.renamed(name, value.clone()))),
            }
        }
        Ok(NewTenant { schema, values, domains })
    }

    /// A tenant that is called by its schema's name goes on being so.
    fn renamed(&self, column: &str, value: Option<String>) -> Option<String> {
        let is_name = column == self.create.registry.names().name;
        match &self.wishes.schema {
            Some(schema)
                if is_name && value.as_deref() == Some(self.archive.manifest.schema.as_str()) =>
            {
                Some(schema.to_string())
            }
            _ => value,
        }
    }

    async fn check(&self, tenant: &NewTenant) -> Result<(), RestoreError> {
        let prepared = self.create.prepare(std::slice::from_ref(tenant)).await?;
        match prepared.obstacles.into_iter().next() {
            Some((_, obstacle)) => Err(RestoreError::Obstacle(obstacle)),
            None => Ok(()),
        }
    }
}

fn check_versions(manifest: &Manifest, here: u32) -> Result<ClientProgram, RestoreError> {
    let (dumped, here) = (manifest.server_version / 10_000, here / 10_000);
    if dumped > here {
        return Err(RestoreError::NewerServer { dumped, here });
    }
    let needed = Needed {
        major: manifest.pg_dump_major,
        version: manifest.pg_dump.clone(),
        by: "the dump was made by pg_dump",
    };
    Ok(ClientProgram::find("pg_restore", &needed)?)
}

/// Whether a schema, a registry row or a domain is there that was not a moment ago.
fn is_taken(error: &RestoreError) -> bool {
    let taken = |it: &SqlError| it.is("42P06") || it.is("23505");
    matches!(error, RestoreError::Sql { source, .. } if taken(source))
}

/// One restoration.
struct One<'a> {
    restore: &'a RestoreTenant<'a>,
    tenant: &'a NewTenant,
    program: &'a ClientProgram,
    observer: &'a dyn Observer,
}

impl One<'_> {
    async fn transaction(&self, connection: &mut Connection) -> Result<Vec<String>, RestoreError> {
        let (manifest, schema) = (self.manifest(), &self.tenant.schema);
        self.begin(connection).await?;
        // What an expression calls finds what it finds when the app runs; what is taken from the
        // shared schema in the place of something of the schema's own is found by comparing.
        let shared = self.restore.create.registry.names().shared_schema.as_str();
        let path = literal(&search_path([schema.as_str(), shared]));
        let path = format!("select set_config('search_path', {path}, true)");
        let mut message = vec![format!("create schema {}", identifier(schema.as_str()))];
        message.push(path.clone());
        message.extend(manifest.structure.statements(schema, false));
        self.send(connection, message).await?;
        self.rows(connection).await?;
        // Before there are foreign keys: those into the shared schema lock its tables.
        let mut objects = self.other_counts(connection).await?;
        self.step("sequences, indexes and constraints", manifest.tables.len() + 1);
        let mut message = vec![path];
        message.extend(self.sequences());
        message.extend(manifest.structure.statements(schema, true));
        self.send(connection, message).await?;

        self.step("comparing with the dump", manifest.tables.len() + 2);
        objects.extend(self.differences(connection).await?);
        objects.extend(self.leaks(connection).await?);
        if !objects.is_empty() {
            return Err(RestoreError::Differs { objects });
        }
        let naming_source = self.naming_source(connection).await?;
        self.register(connection).await?;
        Ok(naming_source)
    }

    async fn begin(&self, connection: &mut Connection) -> Result<(), RestoreError> {
        let mut settings = vec![
            ("lock_timeout", "2s"),
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("check_function_bodies", "off"),
            ("standard_conforming_strings", "on"),
            ("row_security", "off"),
            ("default_table_access_method", "heap"),
            ("default_tablespace", ""),
            ("datestyle", "ISO"),
            ("intervalstyle", "postgres"),
            ("xmloption", "content"),
        ];
        if connection.server_version() >= 140_000 {
            // A statement ends soon after who has sent it.
            settings.push(("client_connection_check_interval", "500ms"));
        }
        if connection.server_version() >= 170_000 {
            settings.push(("transaction_timeout", "0"));
        }
        let settings = settings.iter().map(|(name, value)| {
            format!("set_config({}, {}, true)", literal(name), literal(value))
        });
        connection.refuse_standby().await?;
        let message = vec![
            "begin isolation level read committed, read write".into(),
            format!("select {}", settings.collect::<Vec<_>>().join(", ")),
            format!(
                "select pg_catalog.pg_try_advisory_xact_lock({})",
                lock_key(&self.tenant.schema)
            ),
        ];
        match last(self.send(connection, message).await?).first() {
            Some(row) if row.flag(0) => Ok(()),
            _ => Err(RestoreError::Busy { schema: self.tenant.schema.clone() }),
        }
    }

    /// Copies the rows as pg_restore reads them from the archive.
    async fn rows(&self, connection: &mut Connection) -> Result<(), RestoreError> {
        let mut command = self.program.command(["--data-only", "--file=-", "--"]);
        command.arg(&self.restore.archive.path);
        let not_run = |source| self.program.not_run(source);
        let mut child = command.spawn().map_err(not_run)?;
        let said = Said::read(child.stderr.take(), |_| false);
        let stdout = child.stdout.take().expect("it was asked for");
        let copied = self.copy_all(connection, CopyStream::new(BufReader::new(stdout)));
        let (said, copied) = tokio::join!(said, copied);
        match copied {
            // What it said is nearer to the cause than where its text ended.
            Err(RestoreError::Text(error)) => {
                let status = child.wait().await.map_err(not_run)?;
                self.program.ended(status, said)?;
                Err(RestoreError::Text(error))
            }
            Err(error) => Err(error),
            Ok(()) => Ok(self.program.ended(child.wait().await.map_err(not_run)?, said)?),
        }
    }

    async fn copy_all(
        &self,
        connection: &mut Connection,
        mut stream: CopyStream<BufReader<tokio::process::ChildStdout>>,
    ) -> Result<(), RestoreError> {
        let mut number = 0;
        while let Some(head) = stream.next_table().await.map_err(RestoreError::Text)? {
            number += 1;
            self.step(&format!("rows of `{}`", head.table), number);
            self.copy(connection, &head, &mut stream).await?;
        }
        Ok(())
    }

    async fn copy(
        &self,
        connection: &mut Connection,
        head: &CopyHead,
        stream: &mut CopyStream<BufReader<tokio::process::ChildStdout>>,
    ) -> Result<(), RestoreError> {
        if head.schema != self.manifest().schema.as_str() {
            let other = format!("it holds rows of schema `{}`", head.schema);
            return Err(RestoreError::Text(std::io::Error::other(other)));
        }
        let columns: Vec<String> = head.columns.iter().map(|it| identifier(it)).collect();
        let columns = match columns.is_empty() {
            true => String::new(),
            false => format!("({})", columns.join(", ")),
        };
        let table = qualified(&self.tenant.schema, &head.table);
        let statement = format!("copy {table} {columns} from stdin");
        let refused = |incomplete| match self.refused(incomplete) {
            RestoreError::Sql { source, .. } => {
                RestoreError::Rows { table: head.table.clone(), source }
            }
            other => other,
        };
        let mut copy = connection.copy_in(&statement).await.map_err(refused)?;
        let mut rows = Vec::with_capacity(ENOUGH);
        loop {
            rows.clear();
            let is_more = stream.rows(&mut rows, ENOUGH).await.map_err(RestoreError::Text)?;
            copy.send(&rows).await.map_err(refused)?;
            if !is_more {
                return copy.finish().await.map(drop).map_err(refused);
            }
        }
    }

    fn sequences(&self) -> impl Iterator<Item = String> {
        self.manifest().sequences.iter().map(|it| {
            format!(
                "select pg_catalog.setval({}::pg_catalog.regclass, {}, {})",
                literal(&qualified(&self.tenant.schema, &it.name)),
                it.last_value,
                it.is_called
            )
        })
    }

    /// Names what is not as it was. Servers of different versions have different words for the same
    /// thing, and then the names alone are compared.
    async fn differences(&self, connection: &mut Connection) -> Result<Vec<String>, RestoreError> {
        let is_same_version =
            connection.server_version() / 10_000 == self.manifest().server_version / 10_000;
        let questions = structure::questions(&self.tenant.schema);
        let answers = self.send(connection, questions.to_vec()).await?;
        let made = Structure::of(&answers[1], &answers[2]);
        Ok(match is_same_version {
            true => self.manifest().structure.differences(&made),
            false => names_alone(&self.manifest().structure).differences(&names_alone(&made)),
        })
    }

    async fn other_counts(&self, connection: &mut Connection) -> Result<Vec<String>, RestoreError> {
        let tables = &self.manifest().tables;
        let counts = tables.iter().map(|table| {
            let table = qualified(&self.tenant.schema, &table.name);
            format!("select pg_catalog.count(*) from only {table}")
        });
        let counts = self.send(connection, counts.collect()).await?;
        let counts = counts.iter().map(|rows| rows.first().and_then(|it| it.number(0)));
        let mut totals: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
        for (table, count) in tables.iter().zip(counts) {
            let whole = table.part_of.as_ref().unwrap_or(&table.name);
            let (had, has) = totals.entry(whole).or_default();
            *had += i128::from(table.rows);
            *has += i128::from(count.unwrap_or_default());
        }
        let others = totals.iter().filter(|(_, (had, has))| had != has);
        Ok(others
            .map(|(table, (had, has))| format!("`{table}`, which has {has} rows and had {had}"))
            .collect())
    }

    /// Names what of a schema of another name leads to one of the dump's, where that is here.
    async fn leaks(&self, connection: &mut Connection) -> Result<Vec<String>, RestoreError> {
        if !self.is_renamed() {
            return Ok(Vec::new());
        }
        let question = leaks::question(&self.tenant.schema, &self.manifest().schema);
        let rows = last(self.send(connection, vec![question]).await?);
        let source = &self.manifest().schema;
        Ok(rows.iter().map(|row| format!("{}, which leads to `{source}`", row.text(0))).collect())
    }

    /// Names the functions in whose text, which the server does not read, the dump's schema is.
    async fn naming_source(
        &self,
        connection: &mut Connection,
    ) -> Result<Vec<String>, RestoreError> {
        if !self.is_renamed() {
            return Ok(Vec::new());
        }
        let question = naming::question(&self.tenant.schema);
        let functions = last(self.send(connection, vec![question]).await?);
        Ok(naming::naming(&functions, &self.manifest().schema))
    }

    async fn register(&self, connection: &mut Connection) -> Result<(), RestoreError> {
        let create = self.restore.create;
        let shared = create.registry.names().shared_schema.as_str();
        let path = literal(&search_path([shared]));
        let mut message = vec![format!("select set_config('search_path', {path}, true)")];
        message.extend(create.registrations(self.tenant).into_iter().map(|it| it.sql));
        message.push(format!("select {}", commit::NUMBER));
        let rows = last(self.send(connection, message).await?);
        let number = rows.first().map(|row| row.text(0).to_owned()).unwrap_or_default();
        if self.restore.rehearse {
            return connection.roll_back().await.map_err(|incomplete| self.refused(incomplete));
        }
        match connection.send("commit".into()).await {
            Err((Incomplete::Lost(lost), _)) => self.settle(&number, lost).await,
            other => other.map(drop).map_err(|(incomplete, _)| self.refused(incomplete)),
        }
    }

    async fn settle(&self, number: &str, lost: ConnectError) -> Result<(), RestoreError> {
        let spare = Spare::new(self.restore.create.database);
        let is_committed = commit::is_committed(&spare, number).await;
        spare.close().await;
        match is_committed {
            Some(true) => Ok(()),
            Some(false) => Err(lost.into()),
            None => Err(RestoreError::Unanswered(lost)),
        }
    }

    fn manifest(&self) -> &Manifest {
        &self.restore.archive.manifest
    }

    fn is_renamed(&self) -> bool {
        self.tenant.schema != self.manifest().schema
    }

    fn step(&self, what: &str, number: usize) {
        let of = self.manifest().tables.len() + 2;
        self.observer.observe(&Event::Step { what, number, of });
    }

    async fn send(
        &self,
        connection: &mut Connection,
        statements: Vec<String>,
    ) -> Result<Vec<Vec<Row>>, RestoreError> {
        let answers = connection.send(statements.join(";\n")).await;
        let answers = answers.map_err(|(incomplete, _)| self.refused(incomplete))?;
        Ok(answers.into_iter().map(|it| it.rows).collect())
    }

    fn refused(&self, incomplete: Incomplete) -> RestoreError {
        let schema = self.tenant.schema.clone();
        match incomplete {
            Incomplete::Lost(error) => error.into(),
            Incomplete::Sql(error) if error.is_lock_not_available() || error.is_conflict() => {
                RestoreError::Busy { schema }
            }
            Incomplete::Sql(source) => RestoreError::Sql { schema, source },
        }
    }
}

fn last(mut answers: Vec<Vec<Row>>) -> Vec<Row> {
    answers.pop().unwrap_or_default()
}

fn names_alone(structure: &Structure) -> Structure {
    let mut structure = structure.clone();
    structure.objects.iter_mut().for_each(|it| it.statements.clear());
    structure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_of_a_newer_server_is_refused_before_a_program_is_looked_for() {
        let manifest = Manifest::new(&SchemaName::registered("acme"), 190_001);
        let error = check_versions(&manifest, 150_018).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the dump is of a server of version 19, and this server is of version 15"
        );
    }
}
