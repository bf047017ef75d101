//! The proxies before the members' client ports. Clients connect to them, and the faults of the network happen in them.

mod carry;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use zraft_protocol::{ClientMessageKind, MemberId, ServerMessageKind};
use zraft_test_server::{Hints, MessageClass};

use crate::record::Record;

/// The pause after a failed accept, such as for lack of descriptors; without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Where a proxy listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Ipc(PathBuf),
}

impl Address {
    fn endpoint(&self) -> String {
        match self {
            Self::Tcp(address) => format!("tcp://{address}"),
            #[cfg(unix)]
            Self::Ipc(path) => format!("ipc://{}", path.display()),
        }
    }
}

/// The proxies of all members, in the order of the members.
pub(crate) struct Doors {
    pub(crate) record: Arc<Record>,
    state: Mutex<State>,
    /// Notified when a connection has ended.
    ended: Notify,
}

struct State {
    doors: Vec<Door>,
    drops: Drops,
    command_delay: Duration,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
}

struct Door {
    name: MemberId,
    address: Address,
    hints: Hints,
    deaf: bool,
    /// Accepts connections while the member runs.
    accepting: Option<JoinHandle<()>>,
    /// Keeps the port from other processes while the member does not run.
    _reserved: Option<TcpSocket>,
}

struct Connection {
    member: usize,
    /// Dropped to reset the connection.
    _cut: oneshot::Sender<()>,
}

/// The messages that are dropped.
#[derive(Debug, Default)]
struct Drops {
    /// The number of messages of each class that are still to be dropped; none stands for all.
    from_clients: BTreeMap<u8, Option<u64>>,
    to_clients: BTreeMap<u8, Option<u64>>,
}

impl Drops {
    fn add(&mut self, class: MessageClass, first: Option<u64>) {
        match class {
            MessageClass::FromClient(kind) => {
                self.from_clients.insert(kind as u8, first);
            }
            MessageClass::ToClient(kind) => {
                self.to_clients.insert(kind as u8, first);
            }
            MessageClass::Answers => {
                for kind in [ServerMessageKind::ClientResponse, ServerMessageKind::QueryResponse] {
                    self.to_clients.insert(kind as u8, first);
                }
            }
            MessageClass::AllFromClients => {
                self.from_clients.extend((0..16).map(|kind| (kind, first)));
            }
            MessageClass::AllToClients => {
                self.to_clients.extend((0..16).map(|kind| (kind, first)));
            }
            other => panic!("the proxy cannot drop {other:?}"),
        }
    }
}

/// Returns true if the proxy must drop a message of this kind.
fn take(drops: &mut BTreeMap<u8, Option<u64>>, kind: u8) -> bool {
    match drops.get_mut(&kind) {
        None | Some(Some(0)) => false,
        Some(None) => true,
        Some(Some(left)) => {
            *left -= 1;
            true
        }
    }
}

