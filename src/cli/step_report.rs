//! What is said of a long piece of work on one schema while it lasts.

use indicatif::ProgressBar;
use serde_json::json;

use super::progress;
use super::report::Report;
use super::text::printable;
use crate::event::{Event, Observer};

/// Speaks of the steps of one schema's work: a bar for who watches, lines where more is to be said,
/// objects in JSON.
pub(crate) struct StepReport {
    report: Report,
    bar: ProgressBar,
}

impl StepReport {
    pub(crate) fn new(report: Report) -> Self {
        let bar = progress::hidden();
        if report.is_watched() && !report.is_json() {
            progress::show(&bar);
        }
        Self { report, bar }
    }
}

impl Observer for StepReport {
    fn observe(&self, event: &Event<'_>) {
        let Event::Step { what, number, of } = event else { return };
        if self.report.is_json() {
            if !self.report.quiet {
                let fields = json!({ "what": what, "number": number, "of": of });
                self.report.object("step", fields);
            }
        } else if self.report.verbose {
            self.report.say(format!("{number} of {of}: {}", printable(what)));
        }
        let parts = [format!("{number} of {of}"), printable(what)];
        self.bar.set_message(progress::fitting(&parts));
        self.bar.set_length(*of as u64);
        // A step that begins is not done.
        self.bar.set_position(number.saturating_sub(1) as u64);
    }
}

impl Drop for StepReport {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
