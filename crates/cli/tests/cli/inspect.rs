//! `zraft inspect`.

use std::{collections::BTreeMap, path::Path, process::Output};

use crate::support::{run, run_with, stdout, testdata};
use serde_json::{Value, json};

fn objects(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the vectors of one side: message and bytes.
fn vectors(from: &str) -> Vec<(Value, String)> {
    let text = std::fs::read_to_string(testdata("vectors.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|vector| vector["from"] == from)
        .map(|vector| (vector["message"].clone(), vector["hex"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn each_vector_decodes_to_its_message_and_encodes_to_its_bytes() {
    for side in ["client", "server"] {
        let vectors = vectors(side);
        assert!(vectors.len() > 250);
        let hex: String = vectors.iter().map(|(_, hex)| format!("{hex}\n")).collect();
        let decoded = run_with(&["inspect", "--from", side], hex.as_bytes());
        assert!(decoded.status.success());
        let expected: Vec<_> = vectors.iter().map(|(message, _)| message.clone()).collect();
        assert_eq!(objects(&decoded), expected);
        let messages: String = vectors.iter().map(|(message, _)| format!("{message}\n")).collect();
        let encoded = run_with(&["inspect", "--from", side, "--encode"], messages.as_bytes());
        assert!(encoded.status.success());
        assert_eq!(stdout(&encoded), hex);
    }
}

#[test]
fn line_that_does_not_decode_gives_an_error_and_exit_status_1() {
    let input = b"7a726166740107\nzz\n7a7261667401\nabc\n\xff\xfe\n7a726166740107\n";
    let output = run_with(&["inspect", "--from", "client"], input);
    assert_eq!(output.status.code(), Some(1));
    let lines = objects(&output);
    assert_eq!(lines.len(), 6);
    for (number, line) in lines.iter().enumerate() {
        let good = matches!(number, 0 | 5);
        assert_eq!(line.get("error").is_none(), good, "{line}");
    }
}

#[test]
fn message_that_the_wire_cannot_carry_is_not_encoded() {
    let lines = [
        r#"{"type":"SessionContinued","nonce":0}"#,
        r#"{"type":"ClientResponse","requestId":-1,"result":""}"#,
        r#"{"type":"ClientResponse","requestId":1}"#,
        r#"{"type":"SessionCreated","sessionId":"","nonce":1}"#,
        r#"{"type":"RequestError","requestId":1,"reason":"Nothing"}"#,
        r#"{"type":"Query","correlationId":"c","payload":"","createdAt":1}"#,
        r#"{"type":"KeepAliveResponse","timestamp":9223372036854775808}"#,
        r#"{"type":"KeepAliveResponse","timestamp":1.0}"#,
        r#"{"type":"KeepAliveResponse","timestamp":"1"}"#,
        r#"{"type":"ClientResponse","requestId":1,"result":"abc"}"#,
        &"[".repeat(100_000),
        r#"[1]"#,
        r#"{"#,
    ];
    let output =
        run_with(&["inspect", "--from", "server", "--encode"], lines.join("\n").as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let told = objects(&output);
    assert_eq!(told.len(), lines.len());
    assert!(told.iter().all(|object| object["error"].is_string()), "{told:?}");
}

/// Counts the messages in a capture of one direction, by kind, from the program's output.
fn kinds(side: &str, path: &Path) -> BTreeMap<String, u64> {
    let output = run(&["inspect", "--from", side, "--zmtp", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", path.display());
    let direction = if side == "client" { "c2s" } else { "s2c" };
    let mut kinds = BTreeMap::new();
    for (number, object) in objects(&output).iter().enumerate() {
        assert_eq!(object["zmtp"] == "GREETING", number == 0);
        let kind = match (object["zmtp"].as_str(), object["type"].as_str()) {
            (Some("GREETING"), _) => continue,
            (Some(command), _) => format!("{direction} cmd {command}"),
            (_, Some(message)) => format!("{direction} msg {message}"),
            _ => panic!("{object} in {}", path.display()),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Reads the counts of a capture's makers: the object after SUMMARY. A message's name is between its version and its number.
fn counted(path: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(path).unwrap();
    let object = text.split_once("SUMMARY ").unwrap().1;
    let counts: BTreeMap<String, u64> = serde_json::from_str(object).unwrap();
    let name = |kind: String| {
        let kind = kind.replace("zraft v1 ", "");
        kind.split('(').next().unwrap().to_owned()
    };
    counts.into_iter().map(|(kind, count)| (name(kind), count)).collect()
}

#[test]
fn each_capture_has_the_messages_that_its_makers_counted() {
    let mut told: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut files = 0;
    for entry in std::fs::read_dir(testdata("captures")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some((name, side)) = name
            .strip_suffix(".c2s.bin")
            .map(|name| (name, "client"))
            .or(name.strip_suffix(".s2c.bin").map(|name| (name, "server")))
        else {
            continue;
        };
        files += 1;
        // The makers counted the second connection of a capture with the first.
        let name = name.strip_suffix(".2").unwrap_or(name).to_owned();
        for (kind, count) in kinds(side, &path) {
            *told.entry(name.clone()).or_default().entry(kind).or_default() += count;
        }
    }
    assert_eq!(files, 24);
    for (name, told) in told {
        assert_eq!(told, counted(&testdata(&format!("captures/{name}.txt"))), "{name}");
    }
}

#[test]
fn missing_capture_or_folder_is_bad_input_and_named() {
    for name in ["captures", "captures/none.c2s.bin"] {
        let path = testdata(name);
        let output = run(&["inspect", "--from", "client", "--zmtp", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.starts_with(&format!("zraft: {}: ", path.display())), "{complaint}");
    }
}

#[test]
fn capture_gives_the_same_from_a_file_and_from_standard_input() {
    let path = testdata("captures/ts-session.s2c.bin");
    let file = run(&["inspect", "--from", "server", "--zmtp", path.to_str().unwrap()]);
    let told = objects(&file);
    assert_eq!(
        told[0],
        json!({"zmtp": "GREETING", "version": "3.0", "mechanism": "NULL", "asServer": false})
    );
    assert_eq!(told[1], json!({"zmtp": "READY", "properties": [["Socket-Type", "SERVER"]]}));
    assert_eq!(told[2]["type"], "SessionCreated");
    assert_eq!(told[3]["type"], "ClientResponse");
    let input = run_with(&["inspect", "--from", "server", "--zmtp"], &std::fs::read(path).unwrap());
    assert_eq!((input.status.code(), input.stdout), (Some(0), file.stdout));
}

#[test]
fn capture_of_the_other_side_or_cut_short_is_an_error() {
    let bytes = std::fs::read(testdata("captures/ts-session.s2c.bin")).unwrap();
    let other = run_with(&["inspect", "--from", "client", "--zmtp"], &bytes);
    assert_eq!(other.status.code(), Some(1));
    let cut = run_with(&["inspect", "--from", "server", "--zmtp"], &bytes[..bytes.len() - 1]);
    assert_eq!(cut.status.code(), Some(1));
    assert!(objects(&cut).last().unwrap()["error"].as_str().unwrap().contains("middle"));
}

#[test]
fn bytes_that_are_not_a_capture_give_an_error() {
    let output = run_with(&["inspect", "--from", "client", "--zmtp"], b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("error"));
    let missing = run(&["inspect", "--from", "client", "--zmtp", "no-such-file"]);
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn numbers_beyond_those_of_floating_point_are_kept_to_the_last_digit() {
    let line = br#"{"type":"KeepAlive","timestamp":-9223372036854775807}"#;
    let hex = run_with(&["inspect", "--from", "client", "--encode"], line);
    assert_eq!(stdout(&hex), "7a7261667401038000000000000001\n");
    let back = run_with(&["inspect", "--from", "client"], &hex.stdout);
    assert_eq!(back.stdout.trim_ascii_end(), line);
}

#[test]
fn random_bytes_give_an_error_for_each_line() {
    // A linear congruence, so that each run uses the same bytes.
    let mut state = 1_u64;
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    for arguments in [&["--from", "client"][..], &["--from", "server", "--encode"]] {
        let mut input: Vec<u8> = (0..100_000).map(|_| byte()).collect();
        input.push(b'\n');
        let output = run_with(&[&["inspect"], arguments].concat(), &input);
        assert_eq!(output.status.code(), Some(1));
        let told = objects(&output);
        assert!(told.len() > 100 && told.iter().all(|object| object["error"].is_string()));
    }
    for _ in 0..20 {
        let mut input = std::fs::read(testdata("captures/ts-session.s2c.bin")).unwrap();
        let (place, value) = (usize::from(byte()) % input.len(), byte());
        input[place] = value;
        let output = run_with(&["inspect", "--from", "server", "--zmtp"], &input);
        let wrong = objects(&output).iter().any(|object| object.get("error").is_some());
        assert_eq!(output.status.code(), Some(i32::from(wrong)), "{place} {value}");
    }
}
