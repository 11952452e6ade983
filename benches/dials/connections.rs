//! A client of many connections that stay open, one request on each at a time, on one thread and with few
//! system calls: what it uses of the machine is not the server's.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Connections that one wait can report.
const READY: usize = 64;

pub struct Connections {
    poll: OwnedFd,
    streams: Vec<TcpStream>,
    /// The one that was idle longest comes first: the server closes what is never used.
    idle: VecDeque<usize>,
}

impl Connections {
    pub fn open(address: &str, count: usize) -> io::Result<Self> {
        // SAFETY: takes no pointer; what is not negative is a descriptor of ours alone.
        let poll = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        let mut streams = Vec::new();
        for index in 0..count {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: index as u64 };
            // SAFETY: `event` outlives the call, and both descriptors are open.
            check(unsafe {
                libc::epoll_ctl(poll.as_raw_fd(), libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &raw mut event)
            })?;
            streams.push(stream);
        }
        Ok(Self { poll, streams, idle: (0..count).collect() })
    }

    /// How many requests are on their way.
    pub fn waiting(&self) -> usize {
        self.streams.len() - self.idle.len()
    }

    /// Sends on a connection that is idle, which takes it; without one nothing happens.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Option<usize>> {
        let Some(index) = self.idle.pop_front() else { return Ok(None) };
        self.streams[index].write_all(request)?;
        Ok(Some(index))
    }

    /// Waits so long for answers, and tells the connection and the status of each.
    pub fn answers(&mut self, wait: Duration, mut tell: impl FnMut(usize, u16)) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; READY];
        let ms = wait.as_micros().div_ceil(1_000) as i32;
        // SAFETY: there is room for as many as the kernel is told of.
        let n = unsafe { libc::epoll_wait(self.poll.as_raw_fd(), events.as_mut_ptr(), READY as i32, ms) };
        let mut buffer = [0; 4096];
        for event in &events[..check(n)? as usize] {
            let index = event.u64 as usize;
            // A short answer, written at once, comes as one.
            let length = self.streams[index].read(&mut buffer)?;
            tell(index, status(&buffer[..length])?);
            self.idle.push_back(index);
        }
        Ok(())
    }
}

fn status(answer: &[u8]) -> io::Result<u16> {
    let digits = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok());
    let status = digits.and_then(|digits| digits.parse().ok());
    status.ok_or_else(|| io::Error::other("an answer that begins with no status"))
}

/// A dial of `key` to `to`, whole.
pub fn dial(host: &str, key: &str, from: &str, to: &str, connect: &str, headers: &str) -> Vec<u8> {
    let body = format!(r#"{{"from_number":"{from}","to_number":"{to}","connect_number":"{connect}"}}"#);
    format!(
        "POST /v1/calls/dial HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
