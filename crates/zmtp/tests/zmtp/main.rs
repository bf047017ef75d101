//! Checks the connection, without sockets, against rules, live captures and arbitrary input.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod captures;
mod common;
mod framing;
mod greeting;
mod handshake;
mod heartbeat;
mod lessons;
mod messages;
mod output;
mod oversized;
mod pair;
mod streams;
mod time;
