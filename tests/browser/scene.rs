//! A network with the server in the middle, a browser on leg A's machine and a phone on leg B's.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::page::{Options, Page};
use super::support::net::{self, Network};
use super::support::wire::Capture;
use super::support::{DESTINATION, OWNED, Server, Settings, poll};

/// Neither is in the ringing, busy or congestion tone of any country, nor in a digit's.
pub const BROWSER_TONE: f64 = 1900.0;
pub const PHONE_TONE: f64 = 1100.0;
pub const SOON: Duration = Duration::from_secs(15);
/// How long the server waits for a browser that has gone away.
pub const GRACE: Duration = Duration::from_secs(3);
/// The first minute of the one leg that costs.
pub const ONE_LEG: &str = "0.010000";

/// Which way a call is made. The name is the one that its record has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Path A: the browser dials the call that its token names.
    Browser,
    /// Path B: the browser joins, and the server dials.
    Join,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::Browser => "browser",
            Way::Join => "join",
        }
    }
}

/// A token, and what to do with it.
#[derive(Debug, Clone)]
pub struct Ticket {
    pub way: Way,
    pub token: String,
    pub call: String,
    /// Where the offer goes.
    pub path: String,
}

/// Everything but the phone. What is dropped first comes first.
pub struct Scene<P = Page> {
    pub page: P,
    pub server: Server,
    /// Between the browser and the server.
    pub browser_wire: Capture,
    /// Between the server and the phone.
    pub phone_wire: Capture,
    pub network: Network,
    pub folder: tempfile::TempDir,
}

impl Scene {
    pub fn new(options: Options) -> Self {
        Self::with(options, |_, _| String::new())
    }

    /// `prepare` starts what else the network needs and returns more lines for the configuration.
    pub fn with(options: Options, prepare: impl FnOnce(&Network, &Path) -> String) -> Self {
        let Scene { page: (), server, browser_wire, phone_wire, network, folder } = Scene::set(prepare);
        let trusted = vec![format!("http://{}", server.settings.api())];
        let options = Options { trusted, ..options };
        let mut page = Page::open(&network, "a", BROWSER_TONE, folder.path(), &options);
        page.goto(if options.sdk { "/sdk.html" } else { "/index.html" });
        page.wait_for("globalThis.ready", SOON);
        Self { page, server, browser_wire, phone_wire, network, folder }
    }

    /// Makes the page's client and connects it; the destination rings. Returns the call's id.
    pub fn call(&mut self, way: Way) -> String {
        let ticket = self.ticket(way);
        self.connect(&ticket);
        self.dial(&ticket);
        ticket.call
    }

    pub fn connect(&mut self, ticket: &Ticket) {
        let api = format!("http://{}", self.server.settings.api());
        let about = json!({"api": api, "path": ticket.path, "token": ticket.token});
        self.page.eval(&format!("globalThis.client = new Client({about}); await client.connect()"));
    }

    /// Path B needs no word: the destination rings because the browser has joined.
    pub fn dial(&mut self, ticket: &Ticket) {
        if ticket.way == Way::Browser {
            let answer = self.page.eval("return await client.dial()");
            assert_eq!(answer["status"], 202, "the dial is accepted: {answer}");
        }
    }

    /// Waits until the event stream has told this state.
    #[track_caller]
    pub fn told(&mut self, state: &str) {
        self.page.wait_for(&format!("client.states.includes('{state}')"), SOON);
    }
}

impl Scene<()> {
    /// Without a browser, for another client.
    pub fn without_page() -> Self {
        Self::set(|_, _| String::new())
    }

    fn set(prepare: impl FnOnce(&Network, &Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let network = Network::new();
        network.enter_gateway();
        let [browser_wire, phone_wire] = ["a", "b"].map(|name| Capture::start(&network, name, folder.path()));
        let more = prepare(&network, folder.path());
        let server = Server::start(settings(folder.path(), &more));
        Self { page: (), server, browser_wire, phone_wire, network, folder }
    }
}

impl<P> Scene<P> {
    pub fn ticket(&self, way: Way) -> Ticket {
        ticket(&self.server, way)
    }

    /// Waits for the one record of the one call, and checks what every such record says.
    #[track_caller]
    pub fn ended(&self, way: Way, call: &str, (status, end_reason, ended_by): (&str, &str, &str), cost: &str) -> Value {
        let record = self.server.ended(call, SOON).unwrap_or_else(|| panic!("no end: {}", self.server.record(call)));
        let said = |field: &str| record[field].as_str().unwrap_or_default();
        assert_eq!(
            ["path", "status", "end_reason", "ended_by", "cost", "user_id", "organization_id"].map(said),
            [way.name(), status, end_reason, ended_by, cost, "alice", "acme"],
            "{record}"
        );
        assert_eq!([said("from_number"), said("to_number")], [OWNED, DESTINATION]);
        let records = self.server.records().iter().filter(|other| other["id"] == call).count();
        assert_eq!(records, 1, "one record");
        assert!(poll(SOON, || (self.server.legs_in_use() == 0).then_some(())).is_some(), "no leg counts any more");
        assert_eq!(self.server.money().1, 0, "nothing is reserved any more");
        record
    }
}

pub fn ticket(server: &Server, way: Way) -> Ticket {
    let numbers = json!({"from_number": OWNED, "to_number": DESTINATION});
    let asked = match way {
        Way::Browser => "/v1/webrtc-token",
        Way::Join => "/v1/room-token",
    };
    let answer = server.request("POST", asked, &[], Some(&numbers));
    assert_eq!(answer.status, 200, "a token: {}", answer.body);
    let data = answer.data();
    let text = |field: &str| data[field].as_str().unwrap_or_else(|| panic!("no {field} in {data}")).to_owned();
    let path = match way {
        Way::Browser => "/v1/webrtc/connections".to_owned(),
        Way::Join => {
            let (room, name) = (text("room_url"), text("room_name"));
            let path = format!("/v1/rooms/{name}");
            assert_eq!(room, format!("http://{}{path}", server.settings.api()));
            path
        }
    };
    Ticket { way, token: text("token"), call: text("call_id"), path }
}

/// Leg A has no phone here, so every number goes to the destination's.
pub fn settings(folder: &Path, more: &str) -> Settings {
    let mut settings = Settings::new(folder, net::SERVER, net::USER, net::DESTINATION);
    settings.webrtc = format!(
        "[webrtc]\nenabled = true\nlisten = \"{address}:7000\"\npublic_url = \"http://{api}\"\n\
         allowed_origins = [\"*\"]\ngrace_seconds = {grace}\ntry_page = true\n{more}",
        address = net::SERVER,
        api = settings.api(),
        grace = GRACE.as_secs(),
    );
    settings
}

/// In the middle of what was heard, nearly all of the power is the other's tone and nothing is one's own.
#[track_caller]
pub fn check_heard(who: &str, samples: &[i16], wanted: f64, own: f64) {
    use super::support::tone;
    let rate = tone::RATE as usize;
    assert!(samples.len() >= rate, "{who} heard {} samples", samples.len());
    let halves: Vec<&[i16]> = samples.chunks_exact(rate / 4).collect();
    let good = halves.iter().filter(|part| tone::share(part, wanted) > 0.8).count();
    let echo = tone::share(samples, own);
    assert!(good * 2 > halves.len(), "{who} heard {wanted} Hz in {good} of {} quarters of a second", halves.len());
    assert!(echo < 0.01, "{who} heard its own {own} Hz with a share of {echo:.3}");
}
