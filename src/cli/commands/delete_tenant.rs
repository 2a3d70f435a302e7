//! `delete-tenant`: the end of a tenant.

use std::path::PathBuf;

use indicatif::HumanBytes;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::hooks::{Hook, Hooks};
use crate::cli::prompt::Person;
use crate::cli::report::Report;
use crate::cli::step_report::StepReport;
use crate::cli::text::{count, few, grouped, printable};
use crate::event::{Event, Observer};
use crate::name::SchemaName;
use crate::run_log::{Entry, Outcome};
use crate::tenant::{DeleteTenant, Doomed, DumpTenant};

/// Delete a tenant: its registry row, its domains and, if that is meant, its schema
///
/// Whether the schema goes as well has to be said. Nothing outside it is ever dropped along: what
/// depends on it is named, and the tenant stays. A schema that is too large for one transaction goes in
/// batches; after an interruption the same command does what is left.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteTenantArgs {
    /// The tenant's schema
    schema: String,

    /// Drop its schema and everything in it
    #[arg(long, conflicts_with = "keep_schema")]
    drop_schema: bool,

    /// Leave its schema where it is, without a tenant
    #[arg(long)]
    keep_schema: bool,

    /// Write it to this file first, as `dump-tenant` does; nothing is deleted unless that succeeds
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &mut Context, args: &DeleteTenantArgs) -> CommandResult {
    let (database, registry) = (context.database().await?, context.registry()?);
    let schema = &SchemaName::registered(&args.schema);
    let delete = DeleteTenant {
        database: &database,
        registry: &registry,
        schema,
        drop_schema: !args.keep_schema,
    };
    let doomed = delete.look().await?;
    let delete =
        DeleteTenant { drop_schema: args.drops(&context.report, &doomed).await?, ..delete };
    if args.dry_run {
        delete.look().await?;
        answer(&context.report, &delete, &doomed, "would delete");
        return Ok(ExitCode::Done);
    }
    args.confirm(&context.report, &delete, &doomed).await?;
    let hooks = Hooks::of(context, &database)?;
    if hooks.has(Hook::PreDelete) {
        let scope = context.scope(schema.clone())?;
        hooks.deleting(&scope, &doomed.domains, !delete.drop_schema).await?;
    }
    if let Some(file) = &args.dump {
        let dump = DumpTenant { database: &database, registry: &registry, overwrite: false };
        let steps = StepReport::new(context.report);
        dump.run(schema, file, &steps).await?;
        drop(steps);
        let (schema, file) = (printable(&args.schema), printable(&file.display().to_string()));
        context.report.say(format!("dumped tenant `{schema}` to `{file}`"));
    }
    let run_log = context.begin_run("delete-tenant", &database).await;
    let deleted = delete.run(&Left(context.report), context.signals.heed()).await;
    let (outcome, what) = match &deleted {
        Ok(()) if delete.drop_schema => (Outcome::Done, "deleted with its schema".to_owned()),
        Ok(()) => (Outcome::Done, "deleted; its schema is kept".to_owned()),
        Err(error) => (Outcome::Failed, error.to_string()),
    };
    run_log.note(Entry { outcome, ..Entry::done(schema, what) });
    deleted?;
    answer(&context.report, &delete, &doomed, "deleted");
    Ok(ExitCode::Done)
}

impl DeleteTenantArgs {
    /// Returns whether the schema goes as well, asking a person who has not said.
    async fn drops(&self, report: &Report, doomed: &Doomed) -> Result<bool, CommandError> {
        let is_said = self.drop_schema || self.keep_schema;
        if is_said || doomed.is_being_deleted || doomed.tables.is_none() {
            return Ok(!self.keep_schema);
        }
        let schema = printable(&self.schema);
        let person = match Person::present(report) {
            Some(person) if !self.yes => person,
            _ => {
                return Err(CommandError::Usage {
                    message: format!("what is to become of schema `{schema}` is not said"),
                    hint: "nothing was changed; say `--drop-schema` or `--keep-schema`".into(),
                });
            }
        };
        let question =
            format!("Schema `{schema}` holds {}. Type `drop` or `keep`", contents(doomed));
        let check = async |answer: &str| {
            Ok(match answer {
                "drop" => Ok(true),
                "keep" => Ok(false),
                _ => Err("it is neither `drop` nor `keep`".to_owned()),
            })
        };
        person.text(&question, None, check).await
    }

    /// Asks for the tenant's name to be typed, where `--yes` is not given.
    async fn confirm(
        &self,
        report: &Report,
        delete: &DeleteTenant<'_>,
        doomed: &Doomed,
    ) -> Result<(), CommandError> {
        if self.yes {
            return Ok(());
        }
        let schema = printable(&self.schema);
        let Some(person) = Person::present(report) else {
            return Err(CommandError::Usage {
                message: format!("`{schema}` is not deleted unless somebody confirms it"),
                hint: "nothing was changed; add `--yes` where nobody can be asked".into(),
            });
        };
        report.always(format!("This deletes {}", object(delete, doomed)));
        let typed = person.text("Type its name to go on", None, async |it| Ok(Ok(it.to_owned())));
        match typed.await? == self.schema {
            true => Ok(()),
            false => Err(CommandError::NotDone {
                message: "that is not its name; nothing was deleted".into(),
                hint: None,
            }),
        }
    }
}

fn answer(report: &Report, delete: &DeleteTenant<'_>, doomed: &Doomed, verb: &str) {
    report.answer(format!("{verb} {}", object(delete, doomed)));
    report.object(
        "tenant",
        json!({
            "schema": delete.schema,
            "domains": doomed.domains,
            "tables": doomed.tables,
            "bytes": doomed.bytes,
            "schema_dropped": delete.drop_schema && doomed.tables.is_some(),
            "state": "deleted",
            "dry_run": verb != "deleted",
        }),
    );
}

/// Returns ``tenant `acme` with 2 domains and its schema, 10 tables of 1.2 MiB``.
fn object(delete: &DeleteTenant<'_>, doomed: &Doomed) -> String {
    let domains = match doomed.domains.len() {
        0 => String::new(),
        number => format!(" with {} ({})", count(number, "domain"), few(doomed.domains.iter(), 3)),
    };
    let and = if domains.is_empty() { " with" } else { " and" };
    let schema = match (doomed.tables, delete.drop_schema) {
        (None, _) => "; it has no schema".to_owned(),
        (_, true) => format!("{and} its schema: {}", contents(doomed)),
        (_, false) => "; its schema is kept".to_owned(),
    };
    format!("tenant `{}`{domains}{schema}", printable(delete.schema.as_str()))
}

fn contents(doomed: &Doomed) -> String {
    let tables = count(doomed.tables.unwrap_or_default(), "table");
    match doomed.bytes {
        Some(bytes) => format!("{tables}, {}", HumanBytes(bytes)),
        None => tables,
    }
}

/// Says how far it is.
struct Left(Report);

impl Observer for Left {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Dropping { schema, left } = event {
            let schema = printable(schema.as_str());
            self.0.say(format!("{schema}: {} objects left", grouped(*left)));
        }
    }
}
