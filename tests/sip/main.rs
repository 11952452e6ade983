//! The endpoint against a scripted peer, both stepped in virtual time.

mod peer;

mod dialing;
