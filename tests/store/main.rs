//! The SQLite engine against what must not happen: two calls of one request, money or legs past a
//! limit, half a commit, a lost answer.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used, clippy::expect_used)] // Tests.

mod audit;
mod backup;
mod breakers;
mod cluster;
mod crash;
mod deliveries;
mod desk;
mod doubt;
mod encrypted;
mod erasure;
mod lists;
mod outage;
mod races;
mod retention;
mod schema;
mod shared;
mod statements;
mod tenants;
mod tokens;
mod traces;
