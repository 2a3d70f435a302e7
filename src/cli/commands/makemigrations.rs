//! `makemigrations`: write the next migration file, and mend versions claimed twice.

use std::path::{Path, PathBuf};

use serde_json::json;
use time::OffsetDateTime;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit_code::ExitCode;
use crate::cli::selection::read_text;
use crate::cli::text::shell_word;
use crate::migration::scaffold::{self, FolderKind, NewMigration, Numbering};

/// Write the next migration file
///
/// The version follows the newest in the folder. The file says which schema it will run in and
/// what not to write.
#[derive(Debug, clap::Args)]
pub(crate) struct MakemigrationsArgs {
    /// What the migration does, such as `add_orders`
    #[arg(required_unless_present_any = ["check", "renumber"], conflicts_with_all = ["check", "renumber"])]
    name: Option<String>,

    /// For the shared schema
    #[arg(long, conflicts_with = "tenant")]
    shared: bool,

    /// For every tenant's schema
    #[arg(long)]
    tenant: bool,

    /// Number it by the time, in UTC, with 14 digits
    #[arg(long)]
    timestamp: bool,

    /// Take the SQL from a file; `-` is stdin
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Fail with status 3 if two files claim one version, as after a merge of two branches
    #[arg(long)]
    check: bool,

    /// Give this file the next free version
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    renumber: Option<PathBuf>,

    /// A folder that holds `shared/` and `tenant/`, instead of the project's
    #[arg(long, value_name = "DIR")]
    migrations_dir: Option<PathBuf>,
}

pub(crate) fn run(context: &mut Context, args: &MakemigrationsArgs) -> CommandResult {
    if args.check {
        return check(context, args);
    }
    if let Some(file) = &args.renumber {
        return renumber(context, args, file);
    }
    let kind = match (args.shared, args.tenant) {
        (true, _) => FolderKind::Shared,
        (_, true) => FolderKind::Tenant,
        _ => {
            return Err(CommandError::Usage {
                message: "for which schemas is the migration?".into(),
                hint: "say `--tenant` (every tenant's schema) or `--shared` (the shared schema)"
                    .into(),
            });
        }
    };
    let folder = folder(context, args, kind)?;
    let migration = NewMigration {
        name: args.name.clone().expect("clap requires it"),
        kind,
        numbering: numbering(context, args)?,
        now: OffsetDateTime::now_utc(),
        sql: args.from.as_deref().map(read_text).transpose()?,
    };
    let path = scaffold::create(&folder, &migration)?;
    context.report.answer(format!("wrote {}", path.display()));
    context.report.object("migration", json!({ "path": path }));
    Ok(ExitCode::Done)
}

fn folder(
    context: &mut Context,
    args: &MakemigrationsArgs,
    kind: FolderKind,
) -> Result<PathBuf, CommandError> {
    Ok(match &args.migrations_dir {
        Some(dir) => dir.join(kind.folder_name()),
        None => context.project()?.migrations(kind),
    })
}

fn numbering(context: &mut Context, args: &MakemigrationsArgs) -> Result<Numbering, CommandError> {
    Ok(match args.timestamp {
        true => Numbering::Timestamp,
        false => context.project()?.config.migrations.numbering,
    })
}

fn check(context: &mut Context, args: &MakemigrationsArgs) -> CommandResult {
    let kinds = [FolderKind::Shared, FolderKind::Tenant];
    let kinds = kinds.into_iter().filter(|kind| match kind {
        FolderKind::Shared => args.shared || !args.tenant,
        FolderKind::Tenant => args.tenant || !args.shared,
    });
    let folders: Vec<PathBuf> =
        kinds.map(|kind| folder(context, args, kind)).collect::<Result<_, _>>()?;
    let paths: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let duplicates = scaffold::check(&paths)?;
    let report = &context.report;
    for duplicate in &duplicates {
        let files: Vec<String> =
            duplicate.files.iter().map(|it| format!("`{}`", it.display())).collect();
        report.answer(format!(
            "version {} is claimed by {}",
            duplicate.version,
            files.join(" and ")
        ));
        report
            .object("duplicate", json!({ "version": duplicate.version, "files": duplicate.files }));
    }
    match duplicates.first().and_then(|it| it.files.last()) {
        None => {
            report.answer("no version is claimed twice");
            Ok(ExitCode::Done)
        }
        Some(file) => {
            let file = shell_word(&file.display().to_string());
            report.hint(format!(
                "`tenantctl makemigrations --renumber {file}` gives the file the next free version"
            ));
            Ok(ExitCode::CheckFailed)
        }
    }
}

fn renumber(context: &mut Context, args: &MakemigrationsArgs, file: &Path) -> CommandResult {
    let numbering = numbering(context, args)?;
    let folder = folder_of(context, args, file)?;
    let renumbered = scaffold::renumber(&folder, file, numbering, OffsetDateTime::now_utc())?;
    let (from, to) = (renumbered.from.display(), renumbered.to.display());
    context.report.answer(format!("renamed {from} to {to}"));
    context.report.object("renumbered", json!({ "from": renumbered.from, "to": renumbered.to }));
    Ok(ExitCode::Done)
}

/// Returns the one of the project's folders that a file lies in.
fn folder_of(
    context: &mut Context,
    args: &MakemigrationsArgs,
    file: &Path,
) -> Result<PathBuf, CommandError> {
    let shared = folder(context, args, FolderKind::Shared)?;
    let is_in = |folder: &Path| {
        let (file, folder) = (std::path::absolute(file), std::path::absolute(folder));
        matches!((file, folder), (Ok(file), Ok(folder)) if file.starts_with(&folder))
    };
    match is_in(&shared) {
        true => Ok(shared),
        false => folder(context, args, FolderKind::Tenant),
    }
}
