//! Networks that let no UDP through, or nothing but a relay: TURN by coturn over UDP and over TCP, ICE over TCP.

use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::page::Options;
use super::scene::{BROWSER_TONE, ONE_LEG, PHONE_TONE, SOON, Scene, Way, check_heard};
use super::support::baresip::Baresip;
use super::support::net::{self, Network};
use super::support::wire::recording;
use super::support::{DESTINATION, poll, require_tool, say, stop};

/// What the server and coturn share (`use-auth-secret`).
const SECRET: &str = "what-the-two-share";

/// coturn on the server's machine. Dropping it ends it.
struct Coturn(Child);

impl Coturn {
    fn start(network: &Network, folder: &Path) -> Self {
        require_tool("turnserver", "coturn");
        let log = File::create(folder.join("coturn.log")).expect("a log");
        let address = net::SERVER.to_string();
        let [secret, pid, database] = [
            format!("--static-auth-secret={SECRET}"),
            format!("--pidfile={}", folder.join("coturn.pid").display()),
            format!("--userdb={}", folder.join("coturn.db").display()),
        ];
        let program = [
            "turnserver",
            "-n",
            "--use-auth-secret",
            &secret,
            "--realm=turn.example",
            "-L",
            &address,
            "-E",
            &address,
            "-p",
            "3478",
            "--no-tls",
            "--no-dtls",
            "--no-cli",
            "--log-file=stdout",
            "--simple-log",
            &pid,
            &database,
        ];
        let coturn = Self(network.spawn("g", &program, log));
        let listening = poll(SOON, || network.udp_sockets("g").contains(":0D96 ").then_some(()));
        assert!(listening.is_some(), "coturn does not listen");
        coturn
    }

    /// The lines of the configuration that name it.
    fn config(transport: &str) -> String {
        let address = net::SERVER;
        format!(
            "[[webrtc.turn]]\nuri = \"turn:{address}:3478?transport={transport}\"\nsecret = \"{SECRET}\"\nttl_seconds = 600\n"
        )
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        stop(&mut self.0);
    }
}

/// A call in which both hear each other; returns the route of the browser's audio.
fn talk(scene: &mut Scene, way: Way) -> Value {
    let folder = scene.folder.path();
    let _phone = Baresip::start(&scene.network, "b", net::DESTINATION, DESTINATION, PHONE_TONE, folder);
    let call = scene.call(way);
    scene.told("answered");
    std::thread::sleep(Duration::from_millis(500));
    let from = scene.phone_wire.rtp_from(net::SERVER).len();
    let browser = scene.page.listen(Duration::from_millis(1500));
    let phone = recording(&scene.phone_wire.rtp_from(net::SERVER)[from..]);
    check_heard("the browser", &browser, PHONE_TONE, BROWSER_TONE);
    check_heard("the phone", &phone, BROWSER_TONE, PHONE_TONE);
    let route = scene.page.eval("return await client.route()");
    scene.page.eval("await client.hangup()");
    scene.told("ended");
    scene.ended(way, &call, ("completed", "hangup", "user"), ONE_LEG);
    route
}

/// The browser may speak through coturn only, over this transport.
fn through_coturn(transport: &str, way: Way) {
    let mut coturn = None;
    let options = Options { relay: true, ..Options::default() };
    let mut scene = Scene::with(options, |network, folder| {
        coturn = Some(Coturn::start(network, folder));
        Coturn::config(transport)
    });
    if transport == "tcp" {
        scene.network.block_udp("a");
    }
    let route = talk(&mut scene, way);
    assert_eq!((&route["type"], &route["relayProtocol"]), (&"relay".into(), &transport.into()), "{route}");
    say(&format!("browser: a call through coturn over {transport}"));
}

#[test]
fn a_relay_over_udp_carries_the_call() {
    through_coturn("udp", Way::Browser);
}

#[test]
fn a_relay_over_tcp_carries_the_call_where_udp_is_blocked() {
    through_coturn("tcp", Way::Join);
}

#[test]
fn ice_over_tcp_carries_the_call_where_udp_is_blocked() {
    let mut scene = Scene::new(Options::default());
    scene.network.block_udp("a");
    let route = talk(&mut scene, Way::Browser);
    assert_eq!((&route["protocol"], &route["relayProtocol"]), (&"tcp".into(), &Value::Null), "{route}");
    say("browser: a call by ICE over TCP, UDP blocked");
}
