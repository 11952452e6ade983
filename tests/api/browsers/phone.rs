//! The destination: says what its habit is, in as little SIP as that takes.

const SDP: &str = "v=0\r\no=- 5 5 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Habit {
    #[default]
    Answers,
    /// Sounds of its own, and no answer.
    EarlyMedia,
    Rings,
    IsBusy,
    /// Answers and hangs up.
    HangsUp,
}

#[derive(Debug, Default)]
pub struct Phone {
    invite: Option<String>,
    hung_up: bool,
}

impl Phone {
    pub fn hear(&mut self, text: &str, habit: Habit) -> Vec<String> {
        let method = text.split(' ').next().unwrap_or_default();
        match method {
            "INVITE" => {
                self.invite = Some(text.to_owned());
                self.hung_up = false;
                match habit {
                    Habit::Answers | Habit::HangsUp => {
                        vec![answer(text, "180 Ringing", ""), answer(text, "200 OK", SDP)]
                    }
                    Habit::EarlyMedia => vec![answer(text, "183 Session Progress", SDP)],
                    Habit::Rings => vec![answer(text, "180 Ringing", "")],
                    Habit::IsBusy => vec![answer(text, "486 Busy Here", "")],
                }
            }
            "ACK" if habit == Habit::HangsUp && !self.hung_up => {
                self.hung_up = true;
                vec![bye(text)]
            }
            "BYE" => vec![answer(text, "200 OK", "")],
            "CANCEL" => {
                let ended = self.invite.take().map(|invite| answer(&invite, "487 Request Terminated", ""));
                std::iter::once(answer(text, "200 OK", "")).chain(ended).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

fn answer(request: &str, status: &str, sdp: &str) -> String {
    let copied: String =
        ["Via", "From", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", header(request, name))).concat();
    let to = header(request, "To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=phone" };
    let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "SIP/2.0 {status}\r\n{copied}To: {to}{tag}\r\nContact: <sip:b@127.0.0.1:5070>\r\n{kind}Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

fn bye(ack: &str) -> String {
    let uri = header(ack, "Via").split([' ', ';']).nth(1).unwrap_or_default();
    format!(
        "BYE sip:bridge@{uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKbye\r\nMax-Forwards: 70\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 7 BYE\r\nContent-Length: 0\r\n\r\n",
        header(ack, "To"),
        header(ack, "From"),
        header(ack, "Call-ID")
    )
}
