//! TLS on both ports, and what clients may do wrong.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zraft_client::{ConnectionCause, Event, RaftClient, Tls};
use zraft_protocol::MemberId;
use zraft_server::{
    ClientTls, Figures, LocalCluster, LocalClusterError, Member, MemberConfig, PeerTls, Port,
    Reload, StartError, TlsFailure, peer_certificate_name,
};
use zraft_session::{Application, applications::Echo};
use zraft_store::{Folder, Identity};

use crate::{
    certificates::{self, Authority},
    support::{builder, within},
};

/// The CAs of a cluster.
pub(crate) struct Authorities {
    pub(crate) peers: Authority,
    pub(crate) servers: Authority,
    pub(crate) clients: Authority,
}

impl Authorities {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            peers: Authority::new("peers"),
            servers: Authority::new("servers"),
            clients: Authority::new("clients"),
        })
    }

    /// Returns the TLS settings of a client that the members accept.
    pub(crate) fn client(&self) -> Tls {
        let certificates::Identity { certificate, key } = self.clients.issue(&["client"]);
        Tls::new().ca(self.servers.pem()).certificate(certificate, key)
    }

    /// Gives a member its certificates.
    pub(crate) fn secure(&self, config: &mut MemberConfig) {
        let folder = config.directory.clone();
        let identity = identity(&folder);
        let name = peer_certificate_name(identity.cluster, identity.raft_id);
        let peer = write_pair(&folder, "peer", &self.peers.issue(&[&name]));
        let client = write_pair(&folder, "client", &self.servers.issue(&["127.0.0.1"]));
        config.peer_tls = Some(PeerTls {
            certificate: peer.0,
            key: peer.1,
            ca: write(&folder.join("peer-ca.pem"), &self.peers.pem(), 0o644),
        });
        config.client_tls = Some(ClientTls {
            certificate: client.0,
            key: client.1,
            ca: Some(write(&folder.join("client-ca.pem"), &self.clients.pem(), 0o644)),
        });
    }
}

/// Reads whose data directory it is.
pub(crate) fn identity(folder: &Path) -> Identity {
    Identity::read(&Folder::open(folder).expect("it exists")).expect("it holds a member")
}

/// Writes a certificate and its key, and returns their paths.
pub(crate) fn write_pair(
    folder: &Path,
    name: &str,
    identity: &certificates::Identity,
) -> (PathBuf, PathBuf) {
    let certificate = folder.join(format!("{name}.pem"));
    let key = folder.join(format!("{name}.key"));
    (write(&certificate, &identity.certificate, 0o644), write(&key, &identity.key, 0o600))
}

