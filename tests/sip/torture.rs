//! RFC 4475 and RFC 5118 at the endpoint: each message comes as a datagram, from a trunk and from a stranger,
//! before a call and in the middle of one.
//!
//! What becomes of each is in [`rows`], and `docs/torture.md` is written from there. What the parser reads in
//! each is in `src/sip/wire/torture`.

mod rows;

use std::fmt::Write as _;
use std::{fs, iter};

use revbridge::events::{NoiseKind, Notice};
use revbridge::leg::{LegCommand, LegEvent};
use revbridge::sip::wire::{HeaderName, Message, Method, StartLine};
use revbridge::sip::{EndpointAction, Flow};

use crate::peer::*;
use rows::{Outcome, READ, ROWS, Row};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/torture.md");

/// Where the trunk is.
const V4: &str = "192.0.2.7:5070";
const V6: &str = "[2001:db8::7]:5070";

fn bytes(name: &str) -> &'static [u8] {
    ROWS.iter().find(|row| row.name == name).unwrap().bytes
}

/// What the endpoint does with bytes from there: where it sends what, and what it notes.
fn deliver(w: &mut World, flow: Flow, bytes: &[u8]) -> (Vec<(Flow, Vec<u8>)>, Vec<NoiseKind>) {
    let (mut out, mut sent, mut noise) = (vec![], vec![], vec![]);
    w.endpoint.packet(w.now, flow, bytes, &mut out);
    for action in out {
        match action {
            EndpointAction::Transmit { leg: None, flow, bytes, request: false } => sent.push((flow, bytes.to_vec())),
            EndpointAction::Notice(Notice::Noise { kind }) => noise.push(kind),
            action => panic!("{action:?}"),
        }
    }
    (sent, noise)
}

