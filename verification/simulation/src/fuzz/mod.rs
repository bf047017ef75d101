//! The bodies of the fuzz targets, one function per target.
//!
//! Each takes any bytes and panics if a rule is broken. `verification/fuzz/` runs them under cargo-fuzz; the tests of this crate run
//! the same functions over the committed corpora and over random bytes, on stable Rust.

// A broken rule is a panic, because that is what a fuzzer looks for.
#![allow(clippy::unwrap_used)]

mod bytes_of_peer;
mod codec;
mod endpoint;
mod entries;
mod frames;
mod greeting;
mod machine;
mod peers;
mod replica_script;
mod script;
mod seeds;
mod seeds_of_members;
mod server;
mod store_open;

pub use codec::{client_codec, server_codec};
pub use endpoint::endpoint;
pub use entries::entries;
pub use frames::frames;
pub use greeting::greeting;
pub use machine::machine;
pub use peers::peer_codec;
pub use replica_script::replica_script;
pub use seeds::{Seed, seeds};
pub use server::server;
pub use store_open::store_open;

/// A fuzz target: its name, which is also its corpus' folder, and what it does with its input.
pub type Target = (&'static str, fn(&[u8]));

/// All fuzz targets.
pub const TARGETS: [Target; 11] = [
    ("greeting", greeting),
    ("frames", frames),
    ("client_codec", client_codec),
    ("server_codec", server_codec),
    ("machine", machine),
    ("server", server),
    ("endpoint", endpoint),
    ("peer_codec", peer_codec),
    ("entries", entries),
    ("store_open", store_open),
    ("replica_script", replica_script),
];
