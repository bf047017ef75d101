//! The client port: the ZMTP SERVER that clients connect to.

mod connection;
mod mailbox;
mod stream;
mod tokens;

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use zraft_replica::ConnectionId;
use zraft_zmtp::Instant;

use crate::{
    PortLimits,
    inputs::ClientInput,
    refusals::{Reason, Remote},
    status::Counters,
    tls::{Port, Tls},
};
use connection::Connection;
pub(crate) use mailbox::{Close, Mailbox, Push};
pub(crate) use tokens::ClientTokens;

/// The pause after the system refused to accept, such as for want of file descriptors: short beside a client's timeouts,
/// long enough not to occupy a core.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The time that all connections have to end when the member closes: the flush of one, and as much again for a busy machine.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// What the tasks of the client port share.
#[derive(Debug)]
pub(crate) struct ClientPort {
    pub(crate) inputs: mpsc::Sender<ClientInput>,
    pub(crate) limits: PortLimits,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) tokens: Arc<ClientTokens>,
    pub(crate) origin: tokio::time::Instant,
}

impl ClientPort {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn deadline(&self, at: Instant) -> tokio::time::Instant {
        self.origin + at.saturating_duration_since(Instant::ZERO)
    }
}

/// Accepts connections until the member closes. It then waits until the connections have ended.
pub(crate) async fn listen(
    port: Arc<ClientPort>,
    listener: TcpListener,
    mut closing: watch::Receiver<bool>,
) {
    // Dropping it ends the connections.
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            // An error says that the driver has ended.
            _ = closing.wait_for(|closing| *closing) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, remote)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        port.counters.clients.add();
        let limit = port.limits.client_connections;
        if connections.len() >= limit {
            let remote = Remote::From(Some(remote));
            port.counters.refused(Port::Client, remote, &Reason::TooMany { limit });
            continue;
        }
        number += 1;
        // A connection without random numbers is closed; the client tries again.
        if let Ok(connection) = Connection::new(port.clone(), ConnectionId(number), stream) {
            connections.spawn(connection.run());
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // A connection in its handshake is not known to the driver, and is dropped.
    let _ = tokio::time::timeout(CLOSE_TIME, ended).await;
}
