//! `zraft dev`, `set`, `get`, `watch`, `ping` and `bench` together.

use std::net::TcpListener;

use crate::support::{Running, run, stderr, stdout};
use serde_json::Value;

/// Starts a cluster on successive ports. Returns it and its endpoints.
fn server(members: u16) -> (Running, String) {
    server_with(members, &[])
}

/// Starts a cluster with more arguments.
fn server_with(members: u16, more: &[&str]) -> (Running, String) {
    // Try other ports if another program has taken one meanwhile.
    for _ in 0..20 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port > u16::MAX - members {
            continue;
        }
        let (first, count) = (port.to_string(), members.to_string());
        let arguments = ["dev", "--port", &first, "--members", &count];
        let mut server = Running::start(&[&arguments, more].concat());
        if let Some(line) = server.next_line() {
            let members = (0..members)
                .map(|n| format!("node-{}=tcp://127.0.0.1:{}", n + 1, port + n))
                .collect::<Vec<_>>();
            let endpoints = members.join(",");
            assert_eq!(line, format!("endpoints: {endpoints}"));
            return (server, endpoints);
        }
        assert_eq!(server.end().0, Some(2), "a port is in use");
    }
    panic!("no ports");
}

#[test]
fn set_get_and_watch_print_what_the_live_tools_print() {
    let (_server, endpoints) = server(3);
    let absent = run(&["get", "-e", &endpoints, "key"]);
    assert_eq!((absent.status.code(), stdout(&absent).as_str()), (Some(0), "key = <none>\n"));
    let set = run(&["set", "--endpoints", &endpoints, "key", "value"]);
    assert_eq!((set.status.code(), stdout(&set).as_str()), (Some(0), "OK\n"));
    let present = run(&["get", "-e", &endpoints, "key"]);
    assert_eq!(stdout(&present), "key = value\n");

    let mut watch = Running::start(&["watch", "-e", &endpoints, "key"]);
    assert_eq!(watch.line(), "watching key - press Ctrl+C to stop");
    let first = watch.line();
    assert!(first.starts_with("[20") && first.ends_with("Z] seq=1 key=key value=value"), "{first}");
    assert!(run(&["set", "-e", &endpoints, "key", "другое"]).status.success());
    assert!(watch.line().ends_with("seq=2 key=key value=другое"));
    assert_eq!(watch.interrupt(), Some(130));
}

#[test]
fn key_without_a_value_differs_from_the_value_none() {
    let (_server, endpoints) = server(1);
    let get = |options: &[&str]| {
        let output = run(&[&["get", "-e", &endpoints, "key"], options].concat());
        (output.status.code(), stdout(&output))
    };
    assert_eq!(get(&["--exit-code"]), (Some(4), "key = <none>\n".to_owned()));
    assert_eq!(get(&["--json"]), (Some(0), "{\"key\":\"key\",\"value\":null}\n".to_owned()));
    assert_eq!(get(&["--json", "--exit-code"]).0, Some(4));
    assert!(run(&["set", "-e", &endpoints, "key", "<none>"]).status.success());
    assert_eq!(get(&["--exit-code"]), (Some(0), "key = <none>\n".to_owned()));
    assert_eq!(get(&["--json"]).1, "{\"key\":\"key\",\"value\":\"<none>\"}\n");
}

#[test]
fn value_of_several_lines_is_one_line_of_json() {
    let (_server, endpoints) = server(1);
    let value = "one\ntwo\r\n\u{2028}three";
    assert!(run(&["set", "-e", &endpoints, "key", value]).status.success());
    let get = stdout(&run(&["get", "-e", &endpoints, "--json", "key"]));
    assert_eq!(get.lines().count(), 1, "{get}");
    assert_eq!(serde_json::from_str::<Value>(&get).unwrap()["value"], value);
    let mut watch = Running::start(&["watch", "-e", &endpoints, "--json", "key"]);
    for (seq, value) in [(1, value), (2, "four\nfive")] {
        if seq > 1 {
            assert!(run(&["set", "-e", &endpoints, "key", value]).status.success());
        }
        let line: Value = serde_json::from_str(&watch.line()).unwrap();
        assert_eq!(
            (&line["seq"], &line["key"], &line["value"]),
            (&seq.into(), &"key".into(), &value.into())
        );
        assert!(line["time"].as_str().unwrap().starts_with("20"), "{line}");
    }
    assert_eq!(watch.interrupt(), Some(130));
}

