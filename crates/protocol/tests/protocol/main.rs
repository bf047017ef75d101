//! The protocol's bytes, held against vectors, captures and arbitrary input.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

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
