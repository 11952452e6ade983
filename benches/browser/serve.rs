//! The media threads in a process of their own, and how the load speaks to it: offers in, answers out.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::Context;
use revbridge::config::{MediaConfig, WebrtcConfig};
use revbridge::media::{BrowserOffer, MediaCommand, MediaEvent, PortPair, Source};
use revbridge::model::{IdSource, LegId, Side, Timestamp};
use revbridge::sdp::{Agreed, Codec, Direction, Format};
use revbridge::server::clock::Clock;
use revbridge::server::media::MediaThreads;

const BROWSERS: u16 = 18_700;

/// Opens `calls` calls; the phones of side B, and of side A if there are any, are at these addresses.
pub fn run(kind: &str, calls: usize, phones: [SocketAddr; 2]) -> anyhow::Result<()> {
    let address = Ipv4Addr::LOCALHOST.into();
    let ports = if kind == "phones" { (10_000, 13_999) } else { (14_000, 17_999) };
    let config = MediaConfig {
        address,
        advertised: address,
        ports,
        rest: Duration::ZERO,
        timeout: Duration::from_secs(3_600),
        threads: 0,
        failure_wav: None,
        fast_path: false,
    };
    let listen = SocketAddr::new(address, BROWSERS);
    let browsers = (kind == "browsers").then_some(WebrtcConfig { tcp: false, ..WebrtcConfig::on(listen) });
    let (sender, events) = channel();
    let report = move |leg, event| _ = sender.send((leg, event));
    let mut threads = MediaThreads::start(&config, browsers.as_ref(), Clock::start(None), report)?;
    let mut ids = IdSource::new([7; 32]);
    let all: Vec<_> = (0..calls).map(|_| ids.call(Timestamp::from_millis(1))).collect();
    let port = |call: usize, side: Side| PortPair(ports.0 + 4 * call as u16 + 2 * side as u16);
    let open = |threads: &mut MediaThreads, ids: &mut IdSource, call: usize, side: Side| {
        let leg = LegId { call: all[call], side };
        threads.command(leg, MediaCommand::Open { port: port(call, side), secret: ids.secret() });
        threads.command(leg, MediaCommand::Remote(agreed(phones[side as usize])));
        threads.command(leg, MediaCommand::Play(Source::Peer));
    };
    for call in 0..calls {
        println!("ports {} {}", port(call, Side::User).0, port(call, Side::Destination).0);
        if browsers.is_none() {
            Side::BOTH.into_iter().for_each(|side| open(&mut threads, &mut ids, call, side));
        }
    }
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line?;
        let (number, offer) = line.split_once(' ').context("a number and an offer")?;
        let offer = Box::new(BrowserOffer::parse(&String::from_utf8(hex::decode(offer)?)?)?);
        let call = number.parse()?;
        let leg = LegId { call: all[call], side: Side::User };
        threads.command(leg, MediaCommand::Connect { offer, secret: ids.secret() });
        threads.command(leg, MediaCommand::Play(Source::Peer));
        let answer = events.iter().find_map(|(of, event)| match event {
            MediaEvent::BrowserAnswer(answer) if of == leg => Some(answer),
            _ => None,
        });
        open(&mut threads, &mut ids, call, Side::Destination);
        println!("{}", hex::encode(answer.context("no answer")?.as_bytes()));
    }
    Ok(())
}

fn agreed(phone: SocketAddr) -> Agreed {
    Agreed {
        remote: Some(phone),
        remote_rtcp: None,
        audio: [Format { payload_type: 0, codec: Codec::Pcmu }].into_iter().collect(),
        telephone_event: None,
        peer_direction: Direction::SendRecv,
    }
}

/// That process, as the load sees it.
pub struct Server {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// By call: the ports of its phones. A browser's call has no port of side A.
    pub ports: Vec<Vec<SocketAddr>>,
}

impl Server {
    pub fn start(kind: &str, calls: usize, phones: [SocketAddr; 2]) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", kind, &calls.to_string(), &phones[0].to_string(), &phones[1].to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().context("no input")?;
        let mut output = BufReader::new(process.stdout.take().context("no output")?).lines();
        let mut ports = Vec::new();
        for line in output.by_ref() {
            let line = line?;
            let Some(numbers) = line.strip_prefix("ports") else { break };
            let address = |port: &str| Ok::<_, anyhow::Error>((Ipv4Addr::LOCALHOST, port.parse()?).into());
            ports.push(numbers.split_whitespace().map(address).collect::<Result<_, _>>()?);
        }
        anyhow::ensure!(ports.len() == calls, "{} calls were opened", ports.len());
        Ok(Self { process, input, output, ports })
    }

    pub fn answer(&mut self, call: usize, offer: &str) -> anyhow::Result<String> {
        writeln!(self.input, "{call} {}", hex::encode(offer))?;
        let line = self.output.next().context("the server has ended")??;
        Ok(String::from_utf8(hex::decode(line)?)?)
    }

    /// What all threads have run, exactly, as the scheduler counts it.
    pub fn cpu_ns(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            sum += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(sum)
    }

    pub fn resident_kb(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().next().context("no number")?.parse()?)
    }

    pub fn stop(mut self) -> anyhow::Result<()> {
        drop(self.input);
        self.process.wait().map(|_| ()).context("a server did not end")
    }
}
