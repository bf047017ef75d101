//! Checks the codec against vectors, captures and arbitrary input.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod captures;
mod hostile;
mod json;
mod limits;
mod optional_member_id;
mod properties;
mod rules;
mod secrets;
mod support;
mod vectors;
