//! A cable between a node and its database, which a test can pull: then nothing comes through, and nobody is told.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Plugged in. Dropping it pulls it for good.
pub struct Cable {
    pulled: Arc<AtomicBool>,
}

impl Cable {
    /// From this address to that one.
    pub fn new(from: SocketAddr, to: SocketAddr) -> Self {
        let pulled = Arc::new(AtomicBool::new(false));
        let listener = TcpListener::bind(from).expect("the cable's end is free");
        let shared = Arc::clone(&pulled);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(other) = TcpStream::connect(to) else { continue };
                let ends = [stream.try_clone(), other.try_clone()].map(|end| end.expect("one more handle"));
                let [back, forth] = ends;
                for (from, to) in [(stream, forth), (other, back)] {
                    let pulled = Arc::clone(&shared);
                    thread::spawn(move || carry(from, to, &pulled));
                }
            }
        });
        Self { pulled }
    }

    /// What is on its way waits, as in a network that has lost its route.
    pub fn pull(&self) {
        self.pulled.store(true, Ordering::Relaxed);
    }

    pub fn plug_in(&self) {
        self.pulled.store(false, Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, pulled: &AtomicBool) {
    let mut chunk = [0; 16_384];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        while pulled.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        if to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
