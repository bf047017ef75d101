//! `-e`: which cluster.

use std::time::Duration;

use clap::Args;
use zraft_cli::members;
use zraft_client::{ClientBuilder, RaftClient};

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
}

impl Endpoints {
    /// The members of this cluster, in a client's settings.
    pub(crate) fn builder(&self) -> Result<ClientBuilder, String> {
        members::builder(&self.endpoints)
    }

    /// A client of this cluster whose operations give up after `patience`; without, they wait as long as it takes.
    pub(crate) fn client(&self, patience: Option<Duration>) -> Result<RaftClient, String> {
        let builder = self.builder()?.request_timeout(patience);
        builder.build().map_err(|error| error.to_string())
    }
}