#[test]
fn set_and_ping_print_json_objects() {
    let (_server, endpoints) = server(1);
    let set = run(&["set", "-e", &endpoints, "--json", "key", "value"]);
    assert_eq!(stdout(&set), "{\"key\":\"key\",\"value\":\"value\"}\n");
    let ping = stdout(&run(&["ping", "-e", &endpoints, "--json", "-c", "2"]));
    let lines: Vec<Value> = ping.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{ping}");
    assert_eq!(lines[0]["leader"], "node-1");
    assert!(lines[1]["roundTrip"] == 1 && lines[2]["millis"].as_f64().unwrap() > 0.0, "{ping}");
    assert!(lines[3]["latencyMs"]["max"].as_f64().unwrap() > 0.0, "{ping}");
}

#[test]
fn ping_prints_no_percentile_with_too_few_samples() {
    let (_server, endpoints) = server(1);
    let last = |count: &str| {
        let text = stdout(&run(&["ping", "-e", &endpoints, "-c", count]));
        text.lines().last().unwrap().to_owned()
    };
    let four = last("4");
    assert!(four.contains("p50 ") && four.contains("max "), "{four}");
    assert!(!four.contains("p9"), "{four}");
    let hundred = last("100");
    assert!(hundred.contains("p99 ") && !hundred.contains("p99.9"), "{hundred}");
}

#[test]
fn ping_prints_the_leader_and_round_trips() {
    let (server, endpoints) = server(1);
    let ping = run(&["ping", "-e", &endpoints, "--count", "2"]);
    assert_eq!(ping.status.code(), Some(0));
    let text = stdout(&ping);
    assert!(text.starts_with("session ***, leader node-1\nround trip 1: "), "{text}");
    assert!(text.contains("\nround trip 2: ") && !text.contains("round trip 3"), "{text}");
    assert_eq!(server.interrupt(), Some(130));
}

/// Process managers stop programs with SIGTERM.
#[cfg(unix)]
#[test]
fn terminated_program_exits_with_143() {
    let (server, endpoints) = server(1);
    let mut watch = Running::start(&["watch", "-e", &endpoints, "key"]);
    assert_eq!(watch.line(), "watching key - press Ctrl+C to stop");
    assert_eq!(watch.terminate(), Some(143));
    assert_eq!(server.terminate(), Some(143));
}

#[test]
fn bench_prints_throughput_latency_and_cpu() {
    let (_server, endpoints) = server(1);
    let arguments = ["bench", "-e", &endpoints, "--duration", "0.3", "--queries", "0.5", "--json"];
    let bench = run(&arguments);
    assert_eq!(bench.status.code(), Some(0), "{}", stderr(&bench));
    let report: Value = serde_json::from_str(&stdout(&bench)).unwrap();
    assert!(report["commands"].as_u64().unwrap() > 0 && report["queries"].as_u64().unwrap() > 0);
    assert!(report["requestsPerSecond"].as_f64().unwrap() > 0.0);
    assert!(report["latencyMs"]["p99"].as_f64().unwrap() > 0.0);
    let embedded = run(&["bench", "--embedded", "--duration", "0.2", "--in-flight", "8"]);
    assert_eq!(embedded.status.code(), Some(0), "{}", stderr(&embedded));
    for word in ["requests", "errors", "throughput", "p99", "CPU"] {
        assert!(stdout(&embedded).contains(word), "{word}");
    }
}

