//! `zraft init --tls`, and commands that reach members with TLS.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;

use crate::{
    processes::Cluster,
    support::{run, run_in, stderr, stdout},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn certificates_of_a_new_cluster_are_private_and_no_member_has_the_key_of_a_ca() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cluster");
    let text = dir.to_str().unwrap();
    let output = run(&["init", "--members", "2", "--dir", text, "--base-port", "9001", "--tls"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let printed = stdout(&output);
    for line in [
        "endpoints: node-1=tls://127.0.0.1:9001,node-2=tls://127.0.0.1:9002".to_owned(),
        format!(
            "for clients: --tls-ca {text}/client-ca.pem --tls-cert {text}/client.pem --tls-key {text}/client.key --token-file {text}/client.token"
        ),
        format!("keep {text}/ca where no member runs"),
        format!(
            "to give commands this cluster by a name: zraft context set NAME -e node-1=tls://127.0.0.1:9001,node-2=tls://127.0.0.1:9002 --tls-ca {text}/client-ca.pem --tls-cert {text}/client.pem --tls-key {text}/client.key --token-file {text}/client.token"
        ),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is missing in\n{printed}");
    }
    assert_eq!(mode(&dir.join("ca")), 0o700);
    let authorities = ["peer-ca.key", "client-ca.key"].map(|name| dir.join("ca").join(name));
    let keys = authorities.each_ref().map(|path| fs::read_to_string(path).unwrap());
    for folder in [dir.join("node-1"), dir.join("node-2"), dir.join("ca")] {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            let is_of_a_ca = authorities.contains(&path);
            let content = fs::read(&path).unwrap();
            for key in &keys {
                assert!(is_of_a_ca || content != key.as_bytes(), "{}", path.display());
            }
        }
    }
    // Nothing is overwritten.
    let again = run(&["init", "--members", "2", "--dir", text, "--tls"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("exists: choose another --dir"), "{}", stderr(&again));
}

#[test]
fn commands_reach_members_with_the_right_certificates_only() {
    let mut cluster = Cluster::start_with(&[], &["--members", "3", "--tls"]);
    cluster.leader_at(0);
    let folder = cluster.folder.path().to_owned();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (ca, certificate, key) = (file("client-ca.pem"), file("client.pem"), file("client.key"));
    let endpoints = cluster.endpoints.clone();
    let with = |command: &[&str], options: &[&str]| {
        run(&[&command[..1], &["-e", &endpoints], options, &command[1..]].concat())
    };
    let token = file("client.token");
    let certified = ["--tls-ca", &ca, "--tls-cert", &certificate, "--tls-key", &key];
    let right = [&certified[..], &["--token-file", &token]].concat();
    let output = with(&["set", "colour", "green"], &right);
    assert_eq!(stdout(&output), "OK\n", "{}", stderr(&output));
    let output = with(&["get", "colour"], &right);
    assert!(stdout(&output).contains("green"), "{}", stderr(&output));
    // The settings can be kept under a name, as init says.
    let config = file("config.toml");
    let variables = [("ZRAFT_CONFIG", config.as_str())];
    let set = [&["context", "set", "home", "-e", &endpoints], &right[..]].concat();
    let output = run_in(&set, &variables, b"");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!fs::read_to_string(&config).unwrap().contains(&cluster.token()), "only its path");
    let output = run_in(&["get", "colour"], &variables, b"");
    assert!(stdout(&output).contains("green"), "{}", stderr(&output));
    let status = with(&["status", "--exit-code"], &right);
    assert_eq!(status.status.code(), Some(0), "{}", stdout(&status));

    let get = ["get", "colour"];
    let output = with(&get, &certified);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("InvalidCapabilities"), "{}", stderr(&output));
    let output = with(&get, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("give the TLS settings"), "{}", stderr(&output));
    let output = with(&get, &["--timeout", "3", "--tls-ca", &ca]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("asks for a client certificate"), "{}", stderr(&output));
    // No certificate gets better by waiting.
    let peer_ca = file("ca/peer-ca.pem");
    let output = with(&get, &["--timeout", "600", "--tls-ca", &peer_ca]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.matches("not signed by a CA that was given").count() == 3, "{text}");
    let status = with(&["status"], &["--tls-ca", &ca]);
    assert_eq!(status.status.code(), Some(2));
    let text = stdout(&status);
    assert!(text.matches("asks for a client certificate").count() == 3, "{text}");
    let plain = endpoints.replace("tls://", "tcp://");
    let output = run(&["get", "-e", &plain, "--timeout", "3", "colour"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn member_says_that_it_has_read_changed_certificates() {
    let mut cluster = Cluster::start_with(&[], &["--tls"]);
    let folder = cluster.folder.path().to_owned();
    let (first, second) = (folder.join("node-1"), folder.join("node-2"));
    // The certificates of client ports are for the same hosts.
    for file in ["client.pem", "client.key"] {
        fs::copy(second.join(file), first.join(file)).unwrap();
    }
    cluster.member(0).send(Signal::HUP);
    let taken = "zraft: new connections use the changed certificates";
    while cluster.member(0).complaint() != taken {}
    fs::write(first.join("client.pem"), "not a certificate").unwrap();
    cluster.member(0).send(Signal::HUP);
    loop {
        let line = cluster.member(0).complaint();
        if let Some(problem) = line.strip_prefix("zraft: warning: the certificates in use stay: ") {
            // The first reload may have met one of the two files only.
            if problem.contains("client.pem: holds no certificate in PEM form") {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_of_everything_holds_neither_a_session_id_nor_a_token() {
    let options = ["--application", "append-log", "--tls"];
    let mut cluster = Cluster::start_with(&[("ZRAFT_LOG_LEVEL", "trace")], &options);
    let leader = cluster.leader_at(0);
    let client = cluster.client().await;
    client.submit_command("item").await.unwrap();
    let session = client.session_id().unwrap();
    // The session moves to another member, and ends there.
    let mut logs = vec![cluster.take(leader).terminated().1];
    client.submit_command("item").await.unwrap();
    assert_eq!(client.session_id().as_ref(), Some(&session));
    client.disconnect().await;
    logs.extend((0..3).filter(|at| *at != leader).map(|at| cluster.take(at).terminated().1));
    for log in logs {
        assert!(log.contains("zraft: "), "{log}");
        for secret in [session.as_str(), &cluster.token()] {
            assert!(!log.contains(secret), "{log}");
        }
    }
}
