//! Replicated members for the Node package's suite: started with the options in the first argument, controlled by lines of JSON,
//! and ended by the end of the input.
//!
//! A line in is `[number, name, arguments, payload in base 16]`, and a line out is `[number, {"value": …}]` or
//! `[number, {"error": "…"}]`. The first line out has the number 1 and tells that the members run, or why they do not.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Stdout};
use tokio::sync::Mutex;
use zraft_suites::switches;

/// The number of the call that starts the cluster: the first that JavaScript gives.
const START: u64 = 1;

#[tokio::main]
async fn main() {
    let out = Arc::new(Mutex::new(tokio::io::stdout()));
    let options = std::env::args().nth(1).unwrap_or_default();
    let options = serde_json::from_str(&options).unwrap_or_default();
    let cluster = match switches::start(&options).await {
        Ok(cluster) => cluster,
        Err(error) => return reply(&out, START, Err(error)).await,
    };
    reply(&out, START, Ok(Value::Null)).await;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(call) = serde_json::from_str::<Value>(&line) else { continue };
        let number = call[0].as_u64().unwrap_or_default();
        let name = call[1].as_str().unwrap_or_default().to_owned();
        if name == "stop" {
            cluster.shutdown().await;
            return reply(&out, number, Ok(Value::Null)).await;
        }
        let (handle, out) = (cluster.handle(), out.clone());
        // Each call has its own task, since it may wait for the effect of another.
        tokio::spawn(async move {
            let payload = bytes_of(call[3].as_str().unwrap_or_default());
            let result = switches::call(&handle, &name, &call[2], payload).await;
            reply(&out, number, result).await;
        });
    }
    cluster.shutdown().await;
}

async fn reply(out: &Mutex<Stdout>, number: u64, result: Result<Value, String>) {
    let result = match result {
        Ok(value) => json!({ "value": value }),
        Err(error) => json!({ "error": error }),
    };
    let mut out = out.lock().await;
    // If no one reads, the test has ended.
    let _ = out.write_all(format!("{}\n", json!([number, result])).as_bytes()).await;
    let _ = out.flush().await;
}

/// Reads two digits of base 16 for each byte.
fn bytes_of(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