#[test]
fn value_that_cannot_be_used_exits_1_and_the_text_says_why() {
    let long = "k".repeat(257);
    for arguments in [
        &["set", "-e", "no-address", "key", "value"][..],
        &["set", "-e", "node-1=udp://127.0.0.1:7001", "key", "value"],
        &["get", &long],
        &["get", ""],
        &["set", "key", ""],
        &["dev", "--port", "65535", "--members", "2"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(!stderr(&output).is_empty());
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn arguments_that_are_not_understood_exit_2_with_the_usage() {
    for arguments in [
        &[][..],
        &["set", "key"],
        &["fly"],
        &["get", "--colour", "key"],
        &["dev", "--members", "0"],
        &["ping", "--count", "0"],
        &["ping", "--timeout", "0"],
        &["get", "--timeout", "soon", "key"],
        &["bench", "--queries", "1.5"],
        &["bench", "--duration", "0"],
        &["bench", "--embedded", "-e", "node-1=tcp://127.0.0.1:1"],
        &["server", "--colour"],
        &["cluster", "fly"],
        &["context", "use"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("--help"), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn refused_connection_exits_2_and_names_the_cause() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Each command waits for its whole timeout, so run all at once.
    std::thread::scope(|scope| {
        for command in [&["get", "key"][..], &["set", "key", "value"], &["ping"], &["watch", "key"]]
        {
            scope.spawn(move || {
                let endpoints = format!("node-1=tcp://{closed}");
                let options = ["-e", &endpoints, "--timeout", "1"];
                let output = run(&[&command[..1], &options, &command[1..]].concat());
                assert_eq!(output.status.code(), Some(2), "{command:?}");
                assert!(stderr(&output).contains("refused"), "{}", stderr(&output));
                assert_eq!(stdout(&output), "");
            });
        }
    });
}

#[test]
fn port_in_use_exits_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["dev", "--port", &port]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(&port), "{}", stderr(&output));
}

#[test]
fn watch_continues_at_a_restarted_server_without_sessions() {
    let (server, endpoints) = server(1);
    assert!(run(&["set", "-e", &endpoints, "key", "before"]).status.success());
    let mut watch = Running::start(&["watch", "-e", &endpoints, "key"]);
    watch.line();
    assert!(watch.line().ends_with("seq=1 key=key value=before"));
    assert_eq!(server.interrupt(), Some(130));
    let lost = watch.complaint();
    assert!(lost.starts_with("zraft: lost the connection to node-1: "), "{lost}");
    let port = endpoints.rsplit(':').next().unwrap();
    let mut again = Running::start(&["dev", "--port", port]);
    assert!(again.line().starts_with("endpoints: "));
    assert!(run(&["set", "-e", &endpoints, "key", "after"]).status.success());
    assert!(watch.line().ends_with("seq=1 key=key value=after"));
    let mut line = watch.complaint();
    while !line.contains("in a new session") {
        line = watch.complaint();
    }
    assert_eq!(watch.interrupt(), Some(130));
}

#[test]
fn slow_server_still_answers() {
    let (_server, endpoints) = server_with(1, &["--slow", "100", "--commit-delay", "20"]);
    let bench = run(&["bench", "-e", &endpoints, "--duration", "1", "--in-flight", "4", "--json"]);
    let report: Value = serde_json::from_str(&stdout(&bench)).unwrap();
    let rate = report["requestsPerSecond"].as_f64().unwrap();
    assert!(rate > 0.0 && rate < 200.0, "100 a second and no more, but for a burst: {rate}");
}

#[test]
fn help_and_version_exit_0() {
    for arguments in [&["--help"][..], &["--version"], &["demo", "--help"]] {
        assert_eq!(run(arguments).status.code(), Some(0));
    }
}

/// The defaults are those of the live tools and the live server.
#[test]
fn endpoint_and_port_have_the_live_systems_defaults() {
    // clap may break lines anywhere.
    let help = |command| {
        let help = stdout(&run(&[command, "--help"]));
        help.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for command in ["set", "get", "watch", "ping", "bench"] {
        let help = help(command);
        assert!(help.contains("[default: node-1=tcp://127.0.0.1:7001]"), "{command}: {help}");
        assert!(help.contains("--timeout <SECONDS>") && help.contains("[default: 15]"), "{help}");
        assert!(!help.contains("5 seconds") || help.contains("15 seconds"), "{command}: {help}");
    }
    assert!(help("dev").contains("[default: 7001]"));
}
