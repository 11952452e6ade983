//! Session timers (RFC 4028): until when a session stands, and who has to say in time that it still does.
//!
//! ```text
//!             we refresh                          the peer refreshes
//! 0 ───────── 1/2: UPDATE or re-INVITE ────────── expires − min(32 s, 1/3): BYE ─────── expires
//! ```
//!
//! Each 2xx to a re-INVITE or UPDATE, whoever sent it, starts the time anew, with the interval and the refresher that it
//! names. One that names none ends the timer: then the session stands until somebody hangs up.
//!
//! Deliberately absent: how a refresh is written and sent; [`super::leg`] does that.

use std::time::Duration;

use crate::leg::LINGER;
use crate::model::Timestamp;
use crate::sip::wire::{HeaderName, Message, Writer};

/// The option tag.
pub const OPTION: &str = "timer";

/// RFC 4028 §5: no session expires faster, and whoever asks for less is refused.
pub const LEAST_SECONDS: u32 = 90;

/// By the roles of one transaction: whose request it is, or who answers it (RFC 4028 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Uac,
    Uas,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Uac => "uac",
            Role::Uas => "uas",
        }
    }
}

/// A Session-Expires header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    pub seconds: u32,
    pub refresher: Option<Role>,
}

impl SessionExpires {
    /// `None` without the header, and for one that cannot be read.
    pub fn of(message: &Message<'_>) -> Option<Self> {
        let mut parts = message.header(HeaderName::SessionExpires)?.split(';');
        let seconds = delta_seconds(parts.next()?)?;
        let refresher = parts.find_map(|param| {
            let (name, value) = param.split_once('=')?;
            name.trim().eq_ignore_ascii_case("refresher").then(|| value.trim())
        });
        let refresher = refresher.and_then(|role| match role {
            role if role.eq_ignore_ascii_case("uac") => Some(Role::Uac),
            role if role.eq_ignore_ascii_case("uas") => Some(Role::Uas),
            _ => None,
        });
        Some(Self { seconds, refresher })
    }
}

/// The Min-SE header; without one, what the RFC sets.
pub fn min_se(message: &Message<'_>) -> u32 {
    let named = message.header(HeaderName::MinSe).and_then(|value| delta_seconds(value.split(';').next()?));
    named.map_or(LEAST_SECONDS, |seconds| seconds.max(LEAST_SECONDS))
}

/// More than fits counts as the most that does (RFC 3261 §25.1 sets no bound).
fn delta_seconds(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

/// What we say in the 2xx to a request of the peer's that refreshes the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    pub seconds: u32,
    pub refresher: Role,
    /// The peer knows session timers: it is told that this one holds.
    pub required: bool,
}

impl Granted {
    /// RFC 4028 §9: Require where the peer has to know.
    pub fn write(self, writer: &mut Writer<'_>) {
        let Self { seconds, refresher, required } = self;
        writer.header(HeaderName::SessionExpires, format_args!("{seconds};refresher={}", refresher.as_str()));
        if required {
            writer.header(HeaderName::Require, OPTION);
        }
    }
}

/// The peer asks for less than anybody has to bear: 422 with Min-SE (RFC 4028 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSmall;

impl Granted {
    /// The answer to `request`. `wanted`: seconds that we ask for of our own; `ours`: we refresh this session now.
    pub fn to(request: &Message<'_>, wanted: Option<u32>, ours: bool) -> Result<Option<Self>, TooSmall> {
        let required = request.has_option(HeaderName::Supported, OPTION);
        let asked = SessionExpires::of(request);
        if asked.is_some_and(|asked| asked.seconds < LEAST_SECONDS) && required {
            return Err(TooSmall);
        }
        let asked_seconds = asked.map(|asked| asked.seconds.max(LEAST_SECONDS));
        let Some(seconds) = asked_seconds.or(wanted.map(|seconds| seconds.max(min_se(request)))) else {
            return Ok(None);
        };
        // RFC 4028 §9, table 2.
        let refresher = match asked.and_then(|asked| asked.refresher) {
            _ if !required => Role::Uas,
            Some(role) => role,
            None if ours => Role::Uas,
            None => Role::Uac,
        };
        Ok(Some(Self { seconds, refresher, required }))
    }
}

/// A session that has to be refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimer {
    pub seconds: u32,
    /// When we refresh it; `None` while a refresh is under way, and where the peer does it.
    refresh_at: Option<Timestamp>,
    ours: bool,
    /// When we end it.
    end_at: Timestamp,
}

impl SessionTimer {
    /// After a 2xx to a request of ours (RFC 4028 §7.2).
    pub fn agreed(now: Timestamp, response: &Message<'_>) -> Option<Self> {
        let SessionExpires { seconds, refresher } = SessionExpires::of(response)?;
        // Who says nothing leaves it to us: better twice refreshed than ended by mistake.
        Some(Self::start(now, seconds, refresher.unwrap_or(Role::Uac) == Role::Uac))
    }

    /// After our 2xx to a request of the peer's.
    pub fn granted(now: Timestamp, granted: Granted) -> Self {
        Self::start(now, granted.seconds, granted.refresher == Role::Uas)
    }

