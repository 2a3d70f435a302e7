//! Dumping a tenant: schema, rows, registry row and domains of one moment, in one file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::archive::{Draft, Manifest, SequenceState, TableRows};
use super::column::columns;
use super::domain_sql::Sql;
use super::registry::{Registry, RegistryError};
use crate::event::{Event, Observer};
use crate::migration::{BEING_CREATED, lock_key};
use crate::name::SchemaName;
use crate::pg::{
    BEING_DELETED, ClientError, ClientProgram, ConnectError, Connection, Database, Incomplete,
    Needed, Row, Said, SqlError, identifier, literal, qualified,
};
use crate::structure::{self, Structure};

/// For so long pg_dump waits for a lock, in milliseconds.
const LOCK_WAIT: &str = "3000";

/// How tenants are dumped.
#[derive(Clone, Copy)]
pub struct DumpTenant<'a> {
    /// The database.
    pub database: &'a Database,
    /// Its registry.
    pub registry: &'a Registry,
    /// Replace a file that is there already.
    pub overwrite: bool,
}

/// What was dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dumped {
    /// How many tables.
    pub tables: usize,
    /// How many rows.
    pub rows: u64,
    /// The size of the file.
    pub bytes: u64,
}

/// Why a tenant was not dumped. No file was written then.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The registry has no such tenant.
    #[error("there is no tenant `{schema}` to dump")]
    NoTenant {
        /// What was named.
        schema: SchemaName,
    },
    /// The registry has the tenant, but the database has no such schema.
    #[error("tenant `{schema}` has no schema")]
    NoSchema {
        /// The tenant's schema.
        schema: SchemaName,
    },
    /// An earlier command has not finished with it.
    #[error("`{schema}` is {state}")]
    Unfinished {
        /// The schema.
        schema: SchemaName,
        /// `being created` or `being deleted`.
        state: String,
    },
    /// The file is there already.
    #[error("`{}` exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is a folder, a device or the like.
    #[error("`{}` is no file", path.display())]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error("`{}` could not be written", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a pooler in between, behind which pg_dump does not see what this program sees.
    #[error("a dump needs a direct connection, and there is a pooler in between")]
    Pooled,
    /// pg_dump is missing, older than the server, or has failed.
    #[error(transparent)]
    Program(#[from] ClientError),
    /// Something in the schema could not be made again.
    #[error("`{schema}` holds what could not be restored: {}", objects.join(", "))]
    Unknown {
        /// The schema.
        schema: SchemaName,
        /// The objects, in the server's words.
        objects: Vec<String>,
    },
    /// Its structure was changed meanwhile.
    #[error("`{schema}` was changed while it was dumped: {}", objects.join(", "))]
    Changed {
        /// The schema.
        schema: SchemaName,
        /// The objects.
        objects: Vec<String>,
    },
    /// Somebody works on the schema, or has locked one of its tables.
    #[error("somebody else is at work on `{schema}`")]
    Busy {
        /// The schema.
        schema: SchemaName,
    },
    /// A question was refused.
    #[error("`{schema}` could not be dumped")]
    Sql {
        /// The schema.
        schema: SchemaName,
        /// The server's answer.
        source: SqlError,
    },
    /// The registry could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No connection, or it was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl DumpTenant<'_> {
    /// Writes the tenant with this schema to `path`, wholly or not at all. Nothing is changed in
    /// the database. When it is no longer waited for, it ends and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// [`DumpError`]; no file has been written then.
    pub async fn run(
        &self,
        schema: &SchemaName,
        path: &Path,
        observer: &dyn Observer,
    ) -> Result<Dumped, DumpError> {
        self.check_path(path)?;
        let connection = self.database.connect_directly("tenantctl", &[]).await?;
        let mut connection = connection.ok_or(DumpError::Pooled)?;
        let program = find_pg_dump(connection.server_version())?;
        let is_registered = self.registry.schemas(&mut connection).await?.contains(schema);
        if !is_registered {
            return Err(DumpError::NoTenant { schema: schema.clone() });
        }
        let not_written = |source| self.not_written(path, source);
        let draft = Draft::create(path).map_err(not_written)?;
        let dump = One { dump: self, schema, program: &program, observer };
        let manifest = dump.write(&mut connection, draft.path()).await?;
        connection.close().await;
        let (tables, rows) = (manifest.tables.len(), manifest.rows());
        let bytes = draft.finish(manifest, self.overwrite).await.map_err(not_written)?;
        Ok(Dumped { tables, rows, bytes })
    }

    fn check_path(&self, path: &Path) -> Result<(), DumpError> {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => Err(DumpError::NoFile { path: path.to_owned() }),
            Ok(_) if !self.overwrite => Err(DumpError::Exists { path: path.to_owned() }),
            _ => Ok(()),
        }
    }

    fn not_written(&self, path: &Path, source: io::Error) -> DumpError {
        match source.kind() {
            io::ErrorKind::AlreadyExists => DumpError::Exists { path: path.to_owned() },
            _ => DumpError::NotWritten { path: path.to_owned(), source },
        }
    }
}

