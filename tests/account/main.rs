//! The account as a company sees it: the real server as a process, its API, and phones on real sockets.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod breakers;
#[path = "../api/client.rs"]
#[allow(dead_code, reason = "of the clients of tests/api, only what a listener needs")]
mod client;
mod cluster;
mod command_line;
mod deploy;
mod erasure;
mod hard_stop;
mod limits;
#[path = "../api/listener.rs"]
#[allow(dead_code, reason = "likewise")]
mod listener;
mod receivers;
mod reconciliation;
mod restore;
mod schemathesis;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod tenancy;
mod traces;
mod webhooks;
