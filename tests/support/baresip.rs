//! A baresip process: a phone that shares no code with anything here.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use serde_json::{Value, json};

use super::net::Network;
use super::{poll, require_tool, stop, tone};

const SOON: Duration = Duration::from_secs(15);

/// A phone that answers by itself, plays its tone and records what it decodes.
pub struct Baresip {
    child: Child,
    folder: PathBuf,
}

impl Baresip {
    pub fn start(network: &Network, name: &str, address: Ipv4Addr, number: &str, hertz: f64, lab: &Path) -> Self {
        Self::start_on(network, name, (address, None), number, hertz, lab)
    }

    /// With a certificate and its key in one file it is reached by TLS, on port 5061, and by nothing else; it would have
    /// SRTP where it is offered, and takes RTP.
    pub fn start_on(
        network: &Network,
        name: &str,
        (address, identity): (Ipv4Addr, Option<&Path>),
        number: &str,
        hertz: f64,
        lab: &Path,
    ) -> Self {
        require_tool("baresip", "baresip-core");
        let folder = lab.join(format!("baresip-{name}"));
        fs::create_dir_all(folder.join("heard")).expect("the phone's folder");
        let tone_file = folder.join("tone.wav");
        let write = |file: &str, bytes: &[u8]| fs::write(folder.join(file), bytes).expect("the phone's file");
        write("tone.wav", &tone::wav(&tone::sine(hertz, 120.0)));
        let mut config = config(address, &network.interface(name, false), &tone_file, &folder.join("heard"));
        let (transport, port) = if identity.is_some() { ("tls", 5061) } else { ("udp", 5060) };
        if let Some(identity) = identity {
            config += &format!("module srtp.so\nsip_certificate {}\n", identity.display());
        }
        write("config", config.as_bytes());
        // Without an account for the number that is dialled, baresip answers 404.
        let encryption = if identity.is_some() { "mediaenc=srtp;" } else { "" };
        let options = format!("{encryption}regint=0;answermode=auto;audio_codecs=pcmu/8000/1,pcma/8000/1;ptime=20");
        write("accounts", format!("<sip:{number}@{address}:{port};transport={transport}>;{options}\n").as_bytes());
        write("contacts", b"");
        let log = File::create(folder.join("baresip.log")).expect("a log");
        let path = folder.to_str().expect("a UTF-8 path");
        let child = network.spawn(name, &["baresip", "-f", path, "-t", "120"], log);
        let listening = poll(SOON, || network.udp_sockets(name).contains(":13C4 ").then_some(()));
        let phone = Self { child, folder };
        assert!(listening.is_some(), "baresip does not listen:\n{}", phone.log());
        phone
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("baresip.log")).unwrap_or_default()
    }

    /// The phone's keys, and what it says of itself.
    pub fn keys(&self, network: &Network, name: &str) -> Keys {
        let connected = network.on(name, || poll(SOON, || TcpStream::connect(CONTROL).ok()));
        let stream = connected.unwrap_or_else(|| panic!("baresip takes no commands:\n{}", self.log()));
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
        Keys { stream, said: String::new() }
    }

    /// Ends the phone and returns what it heard.
    pub fn finish(mut self) -> Vec<i16> {
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

/// Where `ctrl_tcp` listens, on the phone's own loopback.
const CONTROL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 4444);

/// A person's finger on the phone: commands and events as JSON in netstrings.
pub struct Keys {
    stream: TcpStream,
    said: String,
}

impl Keys {
    fn command(&mut self, command: &Value) {
        let text = command.to_string();
        write!(self.stream, "{}:{text},", text.len()).expect("baresip reads");
    }

    pub fn press(&mut self, digit: char) {
        self.command(&json!({"command": "sndcode", "params": digit.to_string()}));
    }

    pub fn hang_up(&mut self) {
        self.command(&json!({"command": "hangup"}));
    }

    /// Everything that the phone has said so far.
    fn said(&mut self) -> &str {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = self.stream.read(&mut buffer) {
            self.said.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        &self.said
    }

    /// The digits that the other side has pressed so far.
    pub fn digits(&mut self) -> String {
        let starts = self.said().match_indices("\"CALL_DTMF_START\"").map(|(at, _)| at).collect::<Vec<_>>();
        let digit = |at: usize| self.said[at..].split_once("\"param\":\"")?.1.chars().next();
        starts.into_iter().filter_map(digit).collect()
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
         net_interface {interface}\nctrl_tcp_listen 127.0.0.1:4444\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aufile.so\n\
         module aubridge.so\nmodule sndfile.so\nmodule uuid.so\nmodule_tmp account.so\nmodule_app contact.so\n\
         module_app menu.so\nmodule_app ctrl_tcp.so\nsnd_path {heard}\nstatmode_default off\n",
        tone = tone.display(),
        heard = heard.display(),
    )
}
