//! Traces the client as lines of JSON. Needs the feature `tracing`.

use std::io;

use tracing::{Instrument, Level};
use tracing_subscriber::fmt::format::FmtSpan;
use zraft_client::RaftClient;
use zraft_test_server::{AppendLog, TestCluster};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let subscriber = tracing_subscriber::fmt()
        .json()
        // The client's spans and most of its events are of this level.
        .with_max_level(Level::DEBUG)
        // A line when a span ends: it has the outcome and the time.
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(io::stdout)
        .finish();
    // For this thread alone. A program usually calls `set_global_default` once.
    let _guard = tracing::subscriber::set_default(subscriber);

    let cluster = TestCluster::builder().members(3).app(AppendLog::new()).start().await?;
    let client =
        RaftClient::builder().members(cluster.endpoints()).capability("role", "example").build()?;
    client.connect().await?;
    // The command's span lies within yours.
    let order = tracing::info_span!("order", number = 7);
    async { client.submit_command("an order").await }.instrument(order).await?;
    client.submit_query("length").await?;
    client.disconnect().await;
    cluster.shutdown().await;
    Ok(())
}
