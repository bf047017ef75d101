//! The runs, which the program executes at full length and the tests at a short one.

mod callers;
pub mod connect;
pub mod cuts;
pub mod failover;
pub mod operations;
pub mod recovery;
pub mod registers;
pub mod restarts;
pub mod server;
pub mod soak;

use std::time::Duration;

use zraft_client::{ClientBuilder, RaftClient};

use crate::{failure::Failure, stage::Stage};

/// Connects `count` clients, each with its own session.
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

/// Closes the sessions and stops the cluster.
async fn close(clients: &[RaftClient], stage: Stage) {
    for client in clients {
        client.disconnect_within(Duration::from_secs(1)).await;
    }
    stage.shutdown().await;
}
