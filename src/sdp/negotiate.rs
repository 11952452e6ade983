//! Offer and answer (RFC 3264) of one G.711 audio stream with telephone events.

use std::net::{IpAddr, SocketAddr};

use smallvec::{SmallVec, smallvec};

use super::{Agreed, Codec, Description, Direction, Format, Local, Media, MediaKind, Origin, Protocol};

/// Milliseconds of audio in a packet that we ask for (RFC 3551 §4.5: the default).
const PTIME_MS: u8 = 20;
/// The payload type of telephone-event in our offers.
const TELEPHONE_EVENT: u8 = 101;

/// Why an offer and an answer come to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    #[error("no audio stream over RTP/AVP")]
    NoAudio,
    #[error("the audio stream is refused (port 0)")]
    Refused,
    #[error("no audio codec in common")]
    NoCommonCodec,
    #[error("the answer does not have the media sections of the offer")]
    MediaMismatch,
}

/// Offers one audio stream with these codecs in this order. [`Codec::TelephoneEvent`] is offered if it
/// is among them.
pub fn offer(local: Local, codecs: &[Codec]) -> Description {
    let formats = codecs.iter().filter_map(|codec| {
        let payload_type = match codec {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::TelephoneEvent => TELEPHONE_EVENT,
            Codec::Other => return None,
        };
        Some(Format { payload_type, codec: *codec })
    });
    describe(local, smallvec![audio(local, formats.collect(), Direction::SendRecv)])
}

/// Reads the answer to our `offer`.
pub fn accept_answer(offer: &Description, answer: &Description) -> Result<Agreed, NegotiationError> {
    // RFC 3264 §6: one section for each of the offer's, in their order.
    if offer.media.len() != answer.media.len() {
        return Err(NegotiationError::MediaMismatch);
    }
    let (ours, theirs) =
        offer.media.iter().zip(&answer.media).find(|(m, _)| is_ours(m)).ok_or(NegotiationError::NoAudio)?;
    if theirs.kind != MediaKind::Audio {
        return Err(NegotiationError::MediaMismatch);
    }
    if theirs.port == 0 {
        return Err(NegotiationError::Refused);
    }
    agree(theirs, |codec| ours.formats.iter().any(|f| f.codec == codec))
}

/// Answers a peer's `offer`: its first usable audio stream is taken, every other section refused in its
/// place. [`Codec::TelephoneEvent`] is answered if it is among `allowed`.
pub fn answer_offer(
    offer: &Description,
    local: Local,
    allowed: &[Codec],
) -> Result<(Description, Agreed), NegotiationError> {
    let (index, agreed) = choose(offer, allowed)?;
    let media = offer.media.iter().enumerate().map(|(i, theirs)| {
        if i != index {
            return refuse(theirs);
        }
        // RFC 3264 §6.1: the payload types of the offer.
        let event = agreed.telephone_event.map(|payload_type| Format { payload_type, codec: Codec::TelephoneEvent });
        let formats = agreed.audio.iter().copied().chain(event).collect();
        audio(local, formats, agreed.peer_direction.mirrored())
    });
    Ok((describe(local, media.collect()), agreed))
}

/// The first section on which something can be agreed, or else what was wrong with the first audio.
fn choose(offer: &Description, allowed: &[Codec]) -> Result<(usize, Agreed), NegotiationError> {
    let mut problem = None;
    for (index, theirs) in offer.media.iter().enumerate().filter(|(_, m)| is_ours(m)) {
        let agreed = match theirs.port {
            0 => Err(NegotiationError::Refused),
            _ => agree(theirs, |codec| allowed.contains(&codec)),
        };
        match agreed {
            Ok(agreed) => return Ok((index, agreed)),
            Err(error) => _ = problem.get_or_insert(error),
        }
    }
    Err(problem.unwrap_or(NegotiationError::NoAudio))
}

fn is_ours(media: &Media) -> bool {
    media.kind == MediaKind::Audio && media.protocol == Protocol::RtpAvp
}

fn agree(theirs: &Media, speak: impl Fn(Codec) -> bool) -> Result<Agreed, NegotiationError> {
    let mut audio: SmallVec<[Format; 2]> = SmallVec::new();
    let mut telephone_event = None;
    for format in theirs.formats.iter().filter(|f| speak(f.codec)) {
        match format.codec {
            // The same codec under a second payload type is of no use.
            Codec::Pcmu | Codec::Pcma if audio.iter().all(|f| f.codec != format.codec) => audio.push(*format),
            Codec::TelephoneEvent => _ = telephone_event.get_or_insert(format.payload_type),
            Codec::Pcmu | Codec::Pcma | Codec::Other => {}
        }
    }
    if audio.is_empty() {
        return Err(NegotiationError::NoCommonCodec);
    }
    let remote = theirs.address.filter(|a| !a.is_unspecified()).map(|ip| SocketAddr::new(ip, theirs.port));
    let remote_rtcp = remote.and_then(|rtp| rtcp_of(theirs, rtp));
    Ok(Agreed { remote, remote_rtcp, audio, telephone_event, peer_direction: direction_of(theirs) })
}

/// RFC 3550 §11: the next port, unless `a=rtcp` says otherwise (RFC 3605).
fn rtcp_of(theirs: &Media, rtp: SocketAddr) -> Option<SocketAddr> {
    match theirs.rtcp {
        Some((port, address)) => Some(SocketAddr::new(address.unwrap_or(rtp.ip()), port)),
        None => rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port)),
    }
    .filter(|a| !a.ip().is_unspecified())
}

/// RFC 3264 §8.4: `c=0.0.0.0` is hold in the old way: the peer does not want to hear.
fn direction_of(theirs: &Media) -> Direction {
    let held = theirs.address.as_ref().is_some_and(IpAddr::is_unspecified);
    match theirs.direction {
        Direction::SendRecv if held => Direction::SendOnly,
        Direction::RecvOnly if held => Direction::Inactive,
        direction => direction,
    }
}

fn describe(local: Local, media: SmallVec<[Media; 1]>) -> Description {
    let origin = Origin { session_id: local.session_id, version: local.version, address: local.rtp.ip() };
    Description { origin, media }
}

fn audio(local: Local, formats: SmallVec<[Format; 4]>, direction: Direction) -> Media {
    Media {
        kind: MediaKind::Audio,
        port: local.rtp.port(),
        address: Some(local.rtp.ip()),
        rtcp: None,
        protocol: Protocol::RtpAvp,
        formats,
        direction,
        ptime: Some(PTIME_MS),
        rtcp_mux: false,
    }
}

/// RFC 3264 §6: a section with port 0, its formats of no meaning.
fn refuse(theirs: &Media) -> Media {
    Media {
        kind: theirs.kind.clone(),
        port: 0,
        address: None,
        rtcp: None,
        protocol: theirs.protocol.clone(),
        formats: theirs.formats.iter().copied().take(1).collect(),
        direction: Direction::Inactive,
        ptime: None,
        rtcp_mux: false,
    }
}
