//! What the store lets go of: what is past its time, and a person's number on request. Money is never part of it.

use std::time::Duration;

use super::StoreDown;
use crate::config::StoreConfig;
use crate::model::{CallRecord, E164, Timestamp};

/// How long what is kept is kept; `None` for ever. Bookings and the sums of days are kept for ever, so statements
/// stay what they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records of calls that are over, from their creation.
    pub records: Option<Duration>,
    /// Events of the outbox, with the records that they hold.
    pub events: Option<Duration>,
    /// Traces of calls, from when they were written.
    pub traces: Option<Duration>,
}

impl From<&StoreConfig> for Retention {
    fn from(config: &StoreConfig) -> Self {
        Self { records: config.keep_records, events: config.keep_events, traces: None }
    }
}

/// A request to forget a person's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub number: E164,
    /// Who asked, for the list of erasures.
    pub by: String,
    pub at: Timestamp,
    /// Random: the list of erasures keeps SHA-256 over this and the number, never the number.
    pub salt: [u8; 16],
}

/// What became of an [`Erasure`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erased {
    /// It is in no file of the store any more. Also when it never was.
    Done(ErasedRows),
    /// So many calls with it are not over, or were over less than 64·T1 ago and may still be repeated to a phone.
    InUse { calls: u64 },
    /// It is or was an organization's own number, shown to destinations: no person's.
    Owned,
    /// It stands where only its owner can take it out: the names of those tables.
    Declared { places: Vec<String> },
}

/// What an erasure changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErasedRows {
    pub records: u64,
    pub events: u64,
    pub answers: u64,
    /// Entries of the audit log.
    pub changes: u64,
}

/// How the store is kept in order. All but `keep` blocks.
pub trait Upkeep {
    /// From now on; what is past its time goes in small bites, some each second.
    fn keep(&self, retention: Retention);

    /// Takes the number, and the names and labels of the calls that it was part of, out of everything. Ids, times
    /// and costs stay.
    fn erase(&self, erasure: &Erasure) -> Result<Erased, StoreDown>;
}

impl Erasure {
    /// Whether anything of the number is in a record: as a phone of the call, or written by hand in its name or
    /// label, in whatever spelling.
    pub fn concerns(&self, record: &CallRecord) -> bool {
        let number = Some(self.number);
        record.to_number == number
            || record.connect_number == number
            || [&record.client_name, &record.client_label].into_iter().flatten().any(|text| self.is_written_in(text))
    }

    /// Takes what [`Erasure::concerns`] found out of the record, and with a phone the words about it.
    pub fn erase(&self, record: &mut CallRecord) {
        if !self.concerns(record) {
            return;
        }
        let number = Some(self.number);
        record.to_number = record.to_number.filter(|_| record.to_number != number);
        record.connect_number = record.connect_number.filter(|_| record.connect_number != number);
        record.client_name = None;
        record.client_label = None;
    }

    /// The digits one after the other, whatever stands between them: `(415) 555-0100` for `+14155550100` too, as
    /// people leave the country's code out.
    fn is_written_in(&self, text: &str) -> bool {
        let written: String = text.chars().filter(char::is_ascii_digit).collect();
        let number = self.number.text();
        let digits = &number[1..];
        let national = &digits[digits.len().saturating_sub(NATIONAL)..];
        written.contains(digits) || (digits.len() > NATIONAL && written.contains(national))
    }
}

/// Digits of a number without its country's code, in most countries; a shorter tail would be anybody's.
const NATIONAL: usize = 9;
