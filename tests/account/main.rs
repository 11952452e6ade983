//! The account as a company sees it: the real server as a process, its API, and phones on real sockets.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod breakers;
mod command_line;
mod limits;
mod receivers;
#[path = "../support/mod.rs"]
mod support;
mod tenancy;
mod webhooks;
