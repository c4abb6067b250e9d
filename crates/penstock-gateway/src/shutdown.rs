//! The way out, in phases, told to everything that serves clients.

use tokio::sync::watch;

/// How far the process is on its way out. Later ones include earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not at all.
    #[default]
    Serving,
    /// Answers say that their connection ends, so that clients go elsewhere
    /// by themselves.
    Leaving,
    /// What waits in the queue is accepted, and then nothing more.
    Closed,
    /// Connections without a request are closed. Before, a request might
    /// have been under way on any of them.
    Hurrying,
}

/// Tells workers to stop.
#[derive(Clone)]
pub struct Shutdown(watch::Sender<Phase>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Shutdown {
    /// Goes on to a phase; there is no way back.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let is_later = phase > *now;
            *now = phase.max(*now);
            is_later
        });
    }

    pub(crate) fn watch(&self) -> Progress {
        Progress(self.0.subscribe())
    }
}

/// What a worker or a connection knows about it.
#[derive(Clone)]
pub(crate) struct Progress(watch::Receiver<Phase>);

impl Progress {
    pub(crate) fn is_in(&self, phase: Phase) -> bool {
        *self.0.borrow() >= phase
    }

    pub(crate) async fn reaches(&mut self, phase: Phase) {
        // An error means that nobody is left who could stop us otherwise.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}
