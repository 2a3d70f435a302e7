//! The line that shows how far the work is, and what is written while it is shown.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};
use rustix::termios::tcgetwinsize;

use super::text::{count, few, grouped, length};
use crate::name::SchemaName;

/// What was done in less time does not tell how long the rest will take.
const TELLING: Duration = Duration::from_secs(2);

/// In fewer columns there is no room for a bar.
const NARROW: usize = 72;

/// The bar, the blank after it, and room for the `^C` that a terminal shows.
const BESIDE: usize = 24;

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
pub(crate) fn hidden() -> ProgressBar {
    ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
}

/// Shows a line on the terminal, in which there is one at a time.
pub(crate) fn show(bar: &ProgressBar) {
    let template = if columns() < NARROW { "{msg}" } else { "{bar:20} {msg}" };
    bar.set_style(ProgressStyle::with_template(template).expect("a template of indicatif's"));
    bar.set_draw_target(ProgressDrawTarget::stderr());
    SHOWN.set(bar.downgrade());
}

/// Returns the beginning of some parts, as many as the terminal has room for in one line.
pub(crate) fn fitting(parts: &[String]) -> String {
    let columns = columns();
    let beside = if columns < NARROW { 3 } else { BESIDE };
    within(parts, columns.saturating_sub(beside))
}

fn within(parts: &[String], room: usize) -> String {
    let fits = |number: &usize| parts[..*number].join(", ").chars().count() <= room;
    match (1..=parts.len()).rev().find(fits) {
        Some(number) => parts[..number].join(", "),
        None => parts.concat().chars().take(room).collect(),
    }
}

/// Returns how wide the terminal is, in columns.
fn columns() -> usize {
    tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col).max(20))
}

/// How far the work on many schemas is.
pub(crate) struct Progress {
    bar: ProgressBar,
    total: Cell<usize>,
    tried: Cell<usize>,
    not_done: Cell<usize>,
    /// Those that are tried again later.
    busy: RefCell<BTreeSet<SchemaName>>,
    since: Cell<Instant>,
}

impl Progress {
    /// Returns that of work that has not begun.
    pub(crate) fn new() -> Self {
        Self {
            bar: hidden(),
            total: Cell::default(),
            tried: Cell::default(),
            not_done: Cell::default(),
            busy: RefCell::default(),
            since: Cell::new(Instant::now()),
        }
    }

    /// Begins with so many schemas, to be shown or not.
    pub(crate) fn begin(&self, schemas: usize, is_shown: bool) {
        self.total.set(schemas);
        self.tried.set(0);
        self.not_done.set(0);
        self.busy.take();
        self.since.set(Instant::now());
        if is_shown {
            show(&self.bar);
        }
        self.bar.set_length(schemas as u64);
        self.bar.set_position(0);
        self.bar.set_message(count(schemas, "schema"));
        self.bar.reset_eta();
    }

    /// Returns how many schemas there are.
    pub(crate) fn total(&self) -> usize {
        self.total.get()
    }

    /// Goes on by one schema, with which it is done, or not.
    pub(crate) fn step(&self, schema: &SchemaName, is_done: bool) {
        self.tried.set(self.tried.get() + 1);
        self.not_done.set(self.not_done.get() + usize::from(!is_done));
        self.busy.borrow_mut().remove(schema);
        self.bar.inc(1);
        self.bar.set_message(fitting(&self.parts()));
    }

    /// Notes that a schema is tried again later.
    pub(crate) fn defer(&self, schema: &SchemaName) {
        self.busy.borrow_mut().insert(schema.clone());
        self.bar.set_message(fitting(&self.parts()));
    }

    /// Stands still for so long.
    pub(crate) fn pause(&self, pause: Duration) {
        let mut parts = self.parts();
        parts.truncate(1);
        parts.push("pausing".into());
        self.bar.set_message(fitting(&parts));
        // What was done before does not tell how fast it will go on after it.
        self.bar.reset_eta();
        self.since.set(Instant::now() + pause);
    }

    /// Returns how far it is.
    pub(crate) fn text(&self) -> String {
        self.parts().join(", ")
    }

    fn parts(&self) -> Vec<String> {
        let is_telling = self.since.get().elapsed() >= TELLING;
        let pace = is_telling.then(|| (self.bar.per_sec(), self.bar.eta()));
        let (tried, not_done, total) = (self.tried.get(), self.not_done.get(), self.total.get());
        parts(tried, not_done, total, &self.busy.borrow(), pace)
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Returns `1,200 of 10,000 schemas`, `3 not done`, `37 s left` and `240/s`; how fast it goes, and how
/// long it will take, only once that can be told and what is left does not depend on others.
fn parts(
    tried: usize,
    not_done: usize,
    total: usize,
    busy: &BTreeSet<SchemaName>,
    pace: Option<(f64, Duration)>,
) -> Vec<String> {
    let mut parts = vec![format!("{} of {}", grouped(tried), count(total, "schema"))];
    if not_done > 0 {
        parts.push(format!("{} not done", grouped(not_done)));
    }
    if tried + busy.len() >= total {
        if !busy.is_empty() {
            parts.push(format!("waiting for {}", few(busy.iter(), 1)));
        }
        return parts;
    }
    if !busy.is_empty() {
        parts.push(format!("{} busy", grouped(busy.len())));
    }
    if let Some((rate, left)) = pace.filter(|(rate, _)| *rate > 0.0) {
        parts.push(format!("{} left", length(left)));
        if rate >= 1.0 {
            parts.push(format!("{rate:.0}/s"));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Option<(f64, Duration)> = Some((240.0, Duration::from_secs(36)));

    fn text(tried: usize, not_done: usize, busy: &[&str], pace: Option<(f64, Duration)>) -> String {
        let busy = busy.iter().map(|it| SchemaName::registered(it)).collect();
        parts(tried, not_done, 10_000, &busy, pace).join(", ")
    }

    #[test]
    fn how_long_it_will_take_is_said_once_that_can_be_told() {
        assert_eq!(text(0, 0, &[], None), "0 of 10,000 schemas");
        assert_eq!(text(0, 0, &[], Some((0.0, Duration::ZERO))), "0 of 10,000 schemas");
        assert_eq!(text(40, 0, &[], None), "40 of 10,000 schemas");
        assert_eq!(text(1_200, 0, &[], PACE), "1,200 of 10,000 schemas, 36 s left, 240/s");
        let slow = Some((0.5, Duration::from_secs(19_920)));
        assert_eq!(text(40, 3, &[], slow), "40 of 10,000 schemas, 3 not done, 5 h 32 min left");
        assert_eq!(text(10_000, 0, &[], PACE), "10,000 of 10,000 schemas");
    }

    #[test]
    fn who_is_waited_for_is_said_once_nothing_else_is_left() {
        let some = text(1_200, 0, &["acme", "eha"], PACE);
        assert_eq!(some, "1,200 of 10,000 schemas, 2 busy, 36 s left, 240/s");
        let last = text(9_997, 1, &["acme", "eha", "globex"], PACE);
        assert_eq!(last, "9,997 of 10,000 schemas, 1 not done, waiting for acme and 2 more");
    }

    #[test]
    fn what_has_no_room_is_left_out_whole() {
        let parts = ["300 of 301 schemas".to_owned(), "1 not done".into(), "12 s left".into()];
        assert_eq!(within(&parts, 41), "300 of 301 schemas, 1 not done, 12 s left");
        assert_eq!(within(&parts, 40), "300 of 301 schemas, 1 not done");
        assert_eq!(within(&parts, 12), "300 of 301 s");
    }
}
