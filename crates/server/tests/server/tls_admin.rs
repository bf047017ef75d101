//! The admin port with TLS.

use std::{
    fs,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use zraft_server::{
    AdminConfig, AdminTls, Alarm, LocalCluster, Member, MemberConfig, Port, Reload,
};
use zraft_session::applications::Echo;

use crate::{
    certificates::{Authority, Identity},
    http::{TOKEN, bearer},
    support::within,
    tls::{assert_kept, never, throw, write_pair},
};

/// Starts one member, whose admin port has this certificate.
async fn secured(identity: Identity) -> LocalCluster<Echo> {
    let configure = move |config: &mut MemberConfig| {
        never(config);
        let token_file = config.directory.join("admin.token");
        fs::write(&token_file, TOKEN).expect("it can be written");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        config.admin = Some(AdminConfig { address, token_file });
        let (certificate, key) = write_pair(&config.directory, "admin", &identity);
        config.admin_tls = Some(AdminTls { certificate, key });
    };
    let cluster = LocalCluster::start_with(1, || Echo, configure).await.expect("it starts");
    within(cluster.leader()).await.expect("a leader");
    cluster
}

fn address(member: &Member) -> SocketAddr {
    member.admin_address().expect("it has an admin port")
}

/// Asks for the status as an operator who trusts this CA. Returns the answer; none if there is no TLS connection.
async fn ask(member: &Member, ca: &Authority, token: &str) -> Option<String> {
    ask_for("/v1/status", member, ca, token).await
}

async fn ask_for(path: &str, member: &Member, ca: &Authority, token: &str) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).expect("PEM")).expect("a CA");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = within(TcpStream::connect(address(member))).await.expect("it listens");
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let connected = within(TlsConnector::from(Arc::new(config)).connect(name, socket)).await;
    let mut stream = connected.ok()?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{}\r\n\r\n", address(member), bearer(token));
    within(stream.write_all(request.as_bytes())).await.expect("it is open");
    let mut answer = String::new();
    // An end without the last record of TLS would be an error.
    within(stream.read_to_string(&mut answer)).await.expect("it ends in order");
    Some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_checks_the_certificate_and_the_member_checks_the_token() {
    let (ca, other) = (Authority::new("admins"), Authority::new("others"));
    let cluster = secured(ca.issue(&["127.0.0.1"])).await;
    let member = cluster.member(1).expect("it runs");
    assert!(member.has_admin_tls());
    let answer = ask(member, &ca, TOKEN).await.expect("its certificate is right");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = ask(member, &ca, "fedcba9876543210").await.expect("its certificate is right");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");

    let refused = member.figures().admin_refused;
    assert_eq!(ask(member, &other, TOKEN).await, None);
    assert_kept(member, Port::Admin, "give zraft cluster by --tls-ca the CA").await;
    assert_eq!(member.figures().admin_refused, refused + 1);

    // The port for another host, and one that has expired.
    let directory = cluster.directory(1).expect("it exists");
    for wrong in [ca.issue(&["other.test"]), ca.issue_expired(&["127.0.0.1"])] {
        write_pair(&directory, "admin", &wrong);
        assert_eq!(within(member.reload_certificates()).await, Ok(Reload::Changed));
        assert_eq!(ask(member, &ca, TOKEN).await, None);
    }
    assert_kept(member, Port::Admin, "replace the files in admin.certificate").await;
    write_pair(&directory, "admin", &ca.issue(&["127.0.0.1"]));
    assert_eq!(within(member.reload_certificates()).await, Ok(Reload::Changed));
    assert!(ask(member, &ca, TOKEN).await.is_some());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_garbage_and_stalled_peers_are_closed_at_an_admin_port_with_tls() {
    let ca = Authority::new("admins");
    let cluster = secured(ca.issue(&["127.0.0.1"])).await;
    let member = cluster.member(1).expect("it runs");
    let plain = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", address(member));
    let patterns =
        [plain.as_bytes(), &[0; 10_000], &[&[0x16, 3, 1, 0, 40][..], &[0xFF; 40]].concat()];
    for pattern in patterns {
        throw(address(member), pattern).await;
    }
    let counted = async {
        while member.figures().admin_refused < patterns.len() as u64 {
            tokio::task::yield_now().await;
        }
    };
    within(counted).await;
    // Nothing, and the beginning of a record that would be accepted: both at the same time, because each is given up after
    // the whole time of a connection.
    let beginning = [0x16, 3, 1, 2, 0, 1, 0];
    tokio::join!(throw(address(member), &[]), throw(address(member), &beginning));
    assert!(ask(member, &ca, TOKEN).await.is_some());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_that_expires_soon_is_an_alarm_until_it_is_replaced() {
    let ca = Authority::new("admins");
    let in_days = |days: u64| SystemTime::now() + Duration::from_secs(days * 86_400);
    let cluster = secured(ca.issue_until(&["127.0.0.1"], in_days(13))).await;
    let member = cluster.member(1).expect("it runs");
    for (days, alarms) in [(13, &[Alarm::CertificateExpires][..]), (15, &[])] {
        let end = in_days(days);
        let directory = cluster.directory(1).expect("it exists");
        write_pair(&directory, "admin", &ca.issue_until(&["127.0.0.1"], end));
        assert_eq!(within(member.reload_certificates()).await, Ok(Reload::Changed));
        let report = within(member.report()).await.expect("it runs");
        assert_eq!(Alarm::raised(&report).collect::<Vec<_>>(), alarms);

        let end = end.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let status = ask(member, &ca, TOKEN).await.expect("its certificate is right");
        let (_, body) = status.split_once("\r\n\r\n").expect("a body");
        let status: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(status["certificates"]["admin"]["not_after_seconds"], end);
        let message = "has a certificate that expires soon or has expired: the certificate of the admin port expires in 12 days";
        assert_eq!(status["alarms"][0]["message"] == message, days == 13, "{status}");
        let metrics = ask_for("/metrics", member, &ca, TOKEN).await.expect("an answer");
        let line =
            format!("zraft_certificate_expiration_timestamp_seconds{{port=\"admin\"}} {end}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    cluster.stop().await;
}
