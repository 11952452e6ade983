//! revbridge rings two parties and joins them.
//!
//! ```text
//! HTTP → api → switch → call → leg ─ sip ─────── server (sockets, clock, disk)
//!                │        └→ media ─ webrtc ──┘
//!                └→ store (guardrails decide inside the transaction) → events → webhooks, metrics, records
//! ```
//!
//! Data goes one way, left to right; a leg answers only with [`leg::LegEvent`]s, through the switch.
//! Everything but [`server`], [`api`] and the store's engines is sans-IO: events and the time go in,
//! actions come out. `docs/architecture.md` has the rules, `docs/life-of-a-call.md` follows one call
//! through the files, and `tests/tidy.rs` holds the floors:
//!
//! ```text
//! main
//! cli
//! server
//! api
//! store::open
//! store::sqlite   store::postgres
//! store::engine
//! switch
//! sip   webrtc   call        side by side: they know each other only through `leg`
//! leg   store
//! events   trace
//! media   config
//! sdp   guardrails
//! model
//! ```
//!
//! # Glossary
//!
//! - **leg**: one dialog with one party, or one browser. Leg A is the organization's own user, leg B the
//!   destination.
//! - **call**: two legs, a record, and the money.
//! - **peer**: what ICE, DTLS and SRTP are to one browser; it outlives a change of network, not a reload.
//! - **UAC, UAS, transaction, dialog, offer/answer**: as in RFC 3261 and RFC 3264.
//! - **guardrail**: one of five rules (ownership, destination, rate, concurrency, spend) that each INVITE
//!   must pass; a **permit** says that it did, a **refusal** says which one it did not.
//! - **commit**: one transaction of one step of a call. What follows it leaves after it is durable.
//! - **notice**: something an operator counts or reads. A **fact**: something a client subscribes to.

pub mod api;
pub mod call;
pub mod config;
pub mod events;
pub mod guardrails;
pub mod leg;
pub mod media;
pub mod model;
pub mod sdp;
pub mod server;
pub mod sip;
pub mod store;
pub mod switch;
pub mod trace;
pub mod webrtc;
