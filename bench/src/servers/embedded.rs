//! The embedded server, in a process of its own.

use std::{io, time::Duration};

use zraft_test_server::{Echo, TestCluster};

use super::{end_of_input, tell};

/// Serves as the embedded server does, one member whose application echoes, until its standard input ends
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
        tell(endpoints.values().next().map_or("", String::as_str))?;
        end_of_input().await;
        Ok(())
    })
}
