//! `zraft init`: its directories, its ports and its refusals.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::support::{run, stderr, stdout};

fn init(dir: &Path, more: &[&str]) -> std::process::Output {
    let dir = dir.to_str().unwrap();
    run(&[&["init", "--dir", dir], more].concat())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn directories_of_new_members_are_private_and_configured() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("a cluster");
    let output =
        init(&dir, &["--members", "2", "--base-port", "9001", "--application", "append-log"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let printed = stdout(&output);
    let lines: Vec<_> = printed.lines().collect();
    let command = |member| format!("  zraft server '{}/{member}'", dir.display());
    assert_eq!(lines[1..3], [command("node-1"), command("node-2")], "the path has a space");
    assert_eq!(lines[3], "endpoints: node-1=tcp://127.0.0.1:9001,node-2=tcp://127.0.0.1:9002");
    let (mut clusters, mut tokens) = (Vec::new(), Vec::new());
    for (member, client, peer, admin) in
        [("node-1", 9001, 9003, 9005), ("node-2", 9002, 9004, 9006)]
    {
        let member_dir = dir.join(member);
        assert_eq!(mode(&member_dir), 0o700);
        for entry in fs::read_dir(&member_dir).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
        let config = fs::read_to_string(member_dir.join("node.toml")).unwrap();
        let (first, rest) = config.split_once("\ncluster = ").unwrap();
        assert_eq!(first, format!("name = \"{member}\""));
        let (cluster, rest) = rest.split_once('\n').unwrap();
        assert_eq!(
            rest,
            format!(
                "application = \"append-log\"\n\n[client]\naddress = \"127.0.0.1:{client}\"\n\n[peer]\naddress = \"127.0.0.1:{peer}\"\n\n[admin]\naddress = \"127.0.0.1:{admin}\"\n"
            )
        );
        clusters.push(cluster.to_owned());
        tokens.push(fs::read_to_string(member_dir.join("admin.token")).unwrap());
    }
    assert_eq!(clusters[0], clusters[1]);
    assert_eq!(tokens[0], tokens[1], "one token opens the admin ports of all members");
    assert_eq!(tokens[0].trim().len(), 64);
}

#[test]
fn new_cluster_is_one_object_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cluster");
    let output = init(&dir, &["--members", "1", "--base-port", "9001", "--tls", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let made: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(made["endpoints"], "node-1=tls://127.0.0.1:9001");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let member = serde_json::json!({
        "member": "node-1", "directory": path("node-1"), "endpoint": "tls://127.0.0.1:9001", "admin": "127.0.0.1:9003",
    });
    assert_eq!(made["members"], serde_json::json!([member]));
    assert_eq!(made["client"]["tls_ca"], path("client-ca.pem"));
    assert_eq!(made["client"]["token_file"], path("client.token"));
}

#[test]
fn existing_directory_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("node-2")).unwrap();
    let output = init(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("node-2 exists: choose another --dir"), "{}", stderr(&output));
    assert!(
        !folder.path().join("node-1").exists(),
        "nothing is made before everything was looked at"
    );
}

#[test]
fn ports_above_the_last_one_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = init(folder.path(), &["--base-port", "65528"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("above 65535"));
    assert!(init(folder.path(), &["--base-port", "65527"]).status.success(), "nine ports just fit");
}
