//! Handles errors: submits again what was not executed, and finds out about a command whose outcome is unknown.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::time::Duration;

use zraft_client::{Bytes, Error, RaftClient};
use zraft_test_server::{AppendLog, MessageClass, TestCluster};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let cluster = TestCluster::builder().members(3).app(AppendLog::new()).start().await;
    let cluster = cluster.expect("ports on loopback");
    let client =
        RaftClient::builder().members(cluster.endpoints()).capability("role", "example").build()?;

    // Not executed: there is no session yet.
    let error = client.submit_command("too early").await.expect_err("not connected");
    println!("{}: {error}", error.code());
    assert!(!error.maybe_executed());
    client.connect().await?;

    // Outcome unknown: the answer is lost, and the time passes. The client resends the command, and its answer still comes.
    cluster.drop_messages(MessageClass::Answers, Some(1));
    let submission = client.submit_command("entry").timeout(Duration::from_millis(100));
    let position = match submission.await {
        Ok(answer) => answer,
        Err(error) => {
            println!("{}: {error}", error.code());
            cluster.deliver_all();
            late(error).await?
        }
    };
    assert_eq!(position, 0_u64.to_be_bytes().as_slice());
    // It ran once.
    assert_eq!(client.submit_query("length").await?, 1_u64.to_be_bytes().as_slice());

    client.disconnect().await;
    cluster.shutdown().await;
    Ok(())
}

/// Returns the answer of a command that was sent, once it arrives.
async fn late(error: Error) -> Result<Bytes, Error> {
    match error.resolution() {
        Some(resolution) => resolution.await,
        None => Err(error),
    }
}
