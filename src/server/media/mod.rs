//! The media threads: sockets around [`Bridge`](crate::media::Bridge), one epoll thread per core.
//!
//! ```text
//!  switch ── MediaCommand ──▶ queue of the call's thread ─┐
//!                                                         ▼
//!        RTP, RTCP ──▶ epoll ──▶ Bridge: verdict ──▶ send, from the other leg's port
//!                                  │    └─ deadline ──▶ tones, reports
//!  switch ◀── MediaEvent ──────────┘
//! ```
//!
//! A direction that needs no look goes on in the kernel until something is said about it (`offload`).
//!
//! Browsers share one port of each thread, by UDP and by TCP (`browsers`, `streams`); their calls are never
//! the kernel's, because somebody has to encrypt.
//!
//! A call lives on one thread with both its legs, so nothing of it is shared. Each leg has a pair of
//! bound sockets, and once it has latched a third, connected to the party on the same port: the kernel
//! gives it the party's packets, sends without looking up a route, and leaves strangers to the bound
//! socket, where they are counted and a party that has moved is found again.
//!
//! Deliberately absent: buffers of packets, locks on the way of a packet, batched system calls and
//! io_uring (both measured: nothing gained over epoll with connected sockets).

mod browsers;
mod counters;
pub mod fast_path;
mod offload;
mod pace;
mod ports;
mod relay;
mod streams;
#[cfg(test)]
mod tests;
mod threads;

pub use counters::Counts;
pub use threads::{MediaThreads, recording};
