//! The HTTP edge over real sockets: every request that must not work, and the ones that must.
//!
//! The router and its connections are the production ones; behind them stand the production guardrails
//! on accounts in memory, and a switch that admits calls and rings nobody.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // A client needs sockets, threads and time.

mod backend;
mod bodies;
mod calls;
mod client;
mod heads;
mod races;
mod transport;
mod world;
