//! A driver without sockets and clock, and a cluster of one member in memory.

use std::{
    cell::RefCell,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use shuttle::{
    future,
    scheduler::{PctScheduler, RandomScheduler},
};
use zraft_core::{Action, ConnEnd, ConnId, Instant, Machine};
use zraft_protocol::{ClientMessage, MemberId, Payload, Timestamp};
use zraft_test_server::{Echo, Engine, EngineConfig, Output, PeerId};
use zraft_zmtp::{Connection, Event};

use crate::{
    ClientBuilder, RaftClient,
    driver::frontend::{Frontend, Progress},
    handle_frontend::HandleFrontend,
    shared::Shared,
    sync::{Mutex, lock, wake_all},
};

/// Runs a test in many orders: random ones, and orders with few preemptions, which find rarer bugs.
///
/// 400 orders of each kind take seconds. `SHUTTLE_ITERATIONS` changes the number.
pub(super) fn in_many_orders(test: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = shuttle::Config::new();
    config.stack_size = 256 << 10;
    let iterations = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|text| text.parse().ok());
    let iterations = iterations.unwrap_or(400);
    shuttle::Runner::new(RandomScheduler::new(iterations), config.clone()).run(test.clone());
    shuttle::Runner::new(PctScheduler::new(4, iterations), config).run(test);
}

/// The cluster that the drivers and the test share.
pub(super) struct Cluster {
    pub(super) engine: Engine,
    /// How many drivers have ended.
    pub(super) ended: usize,
    /// Drivers end at their next turn, as if their runtime ended.
    pub(super) stop: bool,
    /// The wakers of sleeping drivers.
    drivers: Vec<Waker>,
}

impl Cluster {
    fn new() -> Self {
        let mut config = EngineConfig::new(vec![MemberId::new("node-1").unwrap()]);
        config.commit_delay = Duration::ZERO;
        let engine = Engine::new(config, Echo, NOW);
        Self { engine, ended: 0, stop: false, drivers: Vec::new() }
    }

    /// Returns how often a payload was executed.
    pub(super) fn executed(&self, payload: &str) -> usize {
        let journal = self.engine.journal().iter();
        journal.filter(|execution| execution.payload[..] == *payload.as_bytes()).count()
    }

    pub(super) fn sessions(&self) -> usize {
        self.engine.sessions().count()
    }
}

const NOW: Instant = Instant::from_nanos(1 << 40);

thread_local! {
    /// The cluster of the current run. The client itself calls `start`, so the test cannot pass it as an argument.
    static CLUSTER: RefCell<Option<Arc<Mutex<Cluster>>>> = const { RefCell::new(None) };
}

