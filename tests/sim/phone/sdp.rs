//! Session descriptions by hand: just what a phone writes, and the little that it reads.

use super::plan::Session;

/// What a phone has to say of its audio. Every free field says whose it is, so that a single copied
/// byte is found on the other wire.
pub struct Words<'a> {
    pub mark: &'a str,
    pub address: &'a str,
    pub port: u16,
    pub version: u64,
    pub session: Session,
    pub direction: &'a str,
}

impl Words<'_> {
    pub fn write(&self) -> String {
        let (formats, maps) = match self.session {
            Session::Both | Session::NoDescription => {
                ("0 8 101", "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n")
            }
            Session::PcmaOnly => ("8 96", "a=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\n"),
            Session::NoCommonCodec => ("18", "a=rtpmap:18 G729/8000\r\n"),
        };
        let Words { mark, address, port, version, direction, .. } = self;
        format!(
            "v=0\r\no={mark} 77 {version} IN IP4 {address}\r\ns={mark}\r\ni={mark}\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {formats}\r\n{maps}a=ptime:20\r\na={direction}\r\na=x-{mark}\r\n"
        )
    }
}

/// What the server offered or answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub port: u16,
    pub address: String,
    /// Payload types, in order.
    pub formats: Vec<u8>,
    /// Session id of `o=`: must not be the same on both legs.
    pub session_id: String,
}

pub fn read(body: &[u8]) -> Option<Heard> {
    let text = std::str::from_utf8(body).ok()?;
    let line = |start: &str| text.lines().find_map(|l| l.strip_prefix(start));
    let mut media = line("m=audio ")?.split(' ');
    let port = media.next()?.parse().ok()?;
    let formats = media.skip(1).map(|f| f.parse().ok()).collect::<Option<_>>()?;
    let address = line("c=IN IP4 ")?.to_owned();
    let session_id = line("o=")?.split(' ').nth(1)?.to_owned();
    Some(Heard { port, address, formats, session_id })
}