/// The values of the header of that name, however much white space stands in them.
fn lines(message: &Message<'_>, name: HeaderName) -> Vec<String> {
    message.list(name).map(|value| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// An answer says to whom it is one, whatever came.
fn is_true_answer(row: &Row, status: u16, sent: &[u8]) {
    let text = String::from_utf8_lossy(sent);
    assert!(text.starts_with(&format!("SIP/2.0 {status} ")), "{}: {text}", row.name);
    assert!(text.ends_with("\r\nContent-Length: 0\r\n\r\n"), "{}: {text}", row.name);
    assert!(sent.len() <= row.bytes.len() + 200, "{}: {} after {}", row.name, sent.len(), row.bytes.len());
    // What was refused for its own sake may be repeated as it was, and then nobody can read that either.
    let Ok(request) = Message::parse(row.bytes) else { return };
    let answer = Message::parse(sent).unwrap_or_else(|e| panic!("{}: {e:?} {text}", row.name));
    assert_eq!(answer.status(), Some(status));
    assert_eq!(answer.vias().count(), request.vias().count(), "{}", row.name);
    for name in [HeaderName::From, HeaderName::CallId, HeaderName::CSeq] {
        assert_eq!(lines(&answer, name), lines(&request, name), "{}", row.name);
    }
    assert_eq!(answer.to.uri, request.to.uri, "{}", row.name);
    assert!(answer.to.tag().is_some() && request.to.tag().is_none_or(|tag| answer.to.tag() == Some(tag)));
    assert_eq!(answer.header(HeaderName::Allow).is_some(), [200, 405].contains(&status));
}

fn has_its_outcome(row: &Row, w: &mut World, from: &str) {
    let flow = Flow { remote: from.parse().unwrap(), ..w.flow };
    let (sent, noise) = deliver(w, flow, row.bytes);
    assert_eq!(noise, [row.noise], "{} from {from}", row.name);
    match row.outcome {
        Outcome::Silence => assert!(sent.is_empty(), "{} from {from}: {sent:?}", row.name),
        Outcome::Answer(status) => {
            let [(to, answer)] = &sent[..] else { panic!("{} from {from}: {sent:?}", row.name) };
            // Never where a Via, a Route or a `received` would have it.
            assert_eq!((to.remote.ip(), to.local), (flow.remote.ip(), flow.local), "{}", row.name);
            is_true_answer(row, status, answer);
            assert_eq!(deliver(w, flow, row.bytes).0, sent, "{}: a copy gets the same bytes", row.name);
        }
    }
}

#[test]
fn every_message_has_its_outcome() {
    for row in ROWS {
        for (ours, from) in [
            (V4, "192.0.2.7:5070"),
            (V4, "192.0.2.7:41000"),
            (V4, "198.51.100.66:5060"),
            (V4, "203.0.113.9:1025"),
            (V6, "[2001:db8::7]:5070"),
            (V6, "[2001:db8::9:1]:6050"),
        ] {
            let mut idle = World::with(trunk(ours));
            has_its_outcome(row, &mut idle, from);
            assert_eq!(idle.endpoint.next_timeout(), None, "{}: nothing is remembered", row.name);
            let mut busy = World::with(trunk(ours));
            let invite = busy.confirmed();
            let before = busy.snapshot();
            has_its_outcome(row, &mut busy, from);
            assert_eq!(busy.snapshot(), before, "{}: a call is not touched", row.name);
            busy.receive(&ask(&invite, "BYE", 1, "peer", ""));
            busy.sent("SIP/2.0 200 ");
        }
        let parsed = Message::parse(row.bytes).map_or_else(|e| format!("{:?}", e.fault), |_| READ.to_owned());
        assert_eq!(parsed, row.parsed, "{}", row.name);
    }
}

#[test]
fn every_message_is_there_once() {
    let sections = |rfc| -> Vec<&str> { ROWS.iter().filter(|row| row.rfc == rfc).map(|row| row.section).collect() };
    let valid = (1..=13).map(|n| format!("3.1.1.{n}"));
    let invalid = (1..=19).map(|n| format!("3.1.2.{n}"));
    let application = (1..=15).map(|n| format!("3.3.{n}"));
    let rfc4475: Vec<_> =
        valid.chain(invalid).chain(["3.2.1".into()]).chain(application).chain(["3.4.1".into()]).collect();
    assert_eq!(rfc4475.len(), 49);
    assert_eq!(sections("4475"), rfc4475);
    // Two messages each have §4.5 and §4.10.
    let mut rfc5118 = sections("5118");
    assert_eq!(rfc5118.len(), 12);
    rfc5118.dedup();
    assert_eq!(rfc5118, (1..=10).map(|n| format!("4.{n}")).collect::<Vec<_>>());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = files.filter_map(|file| file.strip_suffix(".dat").map(str::to_owned)).collect();
    let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    files.sort();
    names.sort_unstable();
    assert_eq!(files, names);
}

/// Where the test stands that looks into the message.
fn shown_by(row: &Row) -> String {
    let file = match (row.rfc, row.parsed) {
        ("5118", _) => "ipv6",
        (_, READ) => "read",
        _ => "refused",
    };
    format!("src/sip/wire/torture/{file}.rs::{}", row.name.replace('-', "_"))
}

fn line(row: &Row) -> String {
    let parsed = if row.parsed == READ { READ.to_owned() } else { format!("refused: `{}`", row.parsed) };
    let answer = match row.outcome {
        Outcome::Answer(status) => status.to_string(),
        Outcome::Silence => "no answer".to_owned(),
    };
    let colon = if row.why.is_empty() { "" } else { ": " };
    format!(
        "| {} | `{}` | {} | {} | {parsed}; {answer}{colon}{} | `{:?}` | `{}` |",
        row.section,
        row.name,
        row.what,
        row.asks,
        row.why,
        row.noise,
        shown_by(row)
    )
}

/// `docs/torture.md` as the rows have it: what stands before the first table, and both tables.
fn page(preface: &str) -> String {
    let mut page = preface.to_owned();
    for rfc in ["4475", "5118"] {
        let head = "| section | message | what it is | what the RFC asks | what revbridge does | noted as | shown by |";
        let rule = "| --- ".repeat(7);
        write!(page, "## RFC {rfc}\n\n{head}\n{rule}|\n").unwrap();
        for row in ROWS.iter().filter(|row| row.rfc == rfc) {
            writeln!(page, "{}", line(row)).unwrap();
        }
        if rfc == "4475" {
            page.push('\n');
        }
    }
    page
}

#[test]
fn the_page_says_what_the_rows_say() {
    let mut written = fs::read_to_string(PAGE).unwrap();
    let preface = &written[..written.find("## RFC 4475").unwrap()];
    let now = page(preface);
    if std::env::var_os("REVBRIDGE_GOLDEN").is_some_and(|wish| wish == "write") {
        fs::write(PAGE, &now).unwrap();
        written.clone_from(&now);
    }
    let lines = iter::zip(written.lines().chain(iter::repeat("")), now.lines().chain(iter::once("")));
    let differs: Vec<_> = lines.filter(|(was, is)| was != is).collect();
    assert!(written == now, "REVBRIDGE_GOLDEN=write cargo test --test sip torture\n{differs:#?}");
}

/// A response of the RFC as one to our own INVITE: its start line and its own headers, with what a response
/// repeats of ours.
fn as_ours(w: &mut World, name: &str) -> (String, String) {
    let invite = w.invite();
    let text = String::from_utf8_lossy(bytes(name)).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let tag = head.split(";tag=").last().unwrap().split("\r\n").next().unwrap();
    let repeated = ["Via", "From", "To", "Call-ID", "CSeq"];
    let own = head.lines().skip(1).filter(|line| !repeated.contains(&line.split(':').next().unwrap()));
    let mut response = format!("{}\r\n", head.lines().next().unwrap());
    for name in repeated {
        let tag = if name == "To" { format!(";tag={tag}") } else { String::new() };
        write!(response, "{name}: {}{tag}\r\n", header(&invite, name)).unwrap();
    }
    own.for_each(|line| write!(response, "{line}\r\n").unwrap());
    (invite, format!("{response}\r\n{body}"))
}

#[test]
fn unreason_answers_our_invite_whatever_it_says() {
    let mut w = World::new();
    let (_, response) = as_ours(&mut w, "unreason");
    w.receive(&response);
    assert!(matches!(w.event(), LegEvent::Answered { .. }));
    w.command(LegCommand::Ack);
    assert_eq!(request_uri(&w.sent("ACK ")), "sip:user@host198.example.com");
}

#[test]
fn noreason_ends_the_repetition_of_our_invite() {
    let mut w = World::new();
    w.invite();
    w.pass(2 * SECOND);
    assert!(!w.wire.is_empty(), "until anything comes it is repeated");
    let mut w = World::new();
    let (_, response) = as_ours(&mut w, "noreason");
    w.receive(&response);
    w.pass(2 * SECOND);
    w.silent();
    w.no_event();
}

#[test]
fn scalarlg_refuses_our_invite_though_its_numbers_fit_nowhere() {
    let mut w = World::new();
    let (invite, response) = as_ours(&mut w, "scalarlg");
    w.receive(&response.replace(header(&invite, "CSeq"), "9292394834772304023312 INVITE"));
    assert_eq!(w.noise(), [NoiseKind::Malformed]);
    w.no_event();
    // A Retry-After that is no number is none.
    w.receive(&response);
    assert!(matches!(w.event(), LegEvent::Refused { status: 503, .. }));
    w.sent("ACK ");
}

#[test]
fn bigcode_and_bcast_are_no_answers_to_our_invite() {
    for name in ["bigcode", "bcast"] {
        let mut w = World::new();
        let (_, response) = as_ours(&mut w, name);
        let response = match name {
            "bcast" => {
                response.replacen("From: ", "Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\r\nFrom: ", 1)
            }
            _ => response,
        };
        w.receive(&response);
        assert_eq!(w.noise().len(), 1, "{name}");
        w.no_event();
        w.silent();
    }
}

#[test]
fn bext01_is_told_what_nobody_supports() {
    let mut w = World::new();
    let flow = w.flow;
    let (sent, _) = deliver(&mut w, flow, bytes("bext01"));
    let answer = Message::parse(&sent[0].1).unwrap();
    assert_eq!(lines(&answer, HeaderName::Unsupported), ["nothingSupportsThis", "nothingSupportsThisEither"]);
}

/// What is escaped in a name goes back as it came.
#[test]
fn intmeth_is_an_unknown_method_but_for_its_nul() {
    let mut w = World::new();
    let flow = w.flow;
    let (sent, _) = deliver(&mut w, flow, bytes("intmeth"));
    let refusal = String::from_utf8(sent[0].1.clone()).unwrap();
    assert!(["From", "Call-ID", "CSeq"].iter().all(|name| has(&refusal, name)) && !has(&refusal, "To"), "{refusal}");
    let request = String::from_utf8(bytes("intmeth").to_vec()).unwrap().replace('\0', "0");
    let (sent, noise) = deliver(&mut w, flow, request.as_bytes());
    assert_eq!(noise, [NoiseKind::OutOfDialog]);
    let answer = Message::parse(&sent[0].1).unwrap();
    assert_eq!(answer.status(), Some(501));
    assert_eq!(answer.to.display, Some("BEL:\\\u{7} NUL:\\0 DEL:\\\u{7f}"));
    assert_eq!(answer.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
}

#[test]
fn insuf_gets_back_what_it_has() {
    let mut w = World::new();
    let flow = w.flow;
    let (sent, _) = deliver(&mut w, flow, bytes("insuf"));
    let answer = String::from_utf8(sent[0].1.clone()).unwrap();
    assert_eq!(
        answer,
        "SIP/2.0 400 Bad Request\r\nCSeq: 193942 INVITE\r\n\
         Via: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf;received=192.0.2.7\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn badvers_is_told_so_in_our_own_version() {
    let mut w = World::new();
    let flow = w.flow;
    let (sent, _) = deliver(&mut w, flow, bytes("badvers"));
    let answer = String::from_utf8(sent[0].1.clone()).unwrap();
    assert!(
        answer.starts_with("SIP/2.0 505 Version Not Supported\r\nVia: SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw")
    );
    assert!(has(&answer, "From") && has(&answer, "To") && has(&answer, "Call-ID") && has(&answer, "CSeq"));
}

/// The INVITE after the REGISTER is never a request of its own.
#[test]
fn dblreq_is_answered_once() {
    let mut w = World::new();
    let flow = w.flow;
    let (sent, noise) = deliver(&mut w, flow, bytes("dblreq"));
    assert_eq!((sent.len(), noise.len()), (1, 1));
    let answer = Message::parse(&sent[0].1).unwrap();
    assert_eq!((answer.cseq.number, answer.cseq.method), (8, Method::Register));
}

/// Outside of a call these are refused before anybody looks at what they hold.
#[test]
fn within_a_call_a_request_is_judged_by_what_it_holds() {
    let mut w = World::new();
    let invite = w.confirmed();
    let cases = [("invut", 415), ("bext01", 420), ("zeromf", 200), ("esc02", 501), ("regaut01", 405)];
    for (cseq, (name, status)) in (1..).zip(cases) {
        let text = String::from_utf8(bytes(name).to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let Ok(Message { start: StartLine::Request { method_text, .. }, .. }) = Message::parse(bytes(name)) else {
            panic!("{name}")
        };
        let repeated = ["Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "l"];
        let own = head.lines().skip(1).filter(|line| !repeated.contains(&line.split(':').next().unwrap()));
        let own: String = own.map(|line| format!("{line}\r\n")).collect();
        let request =
            ask(&invite, method_text, cseq, "peer", &format!("{own}Content-Length: {}\r\n\r\n{body}", body.len()));
        w.receive(&if name == "zeromf" { request.replace("Max-Forwards: 70", "Max-Forwards: 0") } else { request });
        w.sent(&format!("SIP/2.0 {status} "));
        w.no_event();
    }
}
