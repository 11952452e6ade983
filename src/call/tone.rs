//! Which tone a person hears.

use crate::media::{Source, ToneRegion};
use crate::model::{E164, EndReason};

/// Countries by calling code whose tones differ from the European ones (ITU-T E.180 supplement 2).
const REGIONS: [(&str, ToneRegion); 4] = [
    ("1", ToneRegion::NorthAmerica),
    ("44", ToneRegion::UnitedKingdom),
    ("61", ToneRegion::Australia),
    ("81", ToneRegion::Japan),
];

/// The tones of the country that is called: the caller hears what that network would play.
pub(super) fn region(number: E164) -> ToneRegion {
    let text = number.text();
    let digits = text.digits();
    REGIONS.iter().find(|(code, _)| digits.starts_with(code)).map_or(ToneRegion::Europe, |(_, region)| *region)
}

/// What A hears when B did not come to be.
pub(super) fn failure(reason: EndReason, to: E164) -> Source {
    if reason == EndReason::DestinationBusy { Source::Busy(region(to)) } else { Source::Reorder(region(to)) }
}
