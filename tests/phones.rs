//! Two baresip phones in network namespaces, joined by the server: each must hear the other's tone and
//! not its own, and the wire must show what masking promises.
//!
//! Baresip shares no code with anything here: its own SIP stack, its own RTP, its own jitter buffer.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::json;
use support::net::{self, Network};
use support::{DESTINATION, Server, Settings, USER, poll, require_tool, say, tone};

/// Neither is in the ringing, busy or congestion tone of any country.
const USER_TONE: f64 = 700.0;
const DESTINATION_TONE: f64 = 1100.0;
const TALK: Duration = Duration::from_secs(8);
const SOON: Duration = Duration::from_secs(15);

#[test]
fn two_baresip_phones_hear_each_other() {
    for (program, package) in [("baresip", "baresip-core"), ("tcpdump", "tcpdump"), ("tshark", "tshark")] {
        require_tool(program, package);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let network = Network::new();
    network.enter_gateway();
    let captures = ["a", "b"].map(|name| Capture::start(&network, name, folder.path()));
    let user = Baresip::start(&network, "a", net::USER, USER, USER_TONE, folder.path());
    let destination = Baresip::start(&network, "b", net::DESTINATION, DESTINATION, DESTINATION_TONE, folder.path());
    let server = Server::start(Settings::new(folder.path(), net::SERVER, net::USER, net::DESTINATION));

    let call = server.place(json!({}));
    server.reaches(&call, "in_progress", SOON);
    std::thread::sleep(TALK);
    assert_eq!(server.hang_up(&call).status, 200);
    let record = server.ended(&call, SOON).expect("an end");
    assert_eq!((&record["status"], &record["end_reason"]), (&json!("completed"), &json!("api_hangup")));

    std::thread::sleep(Duration::from_millis(500));
    let (user_heard, destination_heard) = (user.finish(), destination.finish());
    check_heard("the user", &user_heard, DESTINATION_TONE, USER_TONE);
    check_heard("the destination", &destination_heard, USER_TONE, DESTINATION_TONE);
    let [user_wire, destination_wire] = captures.map(Capture::finish);
    let user_sources = check_wire("a", &user_wire, net::USER, net::DESTINATION, DESTINATION);
    let destination_sources = check_wire("b", &destination_wire, net::DESTINATION, net::USER, USER);
    for source in &user_sources {
        assert!(!destination_sources.contains(source), "the source {source} is on both legs");
    }
    say("baresip: both phones heard each other and not themselves; tshark sees RTP both ways, nothing of the other");
    support::count("phones", 2);
}

/// In the middle of the talk, nearly all of the power is the other's tone.
fn check_heard(who: &str, samples: &[i16], wanted: f64, own: f64) {
    let rate = tone::RATE as usize;
    assert!(samples.len() > 6 * rate, "{who} recorded {} samples", samples.len());
    let middle = &samples[samples.len() - 5 * rate..samples.len() - 2 * rate];
    let best = middle.chunks_exact(rate / 2).map(|half| tone::share(half, wanted)).fold(0.0, f64::max);
    let echo = tone::share(middle, own);
    assert!(best > 0.8, "{who} heard {wanted} Hz with a share of {best:.3} only");
    assert!(echo < 0.01, "{who} heard its own {own} Hz with a share of {echo:.3}");
}

/// One wire: RTP both ways without header extensions, from a source per direction, and not a byte of
/// the other party's number or address. Returns the sources.
fn check_wire(name: &str, file: &Path, phone: Ipv4Addr, other: Ipv4Addr, other_number: &str) -> Vec<String> {
    let rtp =
        tshark(file, &["-Y", "rtp", "-T", "fields", "-e", "ip.src", "-e", "rtp.ssrc", "-e", "rtp.ext", "-e", "rtp.cc"]);
    let rows: Vec<Vec<&str>> = rtp.lines().map(|line| line.split('\t').collect()).collect();
    let mut sources: Vec<String> = rows.iter().map(|row| row[1].to_owned()).collect();
    for from in [phone, net::SERVER] {
        let packets = rows.iter().filter(|row| row[0] == from.to_string()).count();
        assert!(packets > 300, "wire {name}: {packets} RTP packets from {from}");
    }
    let extended = rows.iter().filter(|row| !["0", "False"].contains(&row[2]) || row[3] != "0").count();
    assert_eq!(extended, 0, "wire {name}: RTP with header extensions or contributing sources");
    sources.sort();
    sources.dedup();
    assert_eq!(sources.len(), 2, "wire {name}: one source per direction: {sources:?}");
    check_addresses(name, file, phone);
    let digits = &other_number[1..];
    for (what, filter) in [
        ("number", format!("frame contains \"{digits}\"")),
        ("address", format!("frame contains \"{other}\"")),
        ("raw address", format!("udp.payload contains {}", other.octets().map(|b| format!("{b:02x}")).join(":"))),
    ] {
        let hits = tshark(file, &["-Y", &filter]);
        assert!(hits.is_empty(), "wire {name} shows the other's {what}:\n{hits}");
    }
    let own = tshark(file, &["-Y", "sip.Method == \"INVITE\""]);
    assert!(!own.is_empty(), "wire {name}: tshark sees the INVITE, so it would have seen the rest");
    sources
}

/// Only the phone and the server speak on this wire.
fn check_addresses(name: &str, file: &Path, phone: Ipv4Addr) {
    // Late audio meets a closed port: the ICMP answer quotes the packet, so it is no packet of its own.
    let pairs = tshark(file, &["-Y", "udp && !icmp", "-T", "fields", "-e", "ip.src", "-e", "ip.dst"]);
    let known = [phone.to_string(), net::SERVER.to_string()];
    let foreign = pairs.lines().find(|line| !line.split('\t').all(|address| known.iter().any(|k| k == address)));
    assert_eq!(foreign, None, "wire {name}");
}

fn tshark(file: &Path, arguments: &[&str]) -> String {
    let out = Command::new("tshark").arg("-r").arg(file).args(arguments).output().expect("tshark runs");
    assert!(out.status.success(), "tshark {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// tcpdump at the server's end of one phone's wire.
struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    fn start(network: &Network, name: &str, folder: &Path) -> Self {
        let file = folder.join(format!("{name}.pcap"));
        let log = File::create(folder.join(format!("tcpdump-{name}.log"))).expect("a log");
        let interface = network.interface(name, true);
        let path = file.to_str().expect("a UTF-8 path");
        // The log's folder may belong to root alone, so tcpdump must not give up root (-Z).
        let child = network.spawn("g", &["tcpdump", "-i", &interface, "-U", "-Z", "root", "-s", "0", "-w", path], log);
        let started = poll(SOON, || file.metadata().is_ok_and(|file| file.len() > 0).then_some(()));
        assert!(
            started.is_some(),
            "tcpdump does not start: {:?}",
            fs::read_to_string(folder.join(format!("tcpdump-{name}.log")))
        );
        Self { child, file }
    }

    fn finish(mut self) -> PathBuf {
        stop(&mut self.child);
        self.file.clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// SIGTERM, so that what is buffered is written, then wait.
fn stop(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let ended = poll(Duration::from_secs(3), || child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = child.kill();
        }
    }
    let _ = child.wait();
}

/// A phone that answers by itself, plays its tone and records what it decodes.
struct Baresip {
    child: Child,
    folder: PathBuf,
}

impl Baresip {
    fn start(network: &Network, name: &str, address: Ipv4Addr, number: &str, hertz: f64, lab: &Path) -> Self {
        let folder = lab.join(format!("baresip-{name}"));
        fs::create_dir_all(folder.join("heard")).expect("the phone's folder");
        let tone_file = folder.join("tone.wav");
        let write = |file: &str, bytes: &[u8]| fs::write(folder.join(file), bytes).expect("the phone's file");
        write("tone.wav", &tone::wav(&tone::sine(hertz, 60.0)));
        write("config", config(address, &network.interface(name, false), &tone_file, &folder.join("heard")).as_bytes());
        // Without an account for the number that is dialled, baresip answers 404.
        let options = "regint=0;answermode=auto;audio_codecs=pcmu/8000/1,pcma/8000/1;ptime=20";
        write("accounts", format!("<sip:{number}@{address}:5060;transport=udp>;{options}\n").as_bytes());
        write("contacts", b"");
        let log = File::create(folder.join("baresip.log")).expect("a log");
        let path = folder.to_str().expect("a UTF-8 path");
        let child = network.spawn(name, &["baresip", "-f", path, "-t", "60"], log);
        let listening = poll(SOON, || network.udp_sockets(name).contains(":13C4 ").then_some(()));
        let phone = Self { child, folder };
        assert!(listening.is_some(), "baresip does not listen:\n{}", phone.log());
        phone
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("baresip.log")).unwrap_or_default()
    }

    /// Ends the phone and returns what it heard.
    fn finish(mut self) -> Vec<i16> {
        stop(&mut self.child);
        let files = fs::read_dir(self.folder.join("heard")).expect("the folder of recordings");
        let mut files = files.filter_map(|entry| entry.ok().map(|e| e.path()));
        let recording = files.find(|path| path.to_string_lossy().ends_with("-dec.wav"));
        let recording = recording.unwrap_or_else(|| panic!("no recording:\n{}", self.log()));
        samples(&fs::read(recording).expect("the recording is readable"))
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// The 16-bit samples after the `data` header of a WAV file.
fn samples(wav: &[u8]) -> Vec<i16> {
    let data = memchr::memmem::find(wav, b"data").expect("a data chunk") + 8;
    wav[data..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// `aubridge` as the player: without a player that works, baresip decodes and records nothing.
fn config(address: Ipv4Addr, interface: &str, tone: &Path, heard: &Path) -> String {
    format!(
        "poll_method epoll\nsip_listen {address}:5060\ncall_local_timeout 120\ncall_max_calls 4\n\
         audio_path /usr/share/baresip\naudio_player aubridge,sink\naudio_source aufile,{tone}\n\
         audio_alert aubridge,nil\nausrc_srate 8000\nauplay_srate 8000\naudio_level no\nrtp_tos 184\n\
         rtp_ports 20000-20040\nrtp_bandwidth 512-1024\nrtcp_mux no\njitter_buffer_delay 5-10\nrtp_stats yes\n\
         net_interface {interface}\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aufile.so\n\
         module aubridge.so\nmodule sndfile.so\nmodule uuid.so\nmodule_tmp account.so\nmodule_app contact.so\n\
         module_app menu.so\nsnd_path {heard}\nstatmode_default off\n",
        tone = tone.display(),
        heard = heard.display(),
    )
}
