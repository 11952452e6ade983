//! The thin shell: sockets, clock, randomness, threads, signals.
//!
//! ```text
//!  tokio thread            switch thread              media threads         store thread
//!  HTTP, signals ─ Inbox ─▶ Switch ── MediaCommand ──▶ relay
//!        ▲                  │  ▲ ▲ └──── Commit ─────────────────────────────▶ SQLite
//!        └──── Reply ───────┘  │ └────── MediaEvent ───┘                          │
//!                              └───────── Committed ──────────────────────────────┘
//! ```
//!
//! Beside them a thread sends webhooks (`webhooks`), one holds the connections of SIP over TCP and TLS (`streams`), and one
//! asks the DNS where trunks are that have names (`dns`); they are in nobody's way.
//!
//! Nothing is decided here: what comes in goes to the pure core with the time, and what the core puts
//! out is carried out. Deliberately absent: any knowledge of SIP, SDP, calls or guardrails.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // The one place with clock, sockets and threads.

mod check;
pub mod clock;
mod cluster;
mod collector;
mod dns;
mod http;
mod inbox;
mod logs;
pub mod media;
mod metrics;
mod pace;
mod poll;
mod reload;
mod run;
mod shard;
mod signals;
mod stir;
mod streams;
mod trace;
mod udp;
mod webhooks;

pub use check::check;
pub use run::run;
