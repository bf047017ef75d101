//! `zraft command` and `zraft query`: requests of any application.

use crate::support::{Running, run, run_with, stderr, stdout};
use serde_json::{Value, json};
use zraft_protocol::ClientMessageKind;
use zraft_test_server::{AppendLog, Echo, KvStore, MessageClass, TestCluster};

struct Setting {
    cluster: TestCluster,
    endpoints: String,
}

impl Setting {
    async fn new(cluster: zraft_test_server::ClusterBuilder) -> Self {
        let cluster = cluster.start().await.unwrap();
        let members: Vec<_> = cluster
            .endpoints()
            .into_iter()
            .map(|(id, address)| format!("{id}={address}"))
            .collect();
        Self { cluster, endpoints: members.join(",") }
    }

    async fn echo() -> Self {
        Self::new(TestCluster::builder().app(Echo)).await
    }

    /// Runs a command, which must succeed, and returns its standard output.
    fn bytes(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let arguments = [&arguments[..1], &["-e", &self.endpoints], &arguments[1..]].concat();
        let output = run_with(&arguments, input);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        output.stdout
    }

    fn text(&self, arguments: &[&str], input: &[u8]) -> String {
        String::from_utf8(self.bytes(arguments, input)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payload_is_given_and_the_answer_printed_as_text_hex_base64_or_raw() {
    let setting = Setting::echo().await;
    for command in ["command", "query"] {
        for (arguments, input, expected) in [
            (&["a\\b é"][..], &b""[..], "a\\\\b é\n"),
            (&["-i", "hex", "61 00FF"], b"", "a\\x00\\xff\n"),
            (&["-i", "base64", "YQD/", "-o", "hex"], b"", "6100ff\n"),
            (&["--input", "hex", "6100ff", "--output", "base64"], b"", "YQD/\n"),
            (&["-", "-o", "hex"], b"one\n", "6f6e650a\n"),
            (&["-i", "hex", "-o", "text"], b"6f 6e\n65\n", "one\n"),
            (&["--", "-v"], b"", "-v\n"),
        ] {
            let arguments = [&[command], arguments].concat();
            assert_eq!(setting.text(&arguments, input), expected, "{arguments:?}");
        }
        assert_eq!(setting.bytes(&[command, "-o", "raw"], b"\0\xff\n"), b"\0\xff\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_the_outcome_and_names_the_form_of_the_answer() {
    let setting = Setting::echo().await;
    let json = |arguments: &[&str]| -> Value {
        let text = setting.text(&[arguments, &["--json"]].concat(), b"");
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(json(&["command", "a\nb"]), json!({ "outcome": "answered", "text": "a\nb" }));
    assert_eq!(json(&["query", "-i", "hex", "ff"]), json!({ "outcome": "answered", "hex": "ff" }));
    assert_eq!(
        json(&["query", "a", "-o", "base64"]),
        json!({ "outcome": "answered", "base64": "YQ==" })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_a_command_and_answers_come_in_the_order_of_the_lines() {
    let setting = Setting::new(TestCluster::builder().app(AppendLog::default())).await;
    let lines: String = (0..2000).map(|number| format!("item {number}\n")).collect();
    let printed = setting.text(&["command", "--lines", "--json"], lines.as_bytes());
    let answers: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2000);
    for (number, answer) in (1..).zip(&answers) {
        assert_eq!((&answer["line"], &answer["outcome"]), (&json!(number), &json!("answered")));
    }
    assert_eq!(setting.cluster.executed().0, 2000);
    // The session is closed.
    setting.cluster.wait_for(|engine| engine.sessions().count() == 0).await;
}

/// A program that reads the first answers only, such as `head`, closes the pipe.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn session_is_closed_when_no_one_reads_the_answers() {
    let setting = Setting::echo().await;
    let program = env!("CARGO_BIN_EXE_zraft");
    let script = format!("yes | '{program}' query -e '{}' --lines | head -n 3", setting.endpoints);
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(stdout(&output), "y\ny\ny\n");
    setting.cluster.wait_for(|engine| engine.sessions().count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_sent_until_the_session_ends() {
    let setting = Setting::echo().await;
    let arguments = ["query", "-e", &setting.endpoints, "--lines", "--json"];
    let mut running = Running::start_fed(&arguments);
    running.feed("one\n");
    assert!(running.line().contains("\"text\":\"one\""));
    let session = setting.cluster.sessions()[0].id.clone();
    setting.cluster.expire_session(&session).unwrap();
    setting.cluster.wait_for(|engine| engine.sessions().count() == 0).await;
    // The client learns it by the next request at the latest.
    running.feed("two\n");
    let two: Value = serde_json::from_str(&running.line()).unwrap();
    assert_eq!((&two["line"], &two["outcome"]), (&json!(2), &json!("failed")));
    let (exit, complaints) = running.end();
    assert_eq!(exit, Some(2), "{complaints}");
    assert!(
        complaints.contains("the session has ended: no further lines are sent"),
        "{complaints}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn line_that_is_not_a_payload_is_reported_and_the_others_are_sent() {
    let setting = Setting::echo().await;
    let arguments = ["query", "-e", &setting.endpoints, "--lines", "-i", "hex", "-o", "hex"];
    let output = run_with(&arguments, b"6 1\r\n\nwxyz\n62");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), "61\n62\n"));
    assert_eq!(stderr(&output), "zraft: line 3: not hexadecimal\n");
    let output = run_with(&[&arguments[..], &["--json"]].concat(), b"wxyz");
    let line: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&line["line"], &line["outcome"], &line["error"]),
        (&json!(1), &json!("failed"), &json!("VALIDATION"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn command_whose_answer_is_lost_exits_6_and_a_query_2() {
    let setting = Setting::echo().await;
    setting.cluster.drop_messages(MessageClass::Answers, None);
    for (command, exit, outcome) in [("command", 6, "unknown"), ("query", 2, "failed")] {
        let output = run(&[command, "-e", &setting.endpoints, "--timeout", "1", "--json", "a"]);
        assert_eq!(output.status.code(), Some(exit), "{}", stderr(&output));
        let object: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&object["outcome"], &object["error"]), (&json!(outcome), &json!("TIMEOUT")));
        assert!(stderr(&output).contains("was not answered in time"), "{}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn command_that_was_never_sent_is_not_executed() {
    let setting = Setting::echo().await;
    setting.cluster.drop_messages(MessageClass::FromClient(ClientMessageKind::CreateSession), None);
    let output = run(&["command", "-e", &setting.endpoints, "--timeout", "1", "a"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    assert_eq!(setting.cluster.executed().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn payload_of_the_key_value_store_is_what_its_own_commands_send() {
    let setting = Setting::new(TestCluster::builder().app(KvStore::default())).await;
    let set = "53 00000001 61 00000005 67 72 65 65 6e";
    assert_eq!(setting.text(&["command", "-i", "hex", set], b""), "\n");
    assert_eq!(setting.text(&["get", "a"], b""), "a = green\n");
    let got = setting.text(&["query", "-i", "hex", "47 00000001 61"], b"");
    assert_eq!(got, "\\xff\\x00\\x00\\x00\\x05green\n");
}

#[test]
fn payload_that_cannot_be_sent_is_refused() {
    for (arguments, input, exit, expected) in [
        (&["command", "-i", "hex", "wxyz"][..], &b""[..], 1, "the payload: not hexadecimal"),
        (&["query", "-i", "base64"], b"%", 1, "the payload: not base64"),
        (&["query", "--lines", "-o", "raw"], b"", 2, "choose another --output"),
        (&["query", "--lines", "a"], b"", 2, "cannot be used with"),
        (&["query", "-i", "octal", "a"], b"", 2, "possible values: text, hex, base64"),
    ] {
        let output = run_with(arguments, input);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}
