//! The relays that are compared, each in a process of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use revbridge::config::MediaConfig;
use revbridge::media::{MediaCommand, PortPair, Source};
use revbridge::model::{IdSource, LegId, Side, Timestamp};
use revbridge::sdp::{Agreed, Codec, Direction, Format};
use revbridge::server::clock::Clock;
use revbridge::server::media::MediaThreads;

/// Opens `calls` calls between two phones and relays until standard input ends. Says the relay's port
/// towards each phone, one call per line.
pub fn serve(kind: &str, calls: usize, phones: [SocketAddr; 2]) -> anyhow::Result<()> {
    match kind {
        "ours" => ours(calls, phones, false),
        "kernel" => ours(calls, phones, true),
        "tokio" => tokio_tasks(calls, phones),
        "epoll" => bare_epoll(calls, phones),
        other => anyhow::bail!("no relay is called {other}"),
    }
}

/// Announces a call as `A RA RB B`, which the independent load tool reads too.
fn announce(phones: [SocketAddr; 2], relay: [SocketAddr; 2]) {
    println!("{} {} {} {}", phones[0], relay[0], relay[1], phones[1]);
}

fn until_input_ends() -> io::Result<()> {
    println!("ready");
    io::copy(&mut io::stdin(), &mut io::sink()).map(|_| ())
}

/// The production threads, commanded as the switch commands them; with the kernel's help or without.
fn ours(calls: usize, phones: [SocketAddr; 2], fast_path: bool) -> anyhow::Result<()> {
    let address = Ipv4Addr::LOCALHOST.into();
    // Both run at the same time.
    let ports = if fast_path { (10_000, 19_999) } else { (20_000, 29_999) };
    let config = MediaConfig {
        address,
        advertised: address,
        ports,
        rest: Duration::ZERO,
        timeout: Duration::from_secs(3_600),
        threads: 0,
        failure_wav: None,
        fast_path,
    };
    let mut threads = MediaThreads::start(&config, None, Clock::start(None), |_, _| ())?;
    let mut ids = IdSource::new([7; 32]);
    let mut pairs = (ports.0..ports.1).step_by(2).map(PortPair);
    for _ in 0..calls {
        let call = ids.call(Timestamp::from_millis(1));
        let mut relay = phones;
        for (n, side) in Side::BOTH.into_iter().enumerate() {
            let leg = LegId { call, side };
            let port = pairs.next().ok_or_else(|| anyhow::anyhow!("too many calls"))?;
            relay[n] = SocketAddr::new(address, port.0);
            threads.command(leg, MediaCommand::Open { port, secret: ids.secret() });
            threads.command(leg, MediaCommand::Remote(agreed(phones[n])));
            threads.command(leg, MediaCommand::Play(Source::Peer));
        }
        announce(phones, relay);
    }
    Ok(until_input_ends()?)
}

fn agreed(phone: SocketAddr) -> Agreed {
    Agreed {
        remote: Some(phone),
        remote_rtcp: None,
        audio: [Format { payload_type: 0, codec: Codec::Pcmu }].into_iter().collect(),
        telephone_event: None,
        peer_direction: Direction::SendRecv,
    }
}

fn bound() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true).map(|()| socket)
}

/// A task per socket, as a first version would be written.
fn tokio_tasks(calls: usize, phones: [SocketAddr; 2]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _guard = runtime.enter();
    for _ in 0..calls {
        let [a, b] =
            [tokio::net::UdpSocket::from_std(bound()?)?, tokio::net::UdpSocket::from_std(bound()?)?].map(Arc::new);
        announce(phones, [a.local_addr()?, b.local_addr()?]);
        runtime.spawn(one_way(Arc::clone(&a), Arc::clone(&b), phones[1]));
        runtime.spawn(one_way(b, a, phones[0]));
    }
    Ok(until_input_ends()?)
}

async fn one_way(from: Arc<tokio::net::UdpSocket>, by: Arc<tokio::net::UdpSocket>, to: SocketAddr) {
    let mut buffer = [0; 2_048];
    while let Ok((length, _)) = from.recv_from(&mut buffer).await {
        let _ = by.send_to(&buffer[..length], to).await;
    }
}

/// One thread, level-triggered, without naps or any look at the packets: what the kernel alone costs.
fn bare_epoll(calls: usize, phones: [SocketAddr; 2]) -> anyhow::Result<()> {
    // SAFETY: epoll_create1 takes no pointer.
    let epoll = unsafe { libc::epoll_create1(0) };
    let mut sockets = Vec::new();
    for _ in 0..calls {
        let pair = [bound()?, bound()?];
        announce(phones, [pair[0].local_addr()?, pair[1].local_addr()?]);
        for socket in pair {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: sockets.len() as u64 };
            // SAFETY: both descriptors are open and the event outlives the call.
            unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) };
            sockets.push(socket);
        }
    }
    std::thread::spawn(move || {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let mut buffer = [0; 2_048];
        loop {
            // SAFETY: there is room for 256 events.
            let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 256, -1) };
            for event in events.iter().take(ready.max(0) as usize) {
                let at = event.u64 as usize;
                if let Ok((length, _)) = sockets[at].recv_from(&mut buffer) {
                    let _ = sockets[at ^ 1].send_to(&buffer[..length], phones[1 - at % 2]);
                }
            }
        }
    });
    Ok(until_input_ends()?)
}
