//! A member's port.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpSocket;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

#[cfg(unix)]
use super::stream::remove_socket;
use super::stream::{Address, Listener, Stream};
use crate::engine::Listening;

#[derive(Debug)]
pub(crate) struct Port {
    address: Address,
    listener: Option<Listener>,
    /// The port is open and its member accepts no connection.
    held: bool,
    /// Keeps the system from giving the port to another process while the member is down.
    reservation: Option<TcpSocket>,
    /// Why the last attempt to listen failed.
    error: Option<String>,
    /// Wakes the listener's task.
    pub(crate) wake: Arc<Notify>,
    /// Tasks hold a copy while they run.
    alive: Option<mpsc::Sender<()>>,
}

impl Port {
    pub(crate) fn new(
        address: Address,
        reservation: Option<TcpSocket>,
        alive: mpsc::Sender<()>,
    ) -> Self {
        Self {
            address,
            listener: None,
            held: false,
            reservation,
            error: None,
            wake: Arc::new(Notify::new()),
            alive: Some(alive),
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.address.endpoint()
    }

    /// Returns the endpoint, unless it means every interface of this machine.
    pub(crate) fn reachable(&self) -> Option<String> {
        match &self.address {
            Address::Tcp(address) if address.ip().is_unspecified() => None,
            _ => Some(self.endpoint()),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.listener.is_some()
    }

    /// Returns why the last attempt to listen failed.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Listens, if the port does not listen yet. [`error`](Self::error) tells a failure.
    pub(crate) fn open(&mut self, runtime: &Handle) {
        if self.listener.is_some() {
            return;
        }
        let _context = runtime.enter();
        match self.address.listen() {
            Ok(listener) => {
                self.listener = Some(listener);
                self.error = None;
            }
            Err(error) => self.error = Some(error.to_string()),
        }
        self.wake.notify_one();
    }

    /// Listens without the reservation, for systems that do not let both be bound.
    pub(crate) fn reopen(&mut self, runtime: &Handle) {
        if self.listener.is_none() {
            self.reservation = None;
            self.open(runtime);
        }
    }

    pub(crate) fn set_listening(&mut self, listening: Listening, runtime: &Handle) {
        self.held = listening == Listening::Held;
        match listening {
            Listening::Open => self.open(runtime),
            Listening::Held => {}
            Listening::Closed => self.listener = None,
        }
        self.wake.notify_one();
    }

    /// Accepts a connection, or waits while the port is closed or held.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        match &self.listener {
            Some(listener) if !self.held => listener.poll_accept(cx),
            _ => Poll::Pending,
        }
    }

    /// Closes the port permanently and removes an `ipc://` socket.
    pub(crate) fn shut(&mut self) {
        self.listener = None;
        self.alive = None;
        self.wake.notify_one();
        #[cfg(unix)]
        if let Address::Ipc(path) = &self.address {
            // The path is the user's. What cannot be removed stays.
            let _ = remove_socket(path);
        }
    }
}
