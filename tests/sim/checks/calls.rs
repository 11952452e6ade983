//! Each call's record against what its two phones saw: the reason must have its evidence there, and the
//! cost must be the price of their talk.

use std::time::Duration;

use revbridge::guardrails::LegPrice;
use revbridge::model::{CallRecord, Confirm, EndReason, EndedBy, Side, Timestamp};

use super::{Check, Checks};
use crate::browser::{Browser, GRACE};
use crate::phone::plan::Session;
use crate::phone::{Fate, Phone, T1};
use crate::reference;
use crate::scenario::{CallPlan, Scenario};

/// One call, from all sides.
pub struct Story<'a> {
    pub scenario: &'a Scenario,
    pub plan: &'a CallPlan,
    pub record: &'a CallRecord,
    pub a: Option<&'a Phone>,
    pub b: Option<&'a Phone>,
    pub crashed: bool,
    pub hung_up: bool,
    /// What was in place of A.
    pub browser: Option<&'a Browser>,
    pub prices: [LegPrice; 2],
    pub now: Timestamp,
}

impl Story<'_> {
    fn phone(&self, side: Side) -> Option<&Phone> {
        match side {
            Side::User => self.a,
            Side::Destination => self.b,
        }
    }

    fn fate(&self, side: Side) -> Option<Fate> {
        self.phone(side).map(Phone::fate)
    }

    fn refused(&self, side: Side, with: &[u16]) -> bool {
        matches!(self.fate(side), Some(Fate::Refused(status)) if with.contains(&status))
    }

    /// A was there, as a phone that answered or as a browser.
    fn has_user(&self) -> bool {
        self.answered(Side::User) || self.browser.is_some_and(|browser| browser.offers > 0)
    }

    fn hung_up_by(&self, side: Side) -> bool {
        if side == Side::User && self.browser.is_some_and(|browser| browser.hung_up) {
            return true;
        }
        self.phone(side).is_some_and(|p| p.dialogs.iter().any(|d| d.ended_by_phone))
    }

    fn answered(&self, side: Side) -> bool {
        matches!(self.fate(side), Some(Fate::Answered(_)))
    }

    /// Or would not have heard it.
    fn acknowledged(&self, side: Side) -> bool {
        self.phone(side).is_some_and(|p| p.plan.deaf || p.dialogs.iter().any(|dialog| dialog.acked))
    }

    fn challenged(&self, side: Side) -> bool {
        self.phone(side).is_some_and(|p| p.plan.challenge.is_some())
    }

    /// Somebody broke the rules or the network did, so that a leg may be lost.
    fn is_rough(&self) -> bool {
        let rude = |p: Option<&Phone>| {
            p.is_some_and(|p| {
                let loses = p.plan.timer.is_some_and(|timer| timer.loses_session());
                loses || p.plan.deaf || p.plan.hasty || p.plan.nonsense > 0 || !p.plan.acts.is_empty()
            })
        };
        self.crashed || !self.scenario.is_lossless() || rude(self.a) || rude(self.b)
    }

    /// What must have happened for this reason to be true.
    fn evidence(&self, reason: EndReason) -> bool {
        use Side::{Destination, User};
        // A refusal that comes as the ringing runs out is too late: its CANCEL crosses it, if no message is lost. So may be
        // one of a second address.
        let late = |side: Side| !self.scenario.is_clean() || self.scenario.names[side as usize].is_some();
        let crossed = |side: Side| self.phone(side).is_some_and(Phone::was_unwanted);
        let no_answer = |side| {
            let refused = matches!(self.fate(side), Some(Fate::Refused(s)) if !matches!(s, 408 | 480 | 487));
            late(side) || crossed(side) || !refused
        };
        let unreachable = |side| {
            // Nothing is known of an INVITE whose connection was lost and of the phone that had it.
            let refuses = self.scenario.stream(side).is_some_and(|stream| stream.refuses > 0);
            refuses
                || self.scenario.gateway(side).is_some()
                || self.refused(side, &[404, 408, 480, 484, 500, 503])
                || self.fate(side).is_none_or(|f| f == Fate::Unanswered)
        };
        let failed = |side| {
            let gateway = self.scenario.gateway(side).is_some();
            gateway || self.refused(side, &[403, 500, 503]) || self.challenged(side) || self.is_rough()
        };
        let tight = self.scenario.organizations[self.plan.organization].lowered.is_some();
        match reason {
            EndReason::Hangup => self.hung_up_by(User) || self.hung_up_by(Destination),
            EndReason::ApiHangup => self.hung_up,
            EndReason::Drained => self.scenario.drain.is_some(),
            EndReason::MaxDuration => self.has_user(),
            EndReason::MediaTimeout => self.scenario.media.falls_silent > 0,
            EndReason::MediaFailed => self.scenario.media.open_fails > 0,
            EndReason::LegLost => self.is_rough(),
            EndReason::UserNoAnswer => no_answer(User),
            EndReason::UserBusy => self.refused(User, &[486, 600]),
            EndReason::UserDeclined => self.refused(User, &[603]),
            EndReason::UserUnreachable => unreachable(User),
            EndReason::UserFailed => failed(User),
            EndReason::UserHangup => self.hung_up_by(User),
            EndReason::NotConfirmed => self.plan.confirm == Confirm::Press1,
            EndReason::DestinationNoAnswer => no_answer(Destination),
            EndReason::DestinationBusy => self.refused(Destination, &[486, 600]),
            EndReason::DestinationDeclined => self.refused(Destination, &[603]),
            EndReason::DestinationUnreachable => unreachable(Destination),
            EndReason::DestinationFailed => failed(Destination),
            EndReason::RedirectRefused => self.refused(User, &[302]) || self.refused(Destination, &[302]),
            EndReason::NoCommonCodec => Side::BOTH.iter().any(|side| {
                let spoke = |p: &Phone| !matches!(p.plan.session, Session::Both);
                self.refused(*side, &[488]) || self.phone(*side).is_some_and(spoke)
            }),
            EndReason::CertificateRefused => self.scenario.streams.iter().flatten().any(|stream| stream.refuses > 0),
            EndReason::SpendLimit => self.has_user(),
            EndReason::TokenExpired => self.plan.browser.is_some(),
            EndReason::BrowserGone => self.plan.browser.as_ref().is_some_and(|browser| {
                browser.up.is_none_or(|up| up >= GRACE - Duration::from_millis(50)) || !browser.outages.is_empty()
            }),
            EndReason::SpendLimitExceeded | EndReason::ConcurrencyLimit => tight,
            EndReason::StoreUnavailable => self.scenario.disk.fails > 0 || self.scenario.disk.slow > 0,
            EndReason::ServerRestart => self.crashed,
            EndReason::CallerIdNotVerified
            | EndReason::DestinationNotAllowed
            | EndReason::MaskingGuard
            | EndReason::InternalError => false,
        }
    }

    /// Off the hook, longest dialog.
    fn talk(&self, side: Side) -> Duration {
        let dialogs = self.phone(side).map(|p| p.dialogs.iter().filter_map(|d| d.talked(self.now)).max());
        dialogs.flatten().unwrap_or_default()
    }
}

