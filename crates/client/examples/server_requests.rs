//! Works on requests that the server makes, and acknowledges each one once the work is done.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use zraft_client::{AckServerRequests, RaftClient};
use zraft_kv::{Command, Key, Notification, Value};
use zraft_test_server::{KvStore, TestCluster};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = TestCluster::builder().members(3).app(KvStore::new()).start().await?;
    let client = RaftClient::builder()
        .members(cluster.endpoints())
        .capability("role", "worker")
        // The next request comes after this one was handled, and an unhandled one comes again.
        .ack_server_requests(AckServerRequests::Handled)
        .build()?;
    client.connect().await?;
    let mut requests = client.server_requests()?;

    let key = Key::new("light")?;
    // The server sends this session a request for each change of the key.
    client.submit_command(Command::Watch { key: key.clone() }.encode()).await?;
    for colour in ["green", "amber", "red"] {
        let command = Command::Set { key: key.clone(), value: Value::new(colour)? };
        client.submit_command(command.encode()).await?;
    }
    for _ in 0..3 {
        let request = requests.next().await.ok_or("the client is gone")?;
        let Notification { key, value } = Notification::decode(&request.payload)?;
        println!("request {}: {key} is {value}", request.request_id.get());
        request.acknowledge();
    }

    client.disconnect().await;
    cluster.shutdown().await;
    Ok(())
}
