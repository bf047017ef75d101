//! The native half of the Node client for ZIO Raft clusters.
//!
//! JavaScript and Rust exchange little, and seldom. The operations of one turn of the event loop come in a few
//! batches of bytes, and what happened since JavaScript last looked returns as chunks of records. Rust makes no object and no promise
//! for a request. Sessions and requests are the work of the driver of `zraft-client`; this crate implements the driver's
//! application side a second time, next to the Rust handles.
//!
//! | idea | file |
//! | --- | --- |
//! | the layout of batches and records | `layout.rs` |
//! | what JavaScript holds of a client | `client.rs` |
//! | memory of batches, reused | `batch_memory.rs` |
//! | inbox, outbox and status, shared by both sides | `channel.rs` |
//! | a driver, running or parked | `host.rs` |
//! | the threads | `runtime.rs` |
//! | the driver's application side | `bridge.rs` |
//! | operations of a batch; completions as records | `bridge/operations.rs`, `bridge/completions.rs` |
//! | slots of requests; records being written | `bridge/requests.rs`, `bridge/records.rs` |
//! | settings; failures, events and names as JSON | `settings.rs`, `json.rs`, `names.rs` |
//! | the payloads of the key-value store | `store.rs` |
//! | the embedded cluster and its switches | `cluster.rs`, `switches.rs` |
//! | an application of the embedded cluster in JavaScript | `application.rs` |

// The napi macros omit the functions for JavaScript from test builds, so much looks unused there.
#![cfg_attr(test, allow(dead_code))]

mod application;
mod batch_memory;
mod bridge;
mod channel;
mod client;
mod cluster;
mod host;
mod json;
mod layout;
mod names;
mod runtime;
mod settings;
mod store;
mod switches;
