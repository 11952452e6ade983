//! Requests about a call that another node has: sent on to it, as they came.
//!
//! ```text
//! request ─▶ handler ─ not here: Problem::elsewhere(peer) ─▶ the same request to the peer's url ─▶ its answer
//!              │ here                                            └─ silent, gone ─▶ 503 with Retry-After
//!              └─▶ answer
//! ```
//!
//! Which node has a call is known only after its handler has judged the key, the body and the call itself,
//! so the handler says where to, and this keeps what it has read of the body for that case. The peer judges
//! everything again: what goes there is worth no more than what comes from anywhere.
//!
//! A request is sent on once: one that comes from a node and finds no call here either is answered with 503,
//! since the call is on its way from a dead node to another. Deliberately absent: connections that are kept
//! open, and retries; whoever asked comes again.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING, USER_AGENT,
};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use metrics::counter;
use tokio::net::TcpStream;

use super::answer::Problem;
use super::request_id::{RequestLabel, X_REQUEST_ID};
use super::{Api, refusal};
use crate::model::CallId;
use crate::store::cluster::Peer;

/// Which node sent a request on.
const FORWARDED_BY: HeaderName = HeaderName::from_static("x-revdesk-forwarded-by");
/// Between neighbours.
const CONNECT: Duration = Duration::from_secs(1);
/// For the head of the answer: a hang-up waits for a commit, an offer for a commit and a media thread.
const ANSWER: Duration = Duration::from_secs(8);

/// What the peer is told of the request besides its method, path, query and body.
const CARRIED: [HeaderName; 8] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    ACCEPT,
    USER_AGENT,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("if-match"),
];

impl Api {
    /// The node that has this call, where that is not this one.
    pub(super) async fn elsewhere(&self, call: CallId) -> Result<Option<Peer>, Problem> {
        if self.store.cluster().is_none() {
            return Ok(None);
        }
        self.read(move |store| store.cluster().map_or(Ok(None), |cluster| cluster.owner(call))).await
    }
}

/// Where a call is, when it is not here.
#[derive(Debug, Clone)]
pub struct Elsewhere(pub Peer);

/// Sends on what its handler found to be another node's.
pub async fn forward(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let own = api.store.cluster().map(|cluster| cluster.node().to_owned());
    let Some(own) = own else { return next.run(request).await };
    let (parts, body) = request.into_parts();
    let again = parts.headers.contains_key(FORWARDED_BY);
    let head = Head::of(&parts);
    let read = Read::default();
    let body = Body::new(Copied { body, read: Arc::clone(&read) });
    let response = next.run(Request::from_parts(parts, body)).await;
    let Some(Elsewhere(peer)) = response.extensions().get::<Elsewhere>().cloned() else { return response };
    if again {
        tracing::warn!(node = &*peer.id, "a request came from a node to this one, and its call is at a third");
        return response;
    }
    let body = read.lock().unwrap_or_else(PoisonError::into_inner).split().freeze();
    match send(&peer, &own, head, body).await {
        Ok(answer) => {
            count("answered");
            answer
        }
        Err(error) => {
            count("failed");
            tracing::warn!(node = &*peer.id, error, "a request could not be sent on to the node of its call");
            response
        }
    }
}

fn count(answer: &'static str) {
    counter!("revbridge_requests_forwarded_total", "answer" => answer).increment(1);
}

/// The request as it came.
struct Head {
    method: axum::http::Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    fn of(parts: &axum::http::request::Parts) -> Self {
        let mut headers = HeaderMap::new();
        for name in CARRIED {
            for value in parts.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let label = parts.extensions.get::<RequestLabel>().and_then(|label| HeaderValue::from_str(&label.0).ok());
        headers.extend(label.map(|label| (X_REQUEST_ID, label)));
        Self { method: parts.method.clone(), uri: parts.uri.clone(), headers }
    }
}

async fn send(peer: &Peer, own: &str, head: Head, body: Bytes) -> Result<Response, &'static str> {
    let url = peer.url.as_deref().ok_or("it has no [cluster] url")?;
    let authority = url.strip_prefix("http://").ok_or("its url is not http")?.to_owned();
    let Head { method, uri, mut headers } = head;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    headers.insert(HOST, HeaderValue::try_from(&*authority).map_err(|_| "its url has no host")?);
    headers.insert(FORWARDED_BY, HeaderValue::from_str(own).map_err(|_| "this node's name is no header")?);
    let mut request = Request::builder().method(method).uri(path).body(Full::new(body)).map_err(|_| "not a request")?;
    *request.headers_mut() = headers;
    let connected = tokio::time::timeout(CONNECT, TcpStream::connect(with_port(authority))).await;
    let stream = connected.map_err(|_| "it does not accept")?.map_err(|_| "it cannot be reached")?;
    // A request is small and whole: nothing is gained by holding it back.
    let _ = stream.set_nodelay(true);
    let answered = tokio::time::timeout(ANSWER, async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer's body, which may be a stream of events.
        tokio::spawn(connection);
        sender.send_request(request).await
    });
    let answer = answered.await.map_err(|_| "it does not answer")?.map_err(|_| "it broke off")?;
    let mut answer = answer.map(Body::new);
    for name in [CONNECTION, TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
        answer.headers_mut().remove(name);
    }
    Ok(answer)
}

fn with_port(authority: String) -> String {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { authority } else { authority + ":80" }
}

/// The call is at this peer. Where it cannot be asked, the client may come again.
pub fn elsewhere(peer: Peer) -> Problem {
    refusal::not_now("the node that has this call does not answer", RETRY_SECONDS).elsewhere(peer)
}

/// A node that died is replaced after its lease; one that starts again needs less.
const RETRY_SECONDS: u64 = 2;

/// What a handler has read of a body, which is bounded where it is read.
type Read = Arc<Mutex<BytesMut>>;

/// A body that leaves a copy.
struct Copied {
    body: Body,
    read: Read,
}

impl HttpBody for Copied {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(std::pin::Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref) {
            self.read.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_port_means_80() {
        for (authority, address) in [
            ("10.0.0.1", "10.0.0.1:80"),
            ("10.0.0.1:8080", "10.0.0.1:8080"),
            ("[::1]", "[::1]:80"),
            ("[fd00::2]:8080", "[fd00::2]:8080"),
            ("node-b.internal", "node-b.internal:80"),
        ] {
            assert_eq!(with_port(authority.to_owned()), address);
        }
    }
}
