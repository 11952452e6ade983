//! Webhooks as values: what a receiver is sent, where it may be, and when it is asked again.
//!
//! ```text
//!  subscription: URL ─ url, address ─▶ refused, or receiver and lane
//!                seed ─ secret ─▶ whsec_…, shown once
//!  delivery:     body, id, time, secret ─ sign ─▶ headers
//!                answer, tries so far ─ retry ─▶ delivered, again at, dead
//! ```
//!
//! Deliberately absent: sockets, DNS and the clock (`server::webhooks`), and what is yet to be delivered
//! (`store::Deliveries`).

mod address;
mod retry;
mod secret;
mod sign;
mod url;

pub use address::is_public;
pub use retry::{GIVE_UP_AFTER, TryEnd, TryError, Verdict, retry_after, verdict};
pub use secret::{KeyPrint, SecretSeed, SigningKey, WebhookSecret};
pub use sign::{Signatures, sign};
pub use url::{Reach, ReceiverId, UrlProblem, WebhookUrl};
