//! In which order and in which waves schemas are migrated, on the command line.

use std::time::Duration;

use super::error::CommandError;
use super::globals::limit;
use super::text::{count, few};
use crate::migration::{Canaries, Share, Waves};
use crate::name::SchemaName;
use crate::tenant::{Prepared, SortKey};

/// In which order
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "In which order")]
pub(crate) struct WavesArgs {
    /// Migrate these tenants first, and no others unless all of these are done: a number, a share
    /// such as `2%`, or names
    ///
    /// A number or a share means the first of the tenants that are behind. If one of the canaries
    /// fails or stays busy, nothing else is started. What is all digits is a number, never a name.
    #[arg(long, value_name = "N|P%|NAME", num_args = 1.., conflicts_with = "check")]
    canary: Vec<String>,

    /// Migrate no more than so many tenants, a number or a share, before the next ones are started
    #[arg(long, value_name = "N|P%", conflicts_with = "check")]
    wave_size: Option<Share>,

    /// Do nothing for so long after the canaries, and between waves
    ///
    /// No connection is open meanwhile. Ctrl-C ends the pause and the run.
    #[arg(long, value_name = "TIME", value_parser = limit, conflicts_with = "check")]
    pause_between: Option<Duration>,

    /// Migrate tenants in the order of a column of the registry, such as `paid_until:desc`; may be
    /// given more than once [default: by name]
    ///
    /// Tenants without a value come last.
    #[arg(long, value_name = "COLUMN[:desc]")]
    order: Vec<SortKey>,
}

impl WavesArgs {
    pub(crate) fn order(&self) -> Vec<SortKey> {
        self.order.clone()
    }

    pub(crate) fn waves(&self) -> Result<Waves, CommandError> {
        if self.pause_between.is_some() && self.canary.is_empty() && self.wave_size.is_none() {
            return Err(CommandError::Usage {
                message: "`--pause-between` needs waves to pause between".into(),
                hint: "say which with `--canary N` or `--wave-size N`".into(),
            });
        }
        Ok(Waves {
            canaries: self.canaries()?,
            size: self.wave_size,
            pause: self.pause_between.unwrap_or_default(),
        })
    }

    fn canaries(&self) -> Result<Option<Canaries>, CommandError> {
        let is_number = |it: &&String| {
            let digits = it.strip_suffix('%').unwrap_or(it);
            !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        };
        let number = self.canary.iter().find(is_number);
        match (number, self.canary.as_slice()) {
            (_, []) => Ok(None),
            (Some(number), [_]) => {
                let share = number.parse::<Share>().map_err(|error| CommandError::Usage {
                    message: format!("`--canary`: {error}"),
                    hint: "say how many, such as `--canary 1`".into(),
                })?;
                Ok(Some(Canaries::First(share)))
            }
            (Some(number), _) => Err(CommandError::Usage {
                message: format!("`--canary` was given `{number}` and something else"),
                hint: "give it one number, one share, or names".into(),
            }),
            (None, names) => Ok(Some(Canaries::Named(
                names.iter().map(|it| SchemaName::registered(it)).collect(),
            ))),
        }
    }
}

/// Refuses canaries that are not among the tenants that were selected.
pub(crate) fn refuse_strangers(waves: &Waves, prepared: &Prepared) -> Result<(), CommandError> {
    let strangers = waves.strangers(prepared.tenants());
    if strangers.is_empty() {
        return Ok(());
    }
    let names = strangers.iter().map(|it| format!("`{}`", it.as_str().escape_debug()));
    let names: Vec<String> = names.collect();
    let hint = match names.iter().any(|it| it.contains(',')) {
        true => "nothing was changed; names are told apart by spaces: `--canary acme globex`",
        false => "nothing was changed; `tenantctl list-tenants` lists the tenants",
    };
    let (noun, verb) = if names.len() == 1 { ("canary", "is") } else { ("canaries", "are") };
    Err(CommandError::Usage {
        message: format!(
            "{noun} {} {verb} not among the {} selected",
            few(names.iter(), 5),
            count(prepared.tenants().count(), "tenant")
        ),
        hint: hint.into(),
    })
}
