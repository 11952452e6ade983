//! revbridge rings two parties and joins them.

pub mod call;
pub mod config;
pub mod events;
pub mod guardrails;
pub mod leg;
pub mod media;
pub mod model;
pub mod sdp;
pub mod sip;
pub mod store;
pub mod switch;
