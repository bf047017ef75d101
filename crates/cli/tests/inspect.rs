//! `zraft inspect`.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{run, run_with, stdout, testdata};

/// The vectors of one side: message and bytes.
fn vectors(from: &str) -> Vec<(Value, String)> {
    let text = std::fs::read_to_string(testdata("vectors.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|vector| vector["from"] == from)
        .map(|vector| (vector["message"].clone(), vector["hex"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn every_vector_decodes_to_its_message_and_encodes_to_its_bytes() {
    for side in ["client", "server"] {
        let vectors = vectors(side);
        assert!(vectors.len() > 250);
        let hex: String = vectors.iter().map(|(_, hex)| format!("{hex}\n")).collect();
        let decoded = run_with(&["inspect", "--from", side], hex.as_bytes());
        assert!(decoded.status.success());
        for (line, (message, _)) in stdout(&decoded).lines().zip(&vectors) {
            assert_eq!(&serde_json::from_str::<Value>(line).unwrap(), message);
        }
        let messages: String = vectors.iter().map(|(message, _)| format!("{message}\n")).collect();
        let encoded = run_with(&["inspect", "--from", side, "--encode"], messages.as_bytes());
        assert!(encoded.status.success());
        assert_eq!(stdout(&encoded), hex);
    }
}

#[test]
fn a_line_that_does_not_decode_gives_an_error_and_exit_status_1_at_the_end() {
    let input = b"7a726166740107\nzz\n7a7261667401\nabc\n\xff\xfe\n7a726166740107\n";
    let output = run_with(&["inspect", "--from", "client"], input);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    for (number, line) in lines.iter().enumerate() {
        let good = matches!(number, 0 | 5);
        assert_eq!(line.get("error").is_none(), good, "{line}");
    }
}

#[test]
fn what_cannot_be_sent_is_not_encoded() {
    let lines = [
        r#"{"type":"SessionContinued","nonce":0}"#,
        r#"{"type":"ClientResponse","requestId":-1,"result":""}"#,
        r#"{"type":"ClientResponse","requestId":1}"#,
        r#"{"type":"SessionCreated","sessionId":"","nonce":1}"#,
        r#"{"type":"RequestError","requestId":1,"reason":"Nothing"}"#,
        r#"{"type":"Query","correlationId":"c","payload":"","createdAt":1}"#,
        r#"[1]"#,
        r#"{"#,
    ];
    let output =
        run_with(&["inspect", "--from", "server", "--encode"], lines.join("\n").as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output).lines().filter(|line| line.contains("error")).count(), lines.len());
}

#[test]
fn a_capture_gives_its_messages_from_a_file_and_from_standard_input() {
    let path = testdata("captures/ts-session.s2c.bin");
    let file = run(&["inspect", "--from", "server", "--zmtp", path.to_str().unwrap()]);
    assert!(file.status.success());
    let messages: Vec<Value> =
        stdout(&file).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages[0]["type"], "SessionCreated");
    assert_eq!(messages[1]["type"], "ClientResponse");
    let input = run_with(&["inspect", "--from", "server", "--zmtp"], &std::fs::read(path).unwrap());
    assert_eq!(input.stdout, file.stdout);
}

#[test]
fn bytes_that_are_no_capture_give_an_error() {
    let output = run_with(&["inspect", "--from", "client", "--zmtp"], b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("error"));
    let missing = run(&["inspect", "--from", "client", "--zmtp", "no-such-file"]);
    assert_eq!(missing.status.code(), Some(1));
}