impl Doors {
    /// Reserves the proxies' ports. None of them is open yet.
    pub(crate) fn new(
        record: Arc<Record>,
        places: impl IntoIterator<Item = (MemberId, Address)>,
    ) -> io::Result<Arc<Self>> {
        let mut doors = Vec::new();
        for (name, address) in places {
            let (address, reserved) = match address {
                Address::Tcp(address) => {
                    let socket = reusable_socket(address)?;
                    let address = Address::Tcp(socket.local_addr()?);
                    // Only Linux lets a listener be bound beside the reservation.
                    (address, cfg!(target_os = "linux").then_some(socket))
                }
                #[cfg(unix)]
                other => (other, None),
            };
            let (hints, deaf, accepting) = (Hints::Leader, false, None);
            doors.push(Door { name, address, hints, deaf, accepting, _reserved: reserved });
        }
        let state = State {
            doors,
            drops: Drops::default(),
            command_delay: Duration::ZERO,
            connections: BTreeMap::new(),
            next_connection: 0,
        };
        Ok(Arc::new(Self { record, state: Mutex::new(state), ended: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn endpoints(&self) -> BTreeMap<MemberId, String> {
        let state = self.state();
        state.doors.iter().map(|door| (door.name.clone(), door.address.endpoint())).collect()
    }

    pub(crate) fn names(&self) -> Vec<MemberId> {
        self.state().doors.iter().map(|door| door.name.clone()).collect()
    }

    /// Opens the port of a member that runs, and carries its connections to `target`.
    pub(crate) fn open(self: &Arc<Self>, member: usize, target: SocketAddr) -> io::Result<()> {
        let mut state = self.state();
        let Some(door) = state.doors.get_mut(member) else { return Ok(()) };
        let doors = self.clone();
        let task = match &door.address {
            Address::Tcp(address) => {
                let listener = reusable_socket(*address)?.listen(1024)?;
                tokio::spawn(async move { doors.accept_tcp(member, &listener, target).await })
            }
            #[cfg(unix)]
            Address::Ipc(path) => {
                let _ = std::fs::remove_file(path);
                let listener = UnixListener::bind(path)?;
                tokio::spawn(async move { doors.accept_unix(member, &listener, target).await })
            }
        };
        door.accepting = Some(task);
        Ok(())
    }

    async fn accept_tcp(
        self: Arc<Self>,
        member: usize,
        listener: &TcpListener,
        target: SocketAddr,
    ) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    let _ = client.set_nodelay(true);
                    let (number, cut) = self.register(member);
                    tokio::spawn(self.clone().serve_tcp(client, target, number, cut));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn serve_tcp(
        self: Arc<Self>,
        mut client: TcpStream,
        target: SocketAddr,
        number: u64,
        cut: oneshot::Receiver<()>,
    ) {
        if !self.clone().carry(&mut client, target, number, cut).await {
            // If the option cannot be set, the connection still ends when the stream is dropped.
            let _ = client.set_zero_linger();
        }
        drop(client);
        self.unregister(number);
    }

    #[cfg(unix)]
    async fn accept_unix(
        self: Arc<Self>,
        member: usize,
        listener: &UnixListener,
        target: SocketAddr,
    ) {
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    let (number, cut) = self.register(member);
                    tokio::spawn(self.clone().serve_unix(client, target, number, cut));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    #[cfg(unix)]
    async fn serve_unix(
        self: Arc<Self>,
        mut client: UnixStream,
        target: SocketAddr,
        number: u64,
        cut: oneshot::Receiver<()>,
    ) {
        self.clone().carry(&mut client, target, number, cut).await;
        drop(client);
        self.unregister(number);
    }

    fn register(&self, member: usize) -> (u64, oneshot::Receiver<()>) {
        let (cut, is_cut) = oneshot::channel();
        let mut state = self.state();
        let number = state.next_connection;
        state.next_connection += 1;
        state.connections.insert(number, Connection { member, _cut: cut });
        (number, is_cut)
    }

    fn unregister(&self, number: u64) {
        self.record.unbind(number);
        self.state().connections.remove(&number);
        self.ended.notify_waiters();
    }

    /// Closes the port of a member: the system refuses connections when this returns.
    pub(crate) async fn close(&self, member: usize) {
        let accepting = self.state().doors.get_mut(member).and_then(|door| door.accepting.take());
        if let Some(accepting) = accepting {
            accepting.abort();
            // The listener is closed once its task has ended.
            let _ = accepting.await;
        }
    }

    /// Resets all connections of a member, or of all members, and waits until they have ended.
    pub(crate) async fn cut(&self, member: Option<usize>) {
        let is_meant = |each: &Connection| member.is_none_or(|member| each.member == member);
        let numbers: BTreeSet<u64> = {
            let state = self.state();
            let meant = state.connections.iter().filter(|(_, each)| is_meant(each));
            meant.map(|(number, _)| *number).collect()
        };
        let mut cut = Vec::new();
        for number in &numbers {
            // The entry stays until the connection has ended, with a sender that no one listens to.
            let (nothing, _) = oneshot::channel();
            if let Some(connection) = self.state().connections.get_mut(number) {
                cut.push(std::mem::replace(&mut connection._cut, nothing));
            }
        }
        drop(cut);
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if numbers.iter().all(|number| !self.state().connections.contains_key(number)) {
                return;
            }
            ended.await;
        }
    }

    pub(crate) fn drop_messages(&self, class: MessageClass, first: Option<u64>) {
        self.state().drops.add(class, first);
    }

    pub(crate) fn deliver_all(&self) {
        self.state().drops = Drops::default();
    }

    pub(crate) fn set_command_delay(&self, delay: Duration) {
        self.state().command_delay = delay;
    }

    pub(crate) fn set_deaf(&self, member: usize, deaf: bool) {
        if let Some(door) = self.state().doors.get_mut(member) {
            door.deaf = deaf;
        }
    }

    /// Sets what the rejections of a member, or of all members, name as the leader.
    pub(crate) fn set_hints(&self, member: Option<usize>, hints: &Hints) {
        for (index, door) in self.state().doors.iter_mut().enumerate() {
            if member.is_none_or(|member| member == index) {
                door.hints = hints.clone();
            }
        }
    }
}

impl State {
    fn member(&self, connection: u64) -> usize {
        self.connections.get(&connection).map_or(0, |connection| connection.member)
    }

    /// Returns how long a message from a client waits; none if it is dropped.
    fn admit_from_client(&mut self, connection: u64, kind: ClientMessageKind) -> Option<Duration> {
        let is_deaf = self.doors.get(self.member(connection)).is_some_and(|door| door.deaf);
        if is_deaf || take(&mut self.drops.from_clients, kind as u8) {
            return None;
        }
        let waits = kind == ClientMessageKind::ClientRequest;
        Some(if waits { self.command_delay } else { Duration::ZERO })
    }

    /// Returns false if a message to a client is dropped.
    fn admit_to_client(&mut self, connection: u64, kind: ServerMessageKind) -> bool {
        let is_deaf = self.doors.get(self.member(connection)).is_some_and(|door| door.deaf);
        !is_deaf && !take(&mut self.drops.to_clients, kind as u8)
    }

    /// Returns the hint that a rejection carries instead of the true one.
    fn hint(&self, connection: u64, leader: Option<MemberId>) -> Option<MemberId> {
        let member = self.member(connection);
        let name = |index: usize| self.doors.get(index % self.doors.len()).map(|door| &door.name);
        match self.doors.get(member).map(|door| &door.hints) {
            None | Some(Hints::Leader) => leader,
            Some(Hints::Absent) => None,
            Some(Hints::Wrong(wrong)) => Some(wrong.clone()),
            Some(Hints::Itself) => name(member).cloned(),
            Some(Hints::Circular) => {
                let next = (1..self.doors.len()).filter_map(|step| name(member + step));
                next.into_iter().find(|name| Some(*name) != leader.as_ref()).cloned()
            }
        }
    }
}

/// Returns a socket bound to an address that a listener may be bound to beside it.
fn reusable_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows this option would let two listeners share the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
