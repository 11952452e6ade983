//! Everything that a seed decides before the first event: who calls whom, how each phone behaves, how
//! bad network, disk and process are. What happens then is drawn from the same seed as it happens.
//!
//! ```text
//! 0 ───── dials ───── 20 s ──── faults ──── CALM ── lossless, healthy ── HANGUP ── quiet ── END
//! ```

use std::time::Duration;

use revbridge::config::Transport;
use revbridge::model::{Confirm, Side, Timestamp};

use crate::REGRESSIONS;
use crate::browser::BrowserPlan;
use crate::phone::plan::PhonePlan;
use crate::rng::Rng;

/// From here on the network loses nothing, the disk is healthy and the process does not crash.
pub const CALM: Duration = Duration::from_secs(100);
/// Clients give up on dials that a dead server kept them from.
pub const LAST_DIAL: Duration = Duration::from_secs(110);
/// What still lives is ended here by hang-up, drain, or by its own limits.
pub const HANGUP: Duration = Duration::from_secs(140);
/// 64·T1 after the last call can have ended, and a margin.
pub const END: Duration = Duration::from_secs(260);

/// One world.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub start: Timestamp,
    pub calls: Vec<CallPlan>,
    pub organizations: Vec<OrganizationPlan>,
    pub network: NetworkPlan,
    /// Where a side's trunk is not on UDP.
    pub streams: [Option<StreamPlan>; 2],
    /// A further trunk to a side's phones, which is asked first and does not always do its work.
    pub gateways: [Option<GatewayPlan>; 2],
    /// Where a side's trunk has a name: what the DNS answers from when on.
    pub names: [Option<Vec<(Duration, Doors)>>; 2],
    pub disk: DiskPlan,
    pub media: MediaPlan,
    pub crashes: Vec<Crash>,
    /// Drain instead of hang-ups, at this moment.
    pub drain: Option<Duration>,
    /// How often each trunk is asked whether it lives.
    pub ping: Option<Duration>,
}

/// One dial and both its phones.
#[derive(Debug, Clone)]
pub struct CallPlan {
    pub at: Duration,
    pub organization: usize,
    pub numbers: Numbers,
    pub confirm: Confirm,
    pub presses: bool,
    pub ring_timeout: Duration,
    pub max_duration: Duration,
    pub hangup: Option<Duration>,
    pub keyed: bool,
    /// Sends the same request again after this, with the same key.
    pub repeats: Option<Duration>,
    /// In place of phone A.
    pub browser: Option<BrowserPlan>,
    pub a: PhonePlan,
    pub b: PhonePlan,
}

/// What is wrong with the numbers of a dial, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    Good,
    FromNotOwned,
    ToNotListed,
    ToPremium,
    ToUnpriced,
    Loop,
}

#[derive(Debug, Clone)]
pub struct OrganizationPlan {
    pub max_concurrent_legs: u32,
    pub max_calls_per_minute: u32,
    pub daily_spend_micros: i64,
    /// At this moment the limits are lowered to these legs and this money.
    pub lowered: Option<(Duration, u32, i64)>,
}

#[derive(Debug, Clone)]
pub struct NetworkPlan {
    pub loss: u64,
    pub duplicate: u64,
    pub delay: (Duration, Duration),
    /// Per mille of the phones' messages that somebody off the path sees and abuses.
    pub strangers: u64,
}

/// By which of its two addresses a trunk is to be reached, in the order of their priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doors {
    Front,
    Back,
    FrontThenBack,
    BackThenFront,
}

impl Doors {
    /// Whether each is the back one.
    pub fn order(self) -> &'static [bool] {
        match self {
            Doors::Front => &[false],
            Doors::Back => &[true],
            Doors::FrontThenBack => &[false, true],
            Doors::BackThenFront => &[true, false],
        }
    }
}

/// A first answer, and up to five that differ from it.
fn answers(rng: &mut Rng) -> Vec<(Duration, Doors)> {
    let mut doors = || rng.pick(&[Doors::Front, Doors::Back, Doors::FrontThenBack, Doors::BackThenFront]);
    let mut answers = vec![(Duration::ZERO, doors())];
    let more = [doors(), doors(), doors(), doors(), doors()];
    let changes = rng.below(6) as usize;
    answers.extend(more.into_iter().take(changes).map(|doors| (rng.millis(0, 100_000), doors)));
    answers.sort_by_key(|(at, _)| *at);
    answers
}

