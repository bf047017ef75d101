//! An in-process TCP proxy whose links can be degraded while connections use them.
//!
//! It behaves like a network under TCP. Bytes arrive in order or not at all. An end or a reset arrives after the bytes
//! before it. The bytes that a blackhole holds back arrive when it is lifted.

mod carry;
mod pipe;

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// The greatest number of connections carried at a time; more wait to be accepted. It bounds the memory and
/// descriptors.
const MAX_CONNECTIONS: usize = 1024;
/// The pause after a failed accept, such as for lack of descriptors; without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];
}

/// The quality of one direction. The default passes bytes at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkQuality {
    /// The delay of everything that passes.
    pub delay: Duration,
    /// The number of bytes that pass per second; `None` sets no limit.
    pub bytes_per_second: Option<NonZeroU32>,
    /// If true, nothing passes. Bytes that arrive meanwhile pass when it is false again.
    pub blackhole: bool,
}

/// The way in which a cut ends connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// By a reset: bytes that a side has not read are lost.
    Reset,
    /// By a FIN, which both sides see as an orderly end. Bytes that the proxy still holds are lost.
    Fin,
}

/// The treatment of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepting {
    /// New connections are carried.
    #[default]
    Forward,
    /// New connections are reset at once.
    Reset,
}

#[derive(Clone, Debug, Default)]
struct Switches {
    links: [LinkQuality; 2],
    accepting: Accepting,
    /// Connections with a lower number must end in this way.
    cut: Option<(u64, Cut)>,
}

/// The connections being carried, by number.
#[derive(Debug, Default)]
struct Living {
    next: u64,
    numbers: BTreeSet<u64>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    switches: watch::Sender<Switches>,
    living: watch::Sender<Living>,
}

/// A proxy in front of one address. Dropping it ends the proxy and its connections.
#[derive(Debug)]
pub struct Proxy {
    handle: ProxyHandle,
    accepting: JoinHandle<()>,
}

/// A handle that controls a running [`Proxy`].
#[derive(Clone, Debug)]
pub struct ProxyHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Opens a port on 127.0.0.1 and carries its connections to `target`.
    ///
    /// # Errors
    /// Returns the error of the system if no port can be opened.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (switches, living) = (watch::Sender::default(), watch::Sender::default());
        let shared = Arc::new(Shared { target, switches, living });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { handle: ProxyHandle { address, shared }, accepting })
    }

    /// Returns another handle to this proxy.
    pub fn handle(&self) -> ProxyHandle {
        self.handle.clone()
    }
}

impl std::ops::Deref for Proxy {
    type Target = ProxyHandle;

    fn deref(&self) -> &ProxyHandle {
        &self.handle
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ProxyHandle {
    /// Returns the endpoint of the proxy, `tcp://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Returns the address of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the quality of one direction. It also applies to bytes that the proxy already holds.
    pub fn set_link(&self, direction: Direction, link: LinkQuality) {
        self.change(|switches| switches.links[direction as usize] = link);
    }

    /// Sets the quality of both directions.
    pub fn set_links(&self, link: LinkQuality) {
        self.change(|switches| switches.links = [link; 2]);
    }

    /// Sets the treatment of new connections.
    pub fn set_accepting(&self, accepting: Accepting) {
        self.change(|switches| switches.accepting = accepting);
    }

    /// Restores the default quality and accepts new connections.
    pub fn heal(&self) {
        self.change(|switches| (switches.links, switches.accepting) = Default::default());
    }

    /// Ends all current connections and waits until they have ended. Returns their number.
    pub async fn cut(&self, cut: Cut) -> usize {
        let (below, count) = {
            let living = self.shared.living.borrow();
            (living.next, living.numbers.len())
        };
        self.change(|switches| switches.cut = Some((below, cut)));
        let mut living = self.shared.living.subscribe();
        // This handle holds the sender, so this cannot fail.
        let _ = living.wait_for(|living| living.numbers.range(..below).next().is_none()).await;
        count
    }

    /// Returns the number of connections being carried.
    pub fn connections(&self) -> usize {
        self.shared.living.borrow().numbers.len()
    }

    /// Waits until this many connections were accepted since the start.
    pub async fn accepted_reached(&self, count: u64) {
        let mut living = self.shared.living.subscribe();
        // This handle holds the sender, so this cannot fail.
        let _ = living.wait_for(|living| living.next >= count).await;
    }

    fn change(&self, change: impl FnOnce(&mut Switches)) {
        self.shared.switches.send_modify(change);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropping this task drops the set, which ends every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    let living = Registered::new(shared.clone());
                    connections.spawn(serve(client, living));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A guard that registers a connection as being carried until it is dropped.
struct Registered {
    shared: Arc<Shared>,
    number: u64,
}

impl Registered {
    fn new(shared: Arc<Shared>) -> Self {
        let mut number = 0;
        shared.living.send_modify(|living| {
            number = living.next;
            living.next += 1;
            living.numbers.insert(number);
        });
        Self { shared, number }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.living.send_modify(|living| {
            living.numbers.remove(&self.number);
        });
    }
}

async fn serve(client: TcpStream, living: Registered) {
    let mut switches = living.shared.switches.subscribe();
    if switches.borrow().accepting == Accepting::Reset {
        return reset(client);
    }
    let number = living.number;
    let server = tokio::select! {
        server = TcpStream::connect(living.shared.target) => server,
        cut = cut(&mut switches, number) => return match cut {
            Cut::Reset => reset(client),
            Cut::Fin => carry::end_in_order(&mut [client]).await,
        },
    };
    match server {
        Ok(server) => carry::carry(client, server, number, switches).await,
        Err(_) => reset(client),
    }
}

/// Waits until this connection is cut.
async fn cut(switches: &mut watch::Receiver<Switches>, number: u64) -> Cut {
    let how =
        |switches: &Switches| switches.cut.filter(|(below, _)| number < *below).map(|(_, how)| how);
    match switches.wait_for(|switches| how(switches).is_some()).await {
        Ok(switches) => how(&switches).unwrap_or(Cut::Reset),
        // The proxy was dropped.
        Err(_) => Cut::Reset,
    }
}

fn reset(stream: TcpStream) {
    // If the option cannot be set, the connection still ends when the stream is dropped.
    let _ = stream.set_zero_linger();
}
