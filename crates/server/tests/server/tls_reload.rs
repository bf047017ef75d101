//! Certificates that change while a member runs.

use std::{path::Path, time::Duration};

use zraft_client::{RaftClient, Tls};
use zraft_server::{Alarm, LocalCluster, Member, MemberConfig, Reload};
use zraft_session::applications::Echo;

use crate::{
    certificates::Authority,
    support::within,
    tls::{Authorities, assert_works, client, never, secured, tls_failure, write, write_pair},
};

/// Returns a client that trusts this CA of the members' certificates.
fn trusting(
    cluster: &LocalCluster<Echo>,
    authorities: &Authorities,
    servers: &Authority,
) -> RaftClient {
    client(cluster, authorities.client().ca(servers.pem()))
}

fn replace(folder: &Path, servers: &Authority) {
    write_pair(folder, "client", &servers.issue(&["127.0.0.1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_use_reloaded_certificates_and_existing_ones_go_on() {
    let (authorities, new) = (Authorities::new(), Authority::new("new servers"));
    let cluster = secured(1, &authorities, never).await;
    let member = cluster.member(1).expect("it runs");
    let old_client = trusting(&cluster, &authorities, &authorities.servers);
    assert_works(&old_client).await;
    assert_eq!(within(member.reload_certificates()).await, Ok(Reload::Unchanged));

    replace(&cluster.directory(1).expect("it exists"), &new);
    // Nothing changes before the reload.
    assert_works(&trusting(&cluster, &authorities, &authorities.servers)).await;
    assert_eq!(within(member.reload_certificates()).await, Ok(Reload::Changed));
    assert_works(&trusting(&cluster, &authorities, &new)).await;
    let refused = tls_failure(&trusting(&cluster, &authorities, &authorities.servers)).await;
    assert!(refused.contains("not signed by a CA that was given"), "{refused}");
    assert_eq!(within(old_client.submit_command("y")).await.expect("its connection stays"), "y");
    let status = member.certificates().borrow().clone();
    assert_eq!((status.reloads, status.problem), (1, None));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_ca_of_clients_is_no_longer_accepted_after_a_reload() {
    let (authorities, new) = (Authorities::new(), Authority::new("new clients"));
    let cluster = secured(1, &authorities, never).await;
    let member = cluster.member(1).expect("it runs");
    assert_works(&client(&cluster, authorities.client())).await;
    let folder = cluster.directory(1).expect("it exists");
    write(&folder.join("client-ca.pem"), &new.pem(), 0o644);
    assert_eq!(within(member.reload_certificates()).await, Ok(Reload::Changed));
    let refused = tls_failure(&client(&cluster, authorities.client())).await;
    assert!(refused.contains("refuses the client certificate"), "{refused}");
    let identity = new.issue(&["client"]);
    let tls = Tls::new().ca(authorities.servers.pem());
    assert_works(&client(&cluster, tls.certificate(identity.certificate, identity.key))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_files_are_reported_and_the_certificates_in_use_stay() {
    let authorities = Authorities::new();
    let cluster = secured(1, &authorities, never).await;
    let member = cluster.member(1).expect("it runs");
    let folder = cluster.directory(1).expect("it exists");
    // The new certificate is there, and its key is not yet.
    let identity = authorities.servers.issue(&["127.0.0.1"]);
    write(&folder.join("client.pem"), &identity.certificate, 0o644);
    let error = within(member.reload_certificates()).await.expect_err("the key is of the old one");
    assert!(error.to_string().contains("its key belongs to another certificate"), "{error}");
    assert_eq!(member.certificates().borrow().problem.as_ref(), Some(&error));
    let report = within(member.report()).await.expect("it runs");
    assert_eq!(report.secret_problems, [error.to_string()]);
    assert_eq!(Alarm::raised(&report).collect::<Vec<_>>(), [Alarm::SecretsUnusable]);
    assert_works(&client(&cluster, authorities.client())).await;

    write(&folder.join("client.key"), &identity.key, 0o600);
    assert_eq!(within(member.reload_certificates()).await, Ok(Reload::Changed));
    assert_eq!(member.certificates().borrow().problem, None);
    let report = within(member.report()).await.expect("it runs");
    assert_eq!(Alarm::raised(&report).count(), 0);
    cluster.stop().await;
}

/// Waits until the member has taken changed files.
async fn reloaded(member: &Member) {
    let mut certificates = member.certificates();
    within(certificates.wait_for(|status| status.reloads > 0)).await.expect("it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_are_taken_without_being_asked() {
    let (authorities, new) = (Authorities::new(), Authority::new("new servers"));
    let often = |config: &mut MemberConfig| config.certificate_check = Duration::from_millis(20);
    let cluster = secured(1, &authorities, often).await;
    replace(&cluster.directory(1).expect("it exists"), &new);
    reloaded(cluster.member(1).expect("it runs")).await;
    assert_works(&trusting(&cluster, &authorities, &new)).await;
    cluster.stop().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn sighup_lets_a_server_read_its_certificates_and_tokens_again() {
    use rustix::process::{Signal, getpid, kill_process};
    use zraft_server::{Server, Signals};

    let mut signals = Signals::listen().expect("the system has signals");
    let (folder, servers) = (tempfile::tempdir().expect("a folder"), Authority::new("servers"));
    let data = folder.path().join("data");
    let (certificate, key) = write_pair(folder.path(), "client", &servers.issue(&["127.0.0.1"]));
    let server = Server::builder().application(Echo).directory(&data).create(true);
    let server = server.client_address(([127, 0, 0, 1], 0)).peer_address(([127, 0, 0, 1], 0));
    let token = folder.path().join("client.token");
    std::fs::write(&token, "0123456789abcdef").expect("it can be written");
    let token_file = token.clone();
    let server = server.configure(move |config| {
        config.client_token_file = Some(token_file);
        config.client_tls.certificate = Some(certificate);
        config.client_tls.key = Some(key);
        config.certificate_check = Duration::from_secs(86_400);
    });
    let server = within(server.start()).await.expect("it starts");
    let mut certificates = server.member().certificates();
    let endpoint = format!("tls://{}", server.member().client_address());
    let run = tokio::spawn(async move { server.run(&mut signals).await });

    let new = Authority::new("new servers");
    replace(folder.path(), &new);
    std::fs::write(&token, "fedcba9876543210").expect("it can be written");
    kill_process(getpid(), Signal::HUP).expect("it is this process");
    within(certificates.wait_for(|status| status.reloads == 1)).await.expect("it runs");
    // Another thread reads the tokens.
    let connected = async {
        loop {
            let builder = RaftClient::builder().member("node-1", &endpoint);
            let builder = builder.tls(Tls::new().ca(new.pem()));
            let builder = builder.capability("token", "fedcba9876543210");
            if builder.build().expect("valid").connect().await.is_ok() {
                return;
            }
        }
    };
    within(connected).await;
    run.abort();
}
