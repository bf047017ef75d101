//! The tables of requests: a slab of entries, and the orders they stand in.
//!
//! Every order a request can stand in (the queue, the order of sending, the deadlines) is a list threaded through the
//! slab, so that joining, leaving and finding the first cost the same however many requests there are.

pub(crate) mod commands;
pub(crate) mod list;
pub(crate) mod queries;
pub(crate) mod requests;
pub(crate) mod server_requests;
pub(crate) mod slab;
pub(crate) mod wheel;
