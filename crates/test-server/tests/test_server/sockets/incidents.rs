//! The incidents of a cluster on sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zraft_test_server::{
    ClosedFor, ClusterBuilder, Incident, KvStore, TestCluster, TransportLimits,
};

use crate::sockets::peer::{Peer, address, payload, soon};

fn cluster() -> ClusterBuilder {
    TestCluster::builder().app(KvStore::new())
}

#[tokio::test]
async fn rejected_payload_is_reported_with_its_address() {
    let cluster = cluster().start().await.expect("starts");
    let mut incidents = cluster.incidents();
    let stream = TcpStream::connect(address(&cluster, "node-1")).await.expect("listens");
    let from = stream.local_addr().expect("bound").to_string();
    let mut peer = Peer::over(stream, crate::sockets::peer::quiet()).await.expect("shakes hands");
    peer.create().await.expect("created");
    peer.send_command(1, payload(&b"not a command"[..])).await.expect("written");
    let incident = soon(incidents.next()).await.expect("the cluster runs");
    let Incident::ConnectionClosed { address, session, reason, .. } = &incident else {
        panic!("{incident:?}")
    };
    assert_eq!((address.as_deref(), *session), (Some(&*from), Some(1)));
    assert!(matches!(reason, ClosedFor::RejectedCommand { .. }), "{reason:?}");
    assert!(incident.to_string().contains(&format!("from {from} (session 1)")), "{incident}");
}

#[tokio::test]
async fn connections_closed_or_refused_by_the_transport_are_reported() {
    let mut limits = TransportLimits::default();
    limits.handshakes = 1;
    limits.message_size = 1000;
    let cluster = cluster().transport_limits(limits).start().await.expect("starts");
    let mut incidents = cluster.incidents();
    // Bytes that are not ZMTP.
    let mut http = TcpStream::connect(address(&cluster, "node-1")).await.expect("listens");
    http.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("written");
    let incident = soon(incidents.next()).await.expect("the cluster runs");
    let from = http.local_addr().expect("bound");
    let text = format!("node-1 closed a connection from {from}: the peer does not speak ZMTP");
    assert_eq!(incident.to_string(), text);
    // A frame that is too long.
    let mut peer = Peer::connect(&cluster, "node-1").await;
    peer.send_bytes(&[0; 1001]).await.expect("written");
    let incident = soon(incidents.next()).await.expect("the cluster runs").to_string();
    assert!(incident.contains("a frame of 1001 bytes"), "{incident}");
    assert!(incident.ends_with("the limit message_size is reached"), "{incident}");
    // One handshake more than the limit.
    let _shaking = TcpStream::connect(address(&cluster, "node-1")).await.expect("listens");
    let mut refused = TcpStream::connect(address(&cluster, "node-1")).await.expect("listens");
    soon(refused.read(&mut [0; 100])).await.ok();
    let incident = soon(incidents.next()).await.expect("the cluster runs");
    let Incident::ConnectionRefused { limit, address, .. } = &incident else {
        panic!("{incident:?}")
    };
    let from = refused.local_addr().expect("bound").to_string();
    assert_eq!((*limit, address.as_deref()), ("handshakes", Some(&*from)));
}

#[tokio::test]
async fn leader_changes_and_expired_sessions_are_reported_in_order() {
    let cluster = cluster().members(3).start().await.expect("starts");
    let mut incidents = cluster.incidents();
    let mut peer = Peer::connect(&cluster, "node-1").await;
    let session = peer.create().await.expect("created");
    cluster.expire_session(&session).expect("it lives");
    soon(cluster.wait_for(|engine| engine.sessions().count() == 0)).await;
    soon(cluster.move_leadership("node-3")).await.expect("it runs");
    let mut lines = Vec::new();
    for _ in 0..3 {
        lines.push(soon(incidents.next()).await.expect("the cluster runs").to_string());
    }
    assert_eq!(lines, ["session 1 expired", "node-1 does not lead any more", "node-3 leads now"]);
}

#[tokio::test]
async fn incidents_end_with_the_cluster() {
    let cluster = cluster().start().await.expect("starts");
    let (mut incidents, handle) = (cluster.incidents(), cluster.handle());
    cluster.shutdown().await;
    assert_eq!(soon(incidents.next()).await, None);
    assert_eq!(soon(handle.incidents().next()).await, None, "nor do they begin after it");
}

#[tokio::test]
async fn slow_receiver_of_incidents_loses_the_oldest_and_learns_how_many() {
    let cluster = cluster().members(3).start().await.expect("starts");
    cluster.set_election_pause(std::time::Duration::ZERO);
    let mut incidents = cluster.incidents();
    // Each step-down gives two incidents.
    for _ in 0..150 {
        cluster.step_down(None).expect("one leads");
        soon(cluster.leader_elected()).await;
    }
    let mut taken = 0;
    while incidents.dropped() + taken < 300 {
        soon(incidents.next()).await.expect("the cluster runs");
        taken += 1;
    }
    assert_eq!((taken, incidents.dropped()), (256, 44));
}
