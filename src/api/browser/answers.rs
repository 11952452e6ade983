//! Each way in which a browser is refused, with a code of its own and a way out.

use axum::http::StatusCode;
use axum::http::header::WWW_AUTHENTICATE;

use super::super::answer::Problem;
use super::super::refusal;
use crate::media::OfferError;
use crate::switch::{BrowserReply, Unavailable};

/// Another offer is answered within milliseconds.
const OFFER_RETRY_SECONDS: u64 = 1;

fn unauthorized(code: &'static str, message: &'static str) -> Problem {
    let challenge = "Bearer realm=\"revbridge\", error=\"invalid_token\"";
    Problem::new(StatusCode::UNAUTHORIZED, code, message).header(WWW_AUTHENTICATE, challenge)
}

/// Also for the kind of secret that the path does not take.
pub fn token_invalid() -> Problem {
    unauthorized(
        "token_invalid",
        "send a token that was issued for this as Authorization: Bearer: rvw_… to connect, rvr_… afterwards",
    )
}

pub fn token_expired() -> Problem {
    unauthorized("token_expired", "the token's time or its call is over; have a new one issued")
}

pub fn token_used() -> Problem {
    let message = "this token was used before, and each opens one call once; have a new one issued";
    Problem::new(StatusCode::CONFLICT, "token_used", message)
}

pub fn wrong_path() -> Problem {
    let message = "this token is for another path: a webrtc token connects at /v1/webrtc/connections and dials, a \
                   room token only joins the room_url that came with it";
    Problem::new(StatusCode::FORBIDDEN, "token_wrong_path", message)
}

pub fn other_destination() -> Problem {
    let message = "this token's call goes to another number; leave to_number out or have a token issued for it";
    Problem::new(StatusCode::FORBIDDEN, "token_destination_mismatch", message)
        .field("to_number", "not the destination that the token was issued for")
}

pub fn offer(error: OfferError) -> Problem {
    let invalid = |code, message| Problem::new(StatusCode::BAD_REQUEST, code, message).field("sdp", error.to_string());
    match error {
        OfferError::NoCommonCodec => invalid("no_common_codec", "the offer and this call have no codec in common"),
        OfferError::Unavailable => refusal::unavailable(Unavailable::Full),
        OfferError::TooLong
        | OfferError::NotSdp
        | OfferError::TooManyCandidates
        | OfferError::TooManySections
        | OfferError::Section
        | OfferError::NoAudio
        | OfferError::NoIce
        | OfferError::IceLite
        | OfferError::NoFingerprint
        | OfferError::Setup
        | OfferError::NoRtcpMux => invalid("offer_invalid", "the offer cannot be answered; fields.sdp says why"),
    }
}

/// What a reply says no with; a success in the wrong place is our fault.
pub fn refused(reply: BrowserReply) -> Problem {
    match reply {
        BrowserReply::Refused(error) => offer(error),
        BrowserReply::Unknown | BrowserReply::Over => token_expired(),
        BrowserReply::Spent => token_used(),
        BrowserReply::WrongPath => wrong_path(),
        BrowserReply::OtherDestination => other_destination(),
        BrowserReply::NotFound => Problem::not_found(),
        BrowserReply::Busy => {
            let message = "another offer is being answered; try again after Retry-After";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).retry_after(OFFER_RETRY_SECONDS)
        }
        BrowserReply::StoreDown => refusal::store_down(),
        BrowserReply::Connected { .. }
        | BrowserReply::Answer(_)
        | BrowserReply::Dialing { .. }
        | BrowserReply::Events(_) => Problem::internal(),
    }
}
