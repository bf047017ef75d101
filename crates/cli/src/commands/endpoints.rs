//! The options `-e` and `--timeout`.

use std::time::Duration;

use clap::Args;
use zraft_cli::{members, patience};
use zraft_client::{ClientBuilder, RaftClient};

/// The shortest `connectionTimeout` of a long-running command, so that a member that is slow for a moment is not given up.
const LASTING: Duration = Duration::from_millis(2500);

/// The cluster to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Endpoints {
    /// Members of the cluster, as id=address, separated by commas
    #[arg(
        short = 'e',
        long,
        value_name = "ID=ADDRESS,…",
        default_value = "node-1=tcp://127.0.0.1:7001"
    )]
    endpoints: String,
    /// Seconds to wait for a session and for an answer
    ///
    /// The command asks every member in this time, so a member that hangs gets a part of it. Closing the session takes up to
    /// one second more.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    timeout: Duration,
}

/// Reads a time in seconds, up to one day.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0);
    seconds.map(Duration::from_secs_f64).ok_or("must be more than 0 and at most 86400".to_owned())
}

impl Endpoints {
    /// Returns the time that the command waits.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout
    }

    /// Returns a client for one operation, whose requests time out with the command.
    pub(crate) fn client(&self) -> Result<RaftClient, String> {
        let least = Duration::from_millis(1);
        let builder = self.builder(least)?.request_timeout(self.timeout.max(least));
        builder.build().map_err(|error| error.to_string())
    }

    /// Returns the settings of a client for a long-running command.
    pub(crate) fn lasting(&self) -> Result<ClientBuilder, String> {
        self.builder(LASTING)
    }

    fn builder(&self, least: Duration) -> Result<ClientBuilder, String> {
        let members = self.endpoints.split(',').count();
        let each = patience::connection_timeout(self.timeout, members).max(least);
        Ok(members::builder(&self.endpoints)?.connection_timeout(each))
    }
}
