//! Tenants made from another one's structure instead of by running every migration: proven to be the
//! same beforehand, or refused.
//!
//! The migrations are run once, in a transaction that is rolled back. What they made has to be what
//! the template is made of, object for object; the rows they wrote are those that every tenant gets.
//! Rows of the template are its own and are never looked at. Where there are any, the migrations are
//! run once more, in a schema of another name: rows that differ from one time to the next cannot be
//! written from a template.

use super::change::Patience;
use super::clone::rows::{self, Table};
use super::create::CreateTenants;
use super::registry::RegistryError;
use crate::event::{Failure, Holder};
use crate::migration::history::HISTORY_TABLE;
use crate::migration::replay::{ReplayError, replay};
use crate::migration::{
    ExecuteOptions, LookError, MigrationSet, PlanOptions, ScriptOptions, State, Survey, watched,
};
use crate::name::SchemaName;
use crate::pg::{
    ConnectError, Connection, Incomplete, Row, Spare, SqlError, identifier, literal, qualified,
};
use crate::structure::{self, Structure, Template};

/// So many rows are written by one statement.
const ROWS_PER_STATEMENT: usize = 500;

/// Why no tenant is made from a template; none was.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The registry has no such tenant.
    #[error("there is no tenant `{template}` to take as a template")]
    NoTemplate {
        /// What was named.
        template: SchemaName,
    },
    /// Something is not the same, or cannot be shown to be.
    #[error("tenant `{template}` cannot serve as a template: {why}")]
    Unfit {
        /// The tenant.
        template: SchemaName,
        /// In plain words.
        why: String,
    },
    /// The migrations could not be run.
    #[error("the migrations could not be run to compare what they make with `{template}`")]
    Failed {
        /// The tenant.
        template: SchemaName,
        /// What went wrong.
        failure: Box<Failure>,
    },
    /// Somebody was in the way of the migrations for too long.
    #[error("the migrations could not be run to compare what they make: somebody is in the way")]
    Busy {
        /// Who was seen.
        holders: Vec<Holder>,
        /// The server's last answer.
        source: SqlError,
    },
    /// The template could not be looked at.
    #[error("`{template}` could not be looked at")]
    Sql {
        /// The tenant.
        template: SchemaName,
        /// The server's answer.
        source: SqlError,
    },
    /// The histories could not be read.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The registry could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No connection, or it was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// What the migrations make of an empty schema.
struct Made {
    structure: Structure,
    /// Statements that write the rows; they name no schema.
    rows: Vec<String>,
}

/// A proof that is under way.
struct Proof<'a> {
    create: &'a CreateTenants<'a>,
    template: &'a SchemaName,
    options: &'a ExecuteOptions,
    /// What the connection is called.
    name: String,
}

impl CreateTenants<'_> {
    /// Proves that the tenant `template` is made of what the migrations make, and returns what makes
    /// others like it. Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]; [`TemplateError::Unfit`] where it is something else.
    pub async fn prove_template(
        &self,
        template: &SchemaName,
        options: &ExecuteOptions,
    ) -> Result<Template, TemplateError> {
        let run = format!("tenantctl {:08x} ", fastrand::u32(..));
        let proof = Proof { create: self, template, options, name: format!("{run}0") };
        proof.refuse_files(self.migrations)?;
        proof.refuse_outdated().await?;
        let spare = Spare::new(self.database);
        let mut connection = self.database.connect(&proof.name).await?;
        let (proven, seen) = watched(&spare, &run, proof.proven(&mut connection)).await;
        connection.close().await;
        spare.close().await;
        proven.map_err(|error| match error {
            TemplateError::Busy { source, .. } => TemplateError::Busy { holders: seen, source },
            other => other,
        })
    }
}

