//! `-e`: which cluster.

use std::time::Duration;

use clap::Args;
use zraft_client::{ClientBuilder, RaftClient};

/// The cluster to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Endpoints {
    /// The members, as `id=address`, with commas between them
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
        let mut builder =
            RaftClient::builder().capability("protocol", "kvstore").capability("version", "1.0.0");
        for (number, member) in self.endpoints.split(',').enumerate() {
            let Some((id, address)) = member.split_once('=') else {
                let number = number + 1;
                return Err(format!(
                    "endpoint number {number} is not of the form node-1=tcp://127.0.0.1:7001"
                ));
            };
            builder = builder.member(id.trim(), address.trim());
        }
        Ok(builder)
    }

    /// A client of this cluster whose operations give up after `patience`.
    pub(crate) fn client(&self, patience: Duration) -> Result<RaftClient, String> {
        let builder = self.builder()?.request_timeout(patience);
        builder.build().map_err(|error| error.to_string())
    }
}
