//! Browsers that come by TCP (RFC 6544, passive; RFC 4571 framing), because something on their way lets
//! no UDP through.
//!
//! ```text
//!   accepted ── its first packet belongs to a browser ──▶ the browser's ── browser gone, closed, nonsense ──▶ closed
//!       └── nothing of the kind within STRANGER ──▶ closed
//! ```
//!
//! A connection that does not take our audio as fast as it comes loses packets, whole ones: late audio is
//! worth nothing.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::browsers::Seat;
use super::relay::Token;
use crate::model::Timestamp;
use crate::server::poll::{Interest, Poller};
use crate::webrtc::{Framer, prefix};

/// Connections of one thread; most browsers come by UDP.
const MAX_STREAMS: usize = 1_024;
/// Those among them that belong to nobody yet; the oldest gives way.
const MAX_STRANGERS: usize = 128;
/// How long a connection may belong to nobody.
const STRANGER: Duration = Duration::from_secs(5);
const BACKLOG: i32 = 128;

/// All connections of one thread.
pub struct Streams {
    listener: Option<TcpListener>,
    streams: Vec<Option<Stream>>,
    vacant: Vec<usize>,
    places: HashMap<SocketAddr, usize>,
    /// Those that belong to nobody yet, oldest first; some have left or found their browser meanwhile.
    strangers: VecDeque<(Timestamp, SocketAddr)>,
}

struct Stream {
    socket: TcpStream,
    from: SocketAddr,
    framer: Framer,
    /// What of the last packet the system has not taken yet.
    rest: Vec<u8>,
    seat: Option<Seat>,
}

impl Streams {
    pub fn open(local: Option<SocketAddr>) -> io::Result<Self> {
        let listener = local.map(listen).transpose()?;
        Ok(Self {
            listener,
            streams: Vec::new(),
            vacant: Vec::new(),
            places: HashMap::new(),
            strangers: VecDeque::new(),
        })
    }

    pub fn register(&self, poller: &Poller) -> io::Result<()> {
        match &self.listener {
            Some(listener) => poller.add(listener, Token::Listener.bits(), Interest::Read),
            None => Ok(()),
        }
    }

    /// One connection that waits. Without room it is closed at once.
    pub fn accept(&mut self, now: Timestamp, poller: &Poller) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let (socket, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.strangers.len() == MAX_STRANGERS
            && let Some((_, oldest)) = self.strangers.pop_front()
        {
            self.close_stranger(oldest);
        }
        if self.places.len() == MAX_STREAMS {
            return Ok(());
        }
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        if let Err(error) = poller.add(&socket, Token::Stream(place).bits(), Interest::Read) {
            self.vacant.push(place);
            return Err(error);
        }
        let stream = Stream { socket, from, framer: Framer::default(), rest: Vec::new(), seat: None };
        self.streams[place] = Some(stream);
        self.places.insert(from, place);
        self.strangers.push_back((now + STRANGER, from));
        Ok(())
    }

    pub fn has_strangers(&self) -> bool {
        !self.strangers.is_empty()
    }

    /// Closes those that have belonged to nobody for too long.
    pub fn sweep(&mut self, now: Timestamp) {
        while let Some((_, from)) = self.strangers.pop_front_if(|(until, _)| *until <= now) {
            self.close_stranger(from);
        }
    }

    /// Reads once. The framer with all that has arrived, to be given back; `None` when nothing has.
    pub fn read(&mut self, place: usize, buffer: &mut [u8]) -> Option<(Framer, SocketAddr)> {
        let stream = self.streams.get_mut(place)?.as_mut()?;
        match stream.socket.read(buffer) {
            Ok(length) if length > 0 => {
                let mut framer = std::mem::take(&mut stream.framer);
                framer.push(&buffer[..length]);
                Some((framer, stream.from))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
            Ok(_) | Err(_) => {
                self.close(place);
                None
            }
        }
    }

    /// `None` closes the connection: what came by it was no packets.
    pub fn put_back(&mut self, place: usize, from: SocketAddr, framer: Option<Framer>) {
        // The browser may have gone by what its last packet said, and the connection with it.
        let Some(stream) = self.streams[place].as_mut().filter(|stream| stream.from == from) else { return };
        match framer {
            Some(framer) => stream.framer = framer,
            None => self.close(place),
        }
    }

    /// The connection is this browser's.
    pub fn belongs(&mut self, from: SocketAddr, seat: Seat) {
        let stream = self.places.get(&from).and_then(|&place| self.streams[place].as_mut());
        if let Some(stream) = stream {
            stream.seat = Some(seat);
        }
    }

    /// Sends a packet in a frame, or nothing of it.
    pub fn send(&mut self, to: SocketAddr, packet: &[u8], poller: &Poller) -> io::Result<()> {
        let place = *self.places.get(&to).ok_or(io::ErrorKind::NotConnected)?;
        let stream = self.streams[place].as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if !stream.rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let prefix = prefix(packet).ok_or(io::ErrorKind::InvalidInput)?;
        let frame = [&prefix, packet].concat();
        let sent = match stream.socket.write(&frame) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(error) => {
                self.close(place);
                return Err(error);
            }
        };
        if sent < frame.len() {
            stream.rest = frame[sent..].to_vec();
            poller.modify(&stream.socket, Token::Stream(place).bits(), Interest::ReadWrite)?;
        }
        Ok(())
    }

    /// The system takes more.
    pub fn flush(&mut self, place: usize, poller: &Poller) {
        let Some(stream) = self.streams.get_mut(place).and_then(Option::as_mut) else { return };
        match stream.socket.write(&stream.rest) {
            Ok(sent) => drop(stream.rest.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => return self.close(place),
        }
        let quiet = !stream.rest.is_empty()
            || poller.modify(&stream.socket, Token::Stream(place).bits(), Interest::Read).is_ok();
        if !quiet {
            self.close(place);
        }
    }

    /// The browser is gone.
    pub fn forget(&mut self, seat: Seat) {
        for place in 0..self.streams.len() {
            if self.streams[place].as_ref().is_some_and(|stream| stream.seat == Some(seat)) {
                self.close(place);
            }
        }
    }

    fn close_stranger(&mut self, from: SocketAddr) {
        if let Some(&place) = self.places.get(&from)
            && self.streams[place].as_ref().is_some_and(|stream| stream.seat.is_none())
        {
            self.close(place);
        }
    }

    /// The socket leaves the poller as it is closed.
    fn close(&mut self, place: usize) {
        if let Some(stream) = self.streams[place].take() {
            self.places.remove(&stream.from);
            self.vacant.push(place);
        }
    }
}

fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&local.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
