//! What one INVITE costs to read and to write, and to what rsip's price compares.
//!
//! Prints `figure | measured | target | ok/short`, one line each. Every figure is the median of many
//! rounds in which the candidates take turns, so that a busy machine slows all of them alike.
#![allow(clippy::disallowed_methods)] // A bench measures time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::BytesMut;
use revbridge::model::E164;
use revbridge::sip::guard::{self, Forbidden};
use revbridge::sip::wire::{Address, HeaderName, Message, Method, Writer};
use rsip::prelude::*;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `alloc` above got the pointer from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 4000;
/// Few, so that most rounds end before the machine gives the core to somebody else.
const PER_ROUND: u32 = 10;

fn main() {
    let invite = invite();
    let forbidden = Forbidden::new(
        ["+14155557731", "phone-a.example.net", "203.0.113.77", "f00dcafe-call@phone-a", "tag-of-the-other-leg"],
        ["+12025550100"],
    );
    let mut buffer = BytesMut::with_capacity(4096);
    write(&mut buffer);
    let outgoing = buffer.clone();
    let shown = E164::parse("+12025550100").ok();
    assert_eq!(guard::check(&outgoing, shown, &forbidden), Ok(()));

    let mut ours = || read(black_box(&invite));
    let mut theirs = || read_rsip(black_box(&invite));
    let mut writing = || {
        buffer.clear();
        write(black_box(&mut buffer))
    };
    let mut guarding = || guard::check(black_box(&outgoing), shown, &forbidden).is_ok() as usize;
    let mut candidates: [&mut dyn FnMut() -> usize; 4] = [&mut ours, &mut theirs, &mut writing, &mut guarding];
    let allocations: Vec<u64> = candidates.iter_mut().map(|run| count(*run)).collect();
    let ns = medians(&mut candidates);

    eprintln!("INVITE of {} bytes; rsip reads it in {:.0} ns with {} allocations", invite.len(), ns[1], allocations[1]);
    at_most("parse INVITE, core headers, ns", ns[0], 1000.0);
    at_most("parse INVITE, allocations", allocations[0] as f64, 4.0);
    at_least("parse INVITE, times faster than rsip", ns[1] / ns[0], 5.0);
    eprintln!("writing an INVITE of {} bytes takes {:.0} ns", outgoing.len(), ns[2]);
    at_most("write INVITE into a reused buffer, allocations", allocations[2] as f64, 0.0);
    at_most("outgoing guard per INVITE, ns", ns[3], 15_000.0);
}

fn at_most(figure: &str, measured: f64, target: f64) {
    report(figure, measured, &format!("<= {target}"), measured <= target);
}

fn at_least(figure: &str, measured: f64, target: f64) {
    report(figure, measured, &format!(">= {target}"), measured >= target);
}

fn report(figure: &str, measured: f64, target: &str, ok: bool) {
    let precision = usize::from(measured < 100.0 && measured.fract() != 0.0);
    println!("{figure} | {measured:.precision$} | {target} | {}", if ok { "ok" } else { "short" });
}

