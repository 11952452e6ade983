//! Connections: how many, how long, and how large a request's head may be.
//!
//! A peer that sends slowly, endlessly or nonsense costs one bounded connection for a bounded time.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

use super::answer::Problem;
use crate::config::ApiConfig;
use crate::config::bounds::{API_HEAD_BYTES, API_HEADERS};

/// After a file descriptor or memory ran out, accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for requests under way when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How much of a refused body is read and thrown away before the connection closes, and for how long:
/// closing on unread bytes would reset the connection and take the answer with it (RFC 9112 §9.6).
const LINGER_BYTES: usize = 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);
/// A phone network's worst pause.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// hyper closes without a word; RFC 9110 §15.5.9 asks for one.
const HEAD_TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Where a request came from: the peer of its connection, which may be a proxy.
#[derive(Debug, Clone, Copy)]
pub struct Source(pub IpAddr);

/// Whether the listener that a request came by has stopped: what is endless ends then.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<()>);

impl Stopping {
    /// Returns when it has.
    pub async fn stopped(&mut self) {
        // Nothing is ever sent; the other end goes away.
        let _ = self.0.changed().await;
    }
}

impl<S: Sync> FromRequestParts<S> for Stopping {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Stopping>().cloned().ok_or_else(Problem::internal)
    }
}

/// What one listener's peers may use.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    pub max_connections: usize,
    /// For a request's head, also while the connection is idle.
    pub read_timeout: Duration,
}

impl From<&ApiConfig> for ServeLimits {
    fn from(config: &ApiConfig) -> Self {
        Self { max_connections: config.max_connections, read_timeout: config.read_timeout }
    }
}

/// Serves until `stop`, then lets requests under way finish.
pub async fn serve(listener: TcpListener, router: Router, limits: ServeLimits, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let (stopping, stopped) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let (router, stopped) = (router.clone(), stopped.clone());
        tokio::spawn(async move {
            connection(stream, router, limits.read_timeout, stopped).await;
            drop(place);
        });
    }
    drop(listener);
    drop(stopping);
    let all = u32::try_from(limits.max_connections).unwrap_or(u32::MAX);
    // Whoever is still there after that has had its time.
    let _ = tokio::time::timeout(STOP_GRACE, places.acquire_many(all)).await;
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept an HTTP connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, router: Router, read_timeout: Duration, mut stopped: watch::Receiver<()>) {
    // Answers are small and whole: nothing is gained by holding them back.
    let _ = stream.set_nodelay(true);
    // A peer that takes nothing of its answer is gone; hyper itself would wait for it.
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT));
    let source = stream.peer_addr().ok().map(|peer| Source(peer.ip()));
    let stopping = Stopping(stopped.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(stopping.clone());
        source.map(|source| request.extensions_mut().insert(source));
        Box::pin(router.clone().oneshot(request))
    });
    let mut served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(read_timeout)
        .max_headers(API_HEADERS)
        .max_buf_size(API_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut stopping = false;
    let result = loop {
        tokio::select! {
            result = poll_fn(|cx| served.poll_without_shutdown(cx)) => break result,
            _ = stopped.changed(), if !stopping => {
                stopping = true;
                std::pin::Pin::new(&mut served).graceful_shutdown();
            }
        }
    };
    let parts = served.into_parts();
    let head_cut_off = result.is_err_and(|e| e.is_timeout()) && !parts.read_buf.is_empty();
    let _ = tokio::time::timeout(LINGER, close(parts.io.into_inner(), head_cut_off)).await;
}

/// Closes so that what was answered arrives.
async fn close(mut stream: TcpStream, head_cut_off: bool) -> std::io::Result<()> {
    if head_cut_off {
        stream.write_all(HEAD_TOO_SLOW).await?;
    }
    stream.shutdown().await?;
    let mut sink = vec![0; 8 * 1024];
    let mut read = 0;
    while read < LINGER_BYTES {
        match stream.read(&mut sink).await? {
            0 => break,
            n => read += n,
        }
    }
    Ok(())
}
