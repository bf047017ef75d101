//! Ends in order: takes no new work, waits for the answers that are due, and records the commands whose outcome is unknown.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::time::Duration;

use zraft_client::RaftClient;
use zraft_test_server::{AppendLog, TestCluster};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = TestCluster::builder().members(3).app(AppendLog::new()).start().await?;
    let client =
        RaftClient::builder().members(cluster.endpoints()).capability("role", "example").build()?;
    client.connect().await?;

    let mut answers = Vec::new();
    for number in 0..100 {
        answers.push(client.try_submit_command(format!("entry {number}"))?);
    }
    // Here your program waits for the signal that ends it, such as `tokio::signal::ctrl_c()`, and takes no new work from then on.

    // Sends what is queued, waits for the answers, and closes the session on the server.
    client.disconnect_within(Duration::from_secs(3)).await;
    let (mut done, mut unknown) = (0, 0);
    for answer in answers {
        match answer.await {
            Ok(_) => done += 1,
            Err(error) if error.maybe_executed() => unknown += 1,
            // Not executed: it can be submitted after the next start.
            Err(_) => {}
        }
    }
    println!("{done} commands are done, the outcome of {unknown} is unknown");
    assert_eq!((done, unknown), (100, 0));
    // The server does not keep the session until it expires.
    cluster.wait_for(|members| members.sessions().next().is_none()).await;

    cluster.shutdown().await;
    Ok(())
}
