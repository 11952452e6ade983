//! Requests that belong to no leg: one cheap answer without a memory of it, or none.
//!
//! An answer says the same to everybody, whatever number is asked for, and is hardly longer than what
//! it answers: the headers that a response repeats, at most two short ones, and of a 420 what was required.
//! Its To tag is derived, so a retransmitted request gets the same bytes (RFC 3261 §8.2.7).

use bytes::BytesMut;

use super::ident::Token;
use super::leg::{ALLOW, unsupported};
use super::wire::{HeaderName, Message, Method, ParseError, Scheme, StartLine, Uri, Writer};
use super::{EndpointAction, Flow, reply};
use crate::events::{NoiseKind, Notice};
use crate::model::Secret;

/// Answers a request for which there is no leg.
pub fn answer(message: &Message<'_>, method: Method, flow: Flow, secret: Secret, out: &mut Vec<EndpointAction>) {
    let in_dialog = message.to.tag().is_some();
    let kind = if in_dialog { NoiseKind::UnknownDialog } else { NoiseKind::OutOfDialog };
    out.push(EndpointAction::Notice(Notice::Noise { kind }));
    let Some(status) = status(message, method, in_dialog) else { return };
    let tag = Token::derive(secret, "stray", &[message.call_id.as_bytes(), message.from.uri.text.as_bytes()]);
    let more = |writer: &mut Writer<'_>| {
        if matches!(status, 200 | 405) {
            writer.header(HeaderName::Allow, ALLOW);
        }
        if status == 420 {
            for option in unsupported(message) {
                writer.echo(HeaderName::Unsupported, option);
            }
        }
    };
    out.extend(reply::write(message, flow.remote, status, tag, more, None).map(|bytes| {
        let flow = reply::destination(&message.via, flow);
        EndpointAction::Transmit { leg: None, flow, bytes, request: false }
    }));
}

fn status(message: &Message<'_>, method: Method, in_dialog: bool) -> Option<u16> {
    match method {
        Method::Ack => None,
        Method::Cancel => Some(481),
        Method::Options => Some(options(message)),
        // Nobody can call us, and nothing is said of whom they tried to call.
        Method::Invite if !in_dialog => Some(403),
        Method::Invite | Method::Bye | Method::Update | Method::Info | Method::Prack | Method::Notify => Some(481),
        Method::Register | Method::Subscribe | Method::Refer | Method::Message | Method::Publish => Some(405),
        Method::Other => Some(501),
    }
}

/// The one request that could be granted may yet speak of what we do not know (RFC 3261 §8.2.2). Those that are
/// refused anyway are not looked at so closely.
fn options(message: &Message<'_>) -> u16 {
    let StartLine::Request { uri, .. } = message.start else { return 200 };
    let is_foreign = Uri::parse(uri).is_ok_and(|uri| uri.scheme == Scheme::Other);
    if is_foreign {
        416
    } else if unsupported(message).next().is_some() {
        420
    } else {
        200
    }
}

/// 400 and its like for a request that is broken but says where its answer goes.
pub fn refuse_malformed(error: &ParseError<'_>, flow: Flow, secret: Secret) -> Option<EndpointAction> {
    let answerable = error.answerable.as_ref()?;
    let (status, reason) = error.fault.status();
    let mut buffer = BytesMut::with_capacity(512);
    let mut writer = Writer::response(&mut buffer, status, reason);
    let mut top = true;
    for (name, value) in answerable.echo() {
        match name {
            HeaderName::Via if top => {
                reply::echo_top_via(&mut writer, value, &answerable.via, flow.remote);
                top = false;
            }
            HeaderName::To if !value.to_ascii_lowercase().contains("tag=") => {
                let tag = Token::derive(secret, "stray", &[value.as_bytes()]);
                writer.echo(name, &format!("{value};tag={tag}"));
            }
            _ => {
                writer.echo(name, value);
            }
        }
    }
    writer.finish().ok()?;
    let flow = reply::destination(&answerable.via, flow);
    Some(EndpointAction::Transmit { leg: None, flow, bytes: buffer.freeze(), request: false })
}
