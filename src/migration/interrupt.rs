//! A person's wish to stop: once to finish what is under way, twice to leave at once.

use tokio::sync::watch;

/// How urgently the work is to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Not at all.
    #[default]
    None,
    /// Finish the schemas under way and start no others.
    Soon,
    /// Cancel what is running on the server and leave.
    Now,
}

/// Raised by a signal handler, watched by the work; cheap to clone.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Sender<Urgency>);

impl Default for Interrupt {
    fn default() -> Self {
        Self(watch::Sender::new(Urgency::None))
    }
}

impl Interrupt {
    /// Raises the urgency by one step.
    pub fn raise(&self) {
        self.0.send_modify(|urgency| {
            *urgency = match urgency {
                Urgency::None => Urgency::Soon,
                _ => Urgency::Now,
            }
        });
    }

    /// Returns the urgency as it is now.
    pub fn urgency(&self) -> Urgency {
        *self.0.borrow()
    }

    /// Waits until the urgency is at least `urgency`.
    pub async fn wait_for(&self, urgency: Urgency) {
        let mut watch = self.0.subscribe();
        // The sender lives as long as `self`, so there is always something to wait for.
        let _ = watch.wait_for(|now| *now >= urgency).await;
    }
}
