//! The peer port with TLS: each member is who its certificate says.

use std::{fs, sync::Arc};

use bytes::{BufMut, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};
use zraft_replica::{
    ConnectionKind, HandshakeMessage, Hello, Incarnation, Introduction, Position, Sender,
};
use zraft_server::{
    LocalCluster, Member, MemberConfig, PeerTls, Port, RaftId, peer_certificate_name,
};
use zraft_session::applications::Echo;

use crate::{
    certificates::{Authority, Identity},
    support::within,
    tls::{Authorities, assert_kept, identity, secured, write, write_pair},
};

fn id(number: u64) -> RaftId {
    RaftId::new(number).expect("not 0")
}

/// Returns what a member with this number says first, to member 1.
fn hello(member: &Member, number: u64) -> BytesMut {
    let introduction = Introduction {
        cluster: member.identity().cluster,
        incarnation: Incarnation::new([9; 16]),
        address: "127.0.0.1:1".to_owned(),
    };
    let from = Sender {
        id: id(number),
        introduction,
        oldest: 1,
        newest: 1,
        feature_level: 1,
        durable: Position::default(),
        client_endpoint: None,
    };
    let hello = Hello { from, to: id(1), kind: ConnectionKind::Urgent, remembered: None };
    let body = HandshakeMessage::Hello(hello).encode();
    let mut frame = BytesMut::new();
    frame.put_u32(body.len() as u32);
    frame.put_slice(&body);
    frame
}

