//! `dev`: the project's private server.

use std::path::Path;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::prompt::Person;
use crate::cli::report::Report;
use crate::pg::server::{
    PrivateServer, RunningServer, ServerFinding, ServerState, ServerStatus, Started,
};

/// Start, stop, look at or destroy the project's private server
///
/// A Postgres of the project's own, for development: in the folder `.tenantctl`, reachable from
/// this machine only. It is used where nothing else names a database.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DevCommand {
    /// Start the server, after making it if there is none
    Start,
    /// Stop the server; its data stay
    Stop,
    /// Show whether the server runs, and where
    Status,
    /// Stop the server and delete it with all its data
    Destroy {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(context: &mut Context, command: &DevCommand) -> CommandResult {
    let root = context.root()?;
    let server = PrivateServer::of(&root);
    let report = &context.report;
    match command {
        DevCommand::Start => start(report, &root).await,
        DevCommand::Stop => {
            let what = if server.stop()? { "stopped" } else { "not running" };
            report.answer(format!("private server: {what}"));
            report.object("server", json!({ "state": what }));
            Ok(ExitCode::Done)
        }
        DevCommand::Status => {
            status(report, &server.status()?);
            Ok(ExitCode::Done)
        }
        DevCommand::Destroy { yes } => destroy(report, &server, *yes).await,
    }
}

/// Starts the private server; it takes a second or two, during which signals are heard.
pub(crate) async fn start_server(root: &Path) -> Result<Started, CommandError> {
    let server = PrivateServer::of(root);
    let started = tokio::task::spawn_blocking(move || server.start()).await;
    Ok(started.expect("starting does not panic")?)
}

async fn start(report: &Report, root: &Path) -> CommandResult {
    let started = start_server(root).await?;
    let what = match (started.already_running, started.made) {
        (true, _) => "was running already",
        (_, true) => "made and started",
        _ => "started",
    };
    report.answer(format!("private server: {what}, {}", place(&started.server)));
    report.object("server", running_fields(&started.server));
    Ok(ExitCode::Done)
}

/// Returns `Postgres 15 at 127.0.0.1:54321 (pid 4711)`.
pub(crate) fn place(server: &RunningServer) -> String {
    format!("Postgres {} at 127.0.0.1:{} (pid {})", server.major, server.port, server.pid)
}

fn status(report: &Report, status: &ServerStatus) {
    match &status.state {
        ServerState::Absent => {
            report.answer("private server: there is none");
            report.object("server", json!({ "state": "absent" }));
        }
        ServerState::Stopped { major, data } => {
            report.answer(format!(
                "private server: stopped, Postgres {major}, data in `{}`",
                data.display()
            ));
            report.object("server", json!({ "state": "stopped", "major": major, "data": data }));
        }
        ServerState::Running(server) => {
            let state = if server.is_ready { "running" } else { "starting or stopping" };
            report.answer(format!("private server: {state}, {}", place(server)));
            report.answer(format!("data in `{}`, since {}", server.data.display(), since(server)));
            report.object("server", running_fields(server));
        }
    }
    for finding in &status.findings {
        report.warn(match finding {
            ServerFinding::NotShutDown { .. } => {
                "it was not shut down; starting it recovers what was written".to_owned()
            }
            ServerFinding::HalfMade { path } => {
                format!("making `{}` was interrupted; starting it begins anew", path.display())
            }
        });
    }
}

fn since(server: &RunningServer) -> String {
    let seconds = server.since.replace_nanosecond(0).unwrap_or(server.since);
    let rfc3339 = &time::format_description::well_known::Rfc3339;
    seconds.format(rfc3339).unwrap_or_default()
}

fn running_fields(server: &RunningServer) -> serde_json::Value {
    json!({
        "state": "running",
        "major": server.major,
        "host": "127.0.0.1",
        "port": server.port,
        "pid": server.pid,
        "data": server.data,
        "since": since(server),
    })
}

async fn destroy(report: &Report, server: &PrivateServer, yes: bool) -> CommandResult {
    if matches!(server.status()?.state, ServerState::Absent) {
        server.destroy()?;
        report.answer("private server: there is none");
        return Ok(ExitCode::Done);
    }
    if !yes {
        let Some(person) = Person::present(report) else {
            return Err(CommandError::Usage {
                message: "this deletes the private server with all its data".into(),
                hint: "if that is meant, say `tenantctl dev destroy --yes`".into(),
            });
        };
        if !person.confirm("Delete the private server with all its data?", Some(false)).await? {
            report.answer("private server: kept");
            return Ok(ExitCode::NotDone);
        }
    }
    server.destroy()?;
    report.answer("private server: destroyed");
    report.object("server", json!({ "state": "absent" }));
    Ok(ExitCode::Done)
}
