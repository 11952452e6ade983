//! One dialog as a phone believes it to be.

use std::time::Duration;

use revbridge::model::Timestamp;

use super::reliable::Reliable;

#[derive(Debug)]
pub struct Dialog {
    /// The phone's own tag.
    pub tag: String,
    /// The 2xx left: off the hook.
    pub up: Option<Timestamp>,
    pub acked: bool,
    /// A BYE was sent or came, or the other side said that there is no such dialog.
    pub over: Option<Timestamp>,
    pub ended_by_phone: bool,
    /// CSeq of the phone's own requests.
    pub cseq: u32,
    pub sdp_version: u64,
    pub answer: String,
    pub reliable: Reliable,
}

impl Dialog {
    pub fn new(tag: String) -> Self {
        Self {
            tag,
            up: None,
            acked: false,
            over: None,
            ended_by_phone: false,
            cseq: 1_000,
            sdp_version: 1,
            answer: String::new(),
            reliable: Reliable::default(),
        }
    }

    pub fn is_up(&self) -> bool {
        self.up.is_some() && self.over.is_none()
    }

    pub fn end(&mut self, now: Timestamp, by_phone: bool) {
        if self.over.is_none() {
            self.over = Some(now);
            self.ended_by_phone = by_phone;
        }
    }

    /// How long the phone was off the hook.
    pub fn talked(&self, now: Timestamp) -> Option<Duration> {
        self.up.map(|up| self.over.unwrap_or(now).since(up))
    }
}
