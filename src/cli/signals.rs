//! SIGINT, SIGTERM and SIGHUP: the first asks the work to end soon, the second at once. A command
//! that does no such work ends at the first.

use std::cell::Cell;
use std::rc::Rc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::migration::{Interrupt, Urgency};

/// What the signals say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    interrupt: Interrupt,
    is_heeded: Rc<Cell<bool>>,
}

impl Signals {
    /// Returns the wish to stop, for work that heeds it. From now on the first signal no longer
    /// ends the program.
    pub(crate) fn heed(&self) -> &Interrupt {
        self.is_heeded.set(true);
        &self.interrupt
    }

    /// Takes signals until one of them is to end the program at once.
    pub(crate) async fn listen(&self, say: impl Fn(&str)) {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        if !is_hangup_ignored() {
            kinds.push(SignalKind::hangup());
        }
        let mut signals: Vec<Signal> = kinds.into_iter().filter_map(|it| signal(it).ok()).collect();
        loop {
            any(&mut signals).await;
            if !self.is_heeded.get() {
                return;
            }
            self.interrupt.raise();
            match self.interrupt.urgency() {
                Urgency::Now => say("cancelling what is running"),
                _ => say("finishing what is under way; interrupt again to cancel it"),
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

async fn any(signals: &mut [Signal]) {
    let received = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
    futures_util::future::select_all(received).await;
}
