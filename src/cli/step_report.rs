//! What is said of a long piece of work on one schema while it lasts.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

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
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let template = "{bar:30} {pos}/{len} {msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("a template of indicatif's"));
        if report.is_watched() && !report.is_json() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
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
            let line = format!("{number} of {of}: {}", printable(what));
            self.bar.suspend(|| self.report.say(line));
        }
        self.bar.set_message(printable(what));
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
