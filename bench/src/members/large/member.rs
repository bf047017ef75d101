//! A member, and the thread of its replica.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SendError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use zraft_protocol::{ClientMessage, ServerMessage};
use zraft_replica::{
    Boot, Config, ConnectionId, Done, Limits, LogEntry, Machine, MembershipChange, Now, Output,
    PeerFrame, RaftId, Replica, SnapshotFile, Timing,
};
use zraft_session::{CheckedSettings, StateHash, StateMachine, applications::KvStore};
use zraft_store::{Folder, RedbStore, Store};

use super::{
    prepare::{id, info, wall},
    threads::{LogJob, MachineJob, files_thread, log_thread, machine_thread},
};

/// The only client's connection.
const CLIENT: ConnectionId = ConnectionId(1);
/// A member that is asked answers within this, or has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that happened at a member. Each happens once in a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// The state machine froze its state.
    Frozen,
    /// The snapshot's file is durable.
    Taken,
    /// The whole file of a snapshot was received.
    Received,
    /// The received file was verified.
    Verified,
    /// The state machine was restored from it.
    Restored,
}

/// What the replica's thread gets. The queues have no limit: a client has a few commands in flight, and of a
/// snapshot one chunk is under way.
#[derive(Debug)]
pub(super) enum Event {
    Client(ClientMessage),
    Connected(Sender<ServerMessage>),
    Meet(RaftId, Sender<Event>),
    Change(MembershipChange, Sender<io::Result<()>>),
    Frame(RaftId, Bytes),
    Persisted(u64),
    Fetched(u64, Vec<LogEntry>),
    Done(Done),
    Taken(SnapshotFile),
    Read { to: RaftId, index: u64, offset: u64, data: Option<Bytes> },
    Written { index: u64, up_to: u64 },
    Verified { index: u64, sound: bool },
    Failed(io::Error),
    Look(Sender<Look>),
    End,
}

/// What a replica says of itself.
#[derive(Debug)]
pub(super) struct Look {
    applied: u64,
    last: u64,
    voters: Vec<RaftId>,
}

/// What the threads of a member share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    replica: Sender<Event>,
    marks: Arc<Mutex<BTreeMap<Mark, Instant>>>,
}

impl Shared {
    pub(super) fn mark(&self, mark: Mark) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.entry(mark).or_insert_with(Instant::now);
    }

    pub(super) fn tell(&self, event: Event) {
        // The replica's thread has ended: so will this one.
        let _ = self.replica.send(event);
    }

    fn check(&self, done: io::Result<()>) {
        if let Err(error) = done {
            self.tell(Event::Failed(error));
        }
    }
}

#[derive(Debug)]
pub(super) struct Member {
    id: RaftId,
    shared: Shared,
    jobs: Sender<MachineJob>,
    replica: Option<JoinHandle<io::Result<()>>>,
}

impl Member {
    /// Starts a member from its directory, and waits until its state is restored.
    pub(super) fn open(number: u64, folder: &Path, origin: Instant) -> io::Result<Self> {
        let store = RedbStore::open(Folder::open(folder)?).map_err(io::Error::other)?;
        Self::start(number, store, origin)
    }

    /// Starts a member that waits to be added.
    pub(super) fn join(number: u64, folder: &Path, origin: Instant) -> io::Result<Self> {
        let disk = Folder::create(folder)?;
        let store = RedbStore::create(disk, &Boot::of_joining_member());
        Self::start(number, store.map_err(io::Error::other)?, origin)
    }

