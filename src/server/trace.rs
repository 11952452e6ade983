//! Keeps the messages of calls: a thread of its own, so that a trace never takes the switch's time.
//!
//! ```text
//! switch thread ─ try_send ─▶ bounded queue ─▶ thread: Book ─ call forgotten ─▶ store, some calls at a time
//!                    │ full: counted, gone  │             └─▶ HTTP reads what lives
//!                                            └─▶ a collector
//! ```
//!
//! What lives is lost with a process that is killed; a call that goes on says then that its trace is not complete. Deliberately
//! absent: any way for a trace to hold up a call. A store that cannot be written costs traces.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use metrics::{counter, describe_counter, describe_gauge, gauge};

use super::clock::Clock;
use super::collector::Collector;
use crate::api::LiveTraces;
use crate::config::HepConfig;
use crate::model::CallId;
use crate::store::{Store, StoreDown};
use crate::trace::{Book, Line, Passed, Trace};

/// Orders that wait for the thread: some 100 ms of a busy switch, and 16 MB of messages at most.
const QUEUE: usize = 4_096;
/// Ended calls wait so long for others to be written with.
const GATHER: Duration = Duration::from_millis(500);
/// Bytes of traces in one transaction: it shares the disk with calls.
const WRITTEN_AT_ONCE: usize = 256 * 1024;

enum Order {
    Passed(Box<Passed>),
    Forget(Vec<CallId>),
    Stop,
}

/// The thread. Dropping it writes what it has, and ends it.
pub struct Tracer {
    orders: SyncSender<Order>,
    thread: Option<JoinHandle<()>>,
    kept: Kept,
    lost: Arc<AtomicU64>,
}

/// The way for the switch thread.
#[derive(Clone)]
pub struct TraceWay {
    orders: SyncSender<Order>,
    lost: Arc<AtomicU64>,
    /// Calls that are over, when there was no room to say so: said with the next ones.
    over: Vec<CallId>,
}

impl TraceWay {
    pub fn passed(&self, passed: Box<Passed>) {
        if self.orders.try_send(Order::Passed(passed)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn forget(&mut self, calls: &[CallId]) {
        self.over.extend_from_slice(calls);
        let order = Order::Forget(std::mem::take(&mut self.over));
        if let Err(TrySendError::Full(Order::Forget(calls))) = self.orders.try_send(order) {
            self.over = calls;
        }
    }
}

/// What lives; the thread and the HTTP edge share it, never the switch.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Book>>);

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveTraces for Kept {
    fn get(&self, call: CallId) -> Option<Trace> {
        self.lock().get(call)
    }
}

impl Tracer {
    pub fn start(store: Arc<dyn Store>, clock: Clock, hep: Option<&HepConfig>) -> io::Result<Self> {
        describe_counter!("revbridge_trace_messages_total", "SIP messages of calls, by what became of them in traces");
        describe_counter!("revbridge_traces_total", "Traces of ended calls, by whether they were written");
        describe_gauge!("revbridge_trace_bytes", "Text of the traces of calls that live");
        let (orders, received) = sync_channel(QUEUE);
        let (kept, lost) = (Kept::default(), Arc::new(AtomicU64::new(0)));
        let collector = hep.map(Collector::new).transpose()?;
        let worker = Worker {
            store,
            clock,
            collector,
            kept: kept.clone(),
            lost: Arc::clone(&lost),
            ended: Vec::new(),
            since: None,
        };
        let thread = thread::Builder::new().name("trace".to_owned()).spawn(move || worker.run(&received))?;
        Ok(Self { orders, thread: Some(thread), kept, lost })
    }

    pub fn way(&self) -> TraceWay {
        TraceWay { orders: self.orders.clone(), lost: Arc::clone(&self.lost), over: Vec::new() }
    }

    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // The thread empties its queue, so there is room soon.
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    store: Arc<dyn Store>,
    clock: Clock,
    collector: Option<Collector>,
    kept: Kept,
    lost: Arc<AtomicU64>,
    /// Of calls that are over, to be written.
    ended: Vec<Trace>,
    /// Since when the first of them waits.
    since: Option<Instant>,
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let wait = self.since.map_or(GATHER, |since| GATHER.saturating_sub(since.elapsed()));
            match orders.recv_timeout(wait) {
                Ok(Order::Passed(passed)) => self.passed(&passed),
                Ok(Order::Forget(calls)) => {
                    let mut book = self.kept.lock();
                    self.ended.extend(calls.into_iter().filter_map(|call| book.take(call)));
                    drop(book);
                    self.since = self.since.or_else(|| (!self.ended.is_empty()).then(Instant::now));
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    let rest = self.kept.lock().take_all();
                    self.ended.extend(rest);
                    return self.write();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.since.is_some_and(|since| since.elapsed() >= GATHER) {
                self.write();
            }
        }
    }

    fn passed(&mut self, passed: &Passed) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let line = Line::of(passed);
        if let Some(collector) = &self.collector {
            collector.tell(passed, &line);
        }
        let mut book = self.kept.lock();
        if lost > 0 {
            // Whose they were is not known any more: nobody's trace is called complete that lives now.
            book.missed_some();
            counter!("revbridge_trace_messages_total", "outcome" => "lost").increment(lost);
        }
        let outcome = if book.add(passed.leg.call, line) { "kept" } else { "left_out" };
        counter!("revbridge_trace_messages_total", "outcome" => outcome).increment(1);
        gauge!("revbridge_trace_bytes").set(book.bytes() as f64);
    }

    fn write(&mut self) {
        self.since = None;
        let mut ended = std::mem::take(&mut self.ended).into_iter().peekable();
        while ended.peek().is_some() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while bytes < WRITTEN_AT_ONCE
                && let Some(trace) = ended.next()
            {
                let written = trace.to_bytes();
                bytes += written.len();
                some.push((trace.call, written));
            }
            let count = some.len() as u64;
            let outcome = match self.store.keep_traces(some, self.clock.now()) {
                Ok(()) => "written",
                Err(StoreDown) => "dropped",
            };
            counter!("revbridge_traces_total", "outcome" => outcome).increment(count);
        }
    }
}
