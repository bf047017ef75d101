//! The admin port: HTTP/1.1 for operators, for probes and for Prometheus.
//!
//! | path | method | needs the token | answers |
//! | --- | --- | --- | --- |
//! | `/livez` | GET | no | whether the process must be restarted |
//! | `/readyz` | GET | no | whether the member can do its part |
//! | `/metrics` | GET | no | metrics for Prometheus |
//! | `/` | GET | no | a page for people, which asks for the token and shows the status and the metrics live |
//! | `/v1/status` | GET | yes | everything that the member knows, as JSON |
//! | `/v1/history` | GET | yes | the hashes of its history after its last entries, as JSON |
//! | `/v1/backup` | GET | yes | the file of the newest snapshot |
//! | `/v1/…` | POST | yes | changes, as JSON |

mod backup;
mod deadline;
mod guard;
mod json;
mod metrics;
mod page;
mod requests;
mod routes;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use zraft_store::Identity;

use crate::{
    clients::ACCEPT_PAUSE,
    handle::Handle,
    refusals::{Reason, Remote},
    tls::{Port, Tls, TlsFailure},
};
use deadline::Deadline;
pub(crate) use guard::AdminTokens;
pub use metrics::{Metric, metrics};

/// Connections at the same time: probes, Prometheus and some operators.
const CONNECTIONS: usize = 64;
/// The longest time from accepting a connection to the end of its answer, or to the next piece of a backup. Each connection
/// carries one request, so this also bounds idle and slow peers.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Backups at the same time: each reads the disk that the member writes its log to.
const BACKUPS: usize = 1;
/// The longest head of a request. A token and the headers of a browser need less than a tenth.
const HEAD_BYTES: usize = 16 << 10;
/// The most bytes that are read ahead of a request's handler on one connection: room for the longest head.
const READ_BYTES: usize = 2 * HEAD_BYTES;
/// The most headers of a request.
const HEADERS: usize = 64;
/// The longest body of a request: far more than the settings, the longest of all.
const BODY_BYTES: usize = 64 << 10;
/// A driver that takes longer to answer is stuck: it never waits, and its longest work takes milliseconds.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// What the requests at the admin port share.
#[derive(Debug)]
pub(crate) struct AdminPort {
    pub(crate) handle: Handle,
    pub(crate) identity: Identity,
    pub(crate) address: SocketAddr,
    pub(crate) client_address: SocketAddr,
    pub(crate) peer_address: SocketAddr,
    pub(crate) tokens: Arc<AdminTokens>,
    pub(crate) backups: Arc<Semaphore>,
    pub(crate) tls: Arc<Tls>,
}

impl AdminPort {
    /// Returns what bounds the backups at the same time.
    pub(crate) fn backups() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(BACKUPS))
    }

    /// Returns the beginning of the port's URLs.
    fn scheme(&self) -> &'static str {
        if self.tls.has_admin_port() { "https://" } else { "http://" }
    }

    /// Takes note of a connection that is refused.
    fn refused(&self, remote: SocketAddr, reason: Reason) {
        self.handle.counters.refused(Port::Admin, Remote::From(Some(remote)), &reason);
        if let Reason::Tls(problem) = reason {
            self.tls.failed(TlsFailure { port: Port::Admin, remote: Some(remote), problem });
        }
    }
}

/// Accepts connections until the member ends.
pub(crate) async fn listen(port: Arc<AdminPort>, listener: TcpListener) {
    // Dropping it ends the connections.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, remote)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if connections.len() >= CONNECTIONS {
            port.refused(remote, Reason::TooMany { limit: CONNECTIONS });
            continue;
        }
        connections.spawn(serve(port.clone(), stream, remote));
    }
}

/// Completes the handshake of TLS, if the port has it, and answers the request of one connection.
async fn serve(port: Arc<AdminPort>, stream: TcpStream, remote: SocketAddr) {
    let deadline = Deadline::after(CONNECTION_TIME);
    let Some(acceptor) = port.tls.admin_acceptor() else {
        return answer(port, stream, remote, deadline).await;
    };
    let accepted = tokio::select! {
        accepted = acceptor.accept(stream) => accepted,
        () = deadline.passed() => return port.refused(remote, Reason::TimedOut),
    };
    match accepted {
        Ok(stream) => answer(port, stream, remote, deadline).await,
        Err(error) => port.refused(remote, Reason::of_tls(Port::Admin, &error)),
    }
}

/// Answers the request of one connection.
async fn answer(
    port: Arc<AdminPort>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    remote: SocketAddr,
    deadline: Deadline,
) {
    let (passed, answered) = (deadline.clone(), AtomicBool::new(false));
    let service = service_fn(|request| {
        let (port, answered, deadline) = (&port, &answered, deadline.clone());
        async move {
            let answer = routes::answer(port, request, remote, deadline).await;
            answered.store(true, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_headers(HEADERS)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(READ_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // An error is the peer's, and was answered as far as that is possible.
        ended = connection => {
            if ended.is_err_and(|error| error.is_parse()) {
                port.refused(remote, Reason::Garbage);
            }
        }
        // An answer that its receiver does not take is given up silently.
        () = passed.passed() => {
            if !answered.load(Ordering::Relaxed) {
                port.refused(remote, Reason::TimedOut);
            }
        }
    }
}