/// Per mille of the INVITEs of which a trunk makes less than it should; it passes the others on.
#[derive(Debug, Clone, Copy)]
pub struct GatewayPlan {
    /// Says nothing, and does nothing.
    pub drops: u64,
    /// Says nothing, and passes it on seconds later.
    pub delays: u64,
    /// Says 503.
    pub refuses: u64,
}

/// A trunk that is reached by connections.
#[derive(Debug, Clone, Copy)]
pub struct StreamPlan {
    pub transport: Transport,
    /// Per mille of the messages with which their connection is cut.
    pub cuts: u64,
    /// Per mille of the attempts to connect that fail: few enough that a BYE, which is tried eleven times, arrives.
    pub refuses: u64,
}

#[derive(Debug, Clone)]
pub struct DiskPlan {
    pub latency: (Duration, Duration),
    /// Per mille of the transactions that take up to four seconds.
    pub slow: u64,
    /// Per mille that fail.
    pub fails: u64,
}

#[derive(Debug, Clone)]
pub struct MediaPlan {
    pub open_fails: u64,
    pub falls_silent: u64,
}

/// When the process dies, and for how long it stays dead.
#[derive(Debug, Clone)]
pub struct Crash {
    pub when: CrashPoint,
    pub down: Duration,
    /// What it leaves is taken over by another node, after so long; it does not come back.
    pub elsewhere: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum CrashPoint {
    /// Before the output with this number after the last start.
    Output(u64),
    At(Duration),
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let calls = 3 + rng.below(8);
        // A third of the worlds has no fault but the phones: what they should come to is known exactly.
        let kind = rng.pick(&[Kind::Clean, Kind::Lossy, Kind::Lossy, Kind::Crashing, Kind::Crashing, Kind::Crashing]);
        let mut world = Self {
            seed,
            start: start(rng),
            calls: (0..calls).map(|_| CallPlan::new(rng, kind)).collect(),
            organizations: (0..2).map(|_| OrganizationPlan::new(rng)).collect(),
            network: NetworkPlan::new(rng, kind),
            streams: [None; 2],
            gateways: [None; 2],
            names: [const { None }; 2],
            disk: DiskPlan::new(rng, kind),
            media: MediaPlan {
                open_fails: if kind == Kind::Clean { 0 } else { rng.pick(&[0, 0, 30]) },
                falls_silent: if kind == Kind::Clean { 0 } else { rng.pick(&[0, 0, 50]) },
            },
            crashes: if kind == Kind::Crashing { crashes(rng) } else { Vec::new() },
            drain: rng.chance(100).then(|| rng.millis(5_000, 60_000)),
            ping: rng.chance(250).then(|| rng.millis(1_000, 30_000)),
        };
        // The seeds that found something before there were browsers, or other nodes, still mean the same worlds.
        if !REGRESSIONS.contains(&seed) {
            let rng = &mut rng.fork();
            for call in &mut world.calls {
                call.browser = rng.chance(350).then(|| BrowserPlan::new(rng));
            }
            for crash in &mut world.crashes {
                crash.elsewhere = rng.chance(300);
            }
            let bad = kind != Kind::Clean;
            world.gateways = [(); 2].map(|()| (bad && rng.chance(300)).then(|| GatewayPlan::new(rng)));
            world.streams = [(); 2].map(|()| rng.chance(300).then(|| StreamPlan::new(rng, kind)));
            for call in &mut world.calls {
                call.a.learn(rng);
                call.b.learn(rng);
            }
            for side in Side::BOTH {
                let plain = world.stream(side).is_none() && world.gateway(side).is_none();
                world.names[side as usize] = (plain && rng.chance(400)).then(|| answers(rng));
            }
        }
        world
    }

    /// Nothing stands between the server and the phones, and the process lives throughout.
    pub fn is_clean(&self) -> bool {
        self.crashes.is_empty() && self.is_lossless() && self.disk.fails == 0 && self.disk.slow == 0
    }

    pub fn is_lossless(&self) -> bool {
        let passes = self.gateways.iter().all(Option::is_none);
        passes
            && self.network.loss == 0
            && self.streams.iter().flatten().all(|stream| stream.cuts + stream.refuses == 0)
    }

    pub fn gateway(&self, side: Side) -> Option<GatewayPlan> {
        self.gateways[side as usize]
    }

    pub fn transport(&self, side: Side) -> Transport {
        self.stream(side).map_or(Transport::Udp, |stream| stream.transport)
    }