    fn start(now: Timestamp, seconds: u32, ours: bool) -> Self {
        let seconds = seconds.max(LEAST_SECONDS);
        let interval = Duration::from_secs(seconds.into());
        // RFC 4028 §10.
        let end_at = now + (interval - LINGER.min(interval / 3));
        Self { seconds, refresh_at: ours.then(|| now + interval / 2), ours, end_at }
    }

    /// We refresh it.
    pub fn is_ours(&self) -> bool {
        self.ours
    }

    pub fn is_over(&self, now: Timestamp) -> bool {
        self.end_at <= now
    }

    /// Whether a refresh is due; then it is not due again before [`SessionTimer::retry_at`] or the next 2xx.
    pub fn take_due(&mut self, now: Timestamp) -> bool {
        self.refresh_at.take_if(|at| *at <= now).is_some()
    }

    /// The refresh came to nothing, or has to wait.
    pub fn retry_at(&mut self, at: Timestamp) {
        self.refresh_at = Some(at);
    }

    /// After half of what is left, and not at once.
    pub fn retry_later(&mut self, now: Timestamp) {
        let left = self.end_at.since(now);
        self.refresh_at = Some(now + (left / 2).max(Duration::from_secs(5)));
    }

    pub fn next_timeout(&self) -> Timestamp {
        self.refresh_at.map_or(self.end_at, |at| at.min(self.end_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn with(headers: &str, read: impl FnOnce(&Message<'_>)) {
        let text = format!(
            "UPDATE sip:us@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 UPDATE\r\nMax-Forwards: 70\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        read(&Message::parse(text.as_bytes()).unwrap());
    }

    fn granted(headers: &str, wanted: Option<u32>, ours: bool) -> Result<Option<(u32, Role, bool)>, TooSmall> {
        let mut found = Ok(None);
        with(headers, |m| found = Granted::to(m, wanted, ours));
        found.map(|granted| granted.map(|g| (g.seconds, g.refresher, g.required)))
    }

    #[test]
    fn the_header_is_read_in_every_spelling_or_not_at_all() {
        for (text, wanted) in [
            ("Session-Expires: 1800\r\n", Some((1800, None))),
            ("x: 90 ; Refresher = UAS\r\n", Some((90, Some(Role::Uas)))),
            ("Session-Expires: 4000;x=y;refresher=uac\r\n", Some((4000, Some(Role::Uac)))),
            ("Session-Expires: 99999999999999;refresher=both\r\n", Some((u32::MAX, None))),
            ("Session-Expires: -90\r\n", None),
            ("Session-Expires: soon\r\n", None),
            ("", None),
        ] {
            with(text, |m| assert_eq!(SessionExpires::of(m).map(|s| (s.seconds, s.refresher)), wanted, "{text}"));
        }
    }

    /// RFC 4028 §9, table 2.
    #[test]
    fn who_refreshes_is_who_was_asked_to_and_can() {
        let (uac, uas) = (Role::Uac, Role::Uas);
        for (headers, ours, wanted) in [
            ("Session-Expires: 600\r\n", false, (600, uas, false)),
            ("Session-Expires: 600;refresher=uac\r\n", false, (600, uas, false)),
            ("Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n", true, (600, uac, true)),
            ("Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n", false, (600, uas, true)),
            ("Supported: x, timer\r\nSession-Expires: 600\r\n", false, (600, uac, true)),
            ("Supported: timer\r\nSession-Expires: 600\r\n", true, (600, uas, true)),
            ("Supported: timer\r\n", false, (1_800, uac, true)),
            ("Supported: timer\r\nMin-SE: 2000\r\n", false, (2_000, uac, true)),
            ("", false, (1_800, uas, false)),
        ] {
            assert_eq!(granted(headers, Some(1_800), ours), Ok(Some(wanted)), "{headers}");
        }
        assert_eq!(granted("Supported: timer\r\n", None, false), Ok(None), "nobody wants one");
    }

    #[test]
    fn less_than_the_least_is_refused_where_the_peer_can_understand_that() {
        assert_eq!(granted("Supported: timer\r\nSession-Expires: 89\r\n", None, false), Err(TooSmall));
        assert_eq!(granted("Session-Expires: 5\r\n", None, false), Ok(Some((90, Role::Uas, false))));
        assert_eq!(granted("Supported: timer\r\nSession-Expires: 90\r\n", None, false).map(|g| g.is_some()), Ok(true));
    }

    #[test]
    fn ours_is_refreshed_at_half_and_theirs_ends_before_it_expires() {
        let seconds = Duration::from_secs;
        let mut timer = SessionTimer::start(NOW, 1_800, true);
        assert_eq!(timer.next_timeout(), NOW + seconds(900));
        assert!(!timer.take_due(NOW + seconds(899)) && timer.take_due(NOW + seconds(900)));
        assert_eq!(timer.next_timeout(), NOW + seconds(1_768), "while the refresh is under way");
        timer.retry_later(NOW + seconds(900));
        assert_eq!(timer.next_timeout(), NOW + seconds(900 + 434));
        let timer = SessionTimer::start(NOW, 90, false);
        assert_eq!(timer.next_timeout(), NOW + seconds(60), "a third, where that is less than 32 s");
        assert!(!timer.is_over(NOW + seconds(59)) && timer.is_over(NOW + seconds(60)));
        // Whatever a peer says, nobody refreshes every other moment.
        assert_eq!(SessionTimer::start(NOW, 0, true).next_timeout(), NOW + seconds(45));
    }
}
