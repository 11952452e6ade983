//! A client of server-sent events: it reads chunks, keeps the last id, and can be cut off anywhere.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{connect, request};

/// Comments alone are no event.
const PATIENCE: Duration = Duration::from_secs(8);

/// One event, as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub id: u64,
    pub kind: String,
    pub data: Value,
}

pub struct Listener {
    socket: TcpStream,
    raw: Vec<u8>,
    /// The body that is not parsed yet.
    body: String,
    /// What a browser would send as `Last-Event-ID`.
    pub last_id: Option<u64>,
    pub head: String,
    ended: bool,
}

impl Listener {
    pub fn open(address: SocketAddr, path: &str, key: &str, last: Option<u64>) -> Self {
        let mut socket = connect(address);
        let bearer = format!("Bearer {key}");
        let last = last.map(|id| id.to_string());
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(last.as_deref().map(|id| ("Last-Event-ID", id)));
        socket.write_all(&request("GET", path, &headers, b"")).unwrap();
        let mut listener =
            Self { socket, raw: Vec::new(), body: String::new(), last_id: None, head: String::new(), ended: false };
        while listener.head.is_empty() && listener.read() {}
        assert!(listener.head.starts_with("HTTP/1.1 200"), "{}", listener.head);
        listener
    }

    /// The next event; `None` when the stream ends or nothing comes in time.
    pub fn next(&mut self) -> Option<Told> {
        let until = Instant::now() + PATIENCE;
        loop {
            while let Some((block, rest)) = self.body.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.body = rest;
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
                };
                self.last_id = field("id").map(|id| id.parse().unwrap()).or(self.last_id);
                if let Some(data) = field("data") {
                    return Some(Told {
                        id: self.last_id.expect("each event has an id"),
                        kind: field("event").expect("each event has a name"),
                        data: serde_json::from_str(&data).expect("JSON on one line"),
                    });
                }
            }
            if !self.read() || Instant::now() >= until {
                return None;
            }
        }
    }

    /// Reads to the end of the stream, which must come.
    pub fn all(mut self) -> Vec<Told> {
        let told = std::iter::from_fn(|| self.next()).collect();
        assert!(self.ended, "the stream has no end");
        told
    }

    /// Nothing but comments for so long.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let told = self.next();
        self.socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        told.is_none() && !self.ended
    }

    /// Whether the stream ends by itself within the socket's patience.
    pub fn ends(mut self) -> bool {
        while self.next().is_some() {}
        self.ended
    }

    /// Reads some bytes and takes whole chunks out of them.
    fn read(&mut self) -> bool {
        let mut some = [0; 700];
        match self.socket.read(&mut some) {
            Ok(0) => self.ended = true,
            Ok(read) => self.raw.extend_from_slice(&some[..read]),
            Err(_) => return false,
        }
        if self.head.is_empty()
            && let Some(end) = self.raw.windows(4).position(|w| w == b"\r\n\r\n")
        {
            self.head = String::from_utf8(self.raw.drain(..end + 4).collect()).unwrap();
        }
        while let Some(end) = self.raw.windows(2).position(|w| w == b"\r\n").filter(|_| !self.head.is_empty()) {
            let length = usize::from_str_radix(std::str::from_utf8(&self.raw[..end]).unwrap(), 16).unwrap();
            if self.raw.len() < end + 4 + length {
                break;
            }
            let chunk: Vec<u8> = self.raw.drain(..end + 4 + length).skip(end + 2).take(length).collect();
            self.body.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        !self.ended
    }
}
