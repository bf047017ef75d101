//! The runs: what the program's commands and the tests do, at their several lengths.

pub mod cuts;
pub mod failover;
pub mod registers;
pub mod restarts;
pub mod soak;

use std::time::Duration;

use zraft_client::{ClientBuilder, RaftClient};

use crate::{failure::Failure, stage::Stage};

/// Connects so many clients, each with a session of its own.
async fn connect(
    stage: &Stage,
    count: usize,
    settings: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<Vec<RaftClient>, Failure> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let client = settings(stage.client()).build()?;
        client.connect().await?;
        clients.push(client);
    }
    Ok(clients)
}

/// Closes the sessions and ends the cluster.
async fn close(clients: &[RaftClient], stage: Stage) {
    for client in clients {
        client.disconnect_within(Duration::from_secs(1)).await;
    }
    stage.shutdown().await;
}
