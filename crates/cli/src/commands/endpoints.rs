//! `-e` and `--timeout`: which cluster, and how long to wait for it.

use std::time::Duration;

use clap::Args;
use zraft_cli::{members, patience};
use zraft_client::{ClientBuilder, RaftClient};

/// A session that lasts is not to be lost because a member is slow for a moment.
const LASTING: Duration = Duration::from_millis(2500);

/// The cluster to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Endpoints {
    /// The members, as id=address, with commas between them
    #[arg(
        short = 'e',
        long,
        value_name = "ID=ADDRESS,…",
        default_value = "node-1=tcp://127.0.0.1:7001"
    )]
    endpoints: String,
    /// Give up after this many seconds without a session, or without an answer
    ///
    /// Every member is asked in this time: one that hangs gets a part of it. Closing the session takes up to one second more.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    timeout: Duration,
}

/// A time of up to a day.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0);
    seconds.map(Duration::from_secs_f64).ok_or("more than 0, at most 86400".to_owned())
}

impl Endpoints {
    /// How long the command waits.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout
    }

    /// A client for one operation, which gives up when the command does.
    pub(crate) fn client(&self) -> Result<RaftClient, String> {
        let least = Duration::from_millis(1);
        let builder = self.builder(least)?.request_timeout(self.timeout.max(least));
        builder.build().map_err(|error| error.to_string())
    }

    /// The settings of a client whose session lasts.
    pub(crate) fn lasting(&self) -> Result<ClientBuilder, String> {
        self.builder(LASTING)
    }

    fn builder(&self, least: Duration) -> Result<ClientBuilder, String> {
        let members = self.endpoints.split(',').count();
        let each = patience::connection_timeout(self.timeout, members).max(least);
        Ok(members::builder(&self.endpoints)?.connection_timeout(each))
    }
}
