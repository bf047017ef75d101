//! How bytes travel to a member and back.
//!
//! A [`Transport`] opens [`ByteStream`]s; the driver does everything else with any stream. To add a transport, add its
//! scheme to `zraft_core::Endpoint`, a file beside `tcp.rs` that connects, and an arm in [`Sockets::connect`]. TLS is a
//! layer over `tcp.rs`; its settings are in `tls.rs` above.

mod address_race;
mod ipc;
mod tcp;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use zraft_core::{Config, Endpoint, Member, OpenFailure, ValidationError};

#[cfg(feature = "tls")]
use crate::tls::{self, Connector, Tls};

/// Opens byte streams to members.
pub(crate) trait Transport: fmt::Debug + Send + Sync {
    /// Starts to connect to an endpoint.
    ///
    /// Name resolution and handshakes below the byte stream, such as that of TLS, belong to the attempt. The machine
    /// limits its time, so a transport needs no timeout. Dropping the future cancels the attempt.
    fn connect(&self, endpoint: Endpoint) -> Connecting;

    /// Checks that the transport can reach these members, as far as its settings tell.
    fn check(&self, _members: &[Member]) -> Result<(), ValidationError> {
        Ok(())
    }
}

/// An attempt to open a byte stream.
pub(crate) type Connecting =
    Pin<Box<dyn Future<Output = Result<Box<dyn ByteStream>, OpenFailure>> + Send>>;

/// A reliable, ordered stream of bytes in both directions.
///
/// The driver relies on the following, beyond the signatures of tokio's traits:
///
/// - **Write.** The stream may hold back accepted bytes until it is flushed, as TLS does.
/// - **Flush.** The driver flushes after the last write of a turn, and polls on until the flush completes. Then the
///   stream holds nothing back.
/// - **Shutdown.** It ends the write half only: a FIN for TCP, a `close_notify` and a FIN for TLS. The driver polls it
///   after a completed flush until it completes, and goes on reading.
/// - **Read.** Zero bytes mean that the peer ended its write half; an error means that the connection is lost.
/// - **Drop.** It closes both halves without waiting.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// The sockets of the operating system, with TLS for the endpoints that ask for it. The endpoint's scheme selects the
/// kind.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    #[cfg(feature = "tls")]
    tls: Option<Connector>,
}

impl Sockets {
    /// Returns sockets without TLS.
    ///
    /// # Errors
    /// [`ValidationError::Tls`] if an endpoint begins with `tls://`.
    pub fn without_tls(config: &Config) -> Result<Self, ValidationError> {
        check_members(config.members(), false)?;
        Ok(Self::default())
    }

    /// Returns sockets with these TLS settings. Reads their files.
    ///
    /// # Errors
    /// [`ValidationError::Tls`] if the settings cannot be used, or if no endpoint begins with `tls://`.
    #[cfg(feature = "tls")]
    pub fn with_tls(config: &Config, settings: &Tls) -> Result<Self, ValidationError> {
        check_members(config.members(), true)?;
        Ok(Self { tls: Some(settings.connector()?) })
    }

    /// Checks that these members can be reached with the TLS settings of these sockets, or without any.
    ///
    /// # Errors
    /// [`ValidationError::Tls`] if an endpoint begins with `tls://` and there are no settings, or there are and none does.
    pub fn check_members(&self, members: &[Member]) -> Result<(), ValidationError> {
        #[cfg(feature = "tls")]
        let has_settings = self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let has_settings = false;
        check_members(members, has_settings)
    }

    /// Opens a byte stream, for a caller that speaks the protocol itself.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn open(&self, endpoint: Endpoint) -> Result<Box<dyn ByteStream>, OpenFailure> {
        self.connect(endpoint).await
    }

    /// Returns why the peer refused a connection that was open already, if the error of a read says so.
    pub fn refusal(error: &io::Error) -> Option<OpenFailure> {
        refusal(error)
    }

    #[cfg(feature = "tls")]
    fn connect_tls(&self, host: String, port: u16) -> Connecting {
        let connector = self.tls.clone();
        opening(async move {
            let connector = connector.ok_or_else(no_tls)?;
            let stream = tcp::connect(&host, port).await?;
            connector.connect(host, stream).await
        })
    }

    #[cfg(not(feature = "tls"))]
    fn connect_tls(&self, _host: String, _port: u16) -> Connecting {
        Box::pin(std::future::ready(Err(no_tls())))
    }
}

/// The failure of a client that was made without its builder, which would have refused the endpoint.
fn no_tls() -> OpenFailure {
    OpenFailure::Tls("this client has no TLS settings: give them to its builder".to_owned())
}

impl Transport for Sockets {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        match endpoint {
            Endpoint::Tcp { host, port } => opening(async move { tcp::connect(&host, port).await }),
            Endpoint::Tls { host, port } => self.connect_tls(host, port),
            Endpoint::Ipc { path } => opening(async move { ipc::connect(&path).await }),
        }
    }

    fn check(&self, members: &[Member]) -> Result<(), ValidationError> {
        self.check_members(members)
    }
}

/// Checks that these members can be reached with TLS settings, or without any.
fn check_members(members: &[Member], has_settings: bool) -> Result<(), ValidationError> {
    let is_tls = |member: &&Member| matches!(member.endpoint, Endpoint::Tls { .. });
    let problem = match members.iter().find(is_tls) {
        Some(member) if !has_settings => {
            let remedy = if cfg!(feature = "tls") {
                "give the TLS settings, with the CA that signed its certificate"
            } else {
                "build the client with the feature `tls`"
            };
            format!("{:?} has an endpoint with tls://: {remedy}", member.id.as_str())
        }
        None if has_settings => {
            "no endpoint begins with tls://, so nothing would be encrypted: write tls:// in place of tcp://"
                .to_owned()
        }
        _ => return Ok(()),
    };
    Err(ValidationError::Tls { problem })
}

/// Returns why the peer refused a connection that was open already, if the error of a read says so.
pub(crate) fn refusal(error: &io::Error) -> Option<OpenFailure> {
    #[cfg(feature = "tls")]
    return tls::refusal(error);
    #[cfg(not(feature = "tls"))]
    {
        let _ = error;
        None
    }
}

/// Turns an attempt that yields a concrete stream into a [`Connecting`].
fn opening<S: ByteStream + 'static>(
    attempt: impl Future<Output = Result<S, OpenFailure>> + Send + 'static,
) -> Connecting {
    Box::pin(async move {
        let stream: Box<dyn ByteStream> = Box::new(attempt.await?);
        Ok(stream)
    })
}

/// Returns the failure that a connect error of a socket means.
fn open_failure(error: &io::Error) -> OpenFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => OpenFailure::Refused,
        _ => OpenFailure::Other(error.to_string()),
    }
}
