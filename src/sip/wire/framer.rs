//! Messages out of a stream (RFC 3261 §18.3).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use super::lex::{TOKEN, is, number, trim};
use super::{HeaderName, limits};

/// What a stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, for [`super::Message::parse`].
    Message(Bytes),
    /// A double CRLF: the peer asks for a single one (RFC 5626 §3.5.1).
    Ping,
}

/// The stream cannot be read any further: close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("headers too long")]
    HeadTooLong,
    #[error("body too long")]
    BodyTooLong,
    /// RFC 3261 §20.14: on a stream it must be there, once, and be a number.
    #[error("no usable Content-Length")]
    ContentLength,
}

/// Holds the bytes of one stream until they are a message. Never holds more than one message of the
/// greatest size and what [`Framer::push`] brought after it.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// No end of headers begins before this index, so it is not looked for there again.
    searched: usize,
    /// Length of the message whose head is whole, once it is known.
    length: Option<usize>,
}

impl Framer {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; `None` until more bytes have come. After an error it stays an error.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.length.is_none() {
            if self.take_keep_alive() {
                return Ok(Some(Frame::Ping));
            }
            self.length = self.find_length()?;
        }
        match self.length {
            Some(length) if self.buffer.len() >= length => {
                self.length = None;
                self.searched = 0;
                Ok(Some(Frame::Message(self.buffer.split_to(length).freeze())))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Drops CRLFs before a message (RFC 3261 §7.5); two in a row are a ping.
    fn take_keep_alive(&mut self) -> bool {
        while self.searched == 0 && self.buffer.starts_with(b"\r\n") {
            if self.buffer.starts_with(b"\r\n\r\n") {
                self.buffer.advance(4);
                return true;
            }
            if self.buffer.len() < 4 && b"\r\n\r\n".starts_with(&self.buffer) {
                // The second half of a ping may follow.
                return false;
            }
            self.buffer.advance(2);
        }
        false
    }

    fn find_length(&mut self) -> Result<Option<usize>, FrameError> {
        if self.buffer.len() < 4 && b"\r\n\r\n".starts_with(&self.buffer) {
            return Ok(None);
        }
        let window = &self.buffer[..self.buffer.len().min(limits::HEAD_BYTES + 4)];
        match memmem::find(&window[self.searched..], b"\r\n\r\n").map(|at| self.searched + at) {
            Some(end) => {
                let body = content_length(&window[..end]).ok_or(FrameError::ContentLength)?;
                if body > limits::BODY_BYTES {
                    return Err(FrameError::BodyTooLong);
                }
                Ok(Some(end + 4 + body))
            }
            None if self.buffer.len() > limits::HEAD_BYTES => Err(FrameError::HeadTooLong),
            None => {
                self.searched = window.len().saturating_sub(3);
                Ok(None)
            }
        }
    }
}

/// The one Content-Length of a head. Two are an error even if they agree: another reader of the same
/// bytes might take the other.
fn content_length(head: &[u8]) -> Option<usize> {
    let mut found = None;
    for line in head.split(|b| *b == b'\n').skip(1) {
        let Some(len) = line.iter().position(|b| !is(*b, TOKEN)) else { continue };
        let name = std::str::from_utf8(&line[..len]).ok()?;
        if HeaderName::parse(name) != HeaderName::ContentLength {
            continue;
        }
        let value = std::str::from_utf8(&line[len..]).ok()?.trim_start_matches([' ', '\t']).strip_prefix(':')?;
        if found.replace(number(trim(value))? as usize).is_some() {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"OPTIONS sip:a@h SIP/2.0\r\nContent-Length: 3\r\n\r\nabc";

    fn frames(framer: &mut Framer) -> Vec<Frame> {
        std::iter::from_fn(|| framer.next_frame().unwrap()).collect()
    }

    #[test]
    fn one_byte_per_segment() {
        let mut framer = Framer::default();
        let stream = [ONE, b"\r\n\r\n", b"\r\n", ONE].concat();
        let mut got = Vec::new();
        for byte in stream {
            framer.push(&[byte]);
            got.extend(frames(&mut framer));
        }
        let one = Frame::Message(Bytes::from_static(ONE));
        assert_eq!(got, [one.clone(), Frame::Ping, one]);
    }

    #[test]
    fn two_messages_in_one_segment() {
        let mut framer = Framer::default();
        framer.push(&[ONE, ONE, &ONE[..10]].concat());
        assert_eq!(frames(&mut framer).len(), 2);
        framer.push(&ONE[10..]);
        assert_eq!(frames(&mut framer).len(), 1);
    }

    #[test]
    fn a_length_that_is_none_closes_the_stream() {
        for length in [
            "",
            "Content-Length: -1\r\n",
            "Content-Length: 99999999999\r\n",
            "Content-Length: 3\r\nl: 3\r\n",
            "Content-Length: 3x\r\n",
            "Content-Length:\r\n",
        ] {
            let mut framer = Framer::default();
            framer.push(format!("OPTIONS sip:a@h SIP/2.0\r\n{length}\r\nabc").as_bytes());
            assert_eq!(framer.next_frame(), Err(FrameError::ContentLength), "{length}");
            assert!(framer.next_frame().is_err());
        }
    }

    #[test]
    fn nothing_grows_without_end() {
        let mut framer = Framer::default();
        framer.push(format!("OPTIONS sip:a@h SIP/2.0\r\nl: {}\r\n\r\n", limits::BODY_BYTES + 1).as_bytes());
        assert_eq!(framer.next_frame(), Err(FrameError::BodyTooLong));
        let mut framer = Framer::default();
        framer.push(&[b'x'; limits::HEAD_BYTES]);
        assert_eq!(framer.next_frame(), Ok(None));
        framer.push(b"xxxxx");
        assert_eq!(framer.next_frame(), Err(FrameError::HeadTooLong));
    }
}
