//! The tables: requests with their orders, and server requests. They store and find, and decide nothing.
//!
//! Every order in which a request can stand (its queue, the order of sending, its deadline) is a list threaded
//! through one slab. So joining, leaving and finding the first cost the same, no matter how many requests there are.

pub(crate) mod commands;
pub(crate) mod list;
pub(crate) mod queries;
pub(crate) mod requests;
pub(crate) mod server_requests;
pub(crate) mod slab;
pub(crate) mod wheel;
