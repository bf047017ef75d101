//! The native half of the Node client for ZIO Raft clusters.
//!
//! JavaScript and Rust say little to each other, and seldom: what JavaScript asks in one tick comes
//! as one batch of bytes, and what happened since it last looked goes back as chunks of bytes. No
//! object and no promise is made here for a request. Sessions and requests are the business of
//! `zraft-client`'s driver; this crate is another face of it.
//!
//! | idea | file |
//! | --- | --- |
//! | how batches and records are laid out | `layout.rs` |
//! | what JavaScript holds | `client.rs` |
//! | memory of batches, used again | `used.rs` |
//! | the driver's side towards JavaScript | `bridge.rs` |
//! | what they share | `links.rs` |
//! | a driver that runs, or rests | `seat.rs` |
//! | the one thread | `runtime.rs` |
//! | settings; failures, events and names as JSON | `settings.rs`, `json.rs`, `names.rs` |
//! | the payloads of the key-value store | `store.rs` |
//! | the embedded cluster | `cluster.rs`, `switches.rs` |

// The macros leave the doors to JavaScript out of tests.
#![cfg_attr(test, allow(dead_code))]

mod bridge;
mod client;
mod cluster;
mod json;
mod layout;
mod links;
mod names;
mod runtime;
mod seat;
mod settings;
mod store;
mod switches;
mod used;