    fn start(number: u64, mut store: RedbStore, origin: Instant) -> io::Result<Self> {
        let boot = store.boot().map_err(io::Error::other)?;
        let (state, newest) = match store.newest_snapshot().map_err(io::Error::other)? {
            Some(mut source) => {
                let state = StateMachine::restore(&mut source).map_err(io::Error::other)?;
                source.verify().map_err(io::Error::other)?;
                (state, Some(source.describe()))
            }
            None => (StateMachine::new(KvStore::new()), None),
        };
        let machine = Machine::new(state, boot.snapshot.index);
        let config = Config {
            id: id(number)?,
            timing: Timing::default(),
            seed: number,
            settings: CheckedSettings::default(),
            feature_level: 1,
            application_level: 0,
            applies: true,
            // Only the snapshot that the new member needs is taken.
            limits: Limits { snapshot_after: 1 << 30, ..Limits::default() },
            client_endpoint: None,
        };
        let now = clock(origin);
        let mut random = zraft_protocol::SplitMix64::new(number);
        let entropy = Box::new(move |bytes: &mut [u8]| {
            bytes.iter_mut().for_each(|byte| *byte = random.next() as u8);
        });
        let replica = Replica::new(config, &boot, newest, machine.view(), entropy, now)
            .map_err(io::Error::other)?;

        let (events, inbox) = channel();
        let shared = Shared { replica: events, marks: Arc::default() };
        let (jobs, machine_inbox) = channel();
        let (log, log_inbox) = channel();
        let (files, files_inbox) = channel();
        let to = shared.clone();
        std::thread::spawn(move || to.check(log_thread(store, &log_inbox, &files, &to)));
        let to = shared.clone();
        std::thread::spawn(move || to.check(files_thread(&files_inbox, &to)));
        let (to, to_log) = (shared.clone(), log.clone());
        std::thread::spawn(move || to.check(machine_thread(machine, &machine_inbox, &to_log, &to)));
        let shell = Shell {
            id: id(number)?,
            replica,
            origin,
            jobs: jobs.clone(),
            log,
            peers: BTreeMap::new(),
            client: None,
        };
        let replica = std::thread::spawn(move || shell.run(&inbox));
        Ok(Self { id: id(number)?, shared, jobs, replica: Some(replica) })
    }

    pub(super) fn id(&self) -> RaftId {
        self.id
    }

    /// Connects the client.
    pub(super) fn connect(&mut self) -> (Sender<Event>, Receiver<ServerMessage>) {
        let (answers, inbox) = channel();
        self.shared.tell(Event::Connected(answers));
        (self.shared.replica.clone(), inbox)
    }

    /// Connects two members.
    pub(super) fn meet(&mut self, other: &mut Self) {
        self.shared.tell(Event::Meet(other.id, other.shared.replica.clone()));
        other.shared.tell(Event::Meet(self.id, self.shared.replica.clone()));
    }

    /// Has this member, which leads, add another one.
    pub(super) fn add(&mut self, other: &Self) -> io::Result<()> {
        let (reply, answer) = channel();
        let change = MembershipChange::Add { id: other.id, info: info(other.id.get())? };
        self.shared.tell(Event::Change(change, reply));
        answer.recv_timeout(PATIENCE).map_err(io::Error::other)?
    }

    pub(super) fn saw(&self, mark: Mark) -> bool {
        let marks = self.shared.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.contains_key(&mark)
    }

    fn look(&self) -> io::Result<Look> {
        let (reply, answer) = channel();
        self.shared.tell(Event::Look(reply));
        answer.recv_timeout(PATIENCE).map_err(io::Error::other)
    }

    /// Returns true if a member votes, as far as this one knows.
    pub(super) fn votes(&self, id: RaftId) -> bool {
        self.look().is_ok_and(|look| look.voters.contains(&id))
    }

    /// Waits until everything is applied, and returns the index.
    pub(super) fn settle(&self) -> io::Result<u64> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let look = self.look()?;
            if look.applied == look.last {
                return Ok(look.last);
            }
            std::thread::yield_now();
        }
        Err(io::Error::other("the log is not applied within a minute"))
    }

    /// Returns the hash of the state, once everything up to `index` is applied.
    pub(super) fn hash(&self, index: u64) -> io::Result<StateHash> {
        while self.look()?.applied < index {
            std::thread::yield_now();
        }
        let (reply, answer) = channel();
        self.jobs.send(MachineJob::Hash(reply)).map_err(gone)?;
        answer.recv_timeout(PATIENCE).map_err(io::Error::other)?
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        self.shared.tell(Event::End);
        let ended = self.replica.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).map_err(|_| io::Error::other("a thread panicked"))?
    }
}

