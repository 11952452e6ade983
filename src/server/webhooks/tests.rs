//! One try against receivers that are none: whom it reaches, and what it may cost.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::post::Said;
use super::*;
use crate::events::{TryError, WebhookUrl};

const LAB: Reach = Reach { loopback: true };
const STRICT: Reach = Reach { loopback: false };

fn net(reach: Reach, lookup: Lookup) -> Net {
    Net { tls: tls::connector(None).unwrap(), reach, lookup, time: Duration::from_secs(3) }
}

/// Names as the test says, each asked once more than the one before.
fn names(answers: Vec<Vec<&'static str>>) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let answer = move |_: String, _: u16| {
        let nth = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let found: Vec<IpAddr> = answers[nth].iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(async move { Ok(found) }) as Pin<Box<dyn Future<Output = _> + Send>>
    };
    (Arc::new(answer), asked)
}

async fn post(net: &Net, url: &str) -> Result<Said, TryError> {
    let url = WebhookUrl::parse(url, LAB).unwrap();
    let request = Request::post(url.target()).header("host", url.authority()).body(Full::new(Bytes::from("{}")));
    net.post(&url, request.unwrap()).await
}

/// A receiver that sends this whatever it is asked, and then what `more` gives, for as long as anybody listens. How
/// many bytes it got rid of.
async fn receiver(head: &'static [u8], more: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, head, more, Arc::clone(&count)));
        }
    });
    (address, sent)
}

async fn serve(mut stream: TcpStream, head: &[u8], more: &[u8], sent: Arc<AtomicUsize>) {
    let mut request = vec![0; 4_096];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(head).await;
    while !more.is_empty() && stream.write_all(more).await.is_ok() {
        sent.fetch_add(more.len(), Ordering::SeqCst);
    }
    let _ = stream.read(&mut request).await;
}

#[tokio::test]
async fn a_status_is_what_comes_of_it_and_no_redirect_is_followed() {
    let (elsewhere, _) = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"").await;
    let redirect =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
    let redirect: &'static [u8] = Box::leak(redirect.into_bytes().into_boxed_slice());
    for (answer, status) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..], 200),
        (b"HTTP/1.0 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n", 503),
        (redirect, 307),
        (b"HTTP/1.1 410 Gone\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 410),
    ] {
        let (address, _) = receiver(answer, b"").await;
        let said = post(&net(LAB, lookup()), &format!("http://{address}/hook")).await.unwrap();
        assert_eq!((said.status, said.retry_after.as_deref()), (status, (status == 503).then_some("7")));
    }
}

#[tokio::test]
async fn what_is_no_answer_has_a_word_for_it() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let net = net(LAB, lookup());
    assert_eq!(post(&net, &format!("http://{nobody}/")).await, Err(TryError::Connect));
    assert_eq!(post(&net, "http://no-such-name.invalid/").await, Err(TryError::Dns));
    for nonsense in [&b"hello\r\n\r\n"[..], b"HTTP/9.9 200 OK\r\n\r\n", b"", b"SSH-2.0-x\r\n"] {
        let (address, _) = receiver(nonsense, b"").await;
        assert_eq!(post_closed(&net, address).await, Err(TryError::Protocol), "{nonsense:?}");
    }
    let (plain, _) = receiver(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"").await;
    assert_eq!(post(&net, &format!("https://{plain}/")).await, Err(TryError::Tls));
}

/// Half closed by us after the request, so that a receiver that says nothing more is at its end.
async fn post_closed(net: &Net, address: SocketAddr) -> Result<Said, TryError> {
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = front.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut near, _) = front.accept().await.unwrap();
        let mut far = TcpStream::connect(address).await.unwrap();
        let mut bytes = vec![0; 4_096];
        let n = near.read(&mut bytes).await.unwrap();
        far.write_all(&bytes[..n]).await.unwrap();
        far.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = far.read_to_end(&mut answer).await;
        let _ = near.write_all(&answer).await;
    });
    post(net, &format!("http://{at}/")).await
}

