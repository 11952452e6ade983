//! One try: from a URL to a status, or to the word that says why there is none.
//!
//! ```text
//!  name ─ lookup ─▶ addresses ─ Reach ─▶ allowed ones ─ connect ─▶ peer ─ Reach ─▶ TLS ─▶ POST ─▶ status
//! ```
//!
//! The name is looked up here and the connection is made to the address that was judged, so a name that has another
//! address a moment later leads nowhere; and whom the connection leads to is asked once more.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::limited::Limited;
use crate::api::Lookup;
use crate::events::{Reach, TryError, WebhookUrl};

/// A whole try, from the lookup to the answer.
pub const TRY: Duration = Duration::from_secs(10);
/// To one address; the next one is tried in what is left.
const CONNECT: Duration = Duration::from_secs(4);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 3;
/// The status decides. What follows is read for a moment, because a receiver that is cut off logs an error.
const BODY_BYTES: usize = 4 * 1024;
const BODY: Duration = Duration::from_secs(1);
/// An answer's head: its headers, and all of its bytes.
const HEADERS: usize = 64;
const HEAD_BYTES: usize = 16 * 1024;
/// All that is read of a connection, inside TLS.
const READ_BYTES: usize = 64 * 1024;

/// How receivers are reached.
pub struct Net {
    pub tls: TlsConnector,
    pub reach: Reach,
    pub lookup: Lookup,
    /// For a whole try: [`TRY`].
    pub time: Duration,
}

/// What a receiver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub status: u16,
    pub retry_after: Option<String>,
}

impl Net {
    pub async fn post(&self, url: &WebhookUrl, request: Request<Full<Bytes>>) -> Result<Said, TryError> {
        timeout(self.time, self.try_post(url, request)).await.map_err(|_| TryError::Timeout)?
    }

    async fn try_post(&self, url: &WebhookUrl, request: Request<Full<Bytes>>) -> Result<Said, TryError> {
        let stream = self.connect(url).await?;
        // The request is small and whole: nothing is gained by holding it back.
        let _ = stream.set_nodelay(true);
        if !url.is_tls() {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(url.host().to_owned()).map_err(|_| TryError::Tls)?;
        let stream = self.tls.connect(name, stream).await.map_err(|_| TryError::Tls)?;
        exchange(stream, request).await
    }

    /// To the first address that webhooks may be sent to and that takes the connection.
    async fn connect(&self, url: &WebhookUrl) -> Result<TcpStream, TryError> {
        let addresses = match url.address() {
            Some(address) => vec![address],
            None => (self.lookup)(url.host().to_owned(), url.port()).await.map_err(|_| TryError::Dns)?,
        };
        let allowed = |address: &IpAddr| self.reach.allows(url, *address);
        let mut why = TryError::AddressRefused;
        for address in addresses.into_iter().filter(allowed).take(ADDRESSES) {
            why = TryError::Connect;
            let connected = timeout(CONNECT, TcpStream::connect(SocketAddr::new(address, url.port()))).await;
            let Ok(Ok(stream)) = connected else { continue };
            // Not what was asked for, but what came of it.
            match stream.peer_addr() {
                Ok(peer) if allowed(&peer.ip()) => return Ok(stream),
                Ok(_) | Err(_) => why = TryError::AddressRefused,
            }
        }
        Err(why)
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Said, TryError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::Builder::new()
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(Limited::new(stream, READ_BYTES)));
    let (mut sender, connection) = handshake.await.map_err(|_| TryError::Protocol)?;
    let said = async {
        let response = sender.send_request(request).await.map_err(|_| TryError::Protocol)?;
        let said = Said {
            status: response.status().as_u16(),
            retry_after: response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).map(str::to_owned),
        };
        let _ = timeout(BODY, read_some(response)).await;
        Ok(said)
    };
    let mut said = std::pin::pin!(said);
    tokio::select! {
        said = &mut said => said,
        // The connection has ended; what had come by then decides.
        _ = connection => said.await,
    }
}

async fn read_some(mut response: Response<Incoming>) {
    let mut read = 0;
    while read < BODY_BYTES
        && let Some(Ok(frame)) = response.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}
