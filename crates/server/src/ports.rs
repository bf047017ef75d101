//! The ports that a member listens on.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::{MemberConfig, StartError};

/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// The listening ports of a member, each with its address.
pub(crate) struct Ports {
    pub(crate) clients: (TcpListener, SocketAddr),
    pub(crate) peers: (TcpListener, SocketAddr),
    pub(crate) admin: Option<(TcpListener, SocketAddr)>,
}

impl Ports {
    /// Begins to listen. Connections wait until the member has read its data.
    pub(crate) fn open(config: &MemberConfig) -> Result<Self, StartError> {
        let clients = listen(config.client_address)?;
        let peers = listen(config.peer_address)?;
        let admin = config.admin.as_ref().map(|admin| listen(admin.address)).transpose()?;
        Ok(Self { clients, peers, admin })
    }
}

/// Listens on an address that a member of an earlier run may have used just now.
fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // On Windows this option would let two listeners share the port.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(|error| StartError::Listen { address, error })
}
