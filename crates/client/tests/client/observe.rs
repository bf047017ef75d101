//! The features `tracing` and `metrics`: what they report, and that neither shows a secret.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::PrometheusBuilder;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use zraft_client::Error;

use crate::support::raw::connected;
use crate::support::{builder, within};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects, sends a command with a secret payload, drops another one, and queries after the end.
async fn use_the_client() -> String {
    let (_peer, mut connection, client) = connected(builder()).await;
    let session = client.session_id().unwrap().as_str().to_owned();
    let command = tokio::spawn({
        let client = client.clone();
        async move { client.submit_command("the secret payload").await }
    });
    let (id, _) = connection.command().await;
    connection.answer(id, b"the secret answer").await;
    within(command).await.unwrap().unwrap();
    drop(client.try_submit_command("dropped").unwrap());
    let mut outcomes = client.submit_commands(["one of many"]);
    let (outcome, ()) = tokio::join!(within(outcomes.next()), async {
        loop {
            let (id, payload) = connection.command().await;
            connection.answer(id, b"done").await;
            if payload == "one of many" {
                return;
            }
        }
    });
    outcome.unwrap().unwrap();
    tokio::spawn(connection.until_closed());
    within(client.disconnect_within(std::time::Duration::ZERO)).await;
    let error = client.submit_query("too late").await.unwrap_err();
    assert!(matches!(error, Error::NotConnected | Error::Closed { .. }), "{error:?}");
    session
}

#[tokio::test]
async fn traces_have_spans_with_outcomes_and_events_and_no_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    // While a process has one subscriber, tracing asks that of the thread that reaches a line first, and remembers its answer for
    // all threads. Tests without a subscriber would silence the line. With a second one it asks both.
    let silent = tracing_subscriber::fmt().with_max_level(LevelFilter::OFF).finish();
    let _second = Dispatch::new(silent);
    // For this thread alone, on which the client's task runs, too.
    let guard = tracing::subscriber::set_default(subscriber);
    let session = use_the_client().await;
    drop(guard);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for secret in [session.as_str(), "secret"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let spans = text.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let span = (line["fields"]["message"] == "close").then(|| line["span"].clone())?;
        let text = |name: &str| span[name].as_str().map(str::to_owned);
        Some((text("name")?, text("outcome")?))
    });
    let spans: Vec<_> = spans.collect();
    let has = |name: &str, outcome: &str| spans.contains(&(name.to_owned(), outcome.to_owned()));
    assert!(has("command", "ok") && has("command", "dropped"), "{spans:?}");
    assert_eq!(spans.iter().filter(|span| *span == &("command".into(), "ok".into())).count(), 2);
    assert!(has("query", "NOT_CONNECTED") || has("query", "CLOSED"), "{spans:?}");
    assert!(has("connect", "ok"), "{spans:?}");
    for event in ["connected", "state changed", "disconnected"] {
        assert!(text.contains(&format!("\"message\":\"{event}\"")), "{event}: {text}");
    }
}

#[tokio::test]
async fn metrics_count_calls_by_outcome_and_events() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let guard = metrics::set_default_local_recorder(&recorder);
    use_the_client().await;
    drop(guard);
    let text = handle.render();
    for line in [
        r#"zraft_client_duration_seconds_count{kind="command",outcome="ok"} 2"#,
        r#"zraft_client_duration_seconds_count{kind="command",outcome="dropped"} 1"#,
        r#"zraft_client_duration_seconds_count{kind="connect",outcome="ok"} 1"#,
        r#"zraft_client_events_total{event="connected"} 1"#,
        r#"zraft_client_events_total{event="disconnected"} 1"#,
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
