//! Faults planted in the world, one at a time. Each must be found by the check that it names: a check
//! that cannot fail is a defect.

use crate::checks::Check;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The store answers before the data is durable.
    AnswersEarly,
    /// It does so for what asks the guardrails nothing: the answers of phones.
    KeepsEarly,
    /// A crash takes every call out of the tables.
    DiskLosesCalls,
    /// Settled twice in the ledger.
    ChargesTwice,
    /// The outbox has every fact twice.
    TellsTwice,
    /// The store charges the double.
    WrongPrice,
    /// The guardrails judge against limits that are not the organization's.
    NoLimits,
    /// A's number gets into a message to B, with dashes.
    LeaksNumber,
    /// What A's phone said gets into a message to B, in base64.
    LeaksMark,
    /// An INVITE goes to another number than the one that was judged.
    OtherNumber,
    /// Nothing that ends a leg reaches phone B.
    LosesByes,
    /// No PRACK reaches a phone.
    LosesPracks,
    /// A reply is lost between the switch and its client.
    LosesReplies,
    /// Two legs get the same ports.
    SharesPorts,
    /// One Close never reaches the media threads.
    LosesClose,
    /// A deadline that never moves.
    StuckClock,
    /// A later commit writes an earlier status.
    StatusGoesBack,
    /// The terminal record gives a reason that nobody gave.
    WrongReason,
    /// No snapshot is ever dropped.
    LosesForget,
    /// B is offered more than A accepted.
    WidensOffer,
    /// A BYE for another dialog than the phone's.
    WrongTag,
    /// The audio threads say of a browser that it is heard when it is not.
    FalseUp,
}

impl Mutant {
    pub const ALL: [Mutant; 22] = [
        Mutant::AnswersEarly,
        Mutant::KeepsEarly,
        Mutant::DiskLosesCalls,
        Mutant::ChargesTwice,
        Mutant::TellsTwice,
        Mutant::WrongPrice,
        Mutant::NoLimits,
        Mutant::LeaksNumber,
        Mutant::LeaksMark,
        Mutant::OtherNumber,
        Mutant::LosesByes,
        Mutant::LosesPracks,
        Mutant::LosesReplies,
        Mutant::SharesPorts,
        Mutant::LosesClose,
        Mutant::StuckClock,
        Mutant::StatusGoesBack,
        Mutant::WrongReason,
        Mutant::LosesForget,
        Mutant::WidensOffer,
        Mutant::WrongTag,
        Mutant::FalseUp,
    ];

    /// The checks of which one must find it first.
    pub fn found_by(self) -> &'static [Check] {
        match self {
            Mutant::AnswersEarly => &[Check::Barrier, Check::Permit],
            Mutant::KeepsEarly => &[Check::Barrier],
            Mutant::DiskLosesCalls => &[Check::Orphan, Check::Record, Check::Charge],
            Mutant::ChargesTwice => &[Check::Charge],
            Mutant::TellsTwice => &[Check::Event],
            Mutant::WrongPrice => &[Check::Cost],
            Mutant::NoLimits => &[Check::Spend, Check::Legs, Check::Rate],
            Mutant::LeaksNumber | Mutant::LeaksMark => &[Check::Masking],
            Mutant::OtherNumber => &[Check::Permit],
            Mutant::LosesByes => &[Check::Orphan],
            Mutant::LosesReplies => &[Check::Reply],
            Mutant::SharesPorts | Mutant::LosesClose => &[Check::Ports],
            Mutant::StuckClock => &[Check::BusyLoop],
            Mutant::StatusGoesBack => &[Check::Status],
            Mutant::WrongReason => &[Check::Reason],
            Mutant::LosesForget => &[Check::Leak],
            Mutant::WidensOffer => &[Check::Codec],
            Mutant::WrongTag | Mutant::LosesPracks => &[Check::Protocol],
            Mutant::FalseUp => &[Check::Order],
        }
    }
}
