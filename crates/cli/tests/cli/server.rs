//! `zraft server`: one member, its configuration, its directory and its end.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

use zraft_client::RaftClient;

use crate::{
    processes::reserve,
    support::{Running, run, run_in, stderr, stdout},
};

/// Starts `zraft server` and returns it with the endpoint that it prints.
fn start(arguments: &[&str]) -> (Running, String) {
    let mut server = Running::start(&[&["server"], arguments].concat());
    let Some(line) = server.next_line() else { panic!("{}", server.end().1) };
    assert!(line.starts_with("member node-1 of cluster "), "{line}");
    let line = server.line();
    let endpoint = line.strip_prefix("endpoint: ").unwrap().to_owned();
    assert!(server.line().starts_with("admin: http://127.0.0.1:"));
    assert_eq!(server.line(), "press Ctrl+C to stop");
    (server, endpoint)
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn new_member_comes_back_with_its_data_at_its_ports() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(&folder.path().join("data"));
    let ((_client, client), (_peer, peer), (_admin, admin)) = (reserve(), reserve(), reserve());
    let ports = ["--client-address", &client, "--peer-address", &peer, "--admin-address", &admin];
    let (mut server, endpoint) = start(&[&["--new", &data], &ports[..]].concat());
    assert_eq!(endpoint, format!("node-1=tcp://{client}"));
    let set = run(&["set", "-e", &endpoint, "colour", "green"]);
    assert_eq!(stdout(&set), "OK\n", "{}", stderr(&set));
    while !server.complaint().starts_with("zraft: leads in term ") {}
    assert_eq!(server.terminate(), Some(143));

    // The folder keeps the ports and the state machine.
    let (server, again) = start(&[&data]);
    assert_eq!(again, endpoint);
    let get = run(&["get", "-e", &endpoint, "colour"]);
    assert_eq!(stdout(&get), "colour = green\n", "{}", stderr(&get));
    assert_eq!(server.interrupt(), Some(130));

    let new = run(&["server", "--new", &data]);
    assert_eq!(new.status.code(), Some(1));
    assert!(stderr(&new).contains("holds a member already"), "{}", stderr(&new));
}

#[test]
fn folder_without_a_member_is_refused_unless_a_new_one_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    for directory in [data.clone(), text(&folder.path().join("missing"))] {
        let output = run(&["server", &directory]);
        assert_eq!(output.status.code(), Some(1));
        let problem = stderr(&output);
        assert!(problem.contains("holds no member") && problem.contains("--new"), "{problem}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");

    fs::write(folder.path().join("letter.txt"), "").unwrap();
    let output = run(&["server", "--new", &data]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("holds letter.txt"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn second_process_does_not_get_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(&folder.path().join("data"));
    let anywhere = ["--client-address", "--peer-address", "--admin-address"];
    let anywhere = anywhere.map(|flag| [flag, "127.0.0.1:0"]).concat();
    let (_server, endpoint) = start(&[&["--new", &data], &anywhere[..]].concat());
    let second = run(&[&["server", &data], &anywhere[..]].concat());
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("is in use by another process"), "{}", stderr(&second));
    let set = run(&["set", "-e", &endpoint, "key", "value"]);
    assert_eq!(stdout(&set), "OK\n", "the first goes on");
}

#[test]
fn port_that_is_taken_is_refused_with_its_own_status() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(&folder.path().join("data"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let output = run(&["server", "--new", &data, "--client-address", &taken]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(&format!("cannot listen on {taken}")), "{}", stderr(&output));
    drop(listener);
}

#[test]
fn configuration_of_another_member_or_cluster_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = text(folder.path());
    let init = run(&["init", "--members", "2", "--dir", &dir, "--base-port", "0"]);
    assert!(init.status.success(), "{}", stderr(&init));
    let first = text(&folder.path().join("node-1"));
    let second = text(&folder.path().join("node-2/node.toml"));
    let output = run(&["server", &first, "--config", &second]);
    assert_eq!(output.status.code(), Some(1));
    let problem = stderr(&output);
    assert!(
        problem.contains("for member node-2") && problem.contains("member node-1"),
        "{problem}"
    );
    let other = "0123456789abcdef0123456789abcdef";
    let output = run(&["server", &first, "--cluster", other]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("for cluster {other}")), "{}", stderr(&output));
}

