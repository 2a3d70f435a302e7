//! `dump-tenant`: a tenant in a file.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::step_report::StepReport;
use crate::cli::text::{count, printable};
use crate::name::SchemaName;
use crate::tenant::DumpTenant;

/// Write a tenant to a file: schema, rows, registry row and domains
///
/// All of one moment, by way of pg_dump, while the tenant can be read and written. The file is there
/// whole or not at all. `restore-tenant` makes the tenant from it again, and pg_restore can read it.
#[derive(Debug, clap::Args)]
pub(crate) struct DumpTenantArgs {
    /// The schema of the tenant to dump
    schema: String,

    /// The file to write, which only you can read
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(context: &mut Context, args: &DumpTenantArgs) -> CommandResult {
    if args.output.as_os_str() == "-" {
        return Err(CommandError::Usage {
            message:
                "a dump cannot be written to stdout: where its parts are stands at its beginning"
                    .into(),
            hint: "name a file: `--output FILE`".into(),
        });
    }
    let (database, registry) = (context.database().await?, context.registry()?);
    let schema = SchemaName::registered(&args.schema);
    if schema == registry.names().shared_schema {
        return Err(CommandError::Usage {
            message: format!("`{schema}` is the shared schema, and no tenant"),
            hint: "dump it with pg_dump".into(),
        });
    }
    let dump = DumpTenant { database: &database, registry: &registry, overwrite: args.force };
    let steps = StepReport::new(context.report);
    let dumped = dump.run(&schema, &args.output, &steps).await?;
    drop(steps);
    let file = args.output.display().to_string();
    context.report.answer(format!(
        "dumped tenant `{}` to `{}`: {}, {}",
        printable(schema.as_str()),
        printable(&file),
        count(dumped.tables, "table"),
        count(dumped.rows.try_into().unwrap_or(usize::MAX), "row"),
    ));
    context.report.object(
        "dump",
        json!({
            "schema": schema,
            "file": file,
            "tables": dumped.tables,
            "rows": dumped.rows,
            "bytes": dumped.bytes,
        }),
    );
    Ok(ExitCode::Done)
}
