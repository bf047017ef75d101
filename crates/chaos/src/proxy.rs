//! A TCP proxy in this process, whose links can be made worse while connections use them.
//!
//! It behaves as a network under TCP does: bytes arrive in order or not at all, an end and a reset travel behind the bytes
//! before them, and what a blackhole holds back arrives when it is lifted.

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

/// Connections carried at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// How long to wait after the system would not accept, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];
}

/// How one direction treats what it carries. The default carries it at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// How much later than it came everything goes on.
    pub delay: Duration,
    /// How many bytes pass in a second; none: as many as come.
    pub bytes_per_second: Option<NonZeroU32>,
    /// Nothing passes. What came meanwhile goes on afterwards.
    pub blackhole: bool,
}

/// How connections end that are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// With a reset: what either side has not read yet is lost.
    Reset,
    /// In order, as far as the sides can see. What the proxy still holds is lost.
    Fin,
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepting {
    /// They are carried.
    #[default]
    Forward,
    /// They are reset at once.
    Reset,
}

#[derive(Clone, Debug, Default)]
struct Switches {
    links: [Link; 2],
    accepting: Accepting,
    /// Connections below this number are to end like this.
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

/// A proxy in front of one address. It ends, and its connections with it, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    handle: ProxyHandle,
    accepting: JoinHandle<()>,
}

/// The switches of a running [`Proxy`].
#[derive(Clone, Debug)]
pub struct ProxyHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Opens a port on 127.0.0.1 whose connections are carried to `target`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (switches, living) = (watch::Sender::default(), watch::Sender::default());
        let shared = Arc::new(Shared { target, switches, living });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { handle: ProxyHandle { address, shared }, accepting })
    }

    /// A handle to hand on.
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
    /// Where it listens, as `tcp://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How one direction treats what it carries, from now on; what it holds already included.
    pub fn set_link(&self, direction: Direction, link: Link) {
        self.change(|switches| switches.links[direction as usize] = link);
    }

    /// The same for both directions.
    pub fn set_links(&self, link: Link) {
        self.change(|switches| switches.links = [link; 2]);
    }

    /// What becomes of new connections.
    pub fn set_accepting(&self, accepting: Accepting) {
        self.change(|switches| switches.accepting = accepting);
    }

    /// Everything is carried at once again.
    pub fn heal(&self) {
        self.change(|switches| (switches.links, switches.accepting) = Default::default());
    }

    /// Ends every connection there is, and tells how many there were. They have ended when this returns.
    pub async fn cut(&self, cut: Cut) -> usize {
        let (below, count) = {
            let living = self.shared.living.borrow();
            (living.next, living.numbers.len())
        };
        self.change(|switches| switches.cut = Some((below, cut)));
        let mut living = self.shared.living.subscribe();
        // The sender is ours: this cannot fail.
        let _ = living.wait_for(|living| living.numbers.range(..below).next().is_none()).await;
        count
    }

    /// How many connections are being carried.
    pub fn connections(&self) -> usize {
        self.shared.living.borrow().numbers.len()
    }

    /// Waits until so many connections were accepted since the start.
    pub async fn accepted_reached(&self, count: u64) {
        let mut living = self.shared.living.subscribe();
        // The sender is ours: this cannot fail.
        let _ = living.wait_for(|living| living.next >= count).await;
    }

    fn change(&self, change: impl FnOnce(&mut Switches)) {
        self.shared.switches.send_modify(change);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and every connection with it.
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

/// A connection's place among the living, until it is dropped.
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
        // The proxy is gone.
        Err(_) => Cut::Reset,
    }
}

fn reset(stream: TcpStream) {
    // Without it the connection still ends when it is dropped.
    let _ = stream.set_zero_linger();
}