fn find_pg_dump(server_version: u32) -> Result<ClientProgram, ClientError> {
    let major = server_version / 10_000;
    let version = format!("{major}.{}", server_version % 10_000);
    let needed = Needed { major, version, by: "the server is of version" };
    ClientProgram::find("pg_dump", &needed)
}

/// One tenant's dump.
struct One<'a> {
    dump: &'a DumpTenant<'a>,
    schema: &'a SchemaName,
    program: &'a ClientProgram,
    observer: &'a dyn Observer,
}

impl One<'_> {
    /// Writes the archive, and returns what is to stand behind it.
    async fn write(&self, connection: &mut Connection, path: &Path) -> Result<Manifest, DumpError> {
        let registry = self.dump.registry;
        let names = registry.names();
        let settable = columns(connection, registry).await?;
        let settable: Vec<String> = settable
            .into_iter()
            .filter(|it| !it.is_generated && it.name != names.schema_name)
            // A number that the server gives is the row's own, and may be another's by then.
            .filter(|it| !it.is_primary_key || it.is_required())
            .map(|it| it.name)
            .collect();
        let snapshot = self.begin(connection).await?;
        let mut manifest = Manifest::new(self.schema, connection.server_version());
        manifest.pg_dump = self.program.version.text.clone();
        manifest.pg_dump_major = self.program.version.major;
        manifest.tables = self.tables(connection).await?;
        manifest.structure = self.structure(connection).await?;
        if !manifest.structure.unknown.is_empty() {
            let (schema, objects) = (self.schema.clone(), manifest.structure.unknown);
            return Err(DumpError::Unknown { schema, objects });
        }
        (manifest.id, manifest.values) = self.values(connection, settable).await?;
        let domains = Sql(registry).list(&Sql(registry).is_schema(self.schema));
        let domains = self.send(connection, domains).await?;
        manifest.domains = last(domains).iter().map(|row| row.text(0).to_owned()).collect();

        if let Err(error) = self.archive(&snapshot, path, manifest.tables.len()).await {
            // Where the server has gone away, that is what there is to say.
            self.send(connection, "select 1".into()).await?;
            return Err(error);
        }
        // The archive has the sequences' values of its own moment; rows have none that is newer.
        manifest.sequences = self.sequences(connection).await?;
        let objects = manifest.structure.differences(&self.structure_now(connection).await?);
        if !objects.is_empty() {
            return Err(DumpError::Changed { schema: self.schema.clone(), objects });
        }
        Ok(manifest)
    }

    /// Begins a transaction that sees one moment, which pg_dump will see as well, and during which
    /// nobody migrates the schema.
    async fn begin(&self, connection: &mut Connection) -> Result<String, DumpError> {
        let transaction_timeout = match connection.server_version() {
            170_000.. => ", set_config('transaction_timeout', '0', true)",
            _ => "",
        };
        let begin = format!(
            "begin isolation level repeatable read, read only; \
             select set_config('search_path', 'pg_catalog', true), \
               set_config('lock_timeout', '5s', true), set_config('statement_timeout', '0', true), \
               set_config('idle_in_transaction_session_timeout', '0', true), \
               set_config('datestyle', 'ISO', true), set_config('intervalstyle', 'postgres', true), \
               set_config('extra_float_digits', '3', true), set_config('bytea_output', 'hex', true), \
               set_config('row_security', 'off', true){transaction_timeout}; \
             select pg_catalog.pg_try_advisory_xact_lock_shared({lock}), \
               exists (select from pg_catalog.pg_namespace where nspname = {schema}), \
               pg_catalog.pg_export_snapshot(), (select pg_catalog.obj_description(oid, 'pg_namespace') \
                 from pg_catalog.pg_namespace where nspname = {schema})",
            lock = lock_key(self.schema),
            schema = literal(self.schema.as_str()),
        );
        let rows = last(self.send(connection, begin).await?);
        let row = rows.first();
        let schema = self.schema.clone();
        if let Some(mark @ (BEING_CREATED | BEING_DELETED)) = row.and_then(|it| it.get(3)) {
            let state = mark.trim_start_matches("tenantctl: ").to_owned();
            return Err(DumpError::Unfinished { schema: self.schema.clone(), state });
        }
        match row {
            Some(row) if !row.flag(0) => Err(DumpError::Busy { schema }),
            Some(row) if row.flag(1) => Ok(row.text(2).to_owned()),
            _ => Err(DumpError::NoSchema { schema }),
        }
    }

    /// Counts the rows. From then on the tables are locked as a SELECT locks them.
    async fn tables(&self, connection: &mut Connection) -> Result<Vec<TableRows>, DumpError> {
        let found = last(self.send(connection, relations(self.schema, 'r')).await?);
        let counts = found.iter().map(|row| {
            let table = qualified(self.schema, row.text(0));
            format!("select pg_catalog.count(*) from only {table}")
        });
        let counts = counts.collect::<Vec<_>>().join("; ");
        let counts = self.send(connection, counts).await?;
        let tables = found.iter().zip(counts).map(|(row, counted)| TableRows {
            name: row.text(0).to_owned(),
            rows: counted.first().and_then(|it| it.number(0)?.try_into().ok()).unwrap_or_default(),
            part_of: row.get(1).map(str::to_owned),
        });
        Ok(tables.collect())
    }

    async fn sequences(
        &self,
        connection: &mut Connection,
    ) -> Result<Vec<SequenceState>, DumpError> {
        let found = last(self.send(connection, relations(self.schema, 'S')).await?);
        let states = found.iter().map(|row| {
            format!("select last_value, is_called from {}", qualified(self.schema, row.text(0)))
        });
        let states = states.collect::<Vec<_>>().join("; ");
        let states = self.send(connection, states).await?;
        let states = found.iter().zip(&states).filter_map(|(sequence, rows)| {
            let (name, row) = (sequence.text(0).to_owned(), rows.first()?);
            Some(SequenceState { name, last_value: row.number(0)?, is_called: row.flag(1) })
        });
        Ok(states.collect())
    }

    async fn structure(&self, connection: &mut Connection) -> Result<Structure, DumpError> {
        let questions = structure::questions(self.schema).join(";\n");
        let answers = self.send(connection, questions).await?;
        Ok(Structure::of(&answers[1], &answers[2]))
    }

    /// Ends the snapshot's transaction, and returns the structure as others see it by now. A value of
    /// an enum, say, is written under its present name, whatever the snapshot shows.
    async fn structure_now(&self, connection: &mut Connection) -> Result<Structure, DumpError> {
        let mut second = self.dump.database.connect("tenantctl").await?;
        let begin = format!(
            "begin isolation level read committed, read only; \
             select set_config('lock_timeout', '5s', true), set_config('statement_timeout', '0', true); \
             select pg_catalog.pg_try_advisory_xact_lock_shared({})",
            lock_key(self.schema)
        );
        self.send(&mut second, begin).await?;
        // Whoever waits for one of its tables would be waited for in turn. The schema's own lock
        // is held by now by the second one.
        self.send(connection, "commit".into()).await?;
        let structure = self.structure(&mut second).await?;
        second.close().await;
        Ok(structure)
    }

    async fn values(
        &self,
        connection: &mut Connection,
        columns: Vec<String>,
    ) -> Result<(String, Vec<(String, Option<String>)>), DumpError> {
        let registry = self.dump.registry;
        let id = std::iter::once(&registry.names().id);
        let values: Vec<String> =
            id.chain(&columns).map(|it| format!("t.{}::text", identifier(it))).collect();
        let question = format!(
            "select {} from {} as t where t.{} = {}",
            values.join(", "),
            registry.tenants_table(),
            identifier(&registry.names().schema_name),
            literal(self.schema.as_str())
        );
        let rows = last(self.send(connection, question).await?);
        let Some(row) = rows.first() else {
            return Err(DumpError::NoTenant { schema: self.schema.clone() });
        };
        let values = row.values().skip(1).map(|it| it.map(str::to_owned));
        Ok((row.text(0).to_owned(), columns.into_iter().zip(values).collect()))
    }

    /// Lets pg_dump write what the snapshot shows.
    async fn archive(&self, snapshot: &str, path: &Path, tables: usize) -> Result<(), DumpError> {
        let pattern = identifier(self.schema.as_str());
        let mut command = self.program.command_at(
            self.dump.database,
            [
                "--format=custom",
                "--encoding=UTF8",
                "--quote-all-identifiers",
                "--strict-names",
                "--no-password",
                "--no-sync",
                "--verbose",
                &format!("--lock-wait-timeout={LOCK_WAIT}"),
                &format!("--snapshot={snapshot}"),
                &format!("--schema={pattern}"),
            ],
        );
        command.arg("--file").arg(path).stdout(std::process::Stdio::null());
        let not_run = |source| self.program.not_run(source);
        let mut child = command.spawn().map_err(not_run)?;
        let mut number = 0;
        let stderr = child.stderr.take();
        let said = Said::read(stderr, |line| {
            if let Some(table) = table_begun(line) {
                number += 1;
                let table = table.strip_prefix(self.schema.as_str()).unwrap_or(table);
                let what = format!("rows of `{}`", table.trim_start_matches('.'));
                self.observer.observe(&Event::Step { what: &what, number, of: tables });
            }
            !is_trouble(line)
        });
        let (said, status) = tokio::join!(said, child.wait());
        let status = status.map_err(not_run)?;
        if !status.success() && said.has("LOCK TABLE") && said.has("timeout") {
            return Err(DumpError::Busy { schema: self.schema.clone() });
        }
        Ok(self.program.ended(status, said)?)
    }

    async fn send(
        &self,
        connection: &mut Connection,
        message: String,
    ) -> Result<Vec<Vec<Row>>, DumpError> {
        let schema = || self.schema.clone();
        match connection.send(message).await {
            Ok(answers) => Ok(answers.into_iter().map(|it| it.rows).collect()),
            Err((Incomplete::Lost(error), _)) => Err(error.into()),
            Err((Incomplete::Sql(error), _))
                if error.is_lock_not_available() || error.is_conflict() =>
            {
                Err(DumpError::Busy { schema: schema() })
            }
            Err((Incomplete::Sql(source), _)) => Err(DumpError::Sql { schema: schema(), source }),
        }
    }
}

