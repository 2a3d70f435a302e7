//! The line that shows how far the work is, and what is written while it is shown.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};

use super::text::{count, grouped, length};

/// What was done in less time does not tell how long the rest will take.
const TELLING: Duration = Duration::from_secs(2);

thread_local! {
    static SHOWN: RefCell<WeakProgressBar> = RefCell::default();
}

/// Writes something to the terminal, and the line after it again.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    match SHOWN.with_borrow(WeakProgressBar::upgrade) {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Returns a line that is not shown yet.
pub(crate) fn hidden(template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    bar.with_style(ProgressStyle::with_template(template).expect("a template of indicatif's"))
}

/// Shows a line on the terminal, in which there is one at a time.
pub(crate) fn show(bar: &ProgressBar) {
    bar.set_draw_target(ProgressDrawTarget::stderr());
    SHOWN.set(bar.downgrade());
}

/// How far the work on many schemas is.
pub(crate) struct Progress {
    bar: ProgressBar,
    total: Cell<usize>,
    tried: Cell<usize>,
    not_done: Cell<usize>,
    begun: Cell<Instant>,
    paused: Cell<Duration>,
}

impl Progress {
    /// Returns that of work that has not begun.
    pub(crate) fn new() -> Self {
        Self {
            bar: hidden("{bar:20} {wide_msg}"),
            total: Cell::default(),
            tried: Cell::default(),
            not_done: Cell::default(),
            begun: Cell::new(Instant::now()),
            paused: Cell::default(),
        }
    }

    /// Begins with so many schemas, to be shown or not.
    pub(crate) fn begin(&self, schemas: usize, is_shown: bool) {
        self.total.set(schemas);
        self.tried.set(0);
        self.not_done.set(0);
        self.begun.set(Instant::now());
        self.paused.set(Duration::ZERO);
        if is_shown {
            show(&self.bar);
        }
        self.bar.set_length(schemas as u64);
        self.bar.set_position(0);
        self.bar.set_message(count(schemas, "schema"));
    }

    /// Returns how many schemas there are.
    pub(crate) fn total(&self) -> usize {
        self.total.get()
    }

    /// Goes on by one schema, with which it is done, or not.
    pub(crate) fn step(&self, is_done: bool) {
        self.tried.set(self.tried.get() + 1);
        self.not_done.set(self.not_done.get() + usize::from(!is_done));
        self.bar.set_message(self.text());
        self.bar.inc(1);
    }

    /// Stands still for so long.
    pub(crate) fn pause(&self, pause: Duration) {
        self.paused.set(self.paused.get() + pause);
    }

    /// Returns how far it is.
    pub(crate) fn text(&self) -> String {
        let worked = self.begun.get().elapsed().saturating_sub(self.paused.get());
        text(self.tried.get(), self.not_done.get(), self.total.get(), worked)
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Returns `1,200 of 10,000 schemas, 3 not done, 240/s, 37 s left`; how fast it goes, and how long it
/// will take, only once that can be told.
fn text(tried: usize, not_done: usize, total: usize, worked: Duration) -> String {
    let mut parts = vec![format!("{} of {}", grouped(tried), count(total, "schema"))];
    if not_done > 0 {
        parts.push(format!("{} not done", grouped(not_done)));
    }
    if worked >= TELLING && (1..total).contains(&tried) {
        let rate = tried as f64 / worked.as_secs_f64();
        if rate >= 1.0 {
            parts.push(format!("{rate:.0}/s"));
        }
        let left = Duration::from_secs_f64((total - tried) as f64 / rate);
        parts.push(format!("{} left", length(left)));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_it_will_take_is_said_once_that_can_be_told() {
        let text = |tried, not_done, seconds| {
            text(tried, not_done, 10_000, Duration::from_secs_f64(seconds))
        };
        assert_eq!(text(0, 0, 60.0), "0 of 10,000 schemas");
        assert_eq!(text(40, 0, 1.9), "40 of 10,000 schemas");
        assert_eq!(text(1_200, 0, 5.0), "1,200 of 10,000 schemas, 240/s, 36 s left");
        assert_eq!(text(40, 3, 80.0), "40 of 10,000 schemas, 3 not done, 5 h 32 min left");
        assert_eq!(text(10_000, 0, 9.0), "10,000 of 10,000 schemas");
    }

    #[test]
    fn a_pause_is_not_counted_as_work() {
        let progress = Progress::new();
        progress.begin(30, false);
        progress.pause(Duration::from_secs(3600));
        progress.step(true);
        progress.step(false);
        assert_eq!(progress.text(), "2 of 30 schemas, 1 not done");
    }
}
