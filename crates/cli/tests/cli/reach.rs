//! How commands find a cluster, and what they say if none can be used.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use crate::support::{run, run_in, stderr, stdout};
use serde_json::Value;
use zraft_test_server::{KvStore, TestCluster};

/// Time in which a command that gives up early has ended, even on a busy machine; the timeouts below are longer.
const EARLY: Duration = Duration::from_secs(60);

/// Returns an address at which nothing listens.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts a server of another protocol, which answers each connection like an HTTP server.
fn web_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            // The client closes the connection, so no answer is lost by a reset.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    address
}

#[test]
fn each_members_failure_is_named_and_the_command_ends_before_its_timeout() {
    let (refusing, web) = (closed(), web_server());
    let endpoints = format!("a=tcp://{refusing},b=tcp://{web}");
    for command in
        [&["get", "key"][..], &["set", "key", "value"], &["ping"], &["watch", "key"], &["bench"]]
    {
        let started = Instant::now();
        let options = ["-e", &endpoints, "--timeout", "600"];
        let output = run(&[&command[..1], &options, &command[1..]].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let text = stderr(&output);
        for line in [
            format!("zraft:   a at tcp://{refusing}: connection refused\n"),
            format!("zraft:   b at tcp://{web}: the peer does not speak ZMTP\n"),
        ] {
            assert!(text.contains(&line), "{text}");
        }
        assert!(text.contains("--wait"), "{text}");
        assert!(started.elapsed() < EARLY, "{command:?} waited for its timeout");
    }
}

#[test]
fn with_wait_a_command_waits_for_a_member_that_starts_later() {
    let address = closed();
    let endpoint = format!("node-1=tcp://{address}");
    let command = thread::spawn({
        let endpoint = endpoint.clone();
        move || run(&["set", "-e", &endpoint, "--wait", "--timeout", "100", "key", "value"])
    });
    // The port is refused for longer than a command without --wait tries.
    let begun = Instant::now();
    let impatient = run(&["get", "-e", &endpoint, "--timeout", "100", "key"]);
    assert_eq!(impatient.status.code(), Some(2), "{}", stderr(&impatient));
    assert!(begun.elapsed() >= Duration::from_secs(1) && !command.is_finished());
    let port = address.port().to_string();
    let _server = crate::support::Running::start(&["dev", "--port", &port]);
    let output = command.join().unwrap();
    assert_eq!(stdout(&output), "OK\n", "{}", stderr(&output));
}

#[test]
fn failure_names_where_the_members_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let endpoint = format!("tcp://{}", closed());
    fs::write(&file, format!("[contexts.home]\nendpoints = [\"{endpoint}\"]\n")).unwrap();
    let file = file.to_str().unwrap();
    let output = run_in(&["get", "key"], &[("ZRAFT_ENDPOINTS", &endpoint)], b"");
    assert!(
        stderr(&output).contains(&format!("zraft:   {endpoint}: connection refused\n")),
        "{output:?}"
    );
    assert!(
        stderr(&output).contains("these are the members in ZRAFT_ENDPOINTS"),
        "{}",
        stderr(&output)
    );
    let variables = [("ZRAFT_CONFIG", file), ("ZRAFT_CONTEXT", "home")];
    let output = run_in(&["get", "key"], &variables, b"");
    let expected = format!("these are the members of context home in {file}");
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_without_ids_are_not_said_to_lack_their_leader() {
    let cluster = TestCluster::builder().members(3).app(KvStore::default()).start().await.unwrap();
    let leader = cluster.leader_elected().await;
    let followers = cluster.endpoints().into_iter().filter(|(id, _)| *id != leader);
    let endpoints: Vec<_> = followers.map(|(_, address)| address).collect();
    let output = run(&["get", "-e", &endpoints.join(","), "--timeout", "1", "key"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.starts_with("zraft: no session could be opened in 1 s\n"), "{text}");
    assert!(text.contains("write id=address for each member"), "{text}");
    assert!(!text.contains("not configured"), "{text}");
}

#[test]
fn misspelt_variable_is_refused_by_commands() {
    for command in [&["get", "key"][..], &["ping"], &["context", "list"]] {
        let output = run_in(command, &[("ZRAFT_ENDPOINT", "a:1")], b"");
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(
            stderr(&output).contains("ZRAFT_ENDPOINT: unknown variable"),
            "{}",
            stderr(&output)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_is_found_by_addresses_without_ids_by_variables_and_by_contexts() {
    let cluster = TestCluster::builder().members(3).app(KvStore::default()).start().await.unwrap();
    cluster.leader_elected().await;
    let members: Vec<_> = cluster.endpoints().into_iter().collect();
    let bare: Vec<_> =
        members.iter().map(|(_, address)| address.trim_start_matches("tcp://")).collect();
    let repeated: Vec<_> = bare.iter().flat_map(|address| ["-e", address]).collect();
    let output = run(&[&["set"], &repeated[..], &["key", "flags"]].concat());
    assert_eq!(stdout(&output), "OK\n", "{}", stderr(&output));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own").join("config.toml");
    let config = ("ZRAFT_CONFIG", file.to_str().unwrap());
    let get = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = run_in(
            &[&["get"], arguments, &["key"]].concat(),
            &[&[config], variables].concat(),
            b"",
        );
        (stdout(&output), stderr(&output))
    };
    let found = ("key = flags\n".to_owned(), String::new());
    assert_eq!(get(&[], &[("ZRAFT_ENDPOINTS", &bare.join(","))]), found);

    let named: Vec<_> = members.iter().map(|(id, address)| format!("{id}={address}")).collect();
    let context = |arguments: &[&str]| {
        let output = run_in(&[&["context"], arguments].concat(), &[config], b"");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    };
    let nowhere = closed().to_string();
    context(&["set", "nowhere", "-e", &nowhere, "--timeout", "9"]);
    context(&["set", "home", "-e", &named.join(",")]);
    assert_eq!(context(&["list"]), format!("* nowhere  {nowhere}\n  home  {}\n", named.join(",")));
    assert_eq!(get(&["--context", "home"], &[]), found);
    assert_eq!(get(&[], &[("ZRAFT_CONTEXT", "home")]), found);
    assert!(get(&[], &[]).1.contains("refused"));
    assert_eq!(context(&["use", "home"]), "home is the current context\n");
    assert_eq!(get(&[], &[]), found);
    let shown = context(&["show"]);
    let place = format!("  # context home in {}", config.1);
    assert_eq!(shown, format!("endpoints = {}{place}\ntimeout = 15  # default\n", named.join(",")));
    let shown: Value = serde_json::from_str(&context(&["show", "nowhere", "--json"])).unwrap();
    assert_eq!(shown["timeout"]["value"], "9");
    let left: Value = serde_json::from_str(&context(&["remove", "home", "--json"])).unwrap();
    assert_eq!((&left["current"], left["contexts"].as_array().unwrap().len()), (&Value::Null, 1));
}

#[test]
fn context_command_refuses_what_no_command_could_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let refused = |arguments: &[&str], expected: &str| {
        let output = run_in(
            &[&["context"], arguments].concat(),
            &[("ZRAFT_CONFIG", file.to_str().unwrap())],
            b"",
        );
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        assert!(!file.exists(), "nothing was written");
    };
    refused(&["set", "home", "-e", "udp://h:1"], "--endpoints: endpoint number 1: ");
    refused(&["set", "home", "-e", "tls://h:1", "--tls-key", "key"], "--tls-key: give --tls-cert");
    refused(&["set", "not a name", "-e", "h:1"], "the name of a context has");
    refused(&["use", "home"], "there is no context home");
    refused(&["remove", "home"], "there is no context home");
}
