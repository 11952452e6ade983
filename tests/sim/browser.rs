//! A browser in place of phone A: what it means to do, and what it has done and heard so far.

use std::time::Duration;

use revbridge::events::{BrowserEnd, BrowserEvent, BrowserState};
use revbridge::media::BrowserOffer;
use revbridge::model::{Path, TokenDigest};

use crate::rng::Rng;

/// How long the server waits for one that was lost.
pub const GRACE: Duration = Duration::from_secs(6);

#[derive(Debug, Clone)]
pub struct BrowserPlan {
    pub path: Path,
    /// Of the token.
    pub ttl: Duration,
    /// After the token was issued; `None` never comes.
    pub connects: Option<Duration>,
    /// Others that come with the same token, within this of the first.
    pub rivals: Vec<Duration>,
    /// From the answer until the audio path stands.
    pub up: Option<Duration>,
    /// After the answer; also in a room, where it must not.
    pub dials: Option<Duration>,
    /// In order; each after the audio path stood.
    pub outages: Vec<Outage>,
    /// After the answer.
    pub hangs_up: Option<Duration>,
    pub pcma_only: bool,
}

#[derive(Debug, Clone)]
pub struct Outage {
    pub at: Duration,
    /// The audio threads say so, or the page is simply replaced.
    pub heard: bool,
    /// Until it offers again.
    pub back: Option<Duration>,
    /// With another certificate.
    pub reload: bool,
    /// From the answer until the audio path stands again.
    pub up: Option<Duration>,
}

impl BrowserPlan {
    pub fn new(rng: &mut Rng) -> Self {
        let path = rng.pick(&[Path::Browser, Path::Join]);
        let outages = if rng.chance(400) { 1 + rng.below(3) } else { 0 };
        Self {
            path,
            ttl: rng.millis(3_000, 25_000),
            connects: rng.chance(900).then(|| rng.millis(0, 12_000)),
            rivals: (0..if rng.chance(300) { rng.below(6) } else { 0 }).map(|_| rng.millis(0, 20)).collect(),
            up: rng.chance(920).then(|| rng.millis(5, 7_000)),
            dials: rng.chance(930).then(|| rng.millis(0, 9_000)),
            outages: (0..outages).map(|_| Outage::new(rng)).collect(),
            hangs_up: rng.chance(500).then(|| rng.millis(0, 40_000)),
            pcma_only: rng.chance(200),
        }
    }
}

impl Outage {
    fn new(rng: &mut Rng) -> Self {
        Self {
            at: rng.millis(0, 15_000),
            heard: rng.chance(700),
            back: rng.chance(850).then(|| rng.millis(0, 7_500)),
            reload: rng.chance(500),
            up: rng.chance(900).then(|| rng.millis(5, 6_500)),
        }
    }
}

/// One call's browser so far.
#[derive(Debug, Default, Clone)]
pub struct Browser {
    pub token: Option<TokenDigest>,
    /// Of the secret that came with the answer.
    pub secret: Option<TokenDigest>,
    /// In this life of the process the audio path has stood.
    pub was_up: bool,
    /// In this life of the process it has dialled.
    pub dialed: bool,
    pub hung_up: bool,
    /// Offers that were answered.
    pub offers: usize,
    /// How many of the outages have happened.
    pub outages: usize,
    /// The last event that it was told, and the last state.
    pub seen: u64,
    pub state: Option<BrowserState>,
    pub end: Option<BrowserEnd>,
}

impl Browser {
    /// What it is told next: `None` when it fits, or what is wrong with it.
    pub fn hear(&mut self, id: u64, event: &BrowserEvent) -> Option<String> {
        if id <= self.seen {
            return Some(format!("event {id} after {}", self.seen));
        }
        self.seen = id;
        let BrowserEvent::State { state, end, .. } = event else { return None };
        let back = self.state.is_some_and(|last| last >= *state);
        let what = back.then(|| format!("{state:?} after {:?}", self.state));
        self.state = Some(*state);
        self.end = *end;
        what
    }

    /// The process is gone, with every connection.
    pub fn crash(&mut self) {
        (self.was_up, self.dialed) = (false, false);
    }
}

/// `page` stands for its certificate.
pub fn offer(page: usize, pcma_only: bool) -> Box<BrowserOffer> {
    let codecs = if pcma_only { "8 126" } else { "0 8 126" };
    let text = format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF {codecs}\r\n\
         c=IN IP4 0.0.0.0\r\na=ice-ufrag:kanarya\r\na=ice-pwd:kanaryakanaryakanaryakanarya\r\n\
         a=fingerprint:sha-256 {page:02X}{}\r\na=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
         a=rtpmap:126 telephone-event/8000\r\n",
        ":00".repeat(31)
    );
    Box::new(BrowserOffer::parse(&text).expect("an offer as browsers make it"))
}
