//! An HTTP client by hand, so that tests can also send what no client sends.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::within;

/// The token of the members of a test.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and the headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the code of the error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns the text of the error.
    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends bytes, and reads until the member closes the connection. Returns none if that is not an HTTP answer.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = within(TcpStream::connect(address)).await.expect("it listens");
    // The member may answer and close the connection before it has read everything.
    let _ = within(stream.write_all(request)).await;
    let mut bytes = Vec::new();
    let _ = within(stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// Asks for a file with the token. Returns the status line with the headers, and the content.
pub(crate) async fn download(address: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let token = bearer(TOKEN);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{token}\r\n\r\n");
    let mut stream = within(TcpStream::connect(address)).await.expect("it listens");
    within(stream.write_all(request.as_bytes())).await.expect("it is open");
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.expect("it ends");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    (head, bytes.split_off(end))
}

/// Sends a request with these header lines.
pub(crate) async fn request(
    address: SocketAddr,
    line: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let text = format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    exchange(address, text.as_bytes()).await.expect("an answer")
}

/// Asks for a path without the token.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, &format!("GET {path}"), &[], "").await
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// Asks for the status with the token.
pub(crate) async fn status(address: SocketAddr) -> Value {
    let answer = request(address, "GET /v1/status", &[&bearer(TOKEN)], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Asks for a change with the token.
pub(crate) async fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    request(address, &format!("POST {path}"), &[&bearer(TOKEN)], &body.to_string()).await
}
