//! The threads, and how commands reach the one that holds a call.
//!
//! A thread is filled before the next one gets a call: on one busy thread a wake finds more packets than
//! on two half idle ones, and an idle thread costs nothing.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;

use super::browsers::Browsers;
use super::counters::{Counters, Counts};
use super::offload::{Kernel, Offload};
use super::relay::Relay;
use crate::config::{MediaConfig, WebrtcConfig};
use crate::media::{MediaCommand, MediaEvent, Recording, Rules};
use crate::model::{CallId, LegId, Side};
use crate::server::clock::Clock;
use crate::server::poll::Waker;

/// What one thread takes before the next gets a call, in halves of a phones' call: 50,000 packets a second,
/// which is about half of what a core relays.
const FULL: usize = 1_000;
/// A call of two phones, and one of a browser and a phone: decision 10 has the measurement.
const PHONES: usize = 2;
const BROWSER: usize = 5;

/// All media threads. They end when this is dropped.
#[derive(Debug)]
pub struct MediaThreads {
    threads: Vec<Thread>,
    /// Calls whose legs have been opened and not reported as over.
    places: HashMap<CallId, Place>,
}

#[derive(Debug)]
struct Thread {
    desk: Arc<Desk>,
    load: usize,
    join: Option<JoinHandle<()>>,
}

/// Where a call's audio is.
#[derive(Debug)]
struct Place {
    thread: usize,
    load: usize,
    user: Presence,
    destination: Presence,
}

/// Whether a leg is on its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Absent,
    /// A browser's first offer is there and has not been answered.
    Asked,
    There,
}

impl Place {
    fn of(&mut self, side: Side) -> &mut Presence {
        match side {
            Side::User => &mut self.user,
            Side::Destination => &mut self.destination,
        }
    }

    fn is_empty(&self) -> bool {
        [self.user, self.destination] == [Presence::Absent; 2]
    }
}

/// What a media thread shares with the rest of the program.
#[derive(Debug)]
pub struct Desk {
    pub waker: Waker,
    pub counters: Counters,
    commands: Mutex<Vec<(LegId, MediaCommand)>>,
    /// The thread looks here by itself every few milliseconds; nobody needs to wake it.
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
    /// Starts them; without `browsers` no browser can connect. `events` is called on the media threads and
    /// must not block.
    pub fn start<F>(
        config: &MediaConfig,
        browsers: Option<&WebrtcConfig>,
        clock: Clock,
        events: F,
    ) -> anyhow::Result<Self>
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
            failure: recording(config)?.map(Arc::new),
        });
        let kernel = Kernel::start(config.fast_path, config.address);
        let threads = (0..count)
            .map(|number| {
                let desk = Arc::new(Desk::new()?);
                let offload = Offload::new(kernel.clone(), clock);
                let browsers = browsers.map(|config| Browsers::open(config, number, clock)).transpose()?;
                let relay =
                    Relay::new(Arc::clone(&rules), clock, Arc::clone(&desk), offload, browsers, events.clone())?;
                let thread = std::thread::Builder::new().name(format!("media-{number}"));
                Ok(Thread { desk, load: 0, join: Some(thread.spawn(move || relay.run())?) })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { threads, places: HashMap::new() })
    }

    /// Hands a command to the thread of the leg's call. Commands of one call are carried out in order.
    pub fn command(&mut self, leg: LegId, command: MediaCommand) {
        let thread = match &command {
            MediaCommand::Open { .. } => self.place(leg, Presence::There),
            MediaCommand::Connect { .. } => self.place(leg, Presence::Asked),
            // A leg that was never opened has no place; any thread can say that it is closed.
            MediaCommand::Remote(_) | MediaCommand::Play(_) | MediaCommand::Close => {
                self.places.get(&leg.call).map_or(0, |place| place.thread)
            }
        };
        self.threads[thread].desk.put(leg, command);
    }

    /// To be told of each event before anybody acts on it: a leg that is over gives up its place.
    pub fn heard(&mut self, leg: LegId, event: &MediaEvent) {
        match event {
            MediaEvent::Closed(_) | MediaEvent::Failed => self.leave(leg),
            MediaEvent::BrowserAnswer(_) => {
                if let Some(place) = self.places.get_mut(&leg.call) {
                    *place.of(leg.side) = Presence::There;
                }
            }
            // An earlier browser lives on.
            MediaEvent::BrowserRefused(_) => {
                let place = self.places.get_mut(&leg.call);
                if place.is_some_and(|place| *place.of(leg.side) == Presence::Asked) {
                    self.leave(leg);
                }
            }
            MediaEvent::Digit(_)
            | MediaEvent::Flowing
            | MediaEvent::Silent
            | MediaEvent::BrowserUp
            | MediaEvent::BrowserDown
            | MediaEvent::Quality(_) => {}
        }
    }

    /// The thread of the leg's call, from now on at the latest.
    fn place(&mut self, leg: LegId, presence: Presence) -> usize {
        let place = self.places.entry(leg.call).or_insert_with(|| {
            let thread = roomiest(self.threads.iter().map(|thread| thread.load));
            let load = if presence == Presence::Asked { BROWSER } else { PHONES };
            self.threads[thread].load += load;
            Place { thread, load, user: Presence::Absent, destination: Presence::Absent }
        });
        // The phone may have been there first.
        if presence == Presence::Asked && place.load < BROWSER {
            self.threads[place.thread].load += BROWSER - place.load;
            place.load = BROWSER;
        }
        let before = place.of(leg.side);
        *before = if *before == Presence::There { Presence::There } else { presence };
        place.thread
    }

    fn leave(&mut self, leg: LegId) {
        let Some(place) = self.places.get_mut(&leg.call) else { return };
        *place.of(leg.side) = Presence::Absent;
        if place.is_empty() {
            self.threads[place.thread].load -= place.load;
            self.places.remove(&leg.call);
        }
    }

    /// Totals since the start, over all threads.
    pub fn counts(&self) -> Counts {
        Counters::sum(self.threads.iter().map(|thread| &thread.desk.counters))
    }
}

/// The operator's recording, if there is to be one.
pub fn recording(config: &MediaConfig) -> anyhow::Result<Option<Recording>> {
    let Some(path) = &config.failure_wav else { return Ok(None) };
    let read = || Ok::<_, anyhow::Error>(Recording::read(&std::fs::read(path)?)?);
    read().map(Some).with_context(|| format!("cannot use {} ([media] failure_wav)", path.display()))
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

/// The first thread that is not full, or the one with the least to do.
fn roomiest(loads: impl Iterator<Item = usize>) -> usize {
    loads.enumerate().min_by_key(|(_, load)| load.saturating_sub(FULL - 1)).map_or(0, |(thread, _)| thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_filled_before_the_next() {
        let next = |loads: &[usize]| roomiest(loads.iter().copied());
        assert_eq!(next(&[0, 0]), 0);
        assert_eq!(next(&[FULL - 1, 0]), 0);
        assert_eq!(next(&[FULL, 0]), 1);
        assert_eq!(next(&[FULL, FULL - 1]), 1);
        assert_eq!(next(&[FULL + 7, FULL]), 1);
        assert_eq!(next(&[FULL, FULL]), 0);
    }
}
