//! Browsers in place of the user's phone, from the token to the record.

mod calls;
mod cors;
mod events;
mod offers;
mod page;
mod phone;
mod secrecy;
mod switchboard;
mod tokens;
pub mod world;
