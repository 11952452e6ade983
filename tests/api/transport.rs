//! Peers that are slow, endless, huge or ambiguous cost a bounded connection for a bounded time.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{connect, read, request};
use crate::world::{ALICE, MAX_CONNECTIONS, READ_TIMEOUT, World, good};

const SLACK: Duration = Duration::from_secs(4);

fn head(extra: &str) -> String {
    format!(
        "POST /v1/calls/dial HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {ALICE}\r\nContent-Type: application/json\r\n{extra}"
    )
}

/// Resident memory of this process, kB; server and clients are in it.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_hundred_megabytes_are_refused_in_flat_memory() {
    let world = World::new();
    assert_eq!(world.dial(&good()).status, 202);
    let before = resident_kb();
    for framing in ["Content-Length: 104857600\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
        let mut stream = connect(world.address);
        stream.write_all(head(framing).as_bytes()).unwrap();
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        // Until all is sent or the server has had enough.
        let sent = (0..1_600).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        let response = read(&mut stream).unwrap_or_else(|| panic!("no answer after {sent} chunks"));
        assert_eq!((response.status, response.code().as_str()), (413, "payload_too_large"));
        assert_eq!(response.header("connection"), Some("close"));
    }
    let grown = resident_kb().saturating_sub(before);
    // A sixth of what was sent leaves room for the tests that run beside this one.
    assert!(grown < 32 * 1024, "{grown} kB");
    world.is_unhurt();
}