/// Allocations of one run, after one that warms up.
fn count(run: &mut dyn FnMut() -> usize) -> u64 {
    black_box(run());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    black_box(run());
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

fn medians<const N: usize>(candidates: &mut [&mut dyn FnMut() -> usize; N]) -> [f64; N] {
    let mut rounds = vec![[0.0; N]; ROUNDS];
    for round in &mut rounds {
        for (ns, run) in round.iter_mut().zip(candidates.iter_mut()) {
            let start = Instant::now();
            for _ in 0..PER_ROUND {
                black_box(run());
            }
            *ns = start.elapsed().as_nanos() as f64 / f64::from(PER_ROUND);
        }
    }
    std::array::from_fn(|i| {
        let mut of_one: Vec<f64> = rounds.iter().map(|r| r[i]).collect();
        of_one.sort_by(f64::total_cmp);
        of_one[ROUNDS / 2]
    })
}

/// Reads the core headers of a request, and makes something of each that cannot be optimised away.
fn read(bytes: &[u8]) -> usize {
    let Ok(message) = Message::parse(bytes) else { return 0 };
    let via = message.via;
    via.branch.map_or(0, str::len)
        + usize::from(via.port.unwrap_or(0))
        + message.from.tag().map_or(0, str::len)
        + message.to.uri.user.map_or(0, str::len)
        + message.call_id.len()
        + message.cseq.number as usize
        + usize::from(message.max_forwards.unwrap_or(0))
        + message.contact.and_then(|c| c.uri.user).map_or(0, str::len)
        + message.content_type.map_or(0, str::len)
        + message.body.len()
}

fn read_rsip(bytes: &[u8]) -> usize {
    try_read_rsip(bytes).unwrap_or(0)
}

/// The same headers, as far as rsip types them.
fn try_read_rsip(bytes: &[u8]) -> Result<usize, rsip::Error> {
    let request = rsip::Request::try_from(bytes)?;
    let via = request.via_header()?.typed()?;
    Ok(via.branch().map_or(0, |b| b.value().len())
        + usize::from(via.uri.host_with_port.port.map_or(0, |p| *p.value()))
        + request.from_header()?.typed()?.tag().map_or(0, |t| t.value().len())
        + request.to_header()?.typed()?.uri.auth.map_or(0, |a| a.user.len())
        + request.call_id_header()?.value().len()
        + request.cseq_header()?.typed()?.seq as usize
        + request.max_forwards_header()?.num()? as usize
        + request.contact_header()?.typed()?.uri.auth.map_or(0, |a| a.user.len())
        + request.body().len())
}

/// A request as our own legs send it.
fn write(buffer: &mut BytesMut) -> usize {
    let number = "sip:+12025550100@198.51.100.9:5060";
    let mut writer = Writer::request(buffer, Method::Invite, "sip:+442079460018@carrier.example:5060;transport=udp");
    writer.via("UDP", "198.51.100.9:5060", "z9hG4bK7d1f0a93c2b84e65");
    writer.header(HeaderName::MaxForwards, 70);
    writer.header(HeaderName::From, Address { display: None, uri: number, tag: Some("5b1c0f7e9a") });
    let to = Address { display: None, uri: "sip:+442079460018@carrier.example", tag: None };
    writer.header(HeaderName::To, to);
    writer.header(HeaderName::CallId, "0a1b2c3d4e5f60718293a4b5c6d7e8f9");
    writer.cseq(1, Method::Invite);
    writer.header(HeaderName::Contact, Address { display: None, uri: number, tag: None });
    writer.header(HeaderName::Allow, "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO");
    writer.header(HeaderName::UserAgent, "revbridge");
    writer.finish_with("application/sdp", SDP.as_bytes()).unwrap_or(0)
}

const SDP: &str = "v=0\r\no=- 1234567890 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n\
                   m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                   a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";

/// An INVITE of 1.3 kB as a carrier sends it: two hops, recorded routes, identities, a description.
fn invite() -> Vec<u8> {
    let head = "INVITE sip:+12025550100@198.51.100.9:5060;transport=udp SIP/2.0\r\n\
        Record-Route: <sip:203.0.113.10;lr;ftag=9fxced76sl;did=a51.7f3c>\r\n\
        Via: SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK0f3a.7c2d91e4b5a6978812d3c4e5f60718.0;rport\r\n\
        Via: SIP/2.0/UDP 10.20.30.40:5080;received=10.20.30.40;branch=z9hG4bKd8f7g6h5j4k3l2;rport=5080\r\n\
        Max-Forwards: 68\r\n\
        From: \"Example Customer\" <sip:+14155557731@carrier.example;user=phone>;tag=9fxced76sl\r\n\
        To: <sip:+12025550100@198.51.100.9;user=phone>\r\n\
        Call-ID: 3848276298220188511-7b2c9a@10.20.30.40\r\n\
        CSeq: 314159 INVITE\r\n\
        Contact: <sip:+14155557731@10.20.30.40:5080;transport=udp>\r\n\
        Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, PRACK, NOTIFY\r\n\
        Supported: 100rel, timer, replaces\r\n\
        Session-Expires: 1800;refresher=uac\r\n\
        Min-SE: 90\r\n\
        P-Asserted-Identity: <sip:+14155557731@carrier.example>\r\n\
        P-Charging-Vector: icid-value=7b2c9a51d8f7;orig-ioi=carrier.example\r\n\
        Privacy: none\r\n\
        User-Agent: Example SBC 7.2.1\r\n\
        Content-Type: application/sdp\r\n";
    let offer = format!("{SDP}a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtcp:20001\r\na=maxptime:150\r\n");
    let invite = format!("{head}Content-Length: {}\r\n\r\n{offer}", offer.len()).into_bytes();
    assert_eq!(invite.len().div_ceil(100), 13, "{} bytes", invite.len());
    invite
}
