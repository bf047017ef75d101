//! TCP and Unix sockets behind one type each for addresses, listeners and streams.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// Where a member listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Ipc(PathBuf),
}

impl Address {
    pub(crate) fn endpoint(&self) -> String {
        match self {
            Self::Tcp(address) => format!("tcp://{address}"),
            #[cfg(unix)]
            Self::Ipc(path) => format!("ipc://{}", path.display()),
        }
    }

    /// Opens a listener. Must be called within a tokio runtime.
    pub(crate) fn listen(&self) -> io::Result<Listener> {
        match self {
            Self::Tcp(address) => {
                let socket = reusable_socket(*address)?;
                Ok(Listener::Tcp(socket.listen(1024)?))
            }
            #[cfg(unix)]
            Self::Ipc(path) => {
                remove_socket(path)?;
                Ok(Listener::Unix(UnixListener::bind(path)?))
            }
        }
    }
}

/// Returns a socket bound to an address that a second socket may be bound to, so that the port of a killed member stays
/// reserved.
fn reusable_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows this option would let two listeners share the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Reserves a port without listening on it: the system refuses connections and gives the port to no other process.
///
/// Only Linux lets a listener be bound beside the reservation. On other systems there is none, and the port is free
/// while its member is down.
pub(crate) fn reserve(address: SocketAddr) -> io::Result<(Option<TcpSocket>, SocketAddr)> {
    let socket = reusable_socket(address)?;
    let address = socket.local_addr()?;
    Ok((cfg!(target_os = "linux").then_some(socket), address))
}

#[cfg(unix)]
pub(crate) fn remove_socket(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        // The path comes from the user: remove nothing but a socket.
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Listener {
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| {
                // A socket that refuses the option still works, but slower.
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }),
            #[cfg(unix)]
            Self::Unix(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, _)| Stream::Unix(stream))
            }
        }
    }
}

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

macro_rules! each {
    ($self:ident, $stream:ident => $what:expr) => {
        match $self {
            Self::Tcp($stream) => $what,
            #[cfg(unix)]
            Self::Unix($stream) => $what,
        }
    };
}

impl Stream {
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<tokio::io::Ready> {
        each!(self, stream => stream.ready(interest).await)
    }

    pub(crate) fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        each!(self, stream => stream.try_read_buf(buffer))
    }

    pub(crate) fn try_write(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        each!(self, stream => stream.try_write_vectored(slices))
    }

    /// Returns the peer's address. A Unix socket has none.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    /// Ends a TCP connection with a reset. A Unix socket is closed.
    pub(crate) fn reset(self) {
        match self {
            Self::Tcp(stream) => {
                // Without it the connection still ends when it is dropped.
                let _ = stream.set_zero_linger();
            }
            #[cfg(unix)]
            Self::Unix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_send_small_writes_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let _client = TcpStream::connect(address).await.expect("connects");
        let listener = Listener::Tcp(listener);
        let accepted = std::future::poll_fn(|cx| listener.poll_accept(cx)).await;
        let Ok(Stream::Tcp(stream)) = accepted else { panic!("not accepted") };
        assert!(stream.nodelay().expect("an option"));
    }
}