/// Endless bodies, heads, headers, chunks and interim answers: a bounded number of bytes each.
#[tokio::test]
async fn whatever_a_receiver_sends_little_of_it_is_read() {
    for (head, more, expected) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 8_192][..], Ok(200)),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1000\r\n", Ok(200)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", &[b'x'; 8_192], Ok(200)),
        (b"HTTP/1.1 200 OK\r\n", b"x-more: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", Err(TryError::Protocol)),
        (b"HTTP/1.1 200 OK\r\nx: ", &[b'a'; 8_192], Err(TryError::Protocol)),
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", Err(TryError::Protocol)),
    ] {
        let (address, sent) = receiver(head, more).await;
        let said = post(&net(LAB, lookup()), &format!("http://{address}/")).await;
        assert_eq!(said.map(|said| said.status), expected, "{:?}", String::from_utf8_lossy(more));
        // What lies in the sockets' buffers was not read by us, and cannot be more than they hold.
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < 8 << 20, "{sent} bytes of {:?}", String::from_utf8_lossy(more));
    }
}

#[tokio::test]
async fn a_receiver_that_says_nothing_costs_the_time_of_a_try() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (began, time) = (Instant::now(), Duration::from_millis(300));
    let net = Net { time, ..net(LAB, lookup()) };
    assert_eq!(post(&net, &url).await, Err(TryError::Timeout));
    // Nor does a name server that says nothing cost more.
    let silent: Lookup = Arc::new(|_, _| Box::pin(std::future::pending()));
    assert_eq!(post(&Net { lookup: silent, ..net }, "http://hooks.example/").await, Err(TryError::Timeout));
    assert!((time * 2..time * 10).contains(&began.elapsed()), "{:?}", began.elapsed());
}

/// A status that came counts, however long the rest of the answer takes.
#[tokio::test]
async fn a_body_that_does_not_end_does_not_delay_a_status() {
    let (address, _) = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", b"").await;
    let began = Instant::now();
    assert_eq!(post(&net(LAB, lookup()), &format!("http://{address}/")).await.unwrap().status, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_name_that_leads_inside_gets_no_connection() {
    let (address, _) = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"").await;
    let url = format!("https://hooks.example:{}/", address.port());
    for inside in [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "169.254.169.254",
        "fd00:ec2::254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "100.64.0.1",
        "224.0.0.1",
    ] {
        let (lookup, asked) = names(vec![vec![inside]]);
        assert_eq!(post(&net(STRICT, lookup), &url).await, Err(TryError::AddressRefused), "{inside}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
    // Nor does it by its real name, looked up as in production.
    let url = format!("https://localhost:{}/", address.port());
    assert_eq!(post(&net(STRICT, lookup()), &url).await, Err(TryError::AddressRefused));
}

/// The connection goes to the address that was judged: what the name has a moment later changes nothing.
#[tokio::test]
async fn a_name_that_is_bound_anew_loses() {
    let judged = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = judged.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = judged.accept().await.unwrap();
        serve(stream, b"HTTP/1.1 204 No Content\r\n\r\n", b"", Arc::default()).await;
    });
    let url = format!("http://rebinding.example:{port}/");
    let (lookup, asked) = names(vec![vec!["127.0.0.2"], vec!["10.0.0.1"]]);
    let net = net(LAB, lookup);
    assert_eq!(post(&net, &url).await.unwrap().status, 204);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one lookup for each try");
    assert_eq!(post(&net, &url).await, Err(TryError::AddressRefused));
}

/// Of several addresses only those that may be reached are tried.
#[tokio::test]
async fn what_a_name_has_beside_is_not_tried() {
    let (address, _) = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"").await;
    let url = format!("http://hooks.example:{}/", address.port());
    let (lookup, _) = names(vec![vec!["10.0.0.1", "169.254.169.254", "127.0.0.1"]]);
    assert_eq!(post(&net(LAB, lookup), &url).await.unwrap().status, 200);
}
