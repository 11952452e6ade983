//! Dials that are refused, so many a second, whatever becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::connections::{self, Connections};
use super::server::API;

/// Connections that stay open.
const CONNECTIONS: usize = 64;

pub struct Refused {
    on: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Refused {
    /// Each must be answered with `status`.
    pub fn start(per_second: u64, status: u16) -> Self {
        let (on, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let answered = Arc::new(AtomicU64::new(0));
        let (is_on, is_over, count) = (Arc::clone(&on), Arc::clone(&stop), Arc::clone(&answered));
        let thread = std::thread::spawn(move || {
            // Nobody may call there.
            let request = connections::dial(API, "flood", "+18885550199", "+442079460000", "+14155550100", "");
            let mut connections = Connections::open(API, CONNECTIONS).expect("connections");
            let (mut began, mut asked) = (Instant::now(), 0);
            while !is_over.load(Relaxed) {
                if !is_on.load(Relaxed) {
                    (began, asked) = (Instant::now(), 0);
                }
                let due = (began.elapsed().as_secs_f64() * per_second as f64) as u64;
                while asked < due && connections.ask(&request).expect("the request leaves").is_some() {
                    asked += 1;
                }
                // What finds no connection that is idle is not asked: a flood does not catch up.
                asked = asked.max(due.saturating_sub(CONNECTIONS as u64));
                let answer = |_, got| {
                    // The first ones of a burst may still be let through by a limiter.
                    assert!(got == status || got == 403, "refused with {got}");
                    count.fetch_add(u64::from(got == status), Relaxed);
                };
                connections.answers(Duration::from_millis(1), answer).expect("answers");
            }
        });
        Self { on, stop, answered, thread }
    }

    pub fn run(&self, on: bool) {
        self.on.store(on, Relaxed);
    }

    /// So far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    pub fn stop(self) {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("the thread of the refused dials");
    }
}
