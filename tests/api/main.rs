//! The HTTP edge over real sockets: every request that must not work, and the ones that must.
//!
//! The router, its connections and the store with its guardrails are the production ones; only the switch
//! is not: it admits calls and rings nobody. For browsers (`browsers`) the switch is the production one too;
//! the phone that it rings and the audio threads are not.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // A client needs sockets, threads and time.

mod admin;
mod backend;
mod bodies;
mod browsers;
mod calls;
mod client;
mod cors;
mod documents;
mod heads;
mod idempotency;
mod limits;
mod listener;
mod races;
mod streams;
mod transport;
mod usage;
mod webhooks;
mod world;
