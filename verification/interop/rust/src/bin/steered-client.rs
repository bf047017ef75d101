//! A client that a test controls by lines of text, so that it can stop and continue the whole process.
//!
//! `connect ENDPOINT` connects, and `command TEXT` submits a command and reports `answer LENGTH` or `error CODE`. Events are
//! reported as they happen.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use zraft_client::{Event, RaftClient};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut client: Option<RaftClient> = None;
    while let Ok(Some(line)) = lines.next_line().await {
        match line.split_once(' ') {
            Some(("connect", endpoint)) => client = Some(connect(endpoint).await),
            Some(("command", text)) => {
                let answer = client.as_ref().unwrap().try_submit_command(text.to_owned()).unwrap();
                println!("submitted");
                tokio::spawn(async move {
                    match answer.await {
                        Ok(answer) => println!("answer {}", answer.len()),
                        Err(error) => println!("error {}", error.code()),
                    }
                });
            }
            _ => println!("unknown"),
        }
    }
}

async fn connect(endpoint: &str) -> RaftClient {
    let client = RaftClient::builder()
        .member("node-1", endpoint)
        .capability("kind", "stopped")
        .request_timeout(Duration::from_secs(2))
        .heartbeat_interval(Duration::from_millis(200))
        .heartbeat_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let mut events = client.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Event::Connected { resumed, .. } => println!("connected {resumed}"),
                Event::Disconnected { reason, .. } => println!("disconnected {}", reason.name()),
                _ => {}
            }
        }
    });
    client.connect().await.unwrap();
    client
}
