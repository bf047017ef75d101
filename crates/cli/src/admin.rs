//! A client of the admin port.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use zraft_server::AdminToken;

/// The longest answer: the status of 64 members with the longest names and addresses needs less than a tenth.
const ANSWER_BYTES: usize = 1 << 20;
/// The longest wait for one member. The port itself gives up after 10 s, and a member that works answers in milliseconds.
const ASK_TIME: Duration = Duration::from_secs(3);

/// The admin port of a member.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Its address.
    pub address: SocketAddr,
    token: AdminToken,
}

/// Why a member does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskError {
    /// There was no answer. A change that was asked for may have begun.
    Unreachable(String),
    /// The member refuses.
    Refused {
        /// The word for programs, such as `not_leader`.
        code: String,
        /// What to do.
        message: String,
    },
    /// The answer is not one of an admin port.
    Strange(String),
}

impl std::fmt::Display for AskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "no answer: {why}"),
            Self::Refused { message, .. } => f.write_str(message),
            Self::Strange(why) => write!(f, "not the answer of an admin port: {why}"),
        }
    }
}

impl AskError {
    /// Returns true if the same request can succeed a moment later, at the member that leads then.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if ["not_leader", "handing_over", "busy"].contains(&code.as_str()))
    }
}

impl Admin {
    /// Returns a client. It opens a connection for each request.
    #[must_use]
    pub fn new(address: SocketAddr, token: AdminToken) -> Self {
        Self { address, token }
    }

    /// Asks for the status.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn status(&self) -> Result<Value, AskError> {
        self.ask(Method::GET, "/v1/status", Bytes::new()).await
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, AskError> {
        self.ask(Method::POST, path, Bytes::from(body.to_string())).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Value, AskError> {
        match timeout(ASK_TIME, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => {
                let seconds = ASK_TIME.as_secs();
                Err(AskError::Unreachable(format!("{} is silent for {seconds} s", self.address)))
            }
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Value, AskError> {
        let unreachable = |error: &dyn std::fmt::Display| {
            AskError::Unreachable(format!("{}: {error}", self.address))
        };
        let strange =
            |error: &dyn std::fmt::Display| AskError::Strange(format!("{}: {error}", self.address));
        let stream = TcpStream::connect(self.address).await.map_err(|error| unreachable(&error))?;
        let connection = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.map_err(|error| unreachable(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token.as_str()))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| strange(&error))?;
        // The task ends with the connection, which carries one request.
        let task = tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| unreachable(&error))?.to_bytes();
        task.abort();
        let value: Value = serde_json::from_slice(&body).map_err(|error| strange(&error))?;
        if status.is_success() {
            return Ok(value);
        }
        let text = |field: &str| value["error"][field].as_str().map(str::to_owned);
        match (text("code"), text("message")) {
            (Some(code), Some(message)) => Err(AskError::Refused { code, message }),
            _ => Err(strange(&status)),
        }
    }
}
