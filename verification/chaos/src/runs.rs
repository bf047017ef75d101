//! The runs, which the program executes at full length and the tests at a short one.

mod callers;
pub mod connect;
pub mod cuts;
pub mod failover;
pub mod idle_watch;
pub mod members;
pub mod operations;
mod operator;
pub mod recovery;
pub mod registers;
pub mod restarts;
pub mod server;
pub mod soak;

use std::{path::Path, time::Duration};

use zraft_cli::processes::Processes;
use zraft_client::{ClientBuilder, RaftClient};

use crate::{failure::Failure, stage::Stage};

/// A run on server processes must end by then. It is far longer than the longest one takes.
const PATIENCE: Duration = Duration::from_secs(3600);

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

/// Runs a job on three server processes with the append log, and stops them. Keeps their files after a failure, such as a member that
/// ends by itself.
async fn on_members<T>(
    program: &Path,
    job: impl AsyncFnOnce(&Processes) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let processes = Processes::prepare(program, "append-log", PATIENCE);
    let mut processes = processes.map_err(Failure::Member)?;
    let done = async {
        processes.open_all().map_err(Failure::Member)?;
        let done = tokio::select! {
            biased;
            problem = processes.watch() => return Err(Failure::Member(problem)),
            done = job(&processes) => done?,
        };
        processes.stop().await.map_err(Failure::Member)?;
        Ok(done)
    };
    done.await.map_err(|failure| failure.with_files(processes.keep_folder()))
}
