//! Checks the codec of the store's payloads against vectors, limits and arbitrary input.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod captures;
mod hostile;
mod limits;
mod properties;
mod support;
mod vectors;