/// Asks for the names of a schema's own relations of this kind, and for what each is a partition
/// of.
fn relations(schema: &SchemaName, kind: char) -> String {
    format!(
        "select c.relname, root.relname from pg_catalog.pg_depend as d \
         join pg_catalog.pg_class as c on c.oid = d.objid and c.relkind = '{kind}' \
         left join pg_catalog.pg_class as root on c.relispartition \
           and root.oid = pg_catalog.pg_partition_root(c.oid) and root.relnamespace = d.refobjid \
         where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
           and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
           and d.refobjid = {}::pg_catalog.regnamespace order by c.relname",
        literal(&identifier(schema.as_str()))
    )
}

fn last(mut answers: Vec<Vec<Row>>) -> Vec<Row> {
    answers.pop().unwrap_or_default()
}

/// Returns the table whose rows pg_dump says it begins to write.
fn table_begun(line: &str) -> Option<&str> {
    let (_, table) = line.split_once("dumping contents of table ")?;
    table.strip_prefix('"')?.strip_suffix('"')
}

/// Whether a line is none of those that `--verbose` brings.
fn is_trouble(line: &str) -> bool {
    let words = ["error:", "warning:", "detail:", "hint:", "FATAL", "ERROR", "fatal:"];
    words.iter().any(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pg_dump_says_which_table_it_has_come_to() {
        let line = r#"pg_dump: dumping contents of table "acme.a "b"""#;
        assert_eq!(table_begun(line), Some(r#"acme.a "b""#));
        assert_eq!(table_begun("pg_dump: reading schemas"), None);
    }
}