#[test]
fn configuration_is_checked_without_running_anything() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    fs::write(&file, "[client]\naddress = \"127.0.0.1:9001\"\n").unwrap();
    let dir = text(folder.path());
    let arguments = ["server", &dir, "--check-config", "--peer-address", "127.0.0.1:9003"];
    let output = run_in(&arguments, &[("ZRAFT_RAFT_HEARTBEAT_MILLIS", "60")], b"");
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    for line in [
        &format!("address = \"127.0.0.1:9001\"  # {}:2", file.display()),
        "address = \"127.0.0.1:9003\"  # --peer-address",
        "heartbeat_millis = 60  # ZRAFT_RAFT_HEARTBEAT_MILLIS",
        "connections = 65536  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is missing in\n{shown}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn configuration_with_an_error_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    let dir = text(folder.path());
    let refused = |text: &str, variables: &[(&str, &str)], flags: &[&str]| {
        fs::write(&file, text).unwrap();
        let output = run_in(&[&["server", &dir], flags].concat(), variables, b"");
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    let problem = refused("[client]\n\nadress = \"127.0.0.1:1\"\n", &[], &[]);
    assert!(problem.contains("node.toml:3: unknown option client.adress"), "{problem}");
    let problem = refused("", &[("ZRAFT_ADRESS", "x")], &["--check-config"]);
    assert!(problem.contains("ZRAFT_ADRESS: unknown variable"), "{problem}");
    let problem = refused("", &[], &["--client-connections", "none"]);
    assert!(problem.contains("--client-connections: none is not a whole number"), "{problem}");
    let problem = refused("application = \"chess\"\n", &[], &["--check-config"]);
    assert!(problem.contains("chess is not one of kv-store, append-log"), "{problem}");
    let problem = refused("", &[], &["--client-address", "0.0.0.0:7001"]);
    assert!(problem.contains("can be read and changed on the way"), "{problem}");
    let insecure = ["server", &dir, "--client-address", "0.0.0.0:7001", "--insecure"];
    let output = run(&[&insecure[..], &["--check-config"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn member_warns_of_each_port_that_others_reach_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    for (flag, port) in
        [("--admin-address", "admin"), ("--client-address", "client"), ("--peer-address", "peer")]
    {
        let data = folder.path().join(port);
        let new = ["server", "--new", data.to_str().unwrap(), "--insecure"];
        let loopback = ["--client-address", "--peer-address"].into_iter();
        let loopback =
            loopback.filter(|other| *other != flag).flat_map(|flag| [flag, "127.0.0.1:0"]);
        let arguments: Vec<_> =
            new.into_iter().chain([flag, "0.0.0.0:0"]).chain(loopback).collect();
        let mut member = Running::start(&arguments);
        assert!(member.line().starts_with("member node-1 of cluster "));
        let (status, log) = member.terminated();
        assert_eq!(status, Some(143), "{log}");
        let warnings: Vec<_> =
            log.lines().filter(|line| line.contains(" has no certificate: ")).collect();
        let expected = format!("zraft: warning: the {port} port at 0.0.0.0:");
        assert!(warnings.len() == 1 && warnings[0].starts_with(&expected), "{log}");
    }
}

#[test]
fn server_without_a_folder_names_the_ways_to_run_one() {
    let output = run(&["server"]);
    assert_eq!(output.status.code(), Some(2));
    let problem = stderr(&output);
    assert!(problem.contains("--new") && problem.contains("zraft dev"), "{problem}");
    // The options of the command that had this name before.
    assert_eq!(run(&["server", "--members", "3"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_of_json_is_json_on_every_line_and_holds_no_session_id() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(&folder.path().join("data"));
    let anywhere = ["--client-address", "127.0.0.1:0", "--peer-address", "127.0.0.1:0"];
    let log = ["--log", "json", "--log-level", "trace"];
    let (server, endpoint) = start(&[&["--new", &data], &anywhere[..], &log].concat());
    let (name, address) = endpoint.split_once('=').unwrap();
    let builder = RaftClient::builder().capability("kind", "test").member(name, address);
    let client = builder.build().unwrap();
    client.connect().await.unwrap();
    client.ping().await.unwrap();
    let session = client.session_id().unwrap().as_str().to_owned();
    // A client that cannot be understood. The member closes the connection.
    let address = address.strip_prefix("tcp://").unwrap();
    let mut garbage = std::net::TcpStream::connect(address).unwrap();
    garbage.write_all(format!("{session:-<200}").as_bytes()).unwrap();
    let _ = garbage.read_to_end(&mut Vec::new());
    client.disconnect().await;

    let (status, lines) = server.terminated();
    assert_eq!(status, Some(143), "{lines}");
    let mut messages = Vec::new();
    for line in lines.lines() {
        let event: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
        messages.push(event["message"].as_str().unwrap().to_owned());
    }
    for begin in ["leads in term ", "refused a connection at the client port from "] {
        assert!(messages.iter().any(|message| message.starts_with(begin)), "{lines}");
    }
    assert!(!lines.contains(&session), "{lines}");
}

#[test]
fn quiet_member_that_works_logs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(&folder.path().join("data"));
    let anywhere = ["--client-address", "127.0.0.1:0", "--peer-address", "127.0.0.1:0"];
    let (server, endpoint) = start(&[&["--new", &data, "--quiet"], &anywhere[..]].concat());
    let set = run(&["set", "-e", &endpoint, "key", "value"]);
    assert_eq!(stdout(&set), "OK\n", "{}", stderr(&set));
    assert_eq!(server.terminated(), (Some(143), String::new()));
}

#[test]
fn admin_port_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(&folder.path().join("data"));
    let anywhere = ["--client-address", "127.0.0.1:0", "--peer-address", "127.0.0.1:0"];
    let without = ["server", "--new", &data, "--admin-address", "none"];
    let mut server = Running::start(&[&without, &anywhere[..]].concat());
    let lines = [server.line(), server.line(), server.line()];
    assert_eq!(lines[2], "press Ctrl+C to stop", "{lines:?}");
    assert!(!folder.path().join("data/admin.token").exists());
    assert_eq!(server.terminate(), Some(143));
    let status = run(&["cluster", "status", "--dir", &data]);
    assert_eq!(status.status.code(), Some(1));
    assert!(stderr(&status).contains("has an admin port"), "{}", stderr(&status));
}

#[test]
fn member_says_in_json_who_it_is_and_how_it_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(&folder.path().join("data"));
    let anywhere = ["--client-address", "127.0.0.1:0", "--peer-address", "127.0.0.1:0"];
    let arguments =
        [&["server", "--new", &data, "--json", "--admin-address", "127.0.0.1:0"], &anywhere[..]]
            .concat();
    let output = run(&[&arguments[..], &["--check-config"]].concat());
    let config: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let expected = serde_json::json!({ "value": "127.0.0.1:0", "source": "--client-address" });
    assert_eq!(config["client.address"], expected);
    assert_eq!(config["client.connections"]["value"], 65_536);
    let mut server = Running::start(&arguments);
    let line: serde_json::Value = serde_json::from_str(&server.line()).unwrap();
    assert_eq!((&line["member"], line["cluster"].as_str().unwrap().len()), (&"node-1".into(), 32));
    assert!(line["endpoint"].as_str().unwrap().starts_with("tcp://127.0.0.1:"), "{line}");
    assert!(line["admin"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{line}");
    assert_eq!(server.terminate(), Some(143));
}

#[test]
fn variables_of_commands_do_not_keep_a_member_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(&folder.path().join("data"));
    let variables =
        [("ZRAFT_ENDPOINTS", "a:1"), ("ZRAFT_CONTEXT", "none"), ("ZRAFT_TOKEN_FILE", "none")];
    let output = run_in(&["server", "--new", &data, "--check-config"], &variables, b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
