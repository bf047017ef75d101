use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zraft_protocol::ServerMessage;
use zraft_server::{Figures, LocalCluster, MemberConfig};
use zraft_session::applications::Echo;

use crate::support::{RawClient, client, command, query, within};

/// Writes bytes to a port, and reads until the member closes the connection.
async fn throw(address: std::net::SocketAddr, bytes: &[u8]) {
    let mut stream = within(TcpStream::connect(address)).await.expect("it listens");
    // The member may close the connection while the bytes are written.
    if within(stream.write_all(bytes)).await.is_ok() && within(stream.shutdown()).await.is_ok() {
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
    }
}

fn framed(body: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u32(body.len() as u32);
    frame.put_slice(body);
    frame.freeze()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_at_both_ports_ends_its_own_connection_only() {
    let cluster = LocalCluster::start(3, || Echo).await.expect("starts");
    let client = client(&cluster).await;
    within(cluster.caught_up()).await.expect("all run");
    let patterns: [Bytes; 6] = [
        Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"),
        Bytes::from(vec![0; 10_000]),
        Bytes::from(vec![0xFF; 10_000]),
        framed(b"zraftpr1"),
        framed(b"zraftpr1\x01but not a hello"),
        framed(&[7; 4096]),
    ];
    for number in 1..=3 {
        let member = cluster.member(number).expect("it runs");
        for pattern in &patterns {
            throw(member.client_address(), pattern).await;
            throw(member.peer_address(), pattern).await;
        }
        let Figures { peers_undecodable, clients_undecodable, .. } = member.figures();
        assert!(peers_undecodable > 0, "{:?}", member.figures());
        assert!(clients_undecodable > 0, "{:?}", member.figures());
    }
    let answer = within(client.submit_command("still here")).await.expect("it is answered");
    assert_eq!(answer, "still here");
    client.disconnect().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_message_ends_its_connection_and_not_its_session() {
    let cluster = LocalCluster::start(1, || Echo).await.expect("starts");
    within(cluster.leader()).await.expect("a leader");
    let address = cluster.member(1).expect("it runs").client_address();
    let mut raw = RawClient::connect(address).await;
    let session = raw.session().await;
    raw.send_garbage().await;
    raw.until_closed().await;
    assert_eq!(cluster.member(1).expect("it runs").figures().clients_undecodable, 1);
    let mut raw = RawClient::connect(address).await;
    let resumed = raw.resume(&session).await;
    assert!(matches!(resumed, Some(ServerMessage::SessionContinued { .. })), "{resumed:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_closed_and_resumes() {
    let small = |config: &mut MemberConfig| config.ports.client_queue = 256 << 10;
    let cluster = LocalCluster::start_with(1, || Echo, small).await.expect("starts");
    within(cluster.leader()).await.expect("a leader");
    let member = cluster.member(1).expect("it runs");
    let mut raw = RawClient::connect(member.client_address()).await;
    let session = raw.session().await;
    let payload = Bytes::from(vec![b'a'; 64 << 10]);
    let queries: Vec<_> = (0..1000).map(|number| query(number, payload.clone())).collect();
    raw.flood(&queries).await;
    raw.until_closed().await;
    assert_eq!(member.figures().clients_slow, 1);
    let mut raw = RawClient::connect(member.client_address()).await;
    let resumed = raw.resume(&session).await;
    assert!(matches!(resumed, Some(ServerMessage::SessionContinued { .. })), "{resumed:?}");
    raw.send(&command(1, "a")).await;
    assert!(matches!(raw.next().await, Some(ServerMessage::ClientResponse { .. })));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed() {
    let few = |config: &mut MemberConfig| config.ports.client_connections = 2;
    let cluster = LocalCluster::start_with(1, || Echo, few).await.expect("starts");
    within(cluster.leader()).await.expect("a leader");
    let member = cluster.member(1).expect("it runs");
    let mut first = RawClient::connect(member.client_address()).await;
    let _second = RawClient::connect(member.client_address()).await;
    throw(member.client_address(), b"one too many").await;
    assert_eq!(member.figures().clients_over_limit, 1);
    first.session().await;
    cluster.stop().await;
}
