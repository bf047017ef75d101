//! A cluster on `ipc://` sockets.

use tokio::net::UnixStream;
use zraft_test_server::{AppendLog, KillLoss, TestCluster};

use crate::sockets::peer::{Peer, payload, quiet, soon};

#[tokio::test]
async fn member_on_an_ipc_socket_serves_and_restarts() {
    let directory = std::env::temp_dir().join(format!("zraft-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a new directory");
    let cluster = TestCluster::builder()
        .app(AppendLog::new())
        .ipc_directory(&directory)
        .start()
        .await
        .expect("starts");
    let endpoint = cluster.endpoints().into_values().next().expect("one member");
    let path = endpoint.strip_prefix("ipc://").expect("an ipc endpoint").to_owned();
    let connect = || async {
        let stream = UnixStream::connect(&path).await?;
        Ok::<_, std::io::Error>(Peer::over(stream, quiet()).await.expect("shakes hands"))
    };
    let mut peer = connect().await.expect("listens");
    let session = peer.create().await.expect("created");
    peer.command(1, payload(&b"one"[..])).await.expect("answered");
    cluster.kill("node-1", KillLoss::Uncommitted).await.expect("it runs");
    peer.end().await;
    assert!(connect().await.is_err());
    cluster.restart("node-1").await.expect("it does not run");
    soon(cluster.leader_elected()).await;
    let mut peer = connect().await.expect("listens");
    peer.resume(&session).await.expect("continued");
    cluster.shutdown().await;
    assert!(!std::path::Path::new(&path).exists(), "the socket is removed");
    std::fs::remove_dir(&directory).expect("nothing else is in it");
}