/// Another thread of the member has ended. Its own error says why.
pub(super) fn gone<T>(_: SendError<T>) -> io::Error {
    io::Error::other("a thread of the member has ended")
}

fn clock(origin: Instant) -> Now {
    Now { monotonic: origin.elapsed(), wall: wall() }
}

/// The replica's thread.
struct Shell {
    id: RaftId,
    replica: Replica,
    origin: Instant,
    jobs: Sender<MachineJob>,
    log: Sender<LogJob>,
    peers: BTreeMap<RaftId, Sender<Event>>,
    client: Option<Sender<ServerMessage>>,
}

impl Shell {
    fn run(mut self, inbox: &Receiver<Event>) -> io::Result<()> {
        loop {
            self.put_out()?;
            let now = clock(self.origin);
            let wait = self.replica.poll_timeout().saturating_sub(now.monotonic);
            match inbox.recv_timeout(wait) {
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(event) => self.take(event)?,
                Err(RecvTimeoutError::Timeout) => {}
            }
            // What came meanwhile shares the next write.
            while let Ok(event) = inbox.try_recv() {
                self.take(event)?;
            }
            let now = clock(self.origin);
            if self.replica.poll_timeout() <= now.monotonic {
                self.replica.handle_timeout(now);
            }
        }
    }

    fn take(&mut self, event: Event) -> io::Result<()> {
        let now = clock(self.origin);
        let replica = &mut self.replica;
        match event {
            Event::Client(message) => replica.client_message(now, CLIENT, message),
            Event::Connected(client) => {
                self.client = Some(client);
                replica.connected(now, CLIENT);
            }
            Event::Meet(peer, sender) => _ = self.peers.insert(peer, sender),
            Event::Change(change, reply) => {
                let done = replica.change_membership(now, change).map(|_| ());
                let _ = reply.send(done.map_err(io::Error::other));
            }
            Event::Frame(from, bytes) => {
                let frame = PeerFrame::decode(&bytes, from, self.id).map_err(io::Error::other)?;
                replica.peer_message(now, from, &frame.message);
            }
            Event::Persisted(number) => replica.persisted(now, number),
            Event::Fetched(low, entries) => replica.fetched(now, low, &entries),
            Event::Done(Done::Applied { effects, view }) => replica.applied(now, effects, view),
            Event::Done(Done::Answered { key, answer }) => replica.answered(now, key, answer),
            Event::Done(Done::Frozen { .. }) => {}
            Event::Taken(file) => replica.snapshot_taken(now, file),
            Event::Read { to, index, offset, data } => {
                replica.snapshot_read(now, to, index, offset, data);
            }
            Event::Written { index, up_to } => replica.snapshot_written(now, index, up_to),
            Event::Verified { index, sound } => replica.snapshot_verified(now, index, sound),
            Event::Failed(error) => return Err(error),
            Event::Look(reply) => {
                let voters = replica.configuration().voters.iter().copied().collect();
                let look =
                    Look { applied: replica.view().applied, last: replica.last_index(), voters };
                let _ = reply.send(look);
            }
            Event::End => {}
        }
        Ok(())
    }

    fn put_out(&mut self) -> io::Result<()> {
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Send { to, message } => {
                    let bytes = PeerFrame { from: self.id, to, message }.encode();
                    if let Some(peer) = self.peers.get(&to) {
                        let _ = peer.send(Event::Frame(self.id, bytes));
                    }
                }
                Output::Job(job) => {
                    self.jobs.send(MachineJob::Run(job)).map_err(gone)?;
                }
                Output::Client { message, .. } => {
                    if let Some(client) = &self.client {
                        let _ = client.send(message);
                    }
                }
                Output::Close(_) => self.client = None,
                Output::Stop(reason) => return Err(io::Error::other(reason.to_string())),
                output => self.log.send(LogJob::Do(output)).map_err(gone)?,
            }
        }
        Ok(())
    }
}
