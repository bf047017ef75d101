//! Tests the payloads against vectors, limits and arbitrary input, and the typed client against the embedded cluster.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod captures;
mod client;
mod hostile;
mod limits;
mod properties;
mod support;
mod vectors;
