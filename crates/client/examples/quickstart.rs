//! Sends one command to a key-value store on this computer, such as the one that `zraft dev` starts.

use zraft_client::{Error, RaftClient};

#[tokio::main]
async fn main() -> Result<(), Error> {
    run("tcp://127.0.0.1:7001").await
}

pub(crate) async fn run(endpoint: &str) -> Result<(), Error> {
    let client = RaftClient::builder()
        .member("node-1", endpoint)
        .capability("kind", "quickstart")
        .build()?;
    client.connect().await?;
    // A Set of `key` to `value`, in the encoding of the key-value store.
    let answer = client.submit_command(b"S\0\0\0\x03key\0\0\0\x05value".as_slice()).await?;
    assert!(answer.is_empty());
    client.disconnect().await;
    Ok(())
}
