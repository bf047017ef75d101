//! `tls://` endpoints: the embedded cluster behind a TLS proxy, and peers that are something else.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use zraft_client::{ClientBuilder, ConnectionCause, Error, Event, RaftClient, Tls};
use zraft_test_server::{Echo, TestCluster};

use crate::support::certificates::{Authority, Identity};
use crate::support::cluster::start;
use crate::support::{next_event, within};

fn builder() -> ClientBuilder {
    RaftClient::builder().capability("kind", "test")
}

/// Starts a TLS proxy before a port, and returns the proxy's port. It asks for client certificates if it gets a CA for
/// them.
async fn proxy(target: String, identity: &Identity, clients: Option<&Authority>) -> u16 {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone());
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let ca = authority.pem();
            roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.with_client_cert_verifier(verifier.unwrap())
        }
        None => config.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, target) = (acceptor.clone(), target.clone());
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let mut inside = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}

/// A cluster behind a proxy, whose certificate is for `db.test` and 127.0.0.1.
struct Proxied {
    cluster: TestCluster,
    servers: Authority,
    port: u16,
}

async fn proxied(clients: Option<&Authority>) -> Proxied {
    let cluster = start(TestCluster::builder().app(Echo)).await;
    let endpoint = cluster.endpoints().pop_first().unwrap().1;
    let target = endpoint.strip_prefix("tcp://").unwrap().to_owned();
    let servers = Authority::new("servers");
    let port = proxy(target, &servers.issue(&["db.test", "127.0.0.1"]), clients).await;
    Proxied { cluster, servers, port }
}

impl Proxied {
    fn client(&self, host: &str, tls: Tls) -> RaftClient {
        let endpoint = format!("tls://{host}:{}", self.port);
        builder().member("node-1", endpoint).tls(tls).build().unwrap()
    }

    fn tls(&self) -> Tls {
        Tls::new().ca(self.servers.pem())
    }
}

async fn assert_works(client: &RaftClient) {
    within(client.connect()).await.unwrap();
    assert_eq!(within(client.submit_command("x")).await.unwrap(), "x");
    within(client.disconnect()).await;
}

/// Returns why the first attempt to connect failed.
async fn failure(client: &RaftClient) -> ConnectionCause {
    let mut events = client.events();
    let _connecting = client.connect();
    next_event(&mut events, |event| match event {
        Event::ConnectionFailure { error, .. } => Some(error.clone()),
        _ => None,
    })
    .await
}

#[track_caller]
fn assert_tls(cause: &ConnectionCause, text: &str) {
    let ConnectionCause::Tls(found) = cause else { panic!("{cause:?}") };
    assert!(found.contains(text), "{found}");
}

#[tokio::test]
async fn requests_travel_over_tls() {
    let proxied = proxied(None).await;
    let client = proxied.client("127.0.0.1", proxied.tls());
    within(client.connect()).await.unwrap();
    // Longer than what TLS holds back, both ways.
    let large = vec![7; 4 << 20];
    assert_eq!(within(client.submit_command(large.clone())).await.unwrap(), large);
    assert_eq!(within(client.submit_query("query")).await.unwrap(), "query");
    within(client.disconnect()).await;
    proxied.cluster.shutdown().await;
}

