//! What the edge needs of the switch: one way to it.

use tokio::sync::oneshot;

use crate::switch::{Command, Reply};

/// The way to the switch: a bounded queue.
pub trait Ask: Send + Sync + 'static {
    /// Hands a command over; the reply comes by `reply`, exactly once, unless the process ends first.
    fn ask(&self, command: Command, reply: oneshot::Sender<Reply>) -> Result<(), Busy>;
}

/// The queue is full: nothing was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;
