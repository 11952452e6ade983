//! By what a leg's party and its dialogs are known.
//!
//! The outgoing guard prepares its search for them once, and again when the leg has learnt something. It
//! cannot search for less than the leg knows: what it prepares comes from [`Known::strings`], which reads
//! nothing but a [`Known`], and is used only while [`Known::is_of`] finds every field of it in the leg.
//!
//! Deliberately absent: a counter of changes, which somebody could forget to raise.

use super::{Facts, Leg};
use crate::model::E164;
use crate::sip::ident::Token;
use crate::sip::wire::Uri;

/// Strings of fewer characters occur in any message by chance.
const TELLING_CHARS: usize = 7;

/// What a leg knew at one moment.
#[derive(Debug)]
pub struct Known {
    own: Own,
    dialogs: Box<[Peer<Box<str>>]>,
}

/// What the leg was given when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Own {
    to: E164,
    shown: E164,
    call_id: Token,
    local_tag: Token,
}

/// What the peer of one dialog has named.
#[derive(Debug, Clone, Copy)]
pub struct Peer<S> {
    pub tag: S,
    pub target: Option<S>,
}

impl Known {
    pub fn of(leg: &Leg) -> Self {
        let copy = |peer: Peer<&str>| Peer { tag: peer.tag.into(), target: peer.target.map(Into::into) };
        Self { own: Own::of(leg.facts()), dialogs: leg.peers().map(copy).collect() }
    }

    /// Whether the leg knows exactly this now.
    pub fn is_of(&self, leg: &Leg) -> bool {
        let known = self.dialogs.iter().map(|peer| (&*peer.tag, peer.target.as_deref()));
        self.own == Own::of(leg.facts()) && known.eq(leg.peers().map(|peer| (peer.tag, peer.target)))
    }

    /// Numbers, users, hosts, Call-ID and tags. Left out is what says nothing: the number that the leg
    /// shows, what is in `public`, and what is short.
    pub fn strings(&self, public: &[String]) -> Vec<String> {
        let Own { to, shown, call_id, local_tag } = self.own;
        let mut strings = Vec::with_capacity(3 + 3 * self.dialogs.len());
        strings.extend([to.text().digits().to_owned(), call_id.to_string(), local_tag.to_string()]);
        for peer in &self.dialogs {
            strings.push(peer.tag.to_string());
            let Some(Ok(uri)) = peer.target.as_deref().map(Uri::parse) else { continue };
            strings.extend(uri.user.map(str::to_owned));
            strings.extend(uri.host.map(|host| host.to_string()));
        }
        let shown = shown.text();
        strings.retain(|s| {
            let is_shown = s.trim_start_matches('+') == shown.digits();
            s.len() >= TELLING_CHARS && !is_shown && !public.contains(s)
        });
        strings
    }
}

impl Own {
    fn of(facts: &Facts) -> Self {
        let Facts { to, shown, call_id, local_tag, .. } = *facts;
        Self { to, shown, call_id, local_tag }
    }
}
