//! What an audit can find, by name.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::model::{CallId, Day, OrganizationId};

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    UnknownOrganization,
    UnknownBooking,
    NeverAdmitted,
    AdmittedTwice,
    ChargedTwice,
    BookedAfterEnd,
    NegativeAmount,
    Unbalanced,
    DayDiffers,
    Lost,
    StillLive,
    ReservationDiffers,
    RecordMissing,
    RecordTwice,
    RecordUnreadable,
    RecordOfAnother,
    RecordNotCharged,
    RecordNotTerminal,
    CostDiffers,
    EventMissing,
    EventTwice,
    EventUntrue,
    SumOfCallsDiffers,
    SumOfAnsweredDiffers,
    SumOfSecondsDiffers,
    SumOfSpentDiffers,
    RetiredCallsDiffer,
    RetiredSpentDiffers,
    PostingsUnbalanced,
    SpentBalanceDiffers,
    ReservedBalanceDiffers,
    AvailableBalanceDiffers,
    AnswerOfNoCall,
    TokenOfNoCall,
    DeliveryOfNothing,
}

impl Finding {
    fn sentence(self) -> &'static str {
        match self {
            Finding::UnknownOrganization => "it belongs to no organization that the store knows",
            Finding::UnknownBooking => "a booking is of a kind that no release knows",
            Finding::NeverAdmitted => "there is something of a call that was never admitted",
            Finding::AdmittedTwice => "it was admitted more than once",
            Finding::ChargedTwice => "it was charged more than once",
            Finding::BookedAfterEnd => "money was set aside for it after its charge",
            Finding::NegativeAmount => "an amount is negative",
            Finding::Unbalanced => "what was set aside is not what was charged and released",
            Finding::DayDiffers => "its bookings and its record are of different days",
            Finding::Lost => "it was never charged, and it does not live",
            Finding::StillLive => "it was charged, and still counts as live",
            Finding::ReservationDiffers => "it holds something other than what was set aside",
            Finding::RecordMissing => "it was charged, and there is no record of it",
            Finding::RecordTwice => "there are several records of it",
            Finding::RecordUnreadable => "its record cannot be read",
            Finding::RecordOfAnother => "its record is of another call or organization",
            Finding::RecordNotCharged => "there is a final record, and it was never charged",
            Finding::RecordNotTerminal => "its record says that it is not over",
            Finding::CostDiffers => "a record says another cost than was charged",
            Finding::EventMissing => "an event is missing",
            Finding::EventTwice => "an event is there more than once",
            Finding::EventUntrue => "an event tells what did not happen",
            Finding::SumOfCallsDiffers => "the sum of calls is not that of the charges",
            Finding::SumOfAnsweredDiffers => "the sum of answered calls is not that of the records",
            Finding::SumOfSecondsDiffers => "the sum of billable seconds is not that of the records",
            Finding::SumOfSpentDiffers => "the sum of the money spent is not that of the charges",
            Finding::RetiredCallsDiffer => "more or fewer records are missing than were dropped",
            Finding::RetiredSpentDiffers => {
                "the records that are missing cost something other than those that were dropped"
            }
            Finding::PostingsUnbalanced => "the postings of a booking do not sum to zero",
            Finding::SpentBalanceDiffers => "the account `spent` does not hold what was charged",
            Finding::ReservedBalanceDiffers => "the account `reserved` does not hold what calls hold",
            Finding::AvailableBalanceDiffers => "the account `available` does not lack what the others hold",
            Finding::AnswerOfNoCall => "an answer to a repeated request names a call that is not there",
            Finding::DeliveryOfNothing => {
                "a webhook is to be told of an event, or by a subscription, that is not there"
            }
            Finding::TokenOfNoCall => "a browser's token is of a call that is not there",
        }
    }
}

/// One difference, with where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub finding: Finding,
    pub organization: Option<OrganizationId>,
    pub call: Option<CallId>,
    /// `2026-01-31`.
    pub day: Option<String>,
    /// What it is about, where there are several: the name of an event.
    pub what: Option<&'static str>,
    pub expected: Option<String>,
    pub found: Option<String>,
}

impl Difference {
    pub(super) fn of(finding: Finding) -> Self {
        Self { finding, organization: None, call: None, day: None, what: None, expected: None, found: None }
    }

    pub(super) fn call(self, call: CallId) -> Self {
        Self { call: Some(call), ..self }
    }

    pub(super) fn organization(self, organization: Option<OrganizationId>) -> Self {
        Self { organization, ..self }
    }

    pub(super) fn day(self, organization: OrganizationId, day: Day) -> Self {
        Self { organization: Some(organization), day: Some(day.to_string()), ..self }
    }

    pub(super) fn what(self, what: &'static str) -> Self {
        Self { what: Some(what), ..self }
    }

    pub(super) fn amounts(self, expected: &impl Display, found: &impl Display) -> Self {
        Self { expected: Some(expected.to_string()), found: Some(found.to_string()), ..self }
    }
}

/// One line: where, what, and the two figures.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let organization = self.organization.as_ref().map(|organization| organization.as_str().to_owned());
        let places = [organization, self.call.map(|call| call.to_string()), self.day.clone()];
        let places: Vec<String> = places.into_iter().flatten().collect();
        write!(f, "{}: {}", places.join(" "), self.finding.sentence())?;
        if let Some(what) = self.what {
            write!(f, " ({what})")?;
        }
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => write!(f, ": expected {expected}, found {found}"),
            (Some(_) | None, _) => Ok(()),
        }
    }
}
