//! The traces of the calls that live, in bounded memory.
//!
//! Of one call the first messages stay: how it was set up is what is asked for. Of all calls the newest stay: when
//! there is no room, the oldest call's messages go. What had to go is counted where it is missed.

use std::collections::BTreeMap;

use super::{Line, Trace};
use crate::model::CallId;

/// Messages of one call: a bridged call has some twenty, one that is put on hold every minute of four hours five
/// hundred.
pub const MAX_CALL_LINES: usize = 200;
/// Text of one call.
pub const MAX_CALL_BYTES: usize = 256 * 1024;
/// Text of all calls: 4,000 with a usual trace of 16 kB.
pub const MAX_BYTES: usize = 64 << 20;

/// What a line takes beside its text.
const LINE_BYTES: usize = size_of::<Line>();

#[derive(Debug, Default)]
pub struct Book {
    calls: BTreeMap<CallId, Entry>,
    bytes: usize,
    /// Calls whose messages had to go.
    pushed_out: u64,
}

#[derive(Debug, Default)]
struct Entry {
    lines: Vec<Line>,
    bytes: usize,
    left_out: u64,
    /// The first message was not its INVITE: an earlier process has seen that. Or some were lost.
    is_partial: bool,
}

impl Book {
    /// Whether it was kept.
    pub fn add(&mut self, call: CallId, line: Line) -> bool {
        let is_partial = line.title() != "INVITE";
        let entry = self.calls.entry(call).or_insert_with(|| Entry { is_partial, ..Entry::default() });
        if entry.lines.len() >= MAX_CALL_LINES || entry.bytes >= MAX_CALL_BYTES {
            entry.left_out += 1;
            return false;
        }
        let bytes = line.text.len() + LINE_BYTES;
        entry.bytes += bytes;
        entry.lines.push(line);
        self.bytes += bytes;
        self.make_room();
        true
    }

    /// Messages were lost on their way here, nobody knows whose: no trace of a call that lives is complete.
    pub fn missed_some(&mut self) {
        self.calls.values_mut().for_each(|entry| entry.is_partial = true);
    }

    /// Lets the oldest calls' messages go. What is left of such a call is a count, until it is forgotten.
    fn make_room(&mut self) {
        if self.bytes <= MAX_BYTES {
            return;
        }
        for entry in self.calls.values_mut().filter(|entry| entry.bytes > 0) {
            entry.left_out += entry.lines.len() as u64;
            entry.lines = Vec::new();
            self.bytes -= std::mem::take(&mut entry.bytes);
            self.pushed_out += 1;
            if self.bytes <= MAX_BYTES {
                break;
            }
        }
    }

    pub fn get(&self, call: CallId) -> Option<Trace> {
        self.calls.get(&call).map(|entry| entry.trace(call, entry.lines.clone()))
    }

    /// The call is over.
    pub fn take(&mut self, call: CallId) -> Option<Trace> {
        let mut entry = self.calls.remove(&call)?;
        self.bytes -= entry.bytes;
        let lines = std::mem::take(&mut entry.lines);
        Some(entry.trace(call, lines))
    }

    /// The process ends.
    pub fn take_all(&mut self) -> Vec<Trace> {
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        calls.into_iter().filter_map(|call| self.take(call)).collect()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn pushed_out(&self) -> u64 {
        self.pushed_out
    }
}

impl Entry {
    fn trace(&self, call: CallId, lines: Vec<Line>) -> Trace {
        Trace { call, lines, left_out: self.left_out, complete: self.left_out == 0 && !self.is_partial }
    }
}
