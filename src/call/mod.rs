//! One bridged call as a pure machine.
//!
//! ```text
//!  Admitting ─▶ CallingUser ─▶ Confirming? ─▶ CallingDestination ─▶ Bridged ─▶ Ending ─▶ Ended
//!      │             │              │                  │               │         ▲
//!      └─ refused    └──────────────┴── any end ───────┴───────────────┴─────────┘
//! ```
//!
//! The call names neither SIP nor WebRTC: it commands legs and hears from them by `crate::leg`.
