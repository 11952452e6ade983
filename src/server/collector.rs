//! The way to a collector of traces (HEP version 3): one datagram a message, from the thread of traces.
//!
//! Nothing waits for the collector: what the kernel does not take at once is lost and counted, and a collector that is
//! not there is noticed by nobody else.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use metrics::{counter, describe_counter};

use crate::config::HepConfig;
use crate::model::CallId;
use crate::trace::{Agent, Line, Passed, Reader, hep};

pub struct Collector {
    config: HepConfig,
    socket: UdpSocket,
}

impl Collector {
    pub fn new(config: &HepConfig) -> io::Result<Self> {
        describe_counter!("revbridge_hep_packets_total", "SIP messages for the collector, by what became of them");
        let any: SocketAddr = match config.collector {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        Ok(Self { config: config.clone(), socket })
    }

    /// `line` is how the message is kept.
    pub fn tell(&self, passed: &Passed, line: &Line) {
        let reader = match self.config.numbers {
            true => Reader::Organization(passed.numbers),
            false => Reader::Operator(passed.numbers),
        };
        self.send(passed.leg.call, &reader.line(line));
    }

    fn send(&self, call: CallId, line: &Line) {
        let agent = Agent { id: self.config.id, password: self.config.password.as_deref() };
        let Some(packet) = hep(line, call, agent) else { return };
        let outcome = match self.socket.send_to(&packet, self.config.collector) {
            Ok(_) => "sent",
            Err(_) => "dropped",
        };
        counter!("revbridge_hep_packets_total", "outcome" => outcome).increment(1);
    }
}