/// Returns a cluster and a client of it that is not connected.
pub(super) fn client(
    set: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> (RaftClient, Arc<Mutex<Cluster>>) {
    let cluster = Arc::new(Mutex::new(Cluster::new()));
    CLUSTER.with(|present| *present.borrow_mut() = Some(cluster.clone()));
    let builder = RaftClient::builder()
        .member("node-1", "tcp://127.0.0.1:7001")
        .capability("kind", "test")
        .request_timeout(None);
    (set(builder).build().unwrap(), cluster)
}

/// Returns a cluster and a client of it that has a session.
pub(super) async fn connected() -> (RaftClient, Arc<Mutex<Cluster>>) {
    let (client, cluster) = client(|builder| builder);
    client.connect().await.unwrap();
    (client, cluster)
}

/// Ends the drivers, as the end of their runtime would.
pub(super) fn stop(cluster: &Mutex<Cluster>) {
    let drivers = {
        let mut cluster = lock(cluster);
        cluster.stop = true;
        std::mem::take(&mut cluster.drivers)
    };
    wake_all(drivers);
}

/// Waits until this many drivers have ended.
pub(super) async fn ended(cluster: &Mutex<Cluster>, drivers: usize) {
    while lock(cluster).ended < drivers {
        future::yield_now().await;
    }
}

/// Pushes a server request to every session and wakes the drivers.
pub(super) fn push(cluster: &Mutex<Cluster>, text: &str) {
    let drivers = {
        let mut cluster = lock(cluster);
        let sessions: Vec<_> = cluster.engine.sessions().map(|session| session.id).collect();
        for session in sessions {
            let payload = Payload::new(Bytes::copy_from_slice(text.as_bytes())).unwrap();
            cluster.engine.push_server_request(NOW, &session, &payload).unwrap();
        }
        std::mem::take(&mut cluster.drivers)
    };
    wake_all(drivers);
}

pub(crate) fn can_start(_shared: &Shared) -> bool {
    true
}

/// Starts a task that drives the client.
pub(crate) fn start(shared: &Arc<Shared>) {
    let cluster = CLUSTER.with(|present| present.borrow().clone()).unwrap();
    let mut driver = Driver {
        machine: Machine::new(shared.config.clone(), 7, NOW),
        frontend: Some(HandleFrontend::new(shared.clone())),
        wire: None,
        cluster,
    };
    future::spawn(async move {
        while std::future::poll_fn(|context| driver.turn(context)).await == Turn::Continue {
            future::yield_now().await;
        }
        // The end of a real task drops its frontend too.
        driver.frontend = None;
        lock(&driver.cluster).ended += 1;
    });
}

/// The connection between the machine and the engine.
struct Wire {
    conn: ConnId,
    peer: PeerId,
    zmtp: Connection,
}

struct Driver {
    machine: Machine,
    frontend: Option<HandleFrontend>,
    wire: Option<Wire>,
    cluster: Arc<Mutex<Cluster>>,
}

/// Whether a driver takes another turn.
#[derive(PartialEq, Eq)]
enum Turn {
    Continue,
    End,
}

impl Driver {
    /// Does everything there is to do once.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Turn> {
        if lock(&self.cluster).stop {
            return Poll::Ready(Turn::End);
        }
        let Some(frontend) = &mut self.frontend else { return Poll::Ready(Turn::End) };
        let mut progress = frontend.process_inputs(&mut self.machine, &mut || NOW);
        progress |= carry(&mut self.machine, &mut self.wire, &self.cluster);
        frontend.deliver_outputs(&mut self.machine);
        if self.wire.is_none() && frontend.is_finished(&self.machine) {
            return Poll::Ready(Turn::End);
        }
        if progress == Progress::More {
            return Poll::Ready(Turn::Continue);
        }
        lock(&self.cluster).drivers.push(context.waker().clone());
        // A request that was pushed before the waker was there woke no driver, so look once more.
        if carry(&mut self.machine, &mut self.wire, &self.cluster) == Progress::More {
            frontend.deliver_outputs(&mut self.machine);
            return Poll::Ready(Turn::Continue);
        }
        match frontend.prepare_sleep(&self.machine, context.waker()) {
            Progress::Idle => Poll::Pending,
            Progress::More => Poll::Ready(Turn::Continue),
        }
    }
}

/// Carries messages between the machine and the engine. Returns [`Progress::More`] if it carried any.
fn carry(machine: &mut Machine, wire: &mut Option<Wire>, cluster: &Mutex<Cluster>) -> Progress {
    let engine = &mut lock(cluster).engine;
    let mut progress = Progress::Idle;
    while let Some(action) = machine.poll_action(NOW) {
        progress = Progress::More;
        match action {
            Action::Open { conn, .. } => {
                let member = engine.index_of("node-1").unwrap();
                let peer = engine.connected(NOW, member).unwrap();
                let zmtp = Connection::new(zraft_zmtp::Config::server(), NOW);
                *wire = Some(Wire { conn, peer, zmtp });
                machine.handle_opened(NOW, conn);
            }
            Action::ShutdownWrite { conn } => machine.handle_ended(NOW, conn, ConnEnd::Eof),
            Action::Close { .. } => {
                if let Some(wire) = wire.take() {
                    engine.disconnected(NOW, wire.peer);
                }
            }
        }
    }
    while let Some(output) = engine.poll_output() {
        if let Output::Send { peer, message } = output
            && let Some(wire) = wire.as_mut().filter(|wire| wire.peer == peer)
        {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            wire.zmtp.send(&bytes).unwrap();
        }
    }
    let Some(wire) = wire else { return progress };
    let back = drain(wire.zmtp.tx());
    if !back.is_empty()
        && let Some(buffer) = machine.recv_buffer(wire.conn)
    {
        progress = Progress::More;
        buffer.extend_from_slice(&back);
        machine.handle_received(NOW, wire.conn);
    }
    let bytes = match machine.transmit(NOW, Timestamp::from_millis(0), wire.conn) {
        Some(tx) => drain(tx),
        None => Vec::new(),
    };
    machine.handle_written(NOW, wire.conn);
    progress |= Progress::more_if(!bytes.is_empty());
    wire.zmtp.handle_bytes(NOW, &bytes);
    while let Some(event) = wire.zmtp.poll_event(NOW) {
        if let Event::Message(frame) = event {
            progress = Progress::More;
            engine.received(NOW, wire.peer, ClientMessage::decode(&frame).unwrap());
        }
    }
    progress
}

fn drain(tx: &mut impl Buf) -> Vec<u8> {
    let mut bytes = vec![0; tx.remaining()];
    tx.copy_to_slice(&mut bytes);
    bytes
}
