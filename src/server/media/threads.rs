//! The threads, and how commands reach the one that holds a call.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::counters::{Counters, Counts};
use super::relay::Relay;
use crate::config::MediaConfig;
use crate::media::{MediaCommand, MediaEvent, Rules};
use crate::model::{CallId, LegId};
use crate::server::clock::Clock;
use crate::server::poll::Waker;

/// All media threads. They end when this is dropped.
#[derive(Debug)]
pub struct MediaThreads {
    threads: Vec<Thread>,
}

#[derive(Debug)]
struct Thread {
    desk: Arc<Desk>,
    join: Option<JoinHandle<()>>,
}

/// What a media thread shares with the rest of the program.
#[derive(Debug)]
pub struct Desk {
    pub waker: Waker,
    pub counters: Counters,
    commands: Mutex<Vec<(LegId, MediaCommand)>>,
    /// The thread looks here by itself every [`super::relay::GLANCE`]; nobody needs to wake it.
    glances: AtomicBool,
    stop: AtomicBool,
}

impl Desk {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            waker: Waker::new()?,
            counters: Counters::default(),
            commands: Mutex::default(),
            glances: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        })
    }

    /// Moves what is waiting into `commands`, which is empty.
    pub fn take(&self, commands: &mut Vec<(LegId, MediaCommand)>) {
        std::mem::swap(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner), commands);
    }

    /// Says whether the thread looks by itself from now on, and whether nothing waits already.
    pub fn glance(&self, glances: bool) -> bool {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        self.glances.store(glances, Ordering::Relaxed);
        commands.is_empty()
    }

    pub fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn put(&self, leg: LegId, command: MediaCommand) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that a thread about to wait for ever is seen to do so.
        let sleeps = commands.is_empty() && !self.glances.load(Ordering::Relaxed);
        commands.push((leg, command));
        drop(commands);
        if sleeps {
            self.waker.wake();
        }
    }
}

impl MediaThreads {
    /// Starts them. `events` is called on the media threads and must not block.
    pub fn start<F>(config: &MediaConfig, clock: Clock, events: F) -> io::Result<Self>
    where
        F: Fn(LegId, MediaEvent) + Send + Clone + 'static,
    {
        let count = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let rules = Arc::new(Rules {
            address: config.address,
            advertised: config.advertised,
            ports: config.ports,
            timeout: config.timeout,
        });
        let threads = (0..count)
            .map(|number| {
                let desk = Arc::new(Desk::new()?);
                let relay = Relay::new(Arc::clone(&rules), clock, Arc::clone(&desk), events.clone())?;
                let thread = std::thread::Builder::new().name(format!("media-{number}"));
                Ok(Thread { desk, join: Some(thread.spawn(move || relay.run())?) })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// Hands a command to the thread of the leg's call. Commands of one call are carried out in order.
    pub fn command(&self, leg: LegId, command: MediaCommand) {
        let thread = &self.threads[shard(leg.call, self.threads.len())];
        thread.desk.put(leg, command);
    }

    /// Totals since the start, over all threads.
    pub fn counts(&self) -> Counts {
        Counters::sum(self.threads.iter().map(|thread| &thread.desk.counters))
    }
}

impl Drop for MediaThreads {
    fn drop(&mut self) {
        for thread in &self.threads {
            thread.desk.stop.store(true, Ordering::Relaxed);
            thread.desk.waker.wake();
        }
        for thread in &mut self.threads {
            // A thread that has panicked has said so already.
            let _ = thread.join.take().map(JoinHandle::join);
        }
    }
}

/// The low half of a call's id is random, so its remainder spreads calls evenly.
fn shard(call: CallId, shards: usize) -> usize {
    let bytes = call.to_bytes();
    let low = bytes.last_chunk().map_or(0, |low: &[u8; 8]| u64::from_be_bytes(*low));
    (low % shards as u64) as usize
}
