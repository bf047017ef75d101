//! A driver without sockets and clock, and a cluster of one in memory.

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
    face::Face,
    handles::Handles,
    shared::Shared,
    sync::{Mutex, lock},
};

/// Runs a test in many orders: random ones, and those in which few preemptions bring out what is rare.
pub(super) fn in_many_orders(test: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = shuttle::Config::new();
    config.stack_size = 256 << 10;
    let iterations = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|text| text.parse().ok());
    let iterations = iterations.unwrap_or(400);
    shuttle::Runner::new(RandomScheduler::new(iterations), config.clone()).run(test.clone());
    shuttle::Runner::new(PctScheduler::new(4, iterations), config).run(test);
}

/// What the driver and the test both look at.
pub(super) struct Cluster {
    pub(super) engine: Engine,
    /// Drivers that have ended.
    pub(super) ended: usize,
    /// Drivers are to end at their next turn, as with their runtime.
    pub(super) stop: bool,
    drivers: Vec<Waker>,
}

impl Cluster {
    fn new() -> Self {
        let mut config = EngineConfig::new(vec![MemberId::new("node-1").unwrap()]);
        config.commit_delay = Duration::ZERO;
        let engine = Engine::new(config, Box::new(Echo), NOW);
        Self { engine, ended: 0, stop: false, drivers: Vec::new() }
    }

    /// How often a payload was executed.
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
    /// Of the run under way: `start` is called deep within the client and cannot be told otherwise.
    static CLUSTER: RefCell<Option<Arc<Mutex<Cluster>>>> = const { RefCell::new(None) };
}

/// A cluster, and a client of it that is not connected.
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

/// The same, with a session.
pub(super) async fn connected() -> (RaftClient, Arc<Mutex<Cluster>>) {
    let (client, cluster) = client(|builder| builder);
    client.connect().await.unwrap();
    (client, cluster)
}

/// Ends the drivers, as the end of their runtime does.
pub(super) fn stop(cluster: &Mutex<Cluster>) {
    let drivers = {
        let mut cluster = lock(cluster);
        cluster.stop = true;
        std::mem::take(&mut cluster.drivers)
    };
    drivers.into_iter().for_each(Waker::wake);
}

/// Waits until so many drivers have ended.
pub(super) async fn ended(cluster: &Mutex<Cluster>, drivers: usize) {
    while lock(cluster).ended < drivers {
        future::yield_now().await;
    }
}

/// Has a server request pushed to every session, and its driver look.
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
    drivers.into_iter().for_each(Waker::wake);
}

pub(crate) fn can_start(_shared: &Shared) -> bool {
    true
}

/// Starts a driver's task.
pub(crate) fn start(shared: &Arc<Shared>) {
    let cluster = CLUSTER.with(|present| present.borrow().clone()).unwrap();
    let mut driver = Driver {
        machine: Machine::new(shared.config.clone(), 7, NOW),
        handles: Some(Handles::new(shared.clone())),
        wire: None,
        cluster,
    };
    future::spawn(async move {
        while std::future::poll_fn(|context| driver.turn(context)).await {
            future::yield_now().await;
        }
        // As the end of a task drops what it holds.
        driver.handles = None;
        lock(&driver.cluster).ended += 1;
    });
}

struct Wire {
    conn: ConnId,
    peer: PeerId,
    zmtp: Connection,
}

struct Driver {
    machine: Machine,
    handles: Option<Handles>,
    wire: Option<Wire>,
    cluster: Arc<Mutex<Cluster>>,
}

impl Driver {
    /// Does all there is to do once. False: the driver is over.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if lock(&self.cluster).stop {
            return Poll::Ready(false);
        }
        let Some(handles) = &mut self.handles else { return Poll::Ready(false) };
        let mut again = handles.bring(&mut self.machine, &mut || NOW);
        again |= carry(&mut self.machine, &mut self.wire, &self.cluster);
        handles.hand_out(&mut self.machine);
        if self.wire.is_none() && handles.is_over(&self.machine) {
            return Poll::Ready(false);
        }
        if again {
            return Poll::Ready(true);
        }
        lock(&self.cluster).drivers.push(context.waker().clone());
        // What was pushed before the waker was there is looked at once more.
        if carry(&mut self.machine, &mut self.wire, &self.cluster) {
            handles.hand_out(&mut self.machine);
            return Poll::Ready(true);
        }
        if handles.sleep(&self.machine, context.waker()) {
            Poll::Pending
        } else {
            Poll::Ready(true)
        }
    }
}

/// Carries what there is between the machine and the engine. True: something moved.
fn carry(machine: &mut Machine, wire: &mut Option<Wire>, cluster: &Mutex<Cluster>) -> bool {
    let engine = &mut lock(cluster).engine;
    let mut moved = false;
    while let Some(action) = machine.poll_action(NOW) {
        moved = true;
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
    let Some(wire) = wire else { return moved };
    let back = drain(wire.zmtp.tx());
    if !back.is_empty()
        && let Some(buffer) = machine.recv_buffer(wire.conn)
    {
        moved = true;
        buffer.extend_from_slice(&back);
        machine.handle_received(NOW, wire.conn);
    }
    let bytes = match machine.transmit(NOW, Timestamp::from_millis(0), wire.conn) {
        Some(tx) => drain(tx),
        None => Vec::new(),
    };
    machine.handle_written(NOW, wire.conn);
    moved |= !bytes.is_empty();
    wire.zmtp.handle_bytes(NOW, &bytes);
    while let Some(event) = wire.zmtp.poll_event(NOW) {
        if let Event::Message(frame) = event {
            moved = true;
            engine.received(NOW, wire.peer, ClientMessage::decode(&frame).unwrap());
        }
    }
    moved
}

fn drain(tx: &mut impl Buf) -> Vec<u8> {
    let mut bytes = vec![0; tx.remaining()];
    tx.copy_to_slice(&mut bytes);
    bytes
}
