//! Runs the program `zraft` as a user does.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap as tests do")]

mod check;
#[cfg(unix)]
mod cluster;
mod demo;
#[cfg(unix)]
mod dev;
mod documents;
mod guide;
#[cfg(unix)]
mod init;
mod inspect;
#[cfg(unix)]
mod members;
#[cfg(unix)]
mod packaging;
#[cfg(unix)]
mod processes;
mod reach;
#[cfg(unix)]
mod recovery;
mod request;
#[cfg(unix)]
mod server;
mod status;
#[cfg(unix)]
mod store;
mod support;
#[cfg(unix)]
mod tls;
#[cfg(unix)]
mod watch;
