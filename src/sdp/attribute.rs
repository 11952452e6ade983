//! Attributes and words that phones and browsers write alike.

use super::{Codec, Direction, Format};

/// `101 telephone-event/8000[/1]`.
pub(crate) fn rtpmap(value: &str) -> Option<Format> {
    let (payload_type, encoding) = value.trim().split_once(' ')?;
    let payload_type = payload_type.parse().ok().filter(|t| *t < 128)?;
    let mut parts = encoding.trim().split('/');
    let name = parts.next()?;
    let (clock, channels) = (parts.next(), parts.next());
    let known = [Codec::Pcmu, Codec::Pcma, Codec::TelephoneEvent]
        .into_iter()
        .find(|c| c.name().is_some_and(|n| n.eq_ignore_ascii_case(name)));
    let codec = known.filter(|_| clock == Some("8000") && matches!(channels, None | Some("1")));
    Some(Format { payload_type, codec: codec.unwrap_or(Codec::Other) })
}

/// What a payload type stands for: its rtpmap, or else RFC 3551 §6.
pub(crate) fn format(rtpmap: &[Format], payload_type: u8) -> Format {
    let fixed = match payload_type {
        0 => Codec::Pcmu,
        8 => Codec::Pcma,
        _ => Codec::Other,
    };
    let mapped = rtpmap.iter().find(|f| f.payload_type == payload_type);
    Format { payload_type, codec: mapped.map_or(fixed, |f| f.codec) }
}

pub(crate) fn direction(attribute: &str) -> Option<Direction> {
    match attribute {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// RFC 8866 §9 token; the writer repeats these, so nothing else may pass.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b))
}
