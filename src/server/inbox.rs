//! What other threads have for the switch: a queue that ends the switch thread's wait.
//!
//! ```text
//! HTTP ── command ──▶┐
//! store ─ committed ─┼─▶ Inbox ── wake ──▶ switch thread
//! media ─── event ──▶┤
//! cluster ─ lease ───▶┤
//! streams ─ packet ──▶┤
//! dns ──── targets ──▶┘
//! ```
//!
//! Only commands and packets can be refused for lack of room: a client is told, and a peer's connection waits. Answers of the store and events of the media are
//! bounded by what the switch itself has asked for.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::poll::Waker;
use crate::api::{Ask, Busy};
use crate::config::Trunk;
use crate::media::MediaEvent;
use crate::model::{CommitId, LegId, Timestamp};
use crate::sip::{Down, Flow, Target};
use crate::store::{Committed, Recovered};
use crate::switch::{Command, Reply};

/// Something for the switch.
#[derive(Debug)]
pub enum Message {
    Command(Command, oneshot::Sender<Reply>),
    Committed(CommitId, Committed),
    Media(LegId, MediaEvent),
    /// From a connection.
    Packet(Flow, Bytes),
    FlowDown(Flow, Down),
    /// Where a trunk is.
    Targets(Arc<Trunk>, Vec<Target>),
    /// Until then this node is not taken for dead.
    Lease(Timestamp),
    TakeOver(Recovered),
    /// Another process is this node now.
    Fenced,
}

/// With so much before it a packet waits in its connection: about what a socket's buffer holds on UDP.
const MAX_BEFORE_PACKETS: usize = 4_096;

/// One queue; clones share it.
#[derive(Debug, Clone)]
pub struct Inbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Vec<Message>>,
    waker: Waker,
    /// Commands are refused when the queue is longer than this.
    most: usize,
}

impl Inbox {
    pub fn new(most: usize) -> std::io::Result<Self> {
        Ok(Self(Arc::new(Shared { queue: Mutex::default(), waker: Waker::new()?, most })))
    }

    pub fn waker(&self) -> &Waker {
        &self.0.waker
    }

    /// Queues a command, if there is room.
    pub fn command(&self, command: Command, answer: oneshot::Sender<Reply>) -> Result<(), Busy> {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= self.0.most {
            return Err(Busy);
        }
        let was_empty = queue.is_empty();
        queue.push(Message::Command(command, answer));
        drop(queue);
        self.wake_if(was_empty);
        Ok(())
    }

    /// Queues a packet, if there is room.
    pub fn packet(&self, flow: Flow, packet: &Bytes) -> bool {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= MAX_BEFORE_PACKETS {
            return false;
        }
        let was_empty = queue.is_empty();
        queue.push(Message::Packet(flow, packet.clone()));
        drop(queue);
        self.wake_if(was_empty);
        true
    }

    pub fn post(&self, messages: impl IntoIterator<Item = Message>) {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = queue.is_empty();
        queue.extend(messages);
        drop(queue);
        self.wake_if(was_empty);
    }

    /// Moves everything queued into `into`, which must be empty; the two buffers swap places.
    pub fn take(&self, into: &mut Vec<Message>) {
        std::mem::swap(&mut *self.0.queue.lock().unwrap_or_else(PoisonError::into_inner), into);
    }

    /// One wake per filling: whoever queues behind it is taken along.
    fn wake_if(&self, was_empty: bool) {
        if was_empty {
            self.0.waker.wake();
        }
    }
}

impl Ask for Inbox {
    fn ask(&self, command: Command, reply: oneshot::Sender<Reply>) -> Result<(), Busy> {
        self.command(command, reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_full_queue_refuses_commands_and_nothing_else() {
        let inbox = Inbox::new(1).unwrap();
        let drain = || Command::Drain { deadline: Duration::ZERO };
        assert!(inbox.command(drain(), oneshot::channel().0).is_ok());
        assert!(inbox.command(drain(), oneshot::channel().0).is_err());
        inbox.post([Message::Committed(CommitId(1), Committed::Done)]);
        let mut taken = Vec::new();
        inbox.take(&mut taken);
        assert_eq!(taken.len(), 2);
        assert!(inbox.command(drain(), oneshot::channel().0).is_ok());
    }
}
