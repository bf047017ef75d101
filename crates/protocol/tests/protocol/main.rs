//! Checks the codec against vectors, captures and arbitrary input.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod captures;
mod hostile;
mod limits;
/// The JSON form of `zraft inspect`, which is also the form of the vectors. The code is shared, so there is one form.
#[allow(unreachable_pub, reason = "the command line exports the items")]
#[path = "../../../cli/src/messages.rs"]
mod messages;
mod optional_member_id;
mod properties;
mod reserved;
mod rules;
mod secrets;
mod support;
mod vectors;