impl Checks {
    pub fn on_story(&mut self, story: &Story<'_>) {
        let record = story.record;
        let call = record.id;
        let Some(reason) = record.end_reason else { return };
        self.unless(story.evidence(reason), Check::Reason, || {
            format!(
                "{call} ended for {reason:?}; A was {:?}, B was {:?}",
                story.fate(Side::User),
                story.fate(Side::Destination)
            )
        });
        if record.answered_at.is_some() {
            let both = story.has_user() && story.answered(Side::Destination);
            self.unless(both, Check::Reason, || format!("{call} was answered, by nobody"));
        }
        let blamed = match record.ended_by {
            Some(EndedBy::User) if reason == EndReason::Hangup => Some(Side::User),
            Some(EndedBy::Destination) if reason == EndReason::Hangup => Some(Side::Destination),
            _ => None,
        };
        if let Some(side) = blamed {
            self.unless(story.hung_up_by(side), Check::Reason, || format!("{call}: {side:?} did not hang up"));
        }
        self.on_codecs(story);
        self.on_cost(story);
        self.on_unwanted(story);
    }

    /// An answer that crosses its CANCEL is taken down before its phone has to repeat it.
    fn on_unwanted(&mut self, story: &Story<'_>) {
        let phones = [story.a, story.b].into_iter().flatten();
        for phone in phones.filter(|phone| story.scenario.is_clean() && phone.was_unwanted()) {
            let talked = phone.dialogs.iter().filter_map(|d| d.talked(story.now)).max().unwrap_or_default();
            self.unless(talked < T1, Check::Orphan, || {
                format!("{} was told after {talked:?} that nobody wants it", phone.name())
            });
        }
    }

    fn on_codecs(&mut self, story: &Story<'_>) {
        let browser = story.plan.browser.as_ref().is_some_and(|browser| browser.pcma_only);
        let narrow = browser || story.a.is_some_and(|a| a.plan.session == Session::PcmaOnly);
        if let Some(offered) = story.b.and_then(|b| b.offered.as_ref()).filter(|_| narrow) {
            let only = offered.formats.contains(&8) && !offered.formats.contains(&0);
            self.unless(only, Check::Codec, || {
                format!("{} offers B {:?}, A took PCMA", story.record.id, offered.formats)
            });
        }
    }

    fn on_cost(&mut self, story: &Story<'_>) {
        let record = story.record;
        if !story.answered(Side::User) && !story.answered(Side::Destination) {
            let free = record.cost.as_micros() == 0;
            return self.unless(free, Check::Cost, || format!("{} costs {}, nobody answered", record.id, record.cost));
        }
        let heard = Side::BOTH.into_iter().any(|side| story.acknowledged(side));
        self.unless(heard || !story.scenario.is_lossless() || record.cost.as_micros() == 0, Check::Cost, || {
            format!("{} costs {}, and no phone heard that it was answered", record.id, record.cost)
        });
        if !story.scenario.is_clean() {
            return;
        }
        let slack = story.scenario.network.delay.1 * 2 + story.scenario.disk.latency.1 * 4 + Duration::from_millis(30);
        let talk = [
            story.talk(Side::User),
            if record.answered_at.is_some() { story.talk(Side::Destination) } else { Duration::ZERO },
        ];
        let sum = |adjust: &dyn Fn(Duration) -> Duration| -> i64 {
            talk.iter().zip(&story.prices).map(|(talk, price)| reference::price(price, adjust(*talk))).sum()
        };
        // Not billed: an answer as the ringing ends, and one that leaves nothing to talk with.
        let void = story.a.is_some_and(Phone::was_unwanted) || record.end_reason == Some(EndReason::NoCommonCodec);
        let least = if void { 0 } else { sum(&|talk| talk.saturating_sub(slack)) };
        let most = sum(&|talk| if talk.is_zero() { talk } else { talk + slack });
        let cost = record.cost.as_micros();
        self.unless((least..=most).contains(&cost), Check::Cost, || {
            format!("{} costs {}, by its phones between {least} and {most} micro-units", record.id, record.cost)
        });
    }
}