#[tokio::test]
async fn certificate_and_key_may_be_files() {
    let clients = Authority::new("clients");
    let proxied = proxied(Some(&clients)).await;
    let folder = std::env::temp_dir().join(format!("zraft-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let identity = clients.issue(&["client"]);
    let files = ["ca.pem", "client.pem", "client.key"].map(|name| folder.join(name));
    let [ca, certificate, key] = files.clone();
    for (file, text) in
        files.iter().zip([proxied.servers.pem(), identity.certificate, identity.key])
    {
        std::fs::write(file, text).unwrap();
    }
    let client =
        proxied.client("127.0.0.1", Tls::new().ca_file(&ca).certificate_files(&certificate, &key));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_works(&client).await;
}

#[tokio::test]
async fn member_with_a_certificate_of_another_ca_is_refused() {
    let proxied = proxied(None).await;
    let tls = Tls::new().ca(Authority::new("others").pem());
    let cause = failure(&proxied.client("127.0.0.1", tls)).await;
    assert_tls(&cause, "not signed by a CA that was given");
}

#[tokio::test]
async fn member_must_have_a_certificate_for_the_host_or_for_the_server_name() {
    let proxied = proxied(None).await;
    let cause = failure(&proxied.client("localhost", proxied.tls())).await;
    assert_tls(&cause, "set the server name");
    assert_tls(&cause, "localhost");
    assert_works(&proxied.client("localhost", proxied.tls().server_name("db.test"))).await;
    let other = proxied.client("127.0.0.1", proxied.tls().server_name("other.test"));
    assert_tls(&failure(&other).await, "other.test");
}

#[tokio::test]
async fn client_without_the_certificate_that_the_member_asks_for_learns_why_it_is_refused() {
    let clients = Authority::new("clients");
    let proxied = proxied(Some(&clients)).await;
    let cause = failure(&proxied.client("127.0.0.1", proxied.tls())).await;
    assert_tls(&cause, "asks for a client certificate");
    let Identity { certificate, key } = Authority::new("others").issue(&["client"]);
    let stranger = proxied.tls().certificate(certificate, key);
    let cause = failure(&proxied.client("127.0.0.1", stranger)).await;
    assert_tls(&cause, "refuses the client certificate");
    let Identity { certificate, key } = clients.issue(&["client"]);
    let known = proxied.tls().certificate(certificate, key);
    assert_works(&proxied.client("127.0.0.1", known)).await;
}

#[tokio::test]
async fn expired_certificate_is_refused_on_either_side_and_the_client_says_what_to_do() {
    let clients = Authority::new("clients");
    let cluster = start(TestCluster::builder().app(Echo)).await;
    let endpoint = cluster.endpoints().pop_first().unwrap().1;
    let target = endpoint.strip_prefix("tcp://").unwrap().to_owned();
    let servers = Authority::new("servers");
    let port = proxy(target, &servers.issue_expired(&["127.0.0.1"]), None).await;
    let expired = Proxied { cluster, servers, port };
    let cause = failure(&expired.client("127.0.0.1", expired.tls())).await;
    assert_tls(&cause, "not valid now: replace it on the member");

    let proxied = proxied(Some(&clients)).await;
    let Identity { certificate, key } = clients.issue_expired(&["client"]);
    let tls = proxied.tls().certificate(certificate, key);
    let cause = failure(&proxied.client("127.0.0.1", tls)).await;
    assert_tls(&cause, "the client certificate is not valid now: give the client a new one");
}

#[tokio::test]
async fn port_without_tls_is_named_as_the_reason() {
    let cluster = start(TestCluster::builder().app(Echo)).await;
    let endpoint = cluster.endpoints().pop_first().unwrap().1.replace("tcp://", "tls://");
    let tls = Tls::new().ca(Authority::new("servers").pem());
    let client = builder().member("node-1", endpoint).tls(tls).build().unwrap();
    assert_tls(&failure(&client).await, "does not speak TLS");
}

#[tokio::test]
async fn client_without_tls_fails_at_a_tls_port() {
    let proxied = proxied(None).await;
    let endpoint = format!("tcp://127.0.0.1:{}", proxied.port);
    let client = builder().member("node-1", endpoint).build().unwrap();
    let cause = failure(&client).await;
    assert!(
        matches!(cause, ConnectionCause::Zmtp(_) | ConnectionCause::ClosedBeforeFirstMessage),
        "{cause:?}"
    );
}

/// Returns why a client cannot use a peer that does this with its first connection.
async fn failure_at<F, R>(treat: F, connection_timeout: Duration) -> ConnectionCause
where
    F: FnOnce(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("tls://{}", listener.local_addr().unwrap());
    let peer = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        treat(stream).await;
    });
    let tls = Tls::new().ca(Authority::new("servers").pem());
    let builder = builder().member("node-1", endpoint).tls(tls);
    let client = builder.connection_timeout(connection_timeout).build().unwrap();
    let cause = failure(&client).await;
    peer.abort();
    cause
}

#[tokio::test]
async fn silent_peer_is_given_up_during_the_tls_handshake() {
    let silent = |stream: TcpStream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    };
    let cause = failure_at(silent, Duration::from_millis(300)).await;
    assert_eq!(cause, ConnectionCause::TimedOut);
}

#[tokio::test]
async fn garbage_and_an_early_end_fail_the_tls_handshake() {
    let garbage = |mut stream: TcpStream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    assert_tls(&failure_at(garbage, Duration::from_secs(15)).await, "does not speak TLS");
    let end = |mut stream: TcpStream| async move {
        // A socket that is closed with unread bytes would be reset.
        let _ = stream.read(&mut [0; 4096]).await;
    };
    assert_tls(&failure_at(end, Duration::from_secs(15)).await, "closed the connection");
}

#[test]
fn settings_that_cannot_be_used_are_refused_and_never_shown() {
    let authority = Authority::new("servers");
    let (one, other) = (authority.issue(&["one"]), authority.issue(&["other"]));
    let refusal = |endpoint: &str, tls: Option<Tls>| {
        let builder = builder().member("node-1", endpoint);
        let builder = match tls {
            Some(tls) => builder.tls(tls),
            None => builder,
        };
        match builder.build() {
            Err(Error::Validation(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let (ca, secret) = (Tls::new().ca(authority.pem()), "hunter2");
    for (tls, text) in [
        (None, "\"node-1\" has an endpoint with tls://"),
        (Some(Tls::new()), "give the CA"),
        (Some(Tls::new().ca(secret)), "the CA holds no certificate in PEM form"),
        (Some(Tls::new().ca_file("/nowhere/ca.pem")), "/nowhere/ca.pem: "),
        (Some(ca.clone().certificate(secret, &one.key)), "the client's certificate holds no"),
        (Some(ca.clone().certificate(&one.certificate, secret)), "holds no private key"),
        (
            Some(ca.clone().certificate(&one.certificate, &other.key)),
            "give the key that the certificate was made for",
        ),
        (Some(ca.clone().server_name("not a name")), "must be a host name or an IP address"),
    ] {
        let shown = refusal("tls://h:1", tls);
        assert!(shown.starts_with("tls: ") && shown.contains(text), "{shown}");
        assert!(!shown.contains(secret), "{shown}");
    }
    let unused = refusal("tcp://h:1", Some(ca));
    assert!(unused.contains("nothing would be encrypted"), "{unused}");
}
