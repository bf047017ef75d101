//! The embedded server in its own process.

use std::{io, time::Duration};

use zraft_test_server::{Echo, TestCluster};

use super::{announce, end_of_input};

/// Runs the embedded server, with one member and the echo application, until its standard input ends
///
/// Prints one line of JSON with its endpoint.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let cluster = TestCluster::builder()
            .app(Echo)
            .commit_delay(Duration::ZERO)
            .start()
            .await
            .map_err(io::Error::other)?;
        let endpoints = cluster.endpoints();
        announce(endpoints.values().next().map_or("", String::as_str))?;
        end_of_input().await;
        Ok(())
    })
}