/// Introduces itself as member `number` with this certificate, or with none. Returns what the member answers before it
/// closes the connection; none if it answers nothing.
async fn dial(
    member: &Member,
    ca: &Authority,
    certificate: Option<&Identity>,
    number: u64,
) -> Option<HandshakeMessage> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.pem().as_bytes()).expect("a certificate");
    roots.add(ca).expect("a CA");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("ring has them");
    let builder = builder.with_root_certificates(roots);
    let config = match certificate {
        Some(Identity { certificate, key }) => {
            let chain = CertificateDer::from_pem_slice(certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
            let chain = vec![chain.expect("a certificate")];
            builder.with_client_auth_cert(chain, key).expect("they fit")
        }
        None => builder.with_no_client_auth(),
    };
    let name = peer_certificate_name(member.identity().cluster, id(1));
    let name = ServerName::try_from(name).expect("a name");
    let stream = within(TcpStream::connect(member.peer_address())).await.expect("it listens");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let mut stream = within(stream).await.expect("TLS 1.3 judges the dialer later");
    // The member may have closed the connection already.
    if within(stream.write_all(&hello(member, number))).await.is_err() {
        return None;
    }
    let mut length = [0; 4];
    within(stream.read_exact(&mut length)).await.ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    within(stream.read_exact(&mut body)).await.expect("a whole frame");
    Some(HandshakeMessage::decode(&body.into()).expect("a message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn member_is_heard_only_with_a_certificate_for_its_cluster_and_number() {
    let authorities = Authorities::new();
    let cluster = secured(1, &authorities, |_| {}).await;
    let member = cluster.member(1).expect("it runs");
    let ca = &authorities.peers;
    let cluster_id = member.identity().cluster;
    let second = ca.issue(&[&peer_certificate_name(cluster_id, id(2))]);
    let third = ca.issue(&[&peer_certificate_name(cluster_id, id(3))]);

    // Member 2 is not in the configuration, but is heard.
    let answer = dial(member, ca, Some(&second), 2).await;
    assert!(
        matches!(answer, Some(HandshakeMessage::Refusal(_) | HandshakeMessage::Welcome(_))),
        "{answer:?}"
    );
    assert_eq!(member.figures().peers_tls_failed, 0);

    let other = zraft_server::ClusterId::new([7; 16]);
    let elsewhere = ca.issue(&[&peer_certificate_name(other, id(2))]);
    for certificate in [&third, &elsewhere, &ca.issue(&["127.0.0.1"])] {
        assert_eq!(dial(member, ca, Some(certificate), 2).await, None);
        assert_kept(member, Port::Peer, "says that it is member 2").await;
    }
    let refused = member.figures().peers_refused;
    assert_eq!(dial(member, ca, None, 2).await, None);
    assert_kept(member, Port::Peer, "shows no certificate").await;
    // A client's certificate opens no peer port, not even with the right name.
    let client = authorities.clients.issue(&[&peer_certificate_name(cluster_id, id(2))]);
    assert_eq!(dial(member, ca, Some(&client), 2).await, None);
    assert_kept(member, Port::Peer, "not signed by the CA in peer.ca").await;
    let expired = ca.issue_expired(&[&peer_certificate_name(cluster_id, id(2))]);
    assert_eq!(dial(member, ca, Some(&expired), 2).await, None);
    assert_kept(member, Port::Peer, "not valid now: replace the files in its peer.certificate")
        .await;
    assert_eq!(member.figures().peers_tls_failed, 6);
    assert_eq!(member.figures().peers_refused, refused, "the replica heard nothing of them");
    cluster.stop().await;
}

/// Starts three members, of which the third differs from the others as `differ` says.
async fn with_an_odd_third(
    differ: impl Fn(&Authorities, &mut MemberConfig) + Send + Sync + 'static,
) -> LocalCluster<Echo> {
    let authorities = Authorities::new();
    let configure = move |config: &mut MemberConfig| {
        authorities.secure(config);
        if identity(&config.directory).raft_id == id(3) {
            differ(&authorities, config);
        }
    };
    LocalCluster::start_with(3, || Echo, configure).await.expect("all start")
}

/// Checks that the first two members elect a leader without the third, which finds none, and say why they do not accept it.
async fn assert_third_is_outside(cluster: &LocalCluster<Echo>, text: &str) {
    let led = |number| cluster.wait(number, |status| status.leader.is_some());
    let first = within(led(1)).await.expect("it runs");
    let second = within(led(2)).await.expect("it runs");
    assert_ne!(first.leader, Some(id(3)));
    assert_ne!(second.leader, Some(id(3)));
    for number in 1..=2 {
        let member = cluster.member(number).expect("it runs");
        assert_kept(member, Port::Peer, text).await;
        assert!(member.figures().peers_tls_failed > 0, "{number}");
    }
    assert_eq!(cluster.member(3).expect("it runs").status().leader, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn member_with_a_certificate_of_another_ca_stays_outside() {
    let others = Authority::new("others");
    let cluster = with_an_odd_third(move |_, config| {
        let identity = identity(&config.directory);
        let name = peer_certificate_name(identity.cluster, identity.raft_id);
        write_pair(&config.directory, "peer", &others.issue(&[&name]));
        let ca = &config.peer_tls.as_ref().expect("it has TLS").ca;
        write(ca, &others.pem(), 0o644);
    })
    .await;
    assert_third_is_outside(&cluster, "not signed by the CA in peer.ca").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn member_without_tls_stays_outside() {
    let cluster = with_an_odd_third(|_, config| config.peer_tls = None).await;
    assert_third_is_outside(&cluster, "bytes that are not TLS: set its peer.certificate").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_with_two_cas_work_together_while_the_ca_is_replaced() {
    let new = Authority::new("new peers");
    let authorities = Authorities::new();
    let both = format!("{}{}", authorities.peers.pem(), new.pem());
    let configure = move |config: &mut MemberConfig| {
        authorities.secure(config);
        let PeerTls { ca, .. } = config.peer_tls.as_ref().expect("it has TLS");
        write(ca, &both, 0o644);
        let identity = identity(&config.directory);
        if identity.raft_id == id(3) {
            let name = peer_certificate_name(identity.cluster, identity.raft_id);
            write_pair(&config.directory, "peer", &new.issue(&[&name]));
        }
        assert!(fs::exists(ca).expect("readable"));
    };
    let cluster = LocalCluster::start_with(3, || Echo, configure).await.expect("all start");
    within(cluster.caught_up()).await.expect("all run");
    assert_eq!(cluster.member(3).expect("it runs").figures().peers_tls_failed, 0);
    cluster.stop().await;
}
