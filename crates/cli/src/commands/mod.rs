//! The commands, one per file.

pub(crate) mod applications;
pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod endpoints;
pub(crate) mod flags;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod json;
pub(crate) mod man;
pub(crate) mod ping;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod table;
