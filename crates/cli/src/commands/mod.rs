//! The commands, one per file.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod endpoints;
pub(crate) mod inspect;
pub(crate) mod ping;
pub(crate) mod store;
