//! The SIP listeners' UDP sockets: bound once, drained in batches, with a short queue for a full
//! kernel buffer.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use anyhow::Context;
use bytes::Bytes;
use socket2::{Domain, Socket, Type};

/// Asked of the kernel for each direction: at 1,000 calls/s this holds more than 100 ms of packets.
const KERNEL_BUFFER_BYTES: usize = 4 << 20;
/// Packets kept while the kernel's buffer is full. SIP repeats what is lost, so a short queue is enough.
const MAX_QUEUED: usize = 1_024;

/// One bound listener.
#[derive(Debug)]
pub struct SipSocket {
    socket: UdpSocket,
    pub local: SocketAddr,
    waiting: VecDeque<(SocketAddr, Bytes)>,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Now,
    /// Kept until the socket is writable.
    Queued,
    /// The queue is full or the network said no.
    Dropped,
}

impl SipSocket {
    pub fn bind(local: SocketAddr) -> anyhow::Result<Self> {
        let socket = Self::open(local).with_context(|| {
            format!("cannot listen on udp:{local} ([sip] listen); is another program using this port or address?")
        })?;
        Ok(Self { socket, local, waiting: VecDeque::new() })
    }

    fn open(local: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM.nonblocking(), None)?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The kernel gives what its limits allow; less is no reason not to start.
        let _ = socket.set_recv_buffer_size(KERNEL_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(KERNEL_BUFFER_BYTES);
        socket.bind(&local.into())?;
        Ok(socket.into())
    }

    /// The next packet that waits in the kernel; `None` when there is none. An ICMP error reported for
    /// an earlier packet is skipped: the transaction's timer decides what it means.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        loop {
            match self.socket.recv_from(buffer) {
                Ok(packet) => return Some(packet),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused) => {}
                Err(_) => return None,
            }
        }
    }

    pub fn send(&mut self, remote: SocketAddr, bytes: Bytes) -> Sent {
        if self.waiting.is_empty() && self.try_send(remote, &bytes) {
            return Sent::Now;
        }
        if self.waiting.len() >= MAX_QUEUED {
            return Sent::Dropped;
        }
        self.waiting.push_back((remote, bytes));
        Sent::Queued
    }

    /// Sends what waits; `true` when nothing is left.
    pub fn flush(&mut self) -> bool {
        while let Some((remote, bytes)) = self.waiting.pop_front() {
            if !self.try_send(remote, &bytes) {
                self.waiting.push_front((remote, bytes));
                return false;
            }
        }
        true
    }

    /// `false` only when the kernel's buffer is full. An unreachable peer is not an error here: its
    /// transaction times out.
    fn try_send(&self, remote: SocketAddr, bytes: &[u8]) -> bool {
        match self.socket.send_to(bytes, remote) {
            Ok(_) => true,
            Err(e) => e.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

impl AsRawFd for SipSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = SipSocket::bind(address).unwrap_err();
        assert!(error.to_string().contains(&format!("udp:{address}")), "{error:#}");
    }
}
