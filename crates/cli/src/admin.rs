//! A client of the admin port.

mod trust;

use std::{fmt, fs::File, io::Write, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
    time::timeout,
};
use zraft_server::Token;

pub use trust::Trust;

/// The longest answer: a history needs less than half, and the status of 64 members with the longest names and addresses less than a tenth.
const ANSWER_BYTES: usize = 1 << 20;
/// The longest wait for one member. The port itself gives up after 10 s, and a member that works answers in milliseconds.
const ASK_TIME: Duration = Duration::from_secs(3);

/// The admin port of a member.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Its address.
    pub address: SocketAddr,
    token: Token,
    /// What the port's certificate must be; none if it has no TLS.
    trust: Option<Trust>,
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
    /// The file of a backup cannot be written.
    File(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "no answer: {why}"),
            Self::Refused { message, .. } => f.write_str(message),
            Self::Strange(why) => write!(f, "not the answer of an admin port: {why}"),
            Self::File(why) => write!(f, "the file cannot be written: {why}"),
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

/// A connection to an admin port, with or without TLS.
trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytestream for S {}

impl Admin {
    /// Returns a client. It opens a connection for each request.
    #[must_use]
    pub fn new(address: SocketAddr, token: Token) -> Self {
        Self { address, token, trust: None }
    }

    /// Lets the client speak TLS, so that only the member that is meant gets the token.
    #[must_use]
    pub fn with_tls(self, trust: Trust) -> Self {
        Self { trust: Some(trust), ..self }
    }

    /// Asks for the status.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn status(&self) -> Result<Value, AskError> {
        self.ask(Method::GET, "/v1/status", Bytes::new()).await
    }

    /// Asks for the hashes of the member's history.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn history(&self) -> Result<Value, AskError> {
        self.ask(Method::GET, "/v1/history", Bytes::new()).await
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, AskError> {
        self.ask(Method::POST, path, Bytes::from(body.to_string())).await
    }

    /// Receives the file of the member's newest snapshot. The content must be checked: the file ends with its hash.
    ///
    /// # Errors
    /// [`AskError`]; a part of the file can be written then.
    pub async fn backup(&self, mut file: &File) -> Result<(), AskError> {
        let answer = self.send(Method::GET, "/v1/backup", Bytes::new());
        let (answer, connection) = within(self.address, answer).await?;
        if !answer.status().is_success() {
            let status = answer.status();
            return Err(self.refusal(status, &self.read(answer).await?));
        }
        let mut body = answer.into_body();
        while let Some(frame) = within(self.address, async { Ok(body.frame().await) }).await? {
            let frame = frame.map_err(|error| self.unreachable(&error))?;
            if let Ok(piece) = frame.into_data() {
                file.write_all(&piece).map_err(|error| AskError::File(error.to_string()))?;
            }
        }
        drop(connection);
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Value, AskError> {
        within(self.address, self.exchange(method, path, body)).await
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Value, AskError> {
        let (answer, connection) = self.send(method, path, body).await?;
        let status = answer.status();
        let value = self.read(answer).await?;
        drop(connection);
        if status.is_success() { Ok(value) } else { Err(self.refusal(status, &value)) }
    }

    /// Sends a request on a new connection, which is closed when the returned guard is dropped.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, AbortOnDrop), AskError> {
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(|error| self.unreachable(&error))?;
        let stream: Box<dyn Bytestream> = match &self.trust {
            Some(trust) => {
                let secured = trust.connect(self.address.ip(), stream).await;
                Box::new(secured.map_err(|problem| self.unreachable(&problem))?)
            }
            None => Box::new(stream),
        };
        let connection = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.map_err(|error| self.unreachable(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token.as_str()))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.strange(&error))?;
        let connection = AbortOnDrop(tokio::spawn(connection).abort_handle());
        let answer = sender.send_request(request).await;
        Ok((answer.map_err(|error| self.unreachable(&error))?, connection))
    }

    /// Reads an answer in JSON.
    async fn read(&self, answer: Response<Incoming>) -> Result<Value, AskError> {
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| self.unreachable(&error))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| self.strange(&error))
    }

    /// Returns why the member refuses, as its answer says.
    fn refusal(&self, status: StatusCode, answer: &Value) -> AskError {
        let text = |field: &str| answer["error"][field].as_str().map(str::to_owned);
        match (text("code"), text("message")) {
            (Some(code), Some(message)) => AskError::Refused { code, message },
            _ => self.strange(&status),
        }
    }

    fn unreachable(&self, error: &dyn fmt::Display) -> AskError {
        AskError::Unreachable(format!("{}: {error}", self.address))
    }

    fn strange(&self, error: &dyn fmt::Display) -> AskError {
        AskError::Strange(format!("{}: {error}", self.address))
    }
}

/// Waits for a member, but not longer than [`ASK_TIME`].
async fn within<T>(
    address: SocketAddr,
    answer: impl Future<Output = Result<T, AskError>>,
) -> Result<T, AskError> {
    timeout(ASK_TIME, answer).await.unwrap_or_else(|_| {
        let seconds = ASK_TIME.as_secs();
        Err(AskError::Unreachable(format!("{address} is silent for {seconds} s")))
    })
}

/// The task of a connection. Dropping it closes the connection.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
