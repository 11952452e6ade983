//! How one phone behaves, chosen before it rings.

use std::time::Duration;

use crate::rng::Rng;

#[derive(Debug, Clone)]
pub struct PhonePlan {
    pub challenge: Option<Challenge>,
    /// 100 at once.
    pub trying: bool,
    /// 180 after this; `None` never.
    pub ringing: Option<Duration>,
    /// 183 with a description after this.
    pub early: Option<Duration>,
    pub outcome: Outcome,
    /// To-tags from which provisional answers come; the first one answers.
    pub forks: usize,
    /// A second fork answers too, this long after the first.
    pub second: Option<Duration>,
    pub session: Session,
    /// What it does once it talks, each a while after the one before.
    pub acts: Vec<(Duration, Act)>,
    /// Hangs up right after its answer, without waiting for the ACK.
    pub hasty: bool,
    /// Hears nothing any more from the moment it answers.
    pub deaf: bool,
    /// Answers although it was cancelled, this long after the CANCEL.
    pub crossing: Option<Duration>,
    /// Per mille of its messages that are followed by nonsense.
    pub nonsense: u64,
    /// Adds Record-Route, so that requests have to come with a Route.
    pub record_route: bool,
    /// What it says while it rings is reliable (RFC 3262).
    pub reliable: bool,
    /// Answers without a description where the one of its ringing was acknowledged.
    pub answers_once: bool,
    /// Changes its session while it rings, once it may.
    pub changes_early: bool,
    /// Finds the session that the INVITE asks for too short.
    pub wants_longer: bool,
    pub timer: Option<TimerPlan>,
}

/// A session that expires (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerPlan {
    pub seconds: u32,
    /// Whether the phone, whose turn it then is, does refresh it; `None`: it is the server's turn.
    pub refreshes: Option<bool>,
    /// Says that it takes UPDATE.
    pub update: bool,
    pub reply: Reply,
}

/// What the server's refresh gets; but for [`Reply::Grants`] and [`Reply::Forgets`] only the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Grants,
    Forgets,
    Glare,
    NoUpdate,
    TooShort,
    Busy,
    Gone,
}

impl TimerPlan {
    fn new(rng: &mut Rng) -> Self {
        Self {
            seconds: 90 + rng.below(60) as u32,
            refreshes: rng.chance(400).then(|| rng.chance(700)),
            update: rng.chance(500),
            reply: match rng.below(10) {
                0 => Reply::Forgets,
                1 => Reply::Glare,
                2 => Reply::NoUpdate,
                3 => Reply::TooShort,
                4 => Reply::Busy,
                5 => Reply::Gone,
                _ => Reply::Grants,
            },
        }
    }

    /// Whether this phone ends its session, by what it does or by what it leaves undone.
    pub fn loses_session(&self) -> bool {
        self.refreshes == Some(false) || (self.refreshes.is_none() && self.reply == Reply::Gone)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// 401 or 407.
    pub status: u16,
    pub sha256: bool,
    /// Refuses every answer and asks again.
    pub never_content: bool,
    /// Asks for a realm that is not the trunk's.
    pub foreign: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answer(Duration),
    Refuse(u16, Duration),
    /// Rings and is never picked up; cancelled, it says 487.
    RingForever,
    /// Nobody is there.
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// PCMU and PCMA.
    Both,
    PcmaOnly,
    NoCommonCodec,
    NoDescription,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Hangup,
    Hold,
    HoldOldStyle,
    Resume,
    Update,
    OfferlessReinvite,
    Options,
    InfoDigit,
    Refer,
    /// A new call to us that wants to take over the dialog (RFC 3891).
    Replaces,
    /// A BYE for a dialog that is not there.
    StrayBye,
    OldCseq,
    UnknownMethod,
    Garbage,
    /// An offer while it rings.
    EarlyUpdate,
    /// Of its session's time.
    Refresh,
}

const ACTS: [Act; 13] = [
    Act::Hold,
    Act::HoldOldStyle,
    Act::Resume,
    Act::Update,
    Act::OfferlessReinvite,
    Act::Options,
    Act::InfoDigit,
    Act::Refer,
    Act::Replaces,
    Act::StrayBye,
    Act::OldCseq,
    Act::UnknownMethod,
    Act::Garbage,
];

/// Final answers that say no.
pub const REFUSALS: [u16; 12] = [302, 403, 404, 408, 480, 484, 486, 488, 500, 503, 600, 603];

impl PhonePlan {
    /// `answers`: per mille that pick up.
    pub fn new(rng: &mut Rng, hostile: bool, answers: u64) -> Self {
        let talkative = rng.chance(300);
        let acts = if talkative { 1 + rng.below(4) } else { 0 };
        let mut acts: Vec<_> = (0..acts).map(|_| (rng.millis(0, 4_000), rng.pick(&ACTS))).collect();
        if rng.chance(500) {
            let after = if rng.chance(150) { Duration::ZERO } else { rng.millis(100, 30_000) };
            acts.push((after, Act::Hangup));
        }
        Self {
            challenge: rng.chance(120).then(|| Challenge::new(rng)),
            trying: rng.chance(600),
            ringing: rng.chance(800).then(|| rng.millis(0, 900)),
            early: rng.chance(200).then(|| rng.millis(0, 1_500)),
            outcome: Outcome::new(rng, answers),
            forks: if hostile && rng.chance(200) { 2 + rng.below(2) as usize } else { 1 },
            second: (hostile && rng.chance(500)).then(|| rng.millis(0, 3_000)),
            session: match rng.below(20) {
                0 => Session::NoCommonCodec,
                1 => Session::NoDescription,
                2..7 => Session::PcmaOnly,
                _ => Session::Both,
            },
            acts,
            hasty: hostile && rng.chance(40),
            deaf: hostile && rng.chance(40),
            crossing: rng.chance(250).then(|| if rng.chance(500) { Duration::ZERO } else { rng.millis(0, 5_000) }),
            nonsense: if hostile && rng.chance(250) { 200 } else { 0 },
            record_route: rng.chance(200),
            reliable: false,
            answers_once: false,
            changes_early: false,
            wants_longer: false,
            timer: None,
        }
    }

    /// It may also ring reliably, and keep the time of its session.
    pub fn learn(&mut self, rng: &mut Rng) {
        self.reliable = rng.chance(300);
        self.answers_once = rng.chance(500);
        self.changes_early = rng.chance(300);
        self.wants_longer = rng.chance(60);
        self.timer = rng.chance(250).then(|| TimerPlan::new(rng));
        let glares = |timer: &TimerPlan| timer.refreshes.is_none() && self.acts.is_empty() && rng.chance(300);
        if let Some(timer) = self.timer.filter(glares) {
            // Both change the session at once.
            let half = Duration::from_millis(500 * u64::from(timer.seconds));
            self.acts.push((half - Duration::from_millis(40) + rng.millis(0, 80), Act::Hold));
        }
    }
}

impl Challenge {
    fn new(rng: &mut Rng) -> Self {
        Self {
            status: rng.pick(&[401, 407]),
            sha256: rng.chance(300),
            never_content: rng.chance(100),
            foreign: rng.chance(100),
        }
    }
}

impl Outcome {
    fn new(rng: &mut Rng, answers: u64) -> Self {
        if rng.chance(answers) {
            return Outcome::Answer(if rng.chance(200) { Duration::ZERO } else { rng.millis(50, 9_000) });
        }
        match rng.below(10) {
            0..7 => Outcome::Refuse(rng.pick(&REFUSALS), rng.millis(0, 4_000)),
            7..9 => Outcome::RingForever,
            _ => Outcome::Silent,
        }
    }
}