/// RFC 9112 §9.6: closing at once would reset the connection, and a sender that is still busy sending
/// could lose the answer.
#[test]
fn who_is_refused_may_finish_the_sentence() {
    let world = World::new();
    let mut stream = connect(world.address);
    stream.write_all(head("Content-Length: 104857600\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(read(&mut stream).unwrap().status, 413);
    for _ in 0..5 {
        stream.write_all(&[b' '; 10_000]).expect("still read");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_largest_body_is_judged_by_what_it_says() {
    let world = World::new();
    let padded = |size: usize| format!("{}{}", good(), " ".repeat(size - good().len()));
    assert_eq!(world.dial(&padded(64 * 1024)).status, 202);
    assert_eq!(world.dial(&padded(64 * 1024 + 1)).status, 413);
}

#[test]
fn slow_heads_and_bodies_end_and_hurt_nobody() {
    let world = World::new();
    let whole = head(&format!("Content-Length: {}\r\n\r\n", good().len()));
    thread::scope(|scope| {
        for n in 0..40 {
            let (world, whole) = (&world, &whole);
            scope.spawn(move || {
                let start = Instant::now();
                let mut stream = connect(world.address);
                // Half of them drip a head, half promise a body.
                let bytes = if n % 2 == 0 { &whole.as_bytes()[..n] } else { whole.as_bytes() };
                let mut left = bytes.iter().copied();
                let drip = left.by_ref().take(10).collect::<Vec<_>>();
                stream.write_all(&drip).unwrap();
                stream.write_all(&left.collect::<Vec<_>>()).unwrap();
                let response = read(&mut stream);
                let took = start.elapsed();
                assert!(took < READ_TIMEOUT + SLACK, "{took:?}");
                match response {
                    Some(response) => assert_eq!(response.status, 408),
                    None => assert_eq!(n, 0, "only a connection without a byte ends without a word"),
                }
            });
        }
        // Meanwhile everybody else is served.
        for _ in 0..10 {
            let start = Instant::now();
            assert_eq!(world.get("/v1/guardrails").status, 200);
            assert!(start.elapsed() < SLACK);
        }
    });
    world.is_unhurt();
}

/// One byte every now and then does not buy more time.
#[test]
fn a_dripping_head_has_the_same_time_as_any_other() {
    let world = World::new();
    let start = Instant::now();
    let mut stream = connect(world.address);
    for byte in head("").bytes() {
        if stream.write_all(&[byte]).is_err() || start.elapsed() > READ_TIMEOUT * 3 {
            break;
        }
        thread::sleep(READ_TIMEOUT / 10);
    }
    if let Some(response) = read(&mut stream) {
        assert_eq!(response.status, 408);
    }
    assert!(start.elapsed() < READ_TIMEOUT * 3 + SLACK);
}

#[test]
fn an_idle_connection_is_closed() {
    let world = World::new();
    let mut stream = connect(world.address);
    let bytes = request("GET", "/v1/calls", &[("Authorization", &format!("Bearer {ALICE}"))], b"");
    let bytes = String::from_utf8(bytes).unwrap().replace("Connection: close\r\n", "");
    stream.write_all(bytes.as_bytes()).unwrap();
    assert_eq!(read(&mut stream).unwrap().status, 200);
    let start = Instant::now();
    assert_eq!(read(&mut stream), None);
    assert!(start.elapsed() < READ_TIMEOUT + SLACK);
}

#[test]
fn a_head_has_a_size() {
    let world = World::new();
    let many: String = (0..100_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let few_but_too_many: String = (0..70).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(40_000));
    for extra in [many, few_but_too_many, long] {
        let response = world.raw(format!("{}\r\n", head(&extra)).as_bytes());
        assert_eq!(response.status, 431, "{:.40}", extra);
    }
    let path = format!("GET /{} HTTP/1.1\r\nHost: api\r\n\r\n", "x".repeat(70_000));
    let response = world.raw(path.as_bytes());
    assert!([414, 431].contains(&response.status), "{response:?}");
    world.is_unhurt();
}

/// RFC 9112 §6.3: what two readers could take for two different requests is read by its chunks alone,
/// and nothing that follows it on the connection is read.
#[test]
fn a_request_with_two_lengths_smuggles_nothing() {
    let world = World::new();
    let smuggled = format!("{}Content-Length: {}\r\n\r\n{}", head(""), good().len(), good());
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", good().len(), good());
    let (short, long) = (4, chunked.len() + smuggled.len());
    for lengths in [
        format!("Content-Length: {short}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Content-Length: {long}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {short}\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {long}\r\n"),
    ] {
        let before = world.backend.admitted();
        let mut stream = connect(world.address);
        stream.write_all(format!("{}\r\n{chunked}{smuggled}", head(&lengths)).as_bytes()).unwrap();
        let response = read(&mut stream).unwrap();
        assert_eq!((response.status, response.header("connection")), (202, Some("close")), "{lengths}");
        assert_eq!(read(&mut stream), None, "the connection goes on after {lengths}");
        assert_eq!(world.backend.admitted(), before + 1);
    }
}

#[test]
fn a_length_that_is_none_is_refused() {
    let world = World::new();
    let before = world.backend.admitted();
    let smuggled = format!("{}Content-Length: {}\r\n\r\n{}", head(""), good().len(), good());
    let cases = [
        head(&format!("Content-Length: 5\r\nContent-Length: 6\r\n\r\n{smuggled}")),
        head(&format!("Content-Length: -1\r\n\r\n{smuggled}")),
        head(&format!("Content-Length: 99999999999999999999\r\n\r\n{smuggled}")),
        head(&format!("Content-Length: 0x10\r\n\r\n{smuggled}")),
        head(&format!("Transfer-Encoding: gzip\r\n\r\n{smuggled}")),
        head(&format!("Transfer-Encoding: chunked, gzip\r\n\r\n{smuggled}")),
        head(&format!("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{smuggled}")),
        head(&format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n{smuggled}")),
    ];
    for case in cases {
        let mut stream = connect(world.address);
        stream.write_all(case.as_bytes()).unwrap();
        let response = read(&mut stream).unwrap_or_else(|| panic!("no answer to {case}"));
        assert!([400, 413, 501].contains(&response.status), "{response:?} to {case}");
        assert_eq!(read(&mut stream), None, "the connection goes on after {case}");
    }
    assert_eq!(world.backend.admitted(), before);
    world.is_unhurt();
}

#[test]
fn two_requests_in_one_packet_get_two_answers() {
    let world = World::new();
    let one = format!("{}Content-Length: {}\r\n\r\n{}", head(""), good().len(), good());
    let mut stream = connect(world.address);
    stream.write_all(format!("{one}{one}").as_bytes()).unwrap();
    assert_eq!([read(&mut stream).unwrap().status, 202], [202, 202]);
}

/// More connections than the limit wait their turn, and get it.
#[test]
fn connections_beyond_the_limit_wait() {
    let world = World::new();
    let idle: Vec<_> = (0..MAX_CONNECTIONS).map(|_| connect(world.address)).collect();
    let start = Instant::now();
    assert_eq!(world.dial(&good()).status, 202);
    assert!(start.elapsed() < READ_TIMEOUT + SLACK, "the idle ones were closed in their time");
    drop(idle);
}
