//! The program: one file per command, the context they share, the reporter.

mod child;
mod column_value;
mod command_line;
mod commands;
mod context;
mod database;
mod doctor_report;
mod error;
mod execution;
mod exit_code;
mod fleet;
mod fleet_output;
mod globals;
mod hooks;
mod migration_report;
mod outcome_report;
mod plan_report;
mod progress;
mod prompt;
mod report;
mod selection;
mod signals;
mod status_report;
mod step_report;
mod tenant_prompts;
mod tenant_rows;
mod text;
mod waves;

use clap::Parser as _;

use self::commands::Subcommand;
use self::context::Context;
use self::error::CommandError;
use self::exit_code::ExitCode;
use self::globals::Globals;
use self::signals::Signals;

/// The manage.py of schema-per-tenant Postgres
///
/// One database, one schema per tenant, one shared schema that every tenant reads. Migrate them
/// all, create and care for tenants and their domains, and run commands inside a tenant.
#[derive(Debug, clap::Parser)]
#[command(name = "tenantctl", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit statuses: 0 done, 1 not done, 2 wrong command line or configuration, \
    3 a check said no, 4 some schemas done and some not, 5 database out of reach, 6 busy, \
    130 interrupted."
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Subcommand,
}

/// Runs the program and returns its exit status.
pub fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; anything else is a usage error. A closed stdout is
            // nobody's fault.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::Done.into();
            }
            report::usage_error(command_line::words(), &error.to_string());
            return ExitCode::Usage.into();
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the system has timers and sockets");
    let code = runtime.block_on(run(cli));
    // Not by dropping it, which would wait for a question that nobody is going to answer.
    runtime.shutdown_background();
    code.into()
}

async fn run(cli: Cli) -> ExitCode {
    let signals = Signals::default();
    let mut context = Context::new(cli.globals, signals.clone());
    let report = context.report;
    let result = tokio::select! {
        result = cli.command.run(&mut context) => result,
        () = signals.listen(|text| report.always(text)) => Err(CommandError::Interrupted),
    };
    prompt::give_terminal_back();
    let code = result.unwrap_or_else(|error| {
        error.report(&report);
        error.exit_code()
    });
    let code = match report::unwritten() {
        Some(error) => {
            report.error(format!("the answer could not be written: {error}"));
            if code == ExitCode::Done { ExitCode::NotDone } else { code }
        }
        None => code,
    };
    context.end_run(code).await;
    code
}
