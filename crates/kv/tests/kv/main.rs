//! The store's payloads, held against vectors, limits and arbitrary input.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod captures;
mod hostile;
mod limits;
mod properties;
mod support;
mod vectors;
