//! Every way in which a leg can refuse, mapped to one `end_reason`.

use super::state::End;
use crate::guardrails::Refusal;
use crate::model::{EndReason, EndedBy, Side};

impl End {
    /// A final answer of 300 or more to the INVITE of `side`.
    pub fn refused(side: Side, status: u16, q850: Option<u8>) -> Self {
        let (user, destination) = match status {
            // Never followed: the destination is locked.
            300..=399 => (EndReason::RedirectRefused, EndReason::RedirectRefused),
            486 | 600 => (EndReason::UserBusy, EndReason::DestinationBusy),
            // 607: RFC 8197; 608: RFC 8688.
            603 | 607 | 608 => (EndReason::UserDeclined, EndReason::DestinationDeclined),
            408 | 480 | 487 => (EndReason::UserNoAnswer, EndReason::DestinationNoAnswer),
            404 | 410 | 484 | 485 | 502 | 604 => (EndReason::UserUnreachable, EndReason::DestinationUnreachable),
            415 | 488 | 606 => (EndReason::NoCommonCodec, EndReason::NoCommonCodec),
            _ => (EndReason::UserFailed, EndReason::DestinationFailed),
        };
        let (reason, by) = match side {
            Side::User => (user, EndedBy::User),
            Side::Destination => (destination, EndedBy::Destination),
        };
        Self { reason, by, sip_status: Some(status), q850: q850.or_else(|| cause_of(status)) }
    }

    /// A guardrail said no to leg B.
    pub fn guardrail(refusal: Refusal) -> Self {
        let reason = match refusal {
            Refusal::CallerIdNotVerified | Refusal::Unknown => EndReason::CallerIdNotVerified,
            Refusal::DestinationNotAllowed(_) => EndReason::DestinationNotAllowed,
            Refusal::RateLimited { .. } | Refusal::ConcurrencyLimit(_) => EndReason::ConcurrencyLimit,
            Refusal::SpendLimitExceeded { .. } => EndReason::SpendLimitExceeded,
        };
        Self::new(reason, EndedBy::Guardrail)
    }
}

/// RFC 3398 §8.2.6.1: from a SIP status to an ISUP cause.
fn cause_of(status: u16) -> Option<u8> {
    Some(match status {
        404 | 485 | 604 => 1,
        486 | 600 => 17,
        480 => 18,
        603 | 607 | 608 | 401 | 402 | 403 | 407 => 21,
        410 => 22,
        484 => 28,
        502 => 38,
        400 | 481 | 500 | 503 => 41,
        405 | 406 | 415 | 488 | 501 | 606 => 79,
        408 | 504 => 102,
        487 => 127,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;

    #[test]
    fn each_answer_has_one_status_and_one_reason() {
        for (status, reason, terminal) in [
            (302, EndReason::RedirectRefused, Status::Failed),
            (486, EndReason::DestinationBusy, Status::Busy),
            (600, EndReason::DestinationBusy, Status::Busy),
            (603, EndReason::DestinationDeclined, Status::Rejected),
            (480, EndReason::DestinationNoAnswer, Status::NoAnswer),
            (404, EndReason::DestinationUnreachable, Status::Failed),
            (488, EndReason::NoCommonCodec, Status::Failed),
            (503, EndReason::DestinationFailed, Status::Failed),
            (699, EndReason::DestinationFailed, Status::Failed),
        ] {
            let end = End::refused(Side::Destination, status, None);
            assert_eq!((end.reason, end.reason.status(false)), (reason, terminal), "{status}");
            assert_eq!(end.by, EndedBy::Destination);
        }
        assert_eq!(End::refused(Side::User, 486, Some(34)).q850, Some(34), "a Reason header is better than the table");
    }
}
