//! By what a leg's party and its dialogs are known.
//!
//! The outgoing guard prepares its search for them once, and again when the leg has learnt something. It
//! cannot search for less than the leg knows: what it prepares comes from [`Known::strings`], which reads
//! nothing but a [`Known`], and is used only while [`Known::is_of`] finds every field of it in the leg.
//!
//! Deliberately absent: a counter of changes, which somebody could forget to raise.

use std::sync::Arc;

use super::{Facts, Leg};
use crate::config::Trunk;
use crate::model::E164;
use crate::sip::ident::Token;
use crate::sip::wire::Uri;

/// Strings of fewer characters occur in any message by chance.
const TELLING_CHARS: usize = 7;

/// What a leg knew at one moment.
#[derive(Debug)]
pub struct Known {
    own: Own,
    trunk: Arc<Trunk>,
    dialogs: Box<[Named]>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer<'a> {
    pub tag: &'a str,
    pub target: Option<&'a str>,
    pub routes: &'a [Box<str>],
}

/// The same, kept.
#[derive(Debug)]
struct Named {
    tag: Box<str>,
    target: Option<Box<str>>,
    routes: Box<[Box<str>]>,
}

impl Named {
    fn of(peer: Peer<'_>) -> Self {
        Self { tag: peer.tag.into(), target: peer.target.map(Into::into), routes: peer.routes.into() }
    }

    fn peer(&self) -> Peer<'_> {
        Peer { tag: &self.tag, target: self.target.as_deref(), routes: &self.routes }
    }
}

impl Known {
    pub fn of(leg: &Leg) -> Self {
        let facts = leg.facts();
        Self { own: Own::of(facts), trunk: Arc::clone(&facts.trunk), dialogs: leg.peers().map(Named::of).collect() }
    }

    /// Whether the leg knows exactly this now.
    pub fn is_of(&self, leg: &Leg) -> bool {
        let facts = leg.facts();
        self.own == Own::of(facts)
            && Arc::ptr_eq(&self.trunk, &facts.trunk)
            && self.dialogs.iter().map(Named::peer).eq(leg.peers())
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

    /// What requests of this leg have to say, whatever stands in it: the URIs by which its peers want to be reached, and
    /// who we are to its trunk.
    pub fn told(&self) -> impl Iterator<Item = &str> {
        let uris = self.dialogs.iter().flat_map(|peer| peer.target.iter().chain(&peer.routes)).map(AsRef::as_ref);
        let account = self.trunk.credentials.iter().flat_map(|account| [&*account.username, &*account.realm]);
        uris.chain(account)
    }
}

impl Own {
    fn of(facts: &Facts) -> Self {
        let Facts { to, shown, call_id, local_tag, .. } = *facts;
        Self { to, shown, call_id, local_tag }
    }
}
