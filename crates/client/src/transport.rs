//! How bytes travel to a member and back.
//!
//! A [`Transport`] opens [`ByteStream`]s; the driver does everything else with any stream. To add a transport, add its
//! scheme to `zraft_core::Endpoint`, a file beside `tcp.rs` that connects, and an arm in [`Sockets::connect`].

mod address_race;
mod ipc;
mod tcp;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use zraft_core::{Endpoint, OpenFailure};

/// Opens byte streams to members.
pub(crate) trait Transport: fmt::Debug + Send + Sync {
    /// Starts to connect to an endpoint.
    ///
    /// Name resolution and handshakes below the byte stream, such as that of TLS, belong to the attempt. The machine
    /// limits its time, so a transport needs no timeout. Dropping the future cancels the attempt.
    fn connect(&self, endpoint: Endpoint) -> Connecting;
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
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// The sockets of the operating system. The endpoint's scheme selects the kind.
#[derive(Debug)]
pub(crate) struct Sockets;

impl Transport for Sockets {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        match endpoint {
            Endpoint::Tcp { host, port } => opening(async move { tcp::connect(&host, port).await }),
            Endpoint::Ipc { path } => opening(async move { ipc::connect(&path).await }),
        }
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
