//! Many messages at once, and large ones.

use bytes::BytesMut;
use zraft_protocol::ServerMessage;
use zraft_test_server::{AppendLog, TestCluster};

use crate::sockets::peer::{Peer, command, payload, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_one_write_are_each_executed_once_in_order_and_answered() {
    const COUNT: u64 = 20_000;
    let cluster = TestCluster::builder().app(AppendLog::new()).start().await.expect("starts");
    let mut peer = Peer::connect(&cluster, "node-1").await;
    peer.create().await.expect("created");
    let mut bytes = BytesMut::new();
    for number in 1..=COUNT {
        let mut message = BytesMut::new();
        command(number, payload(number.to_be_bytes().to_vec())).encode(&mut message);
        bytes.extend_from_slice(&[0, u8::try_from(message.len()).expect("short")]);
        bytes.extend_from_slice(&message);
    }
    peer.write_raw(&bytes).await.expect("written");
    for number in 1..=COUNT {
        match peer.receive().await {
            Ok(ServerMessage::ClientResponse { request_id, .. }) => {
                assert_eq!(request_id.get(), number);
            }
            other => panic!("not answered: {other:?}"),
        }
    }
    soon(cluster.journal_reached(COUNT)).await;
    let executed: Vec<_> =
        cluster.journal().iter().map(|execution| execution.request_id.get()).collect();
    assert_eq!(executed, (1..=COUNT).collect::<Vec<_>>());
    assert_eq!(cluster.executed(), (COUNT, 0));
}

#[tokio::test]
async fn payload_of_many_megabytes_goes_both_ways() {
    let cluster =
        TestCluster::builder().app(zraft_test_server::Echo).start().await.expect("starts");
    let mut peer = Peer::connect(&cluster, "node-1").await;
    peer.create().await.expect("created");
    let big = payload((0..16_u32 << 20).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    assert_eq!(peer.command(1, big.clone()).await.expect("answered"), big);
}
