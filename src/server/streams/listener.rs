//! Connections that peers make.

use std::net::TcpListener;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tracing::warn;

use super::table::Event;
use crate::config::Listener;
use crate::sip::Flow;

/// A connection that nothing is known of but its addresses.
#[derive(Debug)]
pub struct Accepted {
    pub flow: Flow,
    pub stream: TcpStream,
}

/// After an error of the listener itself, such as no descriptor being left.
const PAUSE: Duration = Duration::from_millis(100);

/// For as long as anybody wants to hear of them.
pub async fn accept(listener: Listener, socket: TcpListener, events: mpsc::Sender<Event>) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return warn!(local = %listener.local, %error, "cannot accept connections"),
    };
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => {
                let flow = Flow { transport: listener.transport, local: listener.local, remote };
                if events.send(Event::Accepted(Accepted { flow, stream })).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(local = %listener.local, %error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