    pub fn stream(&self, side: Side) -> Option<StreamPlan> {
        self.streams[side as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Clean,
    Lossy,
    Crashing,
}

/// Some worlds begin just before a midnight, some on the day on which the clocks change.
fn start(rng: &mut Rng) -> Timestamp {
    let noon = 1_772_971_200_000; // 2026-03-08T12:00:00Z
    let before_midnight = 1_773_014_370_000; // 2026-03-08T23:59:30Z
    let new_york_midnight = 1_773_028_770_000; // 2026-03-08T23:59:30-04:00
    Timestamp::from_millis(rng.pick(&[noon, noon, before_midnight, new_york_midnight]) + rng.below(60_000))
}

fn crashes(rng: &mut Rng) -> Vec<Crash> {
    let n = 1 + rng.below(3);
    (0..n)
        .map(|_| Crash {
            when: if rng.chance(800) {
                CrashPoint::Output(1 + rng.below(90))
            } else {
                CrashPoint::At(rng.millis(500, 90_000))
            },
            down: if rng.chance(800) { rng.millis(20, 3_000) } else { rng.millis(3_000, 45_000) },
            elsewhere: false,
        })
        .collect()
}

impl CallPlan {
    fn new(rng: &mut Rng, kind: Kind) -> Self {
        let wrong =
            [Numbers::FromNotOwned, Numbers::ToNotListed, Numbers::ToPremium, Numbers::ToUnpriced, Numbers::Loop];
        let hostile = kind != Kind::Clean;
        Self {
            at: rng.millis(0, 20_000),
            organization: usize::try_from(rng.below(2)).unwrap_or(0),
            numbers: if rng.chance(100) { rng.pick(&wrong) } else { Numbers::Good },
            confirm: if rng.chance(200) { Confirm::Press1 } else { Confirm::None },
            presses: rng.chance(700),
            ring_timeout: rng.millis(4_000, 25_000),
            max_duration: rng.millis(5_000, 60_000),
            hangup: rng.chance(120).then(|| rng.millis(0, 40_000)),
            keyed: rng.chance(700),
            repeats: rng.chance(200).then(|| rng.millis(0, 8_000)),
            browser: None,
            a: PhonePlan::new(rng, hostile, 900),
            b: PhonePlan::new(rng, hostile, 800),
        }
    }
}

impl OrganizationPlan {
    fn new(rng: &mut Rng) -> Self {
        let tight = rng.chance(300);
        let daily_spend_micros = if tight { 60_000 + rng.below(200_000) as i64 } else { 50_000_000 };
        let legs = if tight { 2 + rng.below(5) as u32 } else { 40 };
        Self {
            max_concurrent_legs: legs,
            max_calls_per_minute: if rng.chance(200) { 1 + rng.below(4) as u32 } else { 60 },
            daily_spend_micros,
            lowered: rng.chance(200).then(|| {
                let at = rng.millis(2_000, 30_000);
                (at, rng.below(u64::from(legs)) as u32, daily_spend_micros / (1 + rng.below(4) as i64))
            }),
        }
    }
}

impl NetworkPlan {
    fn new(rng: &mut Rng, kind: Kind) -> Self {
        let lossy = kind == Kind::Lossy || (kind == Kind::Crashing && rng.chance(400));
        let jitter = if lossy { rng.below(400) } else { rng.below(30) };
        let floor = Duration::from_millis(rng.below(20));
        Self {
            loss: if lossy { 10 + rng.below(250) } else { 0 },
            duplicate: if lossy { rng.below(200) } else { 0 },
            delay: (floor, floor + Duration::from_millis(jitter)),
            strangers: if kind == Kind::Clean { 0 } else { rng.pick(&[0, 0, 100]) },
        }
    }
}

impl GatewayPlan {
    fn new(rng: &mut Rng) -> Self {
        Self { drops: rng.below(300), delays: rng.below(300), refuses: rng.below(300) }
    }
}

impl StreamPlan {
    fn new(rng: &mut Rng, kind: Kind) -> Self {
        let bad = kind != Kind::Clean;
        Self {
            transport: rng.pick(&[Transport::Tcp, Transport::Tls]),
            // A BYE after a restart follows four CANCELs on one connection, and what cuts that takes all of them.
            cuts: if bad { rng.below(50) } else { 0 },
            refuses: if bad { rng.pick(&[0, 0, 50, 100]) } else { 0 },
        }
    }
}

impl DiskPlan {
    fn new(rng: &mut Rng, kind: Kind) -> Self {
        let ill = kind != Kind::Clean && rng.chance(400);
        Self {
            latency: (Duration::from_micros(100), Duration::from_micros(500 + rng.below(8_000))),
            slow: if ill { rng.below(100) } else { 0 },
            fails: if ill { rng.below(60) } else { 0 },
        }
    }
}
