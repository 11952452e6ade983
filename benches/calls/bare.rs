//! A bridge that does nothing else: what two phones, a request and the kernel cost by themselves.
//!
//! ```text
//! POST ─▶ INVITE A ─ 200 ─▶ ACK, INVITE B ─ 200 ─▶ ACK … BYE from B ─▶ 200, BYE to A
//! ```
//!
//! Nothing is checked, repeated, remembered or made durable, and no audio is offered. It is the yardstick
//! of the machine on which the figures are measured, not a server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use super::phones::header;
use super::server::{API, PHONES_A, PHONES_B, SIP};

/// Serves until the process is killed.
pub fn serve() -> anyhow::Result<()> {
    let socket = Arc::new(UdpSocket::bind(SIP)?);
    socket2::SockRef::from(&*socket).set_recv_buffer_size(8 << 20)?;
    let bridge = Bridge { socket: Arc::clone(&socket), a: PHONES_A.parse()?, b: PHONES_B.parse()? };
    std::thread::spawn(move || bridge.run());
    let a = PHONES_A.parse()?;
    for stream in TcpListener::bind(API)?.incoming() {
        let (stream, socket) = (stream?, Arc::clone(&socket));
        // An error is a client that has gone.
        std::thread::spawn(move || dials(stream, &socket, a).is_ok());
    }
    Ok(())
}

/// The requests of one connection: whatever is asked, the number in it is called.
fn dials(mut stream: TcpStream, socket: &UdpSocket, a: SocketAddr) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        let Some(call) = text.split("+1415").nth(1).and_then(|rest| rest.get(..7)) else { return Ok(()) };
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}")?;
        socket.send_to(request("INVITE", "1 INVITE", &format!("a{call}"), "").as_bytes(), a)?;
    }
}

/// A leg's Call-ID is its side and its number, so that nothing has to be remembered.
struct Bridge {
    socket: Arc<UdpSocket>,
    a: SocketAddr,
    b: SocketAddr,
}

impl Bridge {
    fn run(self) {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            if let Ok(text) = std::str::from_utf8(&buffer[..length]) {
                // What cannot be sent is lost, as any packet may be.
                let _ = self.hear(text, from);
            }
        }
    }

    fn hear(&self, text: &str, from: SocketAddr) -> Option<()> {
        let id = header(text, "Call-ID")?;
        let call = id.get(1..)?;
        let send = |message: String, to| self.socket.send_to(message.as_bytes(), to).ok();
        if text.starts_with("BYE") {
            send(answer(text)?, from)?;
            send(request("BYE", "2 BYE", &format!("a{call}"), ";tag=phone"), self.a)?;
        } else if text.starts_with("SIP/2.0 200") && header(text, "CSeq")?.ends_with("INVITE") {
            send(request("ACK", "1 ACK", id, ";tag=phone"), from)?;
            if id.starts_with('a') {
                send(request("INVITE", "1 INVITE", &format!("b{call}"), ""), self.b)?;
            }
        }
        Some(())
    }
}

fn request(method: &str, cseq: &str, id: &str, tag: &str) -> String {
    let call = &id[1..];
    format!(
        "{method} sip:+1212{call}@{PHONES_B} SIP/2.0\r\nVia: SIP/2.0/UDP {SIP};branch=z9hG4bK{id}{}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+18885550100@{SIP}>;tag=bare\r\nTo: <sip:+1212{call}@{PHONES_B}>{tag}\r\n\
         Call-ID: {id}\r\nCSeq: {cseq}\r\nContact: <sip:{SIP}>\r\nContent-Length: 0\r\n\r\n",
        &cseq[..1],
    )
}

fn answer(request: &str) -> Option<String> {
    let head: String = ["Via", "From", "To", "Call-ID", "CSeq"]
        .into_iter()
        .map(|name| Some(format!("{name}: {}\r\n", header(request, name)?)))
        .collect::<Option<_>>()?;
    Some(format!("SIP/2.0 200 OK\r\n{head}Content-Length: 0\r\n\r\n"))
}
