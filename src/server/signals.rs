//! SIGTERM and SIGINT drain, SIGHUP reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::error;

use super::inbox::Inbox;
use super::reload::Reload;
use crate::switch::Command;

/// What the signals act on.
pub struct Signals {
    pub inbox: Inbox,
    pub reload: Reload,
    pub drain_deadline: Duration,
    pub draining: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the signals over from their default, which would end the process. Before this returns no
    /// signal is lost; the future runs for as long as the process.
    pub fn watch(self) -> std::io::Result<impl Future<Output = ()>> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        Ok(self.serve(terminate, interrupt, hangup))
    }

    async fn serve(self, mut terminate: Signal, mut interrupt: Signal, mut hangup: Signal) {
        loop {
            tokio::select! {
                _ = terminate.recv() => self.drain(),
                _ = interrupt.recv() => self.drain(),
                _ = hangup.recv() => self.reload(),
            }
        }
    }

    /// The first signal lets live calls finish until the deadline; a second one does not wait.
    fn drain(&self) {
        let again = self.draining.swap(true, Ordering::Relaxed);
        let deadline = if again { Duration::ZERO } else { self.drain_deadline };
        // Nobody waits for the answer: the switch thread ends, and with it the process.
        let (answer, _) = oneshot::channel();
        if self.inbox.command(Command::Drain { deadline }, answer).is_err() {
            error!("too busy to drain; send the signal again");
        }
    }

    fn reload(&self) {
        let reload = self.reload.clone();
        // What became of it is in the log.
        tokio::task::spawn_blocking(move || drop(reload.run()));
    }
}
