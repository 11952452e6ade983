//! Both browser paths in real browsers: headless Chromium and aiortc on one side, baresip and SIPp on the
//! other, `revbridge serve` between them.
//!
//! ```text
//!   a: Chromium ──veth── g: revbridge, coturn ──veth── b: baresip, SIPp
//!      microphone: 1900 Hz   tcpdump on both wires       speaks 1100 Hz
//! ```
//!
//! Each test has a network of its own (`Network`), which needs root. The page `page/client.js` speaks the HTTP
//! contract by itself, `driver.mjs` moves it and listens to what it receives; `tests/browser/package.json` and
//! `requirements.txt` hold the exact versions of what that takes, `scripts/install-browser-tools` installs them.
//!
//! Deliberately absent: a stand-in for any of these programs. One that is missing is a failure.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod masking;
mod network;
mod page;
mod scene;
mod second;
mod timing;
mod try_page;
