//! SIGINT, SIGTERM and SIGHUP: the first asks the work to end soon, the second at once. A command
//! that does no such work ends at the first. While another program is run on somebody's behalf,
//! they are that program's.

use std::cell::Cell;
use std::rc::Rc;

use rustix::process::{Pid, Signal as Number, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::migration::{Interrupt, Urgency};

/// What the signals say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    interrupt: Interrupt,
    is_heeded: Rc<Cell<bool>>,
    child: Rc<Cell<Option<Pid>>>,
}

/// The signals that are taken.
const TAKEN: [(SignalKind, Number); 3] = [
    (SignalKind::interrupt(), Number::INT),
    (SignalKind::terminate(), Number::TERM),
    (SignalKind::hangup(), Number::HUP),
];

impl Signals {
    /// Returns the wish to stop, for work that heeds it. From now on the first signal no longer
    /// ends the program.
    pub(crate) fn heed(&self) -> &Interrupt {
        self.is_heeded.set(true);
        &self.interrupt
    }

    /// Waits for a child's end. Until then no signal ends this program: it goes to the child, which
    /// decides.
    pub(crate) async fn leave_to<T>(&self, child: Option<u32>, end: impl Future<Output = T>) -> T {
        let child = child.and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        self.child.set(child);
        let end = end.await;
        self.child.set(None);
        end
    }

    /// Takes signals until one of them is to end the program at once.
    pub(crate) async fn listen(&self, say: impl Fn(&str)) {
        let open = |(kind, number)| signal(kind).ok().map(|signal| (signal, number));
        let is_taken = |(_, number): &(_, Number)| *number != Number::HUP || !is_hangup_ignored();
        let taken = TAKEN.into_iter().filter(is_taken);
        let mut signals: Vec<_> = taken.filter_map(open).collect();
        loop {
            let number = any(&mut signals).await;
            if let Some(child) = self.child.get() {
                pass_on(number, child);
                continue;
            }
            if !self.is_heeded.get() {
                return;
            }
            self.interrupt.raise();
            match self.interrupt.urgency() {
                Urgency::Now => say("cancelling what is running"),
                _ => say("stopping; interrupt again to cancel what is under way"),
            }
        }
    }
}

/// Whether `nohup` started the program, which is then to survive its terminal. Where the system does
/// not say, it was not.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (SignalKind::hangup().as_raw_value() - 1) & 1 == 1)
}

async fn any(signals: &mut [(Signal, Number)]) -> Number {
    let received = signals.iter_mut().map(|(signal, number)| {
        Box::pin(async {
            signal.recv().await;
            *number
        })
    });
    futures_util::future::select_all(received).await.0
}

/// A terminal gives Ctrl-C to all programs in its foreground, so the child has it already.
fn pass_on(number: Number, child: Pid) {
    if number != Number::INT || !is_in_foreground() {
        // An error means that the child has just ended.
        let _ = kill_process(child, number);
    }
}

fn is_in_foreground() -> bool {
    let is_ours = |group: rustix::io::Result<Pid>| group.is_ok_and(|group| group == getpgrp());
    is_ours(tcgetpgrp(std::io::stdin()))
        || is_ours(tcgetpgrp(std::io::stdout()))
        || is_ours(tcgetpgrp(std::io::stderr()))
}
