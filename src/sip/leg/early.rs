//! Early dialogs, and the reliable provisional responses in them (RFC 3261 §12.1, RFC 3262).
//!
//! ```text
//! 1xx with RSeq n     the first, or one more than the last ─▶ PRACK, told to the call
//!                     one that was acknowledged ────────────▶ nothing: the PRACK is sent again by itself
//!                     any other ────────────────────────────▶ nothing: what lies between comes again
//! ```
//!
//! A description in a reliable response is the answer to our offer, and no later one in that dialog is (RFC 3261
//! §13.2.1). From then on the peer may change its session by UPDATE (RFC 3311 §5.1).
//!
//! Deliberately absent: offers of our own in a PRACK, and reliable responses of our own: what we answer to a re-INVITE
//! is final.

use super::dialog::Dialog;
use super::known::Peer;
use super::uac::session;
use super::{Context, Leg, MAX_FORKS, RequestKind};
use crate::sdp::Description;
use crate::sip::digest::Subject;
use crate::sip::ident::Token;
use crate::sip::transaction::Class;
use crate::sip::wire::{HeaderName, Message};

/// The option tag.
pub const OPTION: &str = "100rel";

/// PRACKs remembered at a time, those that were answered a moment ago too. A peer that sends more reliable responses
/// before the first of them is acknowledged, which RFC 3262 §3 forbids it, sends the others again.
const MAX_PRACKS: usize = 8;

/// One early dialog.
#[derive(Debug)]
pub struct Early {
    /// A hash of the peer's tag: all that is kept of it once the INVITE is answered, and over a restart.
    tag: u64,
    dialog: Option<Box<Dialog>>,
    /// The peer's last CSeq in the dialog that is not kept any more.
    last_cseq: Option<u32>,
    /// RSeq of the last reliable response that was acknowledged.
    rseq: Option<u32>,
    /// A reliable response has brought the answer to our offer.
    pub answered: bool,
}

/// A reliable provisional response, as its PRACK names it (RFC 3262 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RAck {
    pub rseq: u32,
    pub invite_cseq: u32,
}

impl Early {
    pub fn known(tag: u64) -> Self {
        Self { tag, dialog: None, last_cseq: None, rseq: None, answered: false }
    }

    pub fn tag(&self) -> u64 {
        self.tag
    }

    pub fn peer(&self) -> Option<Peer<'_>> {
        self.dialog.as_deref().map(Dialog::peer)
    }

    pub fn dialog(&self) -> Option<&Dialog> {
        self.dialog.as_deref()
    }

    pub fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        self.dialog.as_deref_mut()
    }

    /// The peer's last CSeq, from which on the dialog of its 2xx counts (RFC 3261 §13.2.2.4).
    pub fn remote_cseq(&self) -> Option<u32> {
        self.dialog().map_or(self.last_cseq, |dialog| dialog.remote_cseq)
    }

    fn forget_dialog(&mut self) {
        self.last_cseq = self.remote_cseq();
        self.dialog = None;
    }
}

impl Leg {
    /// The early dialog that a response belongs to, if there was one.
    pub(super) fn early_of(&self, response: &Message<'_>) -> Option<usize> {
        let hash = self.hash(response.to.tag().unwrap_or_default());
        self.early.iter().position(|early| early.tag == hash)
    }

    /// The early dialog that a provisional response belongs to, or makes; `None` beyond the bound.
    pub(super) fn early_dialog(&mut self, response: &Message<'_>) -> Option<usize> {
        if let Some(known) = self.early_of(response) {
            return Some(known);
        }
        let hash = self.hash(response.to.tag().unwrap_or_default());
        if self.early.len() >= MAX_FORKS {
            return None;
        }
        let dialog = Dialog::of_response(response, self.facts.is_secure());
        self.early.push(Early { dialog: Some(Box::new(dialog)), ..Early::known(hash) });
        Some(self.early.len() - 1)
    }

    fn hash(&self, remote_tag: &str) -> u64 {
        Token::derive(self.facts.secret, "early", &[remote_tag.as_bytes()]).low()
    }

    /// Our offer was answered before the INVITE was: from then on the session is open to changes.
    pub(super) fn was_answered_early(&self) -> bool {
        let hash = self.dialog.as_ref().map(|dialog| self.hash(&dialog.remote_tag));
        self.early.iter().any(|early| Some(early.tag) == hash && early.answered)
    }

    /// The early dialog that the peer calls by this tag.
    pub(super) fn early_tagged(&self, remote_tag: &str) -> Option<usize> {
        let is = |dialog: &Dialog| dialog.remote_tag.eq_ignore_ascii_case(remote_tag);
        self.early.iter().position(|early| early.dialog().is_some_and(is))
    }

    /// Whether the call hears of this provisional response. A reliable one is acknowledged.
    pub(super) fn is_in_order(&mut self, index: usize, response: &Message<'_>, cx: &mut Context<'_>) -> bool {
        if !response.has_option(HeaderName::Require, OPTION) {
            return true;
        }
        let Some(rseq) = response.number(HeaderName::RSeq) else { return true };
        let early = &self.early[index];
        if early.dialog.is_none() || early.rseq.is_some_and(|last| Some(rseq) != last.checked_add(1)) {
            return false;
        }
        let remembered = self.requests.iter().filter(|r| matches!(r.kind, RequestKind::Prack { .. })).count();
        if remembered >= MAX_PRACKS {
            return false;
        }
        self.early[index].rseq = Some(rseq);
        self.send_prack(index, RAck { rseq, invite_cseq: response.cseq.number }, 0, cx);
        true
    }

    /// The description in a provisional or final response in this early dialog, if that is the answer to our offer.
    pub(super) fn first_answer(&mut self, index: Option<usize>, response: &Message<'_>) -> Option<Description> {
        let description = session(response);
        let Some(early) = index.and_then(|index| self.early.get_mut(index)) else { return description };
        if early.answered {
            return None;
        }
        early.answered = description.is_some() && response.has_option(HeaderName::Require, OPTION);
        description
    }

    pub(super) fn send_prack(&mut self, early: usize, rack: RAck, challenges: u8, cx: &mut Context<'_>) {
        let cseq = self.next_cseq();
        let Some(dialog) = self.early.get(early).and_then(Early::dialog) else { return };
        let uri = self.facts.request_uri(Some(dialog));
        let authorization = self.credentials(Subject { method: "PRACK", uri: &uri, body: b"" });
        let Some(dialog) = self.early.get(early).and_then(Early::dialog) else { return };
        if let Some(bytes) = self.facts.prack(dialog, cseq, rack, &authorization) {
            self.start_request(cseq, super::Way::Usual, bytes, RequestKind::Prack { early, rack, challenges }, cx);
        }
    }

    /// A refused PRACK takes nothing from the call: the peer sends its response again, or refuses the INVITE.
    pub(super) fn prack_answered(
        &mut self,
        (early, rack, challenges): (usize, RAck, u8),
        response: &Message<'_>,
        status: u16,
        cx: &mut Context<'_>,
    ) {
        if Class::of(status) == Class::Failure
            && let Some(Ok(())) = self.authorize(response, status, challenges)
        {
            self.send_prack(early, rack, challenges + 1, cx);
        }
    }

    /// The INVITE has its final answer: nothing is asked in an early dialog any more.
    pub(super) fn close_early_dialogs(&mut self) {
        self.early.iter_mut().for_each(Early::forget_dialog);
    }
}
