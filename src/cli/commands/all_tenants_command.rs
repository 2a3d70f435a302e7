//! `all-tenants-command`: run something in many schemas.

mod run;
mod work;

use std::path::PathBuf;

use self::run::{Progress, Run};
use super::tenant_command::changepassword::ChangepasswordArgs;
use super::tenant_command::createsuperuser::CreatesuperuserArgs;
use super::tenant_command::exec::ExecArgs;
use super::tenant_command::psql::PsqlArgs;
use super::tenant_command::sql::SqlArgs;
use crate::cli::child;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::execution::PaceArgs;
use crate::cli::fleet_output::{FleetOutput, OutputFolder};
use crate::cli::report::Report;
use crate::cli::selection::{SelectionArgs, warn_of_nobody};
use crate::cli::text::printable;
use crate::migration::room_for;
use crate::name::SchemaName;
use crate::run_log::RunLog;

/// Run a command in many schemas
///
/// The commands are those of `tenant-command`. What is said in a schema stands behind its name, a
/// line at a time, or in files with `--output-dir`. One schema's failure does not stop the others;
/// the exit status is the highest of all, or 130 after an interrupt. The first Ctrl-C starts no
/// further schema, the second ends what is running.
///
/// The flags may stand before or after the command.
#[derive(Debug, clap::Args)]
pub(crate) struct AllTenantsCommandArgs {
    #[command(flatten)]
    fleet: FleetArgs,

    #[command(subcommand)]
    command: InnerCommand,
}

// Comments rather than documentation, here and on `Inner`: clap would take it for the command's.
#[derive(Debug, Clone, Default, clap::Args)]
struct FleetArgs {
    #[command(flatten)]
    selection: SelectionArgs,

    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    output: OutputArgs,
}

// Where what is said goes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "How")]
struct OutputArgs {
    /// Write what is said in each schema to files `NAME.out` and `NAME.err` in this folder, which
    /// is made, or has to be empty
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

// A command, and once more where and how.
#[derive(Debug, clap::Args)]
struct Inner<A: clap::Args> {
    #[command(flatten)]
    args: A,

    #[command(flatten)]
    fleet: FleetArgs,
}

#[derive(Debug, clap::Subcommand)]
enum InnerCommand {
    /// Create a user who may do everything, the same in each schema
    ///
    /// A row in each schema's table `users`. What no flag gives is asked for once, in the terminal.
    /// The password is asked for twice, or comes from `--password-stdin` or from the environment
    /// variable TENANTCTL_SUPERUSER_PASSWORD; its Argon2id hash is stored, another one in each.
    Createsuperuser(Inner<CreatesuperuserArgs>),
    /// Give the user of that name in each schema a new password
    ///
    /// The password is asked for twice, or comes from `--password-stdin` or from the environment
    /// variable TENANTCTL_SUPERUSER_PASSWORD; its Argon2id hash is stored, another one in each.
    Changepassword(Inner<ChangepasswordArgs>),
    /// Run SQL in each schema, in one transaction a schema
    ///
    /// Rows are written as a table to a terminal, as tab-separated values to a pipe, or as JSON
    /// objects that carry the schema; counts go to stderr.
    Sql(Inner<SqlArgs>),
    /// Run psql in each schema, with `-c` or `-f`, or with what comes on stdin
    ///
    /// It never asks for a password, and stops at the first error unless it is given
    /// `--set ON_ERROR_STOP=0`. What comes on stdin is read once, and given to each.
    Psql(Inner<PsqlArgs>),
    /// Run a program in each schema
    ///
    /// It gets the same environment as from `tenant-command exec`. With `--output-dir` it writes to
    /// the files itself. It runs in a process group of its own, which Ctrl-C in the terminal does
    /// not reach: the first lets it finish, the second ends it.
    Exec(Inner<ExecInEachArgs>),
}

#[derive(Debug, clap::Args)]
struct ExecInEachArgs {
    /// Give each what comes on stdin, which is read once; otherwise they get nothing
    #[arg(long)]
    stdin: bool,

    #[command(flatten)]
    exec: ExecArgs,
}

pub(crate) async fn run(context: &mut Context, args: &AllTenantsCommandArgs) -> CommandResult {
    let fleet = args.fleet()?;
    let selection = fleet.selection.required()?;
    args.command.check_stdin(&fleet.selection)?;
    let (database, registry) = (context.database().await?, context.registry()?);
    let mut schemas = Vec::new();
    if selection.shared {
        schemas.push(registry.names().shared_schema.clone());
    }
    let mut connection = database.connect("tenantctl").await?;
    let tenants = selection.resolve(&mut connection, &registry).await?;
    warn_of_nobody(&context.report, &selection, tenants.len());
    schemas.extend(tenants);
    let wanted = fleet.pace.jobs(context)?.min(schemas.len());
    let (jobs, warning) = room_for(&mut connection, wanted).await?;
    connection.close().await;
    warning.into_iter().for_each(|warning| context.report.warn(warning));

    let work = args.command.work(&context.report).await?;
    if work.is_program() {
        child::refuse_pooler(&database).await?;
    }
    let output = fleet.output.open(&context.report, &schemas)?;
    let log = match work.is_recorded() && !schemas.is_empty() {
        true => context.begin_run("all-tenants-command", &database).await,
        false => RunLog::default(),
    };
    let run = Run {
        name: format!("tenantctl {:08x} ", fastrand::u32(..)),
        log,
        report: context.report,
        scope: context.scope(registry.names().shared_schema.clone())?,
        output,
        database,
        work,
        interrupt: context.signals.heed().clone(),
        progress: Progress::of(schemas.len()),
    };
    let max_failures = fleet.pace.max_failures(schemas.len());
    let tally = run.carry_out(schemas, jobs, max_failures).await;
    let code = tally.answer(&context.report, &run.scope.schema);
    if run.work.is_dry_run() {
        context.report.say("nothing was changed");
    }
    Ok(code)
}

impl AllTenantsCommandArgs {
    /// Returns where and how, said before the command or after it, or both.
    fn fleet(&self) -> Result<FleetArgs, CommandError> {
        let inner = match &self.command {
            InnerCommand::Createsuperuser(it) => &it.fleet,
            InnerCommand::Changepassword(it) => &it.fleet,
            InnerCommand::Sql(it) => &it.fleet,
            InnerCommand::Psql(it) => &it.fleet,
            InnerCommand::Exec(it) => &it.fleet,
        };
        self.fleet.and(inner).map_err(|flag| CommandError::Usage {
            message: format!("`{flag}` is given twice"),
            hint: "give it once, before the command or after it".into(),
        })
    }
}

impl FleetArgs {
    fn and(&self, other: &Self) -> Result<Self, &'static str> {
        if self.output.output_dir.is_some() && other.output.output_dir.is_some() {
            return Err("--output-dir");
        }
        let output_dir = self.output.output_dir.clone().or(other.output.output_dir.clone());
        Ok(Self {
            selection: self.selection.and(&other.selection)?,
            pace: self.pace.and(&other.pace)?,
            output: OutputArgs { output_dir },
        })
    }
}

impl OutputArgs {
    fn open(&self, report: &Report, schemas: &[SchemaName]) -> Result<FleetOutput, CommandError> {
        let folder = self.output_dir.as_deref().map(|it| OutputFolder::make(it, schemas));
        let folder = folder.transpose()?;
        for (schema, name) in folder.iter().flat_map(OutputFolder::renamed) {
            let schema = printable(schema.as_str());
            report.say(format!("the files of `{schema}` are called `{name}`"));
        }
        Ok(FleetOutput::new(report, folder))
    }
}