pub(crate) fn write(path: &Path, text: &str, mode: u32) -> PathBuf {
    fs::write(path, text).expect("it can be written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    let _ = mode;
    path.to_owned()
}

/// Longer than any test: only what the test does makes a member read its certificates.
pub(crate) fn never(config: &mut MemberConfig) {
    config.certificate_check = Duration::from_secs(86_400);
}

pub(crate) fn endpoints<A: Application>(cluster: &LocalCluster<A>) -> BTreeMap<MemberId, String> {
    let endpoints = cluster.endpoints().into_iter();
    endpoints.map(|(member, endpoint)| (member, endpoint.replace("tcp://", "tls://"))).collect()
}

pub(crate) async fn secured(
    members: u64,
    authorities: &Arc<Authorities>,
    configure: impl Fn(&mut MemberConfig) + Send + Sync + 'static,
) -> LocalCluster<Echo> {
    let authorities = authorities.clone();
    let secure = move |config: &mut MemberConfig| {
        authorities.secure(config);
        configure(config);
    };
    let cluster = LocalCluster::start_with(members, || Echo, secure).await.expect("it starts");
    within(cluster.caught_up()).await.expect("all run");
    cluster
}

pub(crate) fn client<A: Application>(cluster: &LocalCluster<A>, tls: Tls) -> RaftClient {
    builder(endpoints(cluster)).tls(tls).build().expect("the settings are valid")
}

pub(crate) async fn assert_works(client: &RaftClient) {
    within(client.connect()).await.expect("it is accepted");
    assert_eq!(within(client.submit_command("x")).await.expect("it is answered"), "x");
}

/// Returns the text of the TLS failure with which the first attempt to connect ends.
pub(crate) async fn tls_failure(client: &RaftClient) -> String {
    let mut events = client.events();
    let _connecting = client.connect();
    within(async {
        loop {
            match events.next().await {
                Some(Event::ConnectionFailure { error: ConnectionCause::Tls(text), .. }) => {
                    return text;
                }
                Some(Event::ConnectionFailure { error, .. }) => panic!("{error:?}"),
                Some(_) => {}
                None => panic!("the client has ended"),
            }
        }
    })
    .await
}

/// Waits until this is the reason of the last failure. A member may see the end of a connection later than the other side.
pub(crate) async fn assert_kept(member: &Member, port: Port, text: &str) {
    let is_kept = |failure: TlsFailure| failure.port == port && failure.problem.contains(text);
    let kept = async {
        while !member.last_tls_failure().is_some_and(is_kept) {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), kept).await;
    assert!(waited.is_ok(), "{text:?} is not the reason of {:?}", member.last_tls_failure());
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_with_tls_on_both_ports_goes_on_without_its_leader() {
    let authorities = Authorities::new();
    let mut cluster = secured(3, &authorities, |_| {}).await;
    let client = client(&cluster, authorities.client());
    assert_works(&client).await;
    // More than TLS and the sockets take at once, both ways and to the followers.
    let large = vec![7; 4 << 20];
    let answer = within(client.submit_command(large.clone())).await.expect("it is answered");
    assert_eq!(answer, large);
    // Before the kill, which may end a handshake, and takes the leader's figures away.
    for number in 1..=3 {
        let member = cluster.member(number).expect("it runs");
        let figures = member.figures();
        assert_eq!((figures.peers_tls_failed, figures.clients_tls_failed), (0, 0), "{number}");
        assert_eq!(member.last_tls_failure(), None);
    }
    let leader = within(cluster.leader()).await.expect("a leader");
    within(cluster.kill(leader)).await.expect("it runs");
    assert_eq!(within(client.submit_command("y")).await.expect("it is answered"), "y");
    within(cluster.reopen(leader)).await.expect("its files are sound");
    within(cluster.caught_up()).await.expect("all run");
    client.disconnect().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_the_right_certificate_are_refused_and_both_sides_say_why() {
    let authorities = Authorities::new();
    let cluster = secured(1, &authorities, |_| {}).await;
    let member = cluster.member(1).expect("it runs");
    let servers = || Tls::new().ca(authorities.servers.pem());
    let stranger = Authority::new("strangers").issue(&["client"]);
    // A member's own certificate opens no client port.
    let name = peer_certificate_name(member.identity().cluster, member.identity().raft_id);
    let peer = authorities.peers.issue(&[&name]);
    for (tls, told, kept) in [
        (servers(), "asks for a client certificate", "shows no certificate"),
        (
            servers().certificate(&stranger.certificate, &stranger.key),
            "refuses the client certificate",
            "not signed by the CA in client.ca",
        ),
        (
            servers().certificate(&peer.certificate, &peer.key),
            "refuses the client certificate",
            "not signed by the CA in client.ca",
        ),
        (
            Tls::new().ca(authorities.clients.pem()),
            "not signed by a CA that was given",
            "does not accept this member's certificate",
        ),
        (
            authorities.client().server_name("other.test"),
            "other.test",
            "does not accept this member's certificate",
        ),
    ] {
        let text = tls_failure(&client(&cluster, tls)).await;
        assert!(text.contains(told), "{text}");
        assert_kept(member, Port::Client, kept).await;
    }
    // The member may see the end of the last connection later than the client.
    within(async {
        while member.figures().clients_tls_failed < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_works(&client(&cluster, authorities.client())).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_certificates_are_refused_at_the_client_port_and_both_sides_say_what_to_do() {
    let authorities = Authorities::new();
    let cluster = secured(1, &authorities, never).await;
    let member = cluster.member(1).expect("it runs");
    let expired = authorities.clients.issue_expired(&["client"]);
    let tls = Tls::new().ca(authorities.servers.pem());
    let tls = tls.certificate(expired.certificate, expired.key);
    let text = tls_failure(&client(&cluster, tls)).await;
    assert!(text.contains("give the client a new one"), "{text}");
    assert_kept(member, Port::Client, "the client's certificate is not valid now").await;

    let expired = authorities.servers.issue_expired(&["127.0.0.1"]);
    write_pair(&cluster.directory(1).expect("it exists"), "client", &expired);
    assert_eq!(within(member.reload_certificates()).await, Ok(Reload::Changed));
    let text = tls_failure(&client(&cluster, authorities.client())).await;
    assert!(text.contains("not valid now: replace it on the member"), "{text}");
    assert_kept(member, Port::Client, "replace the files in client.certificate").await;
    cluster.stop().await;
}

/// Writes bytes to a port, and reads until the member closes the connection.
pub(crate) async fn throw(address: SocketAddr, bytes: &[u8]) {
    let mut stream = within(TcpStream::connect(address)).await.expect("it listens");
    // The member may close the connection while the bytes are written.
    if within(stream.write_all(bytes)).await.is_ok() {
        let _ = within(stream.read_to_end(&mut Vec::new())).await;
    }
}

/// The greeting of a ZMTP client without TLS.
fn plain_greeting() -> Vec<u8> {
    let mut greeting = vec![0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 1];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    greeting
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_plaintext_at_tls_ports_end_their_own_connection_only() {
    let authorities = Authorities::new();
    let cluster = secured(1, &authorities, |_| {}).await;
    let client = client(&cluster, authorities.client());
    assert_works(&client).await;
    let member = cluster.member(1).expect("it runs");
    let patterns: [&[u8]; 4] = [
        &plain_greeting(),
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 10_000],
        // A handshake record whose content is not one.
        &[&[0x16, 3, 1, 0, 40][..], &[0xFF; 40]].concat(),
    ];
    for pattern in patterns {
        throw(member.client_address(), pattern).await;
        throw(member.peer_address(), pattern).await;
    }
    let patterns = patterns.len() as u64;
    // They are counted when the connection has ended.
    let counted =
        |figures: Figures| figures.clients_tls_failed.min(figures.peers_tls_failed) == patterns;
    within(async {
        while !counted(member.figures()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let figures = member.figures();
    assert_eq!((figures.clients_undecodable, figures.peers_undecodable), (0, 0));
    assert_works(&client).await;
    client.disconnect().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_that_stalls_in_the_tls_handshake_is_closed_at_both_ports() {
    let authorities = Authorities::new();
    let short = |config: &mut MemberConfig| {
        config.ports.handshake = Duration::from_secs(1);
        // So one that stays would keep others out.
        config.ports.peer_handshakes = 2;
    };
    let cluster = secured(1, &authorities, short).await;
    let member = cluster.member(1).expect("it runs");
    // Nothing, and the beginning of a record that would be accepted.
    for bytes in [&[][..], &[0x16, 3, 1, 2, 0, 1, 0]] {
        for address in [member.client_address(), member.peer_address()] {
            throw(address, bytes).await;
            throw(address, bytes).await;
        }
    }
    assert_works(&client(&cluster, authorities.client())).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn member_with_unusable_certificates_does_not_start_and_says_what_to_do() {
    let authorities = Authorities::new();
    type Spoil = fn(&Authorities, &mut MemberConfig);
    let cases: [(Spoil, &str); 7] = [
        (
            |_, config| {
                let client = config.client_tls.as_ref().expect("it has TLS");
                let text = fs::read_to_string(&client.key).expect("readable");
                write(&client.key, &text, 0o644);
            },
            "client.key: other users have access to this private key, its mode is 0644: run chmod 600",
        ),
        (
            |authorities, config| {
                let other = authorities.servers.issue(&["127.0.0.1"]);
                let client = config.client_tls.as_ref().expect("it has TLS");
                write(&client.key, &other.key, 0o600);
            },
            "client.pem: its key belongs to another certificate",
        ),
        (
            |_, config| {
                let client = config.client_tls.as_mut().expect("it has TLS");
                client.certificate = "/nowhere/client.pem".into();
            },
            "/nowhere/client.pem: ",
        ),
        (
            |_, config| {
                let client = config.client_tls.as_ref().expect("it has TLS");
                write(&client.key, "hunter2", 0o600);
            },
            "client.key: holds no private key in PEM form",
        ),
        (
            |_, config| {
                let peer = config.peer_tls.as_ref().expect("it has TLS");
                write(&peer.ca, "", 0o644);
            },
            "peer-ca.pem: holds no certificate in PEM form",
        ),
        (
            |authorities, config| {
                let other = authorities.peers.issue(&["127.0.0.1"]);
                write_pair(&config.directory, "peer", &other);
            },
            "peer.pem: it does not name this member: issue one with the DNS name member-1.",
        ),
        (
            |authorities, config| {
                let peer = config.peer_tls.as_ref().expect("it has TLS");
                write(&peer.ca, &authorities.clients.pem(), 0o644);
            },
            "peer.pem: it is not signed by the CA in peer.ca",
        ),
    ];
    for (spoil, expected) in cases {
        let given = authorities.clone();
        let secure = move |config: &mut MemberConfig| {
            given.secure(config);
            spoil(&given, config);
        };
        let error = match LocalCluster::start_with(1, || Echo, secure).await {
            Err(LocalClusterError::Start { error: StartError::Tls(error), .. }) => {
                error.to_string()
            }
            other => panic!("{expected}: {other:?}"),
        };
        let skip = cfg!(not(unix)) && expected.contains("chmod");
        assert!(skip || error.contains(expected), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
