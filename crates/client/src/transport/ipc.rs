//! Unix domain sockets: `ipc://path`.

use zraft_core::OpenFailure;

#[cfg(unix)]
pub(super) async fn connect(path: &str) -> Result<tokio::net::UnixStream, OpenFailure> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(stream) => Ok(stream),
        // A missing socket file means what a closed port means: no process listens there.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(OpenFailure::Refused),
        Err(error) => Err(super::open_failure(&error)),
    }
}

/// Fails, because this platform has no Unix domain sockets. The stream type is only a placeholder.
#[cfg(not(unix))]
pub(super) async fn connect(_path: &str) -> Result<tokio::net::TcpStream, OpenFailure> {
    Err(OpenFailure::Other("this platform has no ipc:// endpoints".to_owned()))
}