impl Proof<'_> {
    async fn proven(&self, connection: &mut Connection) -> Result<Template, TemplateError> {
        let made = self.made(connection).await?;
        if !made.rows.is_empty() && self.made(connection).await?.rows != made.rows {
            let why = "the migrations write other rows each time they are run, such as the time \
                       or a random number";
            return Err(self.unfit(why));
        }
        let structure = self.compared(connection, &made.structure).await?;
        self.rehearsed(connection, structure, made.rows).await
    }

    fn unfit(&self, why: impl Into<String>) -> TemplateError {
        TemplateError::Unfit { template: self.template.clone(), why: why.into() }
    }

    /// Refuses files whose work is not all in the schema, or cannot be rolled back.
    fn refuse_files(&self, set: &MigrationSet) -> Result<(), TemplateError> {
        let mut files = 0..set.folder().files().len();
        if let Some(file) = files.clone().find(|&file| set.is_no_transaction(file)) {
            let what = "runs in no transaction, and what it makes cannot be compared";
            return Err(self.unfit(format!("{} {what}", set.label(file))));
        }
        match files.find(|&file| set.may_leave(&[file])) {
            Some(file) => {
                let what = "may change what is not the schema's";
                Err(self.unfit(format!("{} {what}", set.label(file))))
            }
            None => Ok(()),
        }
    }

    async fn refuse_outdated(&self) -> Result<(), TemplateError> {
        let CreateTenants { database, registry, migrations, .. } = *self.create;
        let mut connection = database.connect("tenantctl").await?;
        let is_registered = format!(
            "select count(*) > 0 from {} as t where t.{}::text = {}",
            registry.tenants_table(),
            identifier(&registry.names().schema_name),
            literal(self.template.as_str()),
        );
        let is_registered = registry.ask(&mut connection, &is_registered).await?[0].flag(0);
        connection.close().await;
        if !is_registered || *self.template == registry.names().shared_schema {
            return Err(TemplateError::NoTemplate { template: self.template.clone() });
        }
        let schemas = std::slice::from_ref(self.template);
        let survey = Survey::take(database, migrations, schemas, PlanOptions::default()).await?;
        let why = match survey.states().next().map(|(_, state)| state) {
            Some(State::UpToDate(_)) => return Ok(()),
            Some(State::Behind { .. }) => "migrations are pending there".to_owned(),
            Some(State::Disagrees(findings)) => {
                findings.iter().map(|it| migrations.describe(it)).collect::<Vec<_>>().join("; ")
            }
            Some(State::Unreadable(why)) => why,
            Some(State::BeingDeleted) => "it is being deleted".to_owned(),
            Some(State::NoSchema) | None => "its schema is missing".to_owned(),
        };
        Err(self.unfit(why))
    }

    /// Runs the migrations in a schema that nobody else ever sees, looks at it, and rolls back.
    /// Whoever is in the way is waited for.
    async fn made(&self, connection: &mut Connection) -> Result<Made, TemplateError> {
        let mut patience = Patience::new();
        loop {
            let schema = scratch();
            let options = self.script_options(connection.server_version());
            let replayed = replay(connection, self.create.migrations, &schema, &options).await;
            let made = match replayed {
                Ok(()) => self.look(connection, &schema).await,
                Err(ReplayError::Failed(failure)) => {
                    Err(TemplateError::Failed { template: self.template.clone(), failure })
                }
                Err(ReplayError::Busy(source)) => {
                    Err(TemplateError::Busy { holders: Vec::new(), source })
                }
                Err(ReplayError::Lost(error)) => Err(error.into()),
            };
            let _ = connection.roll_back().await;
            match made {
                Err(TemplateError::Busy { .. }) if patience.is_left() => patience.pause().await,
                other => return other,
            }
        }
    }

    fn script_options(&self, server_version: u32) -> ScriptOptions {
        ScriptOptions {
            lock_timeout: self.options.lock_timeout,
            statement_timeout: self.options.statement_timeout,
            path: self.options.path.clone(),
            rehearse: true,
            application_name: self.name.clone(),
            server_version,
            waits_for_disk: true,
            is_shared: true,
        }
    }

    async fn look(
        &self,
        connection: &mut Connection,
        schema: &SchemaName,
    ) -> Result<Made, TemplateError> {
        let structure = self.structure(connection, schema).await?;
        let tables = self.send(connection, rows::question(schema)).await?;
        let mut statements = Vec::new();
        for table in Table::read(&tables).iter().filter(|it| it.name != HISTORY_TABLE) {
            let columns: Vec<String> = table.columns.iter().map(|it| identifier(it)).collect();
            let from = qualified(schema, &table.name);
            let question = format!("select {} from only {from} order by ctid", columns.join(", "));
            let rows = self.send(connection, question).await?;
            statements.extend(inserts(&table.name, &columns.join(", "), &rows));
        }
        for sequence in self.send(connection, rows::sequences(schema)).await? {
            let name = literal(&qualified(schema, sequence.text(0)));
            let question = format!(
                "select s.last_value, s.is_called from {} as s \
                 where s.is_called or s.last_value <> (select p.seqstart \
                   from pg_catalog.pg_sequence as p where p.seqrelid = {name}::pg_catalog.regclass)",
                qualified(schema, sequence.text(0))
            );
            let moved = self.send(connection, question).await?;
            statements.extend(moved.iter().map(|row| set_sequence(sequence.text(0), row)));
        }
        Ok(Made { structure, rows: statements })
    }

    /// Returns the template's structure, which is also what the migrations made.
    async fn compared(
        &self,
        connection: &mut Connection,
        made: &Structure,
    ) -> Result<Structure, TemplateError> {
        let begin = "begin isolation level repeatable read, read only; \
                     set local lock_timeout = '2s'; set local statement_timeout = 0";
        self.send(connection, begin.into()).await?;
        let structure = self.structure(connection, self.template).await;
        let _ = connection.roll_back().await;
        let structure = structure?;
        let unknown = structure.unknown.first().or(made.unknown.first());
        if let Some(what) = unknown {
            return Err(self.unfit(format!("it holds what cannot be compared: {what}")));
        }
        match structure.differences(made).as_slice() {
            [] => Ok(structure),
            objects => {
                let objects = objects.join(", ");
                Err(self.unfit(format!("it differs from what the migrations make in {objects}")))
            }
        }
    }

    /// Makes a schema from the template, looks at it, and rolls back: it has to be the same again.
    /// Owners and grants that come by themselves are left out of what is returned.
    async fn rehearsed(
        &self,
        connection: &mut Connection,
        structure: Structure,
        rows: Vec<String>,
    ) -> Result<Template, TemplateError> {
        let schema = scratch();
        let bare = Template::new(structure.clone().without_privileges(), rows.clone());
        let begin = "begin isolation level read committed, read write; \
                     set local lock_timeout = '2s'; set local statement_timeout = 0";
        let mut message =
            vec![begin.to_owned(), format!("create schema {}", identifier(schema.as_str()))];
        message.extend(bare.statements(&schema));
        message.push("set constraints all immediate".into());
        let made = match self.send(connection, message.join(";\n")).await {
            Ok(_) => self.look(connection, &schema).await,
            Err(error) => Err(error),
        };
        let _ = connection.roll_back().await;
        let made = made?;
        let (here, there) =
            (structure.clone().without_privileges(), made.structure.clone().without_privileges());
        let mut differing = here.differences(&there);
        if made.rows != rows {
            differing.push("its rows".into());
        }
        match differing.is_empty() {
            true => Ok(Template::new(structure.without_privileges_of(&made.structure), rows)),
            false => {
                let differing = differing.join(", ");
                Err(self.unfit(format!("what is made from it differs in {differing}")))
            }
        }
    }

    /// Without the history, which is made apart, in the width that the project's versions need.
    async fn structure(
        &self,
        connection: &mut Connection,
        schema: &SchemaName,
    ) -> Result<Structure, TemplateError> {
        let message = structure::questions(schema).join(";\n");
        let answers = connection.send(message).await.map_err(|(it, _)| self.refused(it))?;
        Ok(Structure::of(&answers[1].rows, &answers[2].rows).without_table(HISTORY_TABLE))
    }

    async fn send(
        &self,
        connection: &mut Connection,
        message: String,
    ) -> Result<Vec<Row>, TemplateError> {
        let answers = connection.send(message).await.map_err(|(it, _)| self.refused(it))?;
        Ok(answers.into_iter().last().map(|it| it.rows).unwrap_or_default())
    }

    fn refused(&self, incomplete: Incomplete) -> TemplateError {
        match incomplete {
            Incomplete::Lost(error) => error.into(),
            Incomplete::Sql(error) if error.is_lock_not_available() || error.is_conflict() => {
                TemplateError::Busy { holders: Vec::new(), source: error }
            }
            Incomplete::Sql(source) => {
                TemplateError::Sql { template: self.template.clone(), source }
            }
        }
    }
}

/// Returns the name of a schema that nobody ever sees.
fn scratch() -> SchemaName {
    SchemaName::registered(&format!("tenantctl_{:016x}", fastrand::u64(..)))
}

/// Returns the statements that write `rows` into a table, in their order.
fn inserts(table: &str, columns: &str, rows: &[Row]) -> Vec<String> {
    let table = identifier(table);
    if columns.is_empty() {
        return vec![format!("insert into {table} default values"); rows.len()];
    }
    let row = |row: &Row| {
        let values = row.values().map(|it| it.map_or_else(|| "null".into(), literal));
        format!("({})", values.collect::<Vec<String>>().join(", "))
    };
    let statement = |rows: &[Row]| {
        let rows: Vec<String> = rows.iter().map(row).collect();
        format!(
            "insert into {table} ({columns}) overriding system value values {}",
            rows.join(", ")
        )
    };
    rows.chunks(ROWS_PER_STATEMENT).map(statement).collect()
}

fn set_sequence(name: &str, row: &Row) -> String {
    let name = literal(&identifier(name));
    format!(
        "select pg_catalog.setval({name}::pg_catalog.regclass, {}, {})",
        row.text(0),
        row.flag(1)
    )
}
