//! The endpoint against a scripted peer, both stepped in virtual time.

mod peer;

mod challenges;
mod connections;
mod dialing;
mod failover;
mod forks;
mod hostile;
mod identity;
mod mutated;
mod offers;
mod register;
mod reliable;
mod requests;
mod restarts;
mod sessions;
mod strays;
mod timers;
mod torture;
mod trunks;
