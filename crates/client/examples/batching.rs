//! Loads many entries in one call, and submits again what was not executed.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use zraft_client::RaftClient;
use zraft_test_server::{AppendLog, TestCluster};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = TestCluster::builder().members(3).app(AppendLog::new()).start().await?;
    let client =
        RaftClient::builder().members(cluster.endpoints()).capability("role", "loader").build()?;
    client.connect().await?;

    let mut entries: Vec<String> = (0..10_000).map(|number| format!("entry {number}")).collect();
    let mut loaded = 0;
    while !entries.is_empty() {
        // Borrows the entries: the outcomes come in their order.
        let payloads = entries.iter().map(|entry| entry.clone().into_bytes());
        let mut outcomes = client.submit_commands(payloads);
        let mut again = Vec::new();
        for entry in &entries {
            match outcomes.next().await {
                Some(Ok(_)) => loaded += 1,
                // Not executed, for example because its time passed while it was queued.
                Some(Err(error)) if !error.maybe_executed() => again.push(entry.clone()),
                // It may have run: the state must be read first.
                Some(Err(error)) => return Err(error.into()),
                None => break,
            }
        }
        drop(outcomes);
        entries = again;
    }
    println!("{loaded} entries are loaded");

    client.disconnect().await;
    cluster.shutdown().await;
    Ok(())
}
