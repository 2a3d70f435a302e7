//! `tenant-command`: run something in one schema.

mod asking;
pub(super) mod changepassword;
pub(super) mod createsuperuser;
pub(super) mod exec;
pub(super) mod psql;
pub(super) mod sql;

use self::changepassword::ChangepasswordArgs;
use self::createsuperuser::CreatesuperuserArgs;
use self::exec::ExecArgs;
use self::psql::PsqlArgs;
use self::sql::SqlArgs;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::text::printable;
use crate::name::SchemaName;
use crate::pg::{Connection, Database, Scope, ScopeError};
use crate::tenant::Selection;

/// Run a command in one tenant's schema
///
/// `--schema` may stand before or after the command.
#[derive(Debug, clap::Args)]
pub(crate) struct TenantCommandArgs {
    #[command(flatten)]
    target: TargetArgs,

    #[command(subcommand)]
    command: InnerCommand,
}

// Comments rather than documentation, here and on `Inner`: clap would take it for the command's.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Where")]
struct TargetArgs {
    /// The tenant's schema
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,

    /// The shared schema, instead of a tenant's
    #[arg(long)]
    shared: bool,
}

// A command, and once more where: clap's own global arguments would let the second of two schemas
// win in silence.
#[derive(Debug, clap::Args)]
struct Inner<A: clap::Args> {
    #[command(flatten)]
    args: A,

    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, clap::Subcommand)]
enum InnerCommand {
    Createsuperuser(Inner<CreatesuperuserArgs>),
    Changepassword(Inner<ChangepasswordArgs>),
    Sql(Inner<SqlArgs>),
    Psql(Inner<PsqlArgs>),
    Exec(Inner<ExecArgs>),
}

/// The one schema that a command is run in.
struct Target {
    database: Database,
    scope: Scope,
}

pub(crate) async fn run(context: &mut Context, args: &TenantCommandArgs) -> CommandResult {
    let target = args.target()?.resolve(context).await?;
    match &args.command {
        InnerCommand::Createsuperuser(it) => createsuperuser::run(context, &target, &it.args).await,
        InnerCommand::Changepassword(it) => changepassword::run(context, &target, &it.args).await,
        InnerCommand::Sql(it) => sql::run(context, &target, &it.args).await,
        InnerCommand::Psql(it) => psql::run(context, &target, &it.args).await,
        InnerCommand::Exec(it) => exec::run(context, &target, &it.args).await,
    }
}

impl Target {
    /// Returns a connection for one thing: while a person thinks, none is kept open.
    async fn connect(&self) -> Result<Connection, CommandError> {
        Ok(self.database.connect("tenantctl").await?)
    }

    /// Refuses a schema that is not there: a search path would skip it in silence.
    async fn check(&self) -> Result<(), CommandError> {
        let mut connection = self.connect().await?;
        let is_there = self.scope.is_there(&mut connection).await?;
        connection.close().await;
        let schema = self.scope.schema.clone();
        match is_there {
            true => Ok(()),
            false => Err(ScopeError::NoSchema { schema }.into()),
        }
    }

    /// Returns the schema as it is shown.
    fn shown(&self) -> String {
        printable(self.scope.schema.as_str())
    }
}

impl TenantCommandArgs {
    /// Returns where, said before the command or after it.
    fn target(&self) -> Result<TargetArgs, CommandError> {
        let inner = match &self.command {
            InnerCommand::Createsuperuser(it) => &it.target,
            InnerCommand::Changepassword(it) => &it.target,
            InnerCommand::Sql(it) => &it.target,
            InnerCommand::Psql(it) => &it.target,
            InnerCommand::Exec(it) => &it.target,
        };
        match (&self.target.schema, &inner.schema) {
            (Some(one), Some(other)) if one != other => Err(usage("more than one schema is meant")),
            (one, other) => Ok(TargetArgs {
                schema: one.clone().or(other.clone()),
                shared: self.target.shared || inner.shared,
            }),
        }
    }
}

impl TargetArgs {
    async fn resolve(&self, context: &mut Context) -> Result<Target, CommandError> {
        let schema = match (&self.schema, self.shared) {
            (Some(name), false) => registered(context, name).await?,
            (None, true) => context.registry()?.names().shared_schema.clone(),
            (None, false) => return Err(usage("which schema?")),
            (Some(_), true) => return Err(usage("more than one schema is meant")),
        };
        Ok(Target { database: context.database().await?, scope: context.scope(schema)? })
    }
}

fn usage(message: &str) -> CommandError {
    CommandError::Usage {
        message: message.into(),
        hint: "say `--schema NAME` once, or `--shared` for the shared schema; `tenantctl \
               list-tenants` lists the tenants"
            .into(),
    }
}

async fn registered(context: &mut Context, name: &str) -> Result<SchemaName, CommandError> {
    let selection = Selection { names: vec![name.to_owned()], ..Selection::default() };
    let registry = context.registry()?;
    let mut connection = context.connection().await?;
    let mut schemas = selection.resolve(&mut connection, &registry).await?;
    connection.close().await;
    Ok(schemas.pop().expect("a name that is not known is an error"))
}
