//! What must hold at every step, each by a checker of its own that knows nothing of the others.
//!
//! The first violation ends the run: what comes after it proves nothing.

pub mod books;
pub mod calls;
pub mod end;
pub mod masking;
pub mod wire;

use std::fmt;

use books::Books;
use wire::Wire;

/// The properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// An INVITE only with a durable permit, to its number, showing its number.
    Permit,
    /// What follows a commit waits until it is durable.
    Barrier,
    /// Nothing of one party on the other's wire.
    Masking,
    /// What is on the wire is SIP that an independent phone understands and expects.
    Protocol,
    /// One record per call, complete when it is final.
    Record,
    /// A status never goes back.
    Status,
    /// One charge per call, never above what was reserved.
    Charge,
    /// What was charged is what the phones' talk costs.
    Cost,
    /// Exactly one terminal event per call.
    Event,
    /// Spend and reservations within the limit.
    Spend,
    Legs,
    Rate,
    /// No INVITE before the browser's audio path stands and, where it dials, before it has.
    Order,
    /// A token lets one browser in.
    Token,
    /// A browser is told what happens, in order, to the end.
    Told,
    /// B is offered only what A accepted.
    Codec,
    /// The record says what the phones saw.
    Reason,
    /// No leg without an owner.
    Orphan,
    /// One stream per pair of ports, rested, and closed in the end.
    Ports,
    /// Every request gets one answer, and a repeated one the same.
    Reply,
    /// Nothing is left in memory.
    Leak,
    /// Time goes on between two timeouts.
    BusyLoop,
    /// No broken invariant inside.
    Poisoned,
}

#[derive(Debug, Clone)]
pub struct Violation {
    pub check: Check,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.check, self.what)
    }
}

#[derive(Debug, Default)]
pub struct Checks {
    pub violation: Option<Violation>,
    pub wire: Wire,
    pub books: Books,
}

impl Checks {
    pub fn fail(&mut self, check: Check, what: impl Into<String>) {
        self.violation.get_or_insert(Violation { check, what: what.into() });
    }

    pub fn unless(&mut self, holds: bool, check: Check, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(check, what());
        }
    }
}
