//! The task that drives the replica: it hands in what happens, and carries out what comes out.
//!
//! It never waits for one of the others. So the bounded queues into it always empty, and none of the tasks and threads
//! that wait for room there can wait for each other.

use std::{
    collections::{BTreeSet, HashMap},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, Sleep, sleep_until},
};
use zraft_protocol::{ClientMessage, ServerMessage};
use zraft_replica::{ConnectionId, Done, Introduction, Job, Output, Replica, StopReason};
use zraft_store::CrashRecord;

use crate::{
    Ended, Report, Status,
    clients::{Close, Mailbox, Push},
    clock::Clock,
    inputs::{ClientInput, Control, Handshake, Input},
    latency::Latency,
    log,
    member::Secrets,
    peers::{Peers, Sent},
    status::Counters,
    workers::{StoreJob, Workers},
};

/// Inputs that are handed in before the outputs are carried out. What comes together shares one write and one read
/// round; more would delay the first answers.
const INPUTS_AT_ONCE: usize = 1024;
/// Batches of clients' messages that are handed in before the outputs are carried out.
const CLIENT_INPUTS_AT_ONCE: usize = 64;
/// A member that is not asked to do anything still looks at its clock this often.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) replica: Replica,
    pub(crate) clock: Clock,
    pub(crate) introduction: Introduction,
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) clients: mpsc::Receiver<ClientInput>,
    pub(crate) control: mpsc::Receiver<Control>,
    pub(crate) workers: Workers,
    pub(crate) peers: Peers,
    pub(crate) connections: HashMap<ConnectionId, Arc<Mailbox>>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) counters: Arc<Counters>,
    /// Set when the operating system gave no random numbers.
    pub(crate) no_entropy: Arc<AtomicBool>,
    /// The write that is under way.
    pub(crate) writing: Option<u64>,
    /// Owners that wait until the status shows the hand-over that they have asked for.
    pub(crate) begun: Vec<oneshot::Sender<()>>,
    /// The member was asked to stop.
    pub(crate) stopping: bool,
    pub(crate) leadership: log::Leadership,
    pub(crate) latency: Latency,
    /// The panics that keep the application from being run.
    pub(crate) stopped_by: Option<CrashRecord>,
    /// Certificates and tokens, whose state the report shows.
    pub(crate) secrets: Secrets,
}

impl Driver {
    /// Drives the replica until the member must end.
    pub(crate) async fn run(mut self) -> Ended {
        let mut timer = Box::pin(sleep_until(Instant::now()));
        self.peers.configure(self.replica.configuration());
        self.leadership.note(&self.status.borrow(), &self.counters.events);
        loop {
            let now = self.clock.now();
            if self.replica.poll_timeout() <= now.monotonic {
                self.replica.handle_timeout(now);
            }
            if let Err(ended) = self.take_inputs().and_then(|()| self.carry_out()) {
                return ended;
            }
            self.publish();
            for begun in self.begun.drain(..) {
                // An owner that does not wait needs no answer.
                let _ = begun.send(());
            }
            if self.stopping && self.replica.is_shut_down() && self.writing.is_none() {
                self.connections.values().for_each(|mailbox| mailbox.close(Close::Flush));
                return Ended::Stopped;
            }
            if let Err(ended) = self.wait(&mut timer).await {
                return ended;
            }
        }
    }

    /// Waits for the next input and takes it, or until the replica wants to be woken.
    async fn wait(&mut self, timer: &mut Pin<Box<Sleep>>) -> Result<(), Ended> {
        let wait = self.clock.until(self.replica.poll_timeout()).min(LONGEST_WAIT);
        timer.as_mut().reset(Instant::now() + wait);
        match next(&mut self.control, &mut self.inputs, &mut self.clients, timer.as_mut()).await {
            Next::Control(Some(control)) => self.take_control(control),
            // The owner has dropped the member.
            Next::Control(None) => return Err(Ended::Killed),
            Next::Input(input) => self.take(input)?,
            Next::Client(input) => {
                self.take_from_client(input);
                // Connections that are ready now deliver first, so that their commands share one write.
                tokio::task::yield_now().await;
            }
            Next::Time => {}
        }
        Ok(())
    }

    /// Takes what has arrived, without waiting. Other members come first: their heartbeats must not wait behind clients.
    fn take_inputs(&mut self) -> Result<(), Ended> {
        for _ in 0..INPUTS_AT_ONCE {
            let Ok(input) = self.inputs.try_recv() else { break };
            self.take(input)?;
        }
        for _ in 0..CLIENT_INPUTS_AT_ONCE {
            let Ok(input) = self.clients.try_recv() else { break };
            self.take_from_client(input);
        }
        Ok(())
    }

    fn take(&mut self, input: Input) -> Result<(), Ended> {
        let now = self.clock.now();
        let replica = &mut self.replica;
        match input {
            Input::Peer { from, message } => replica.peer_message(now, from, &message),
            Input::PeerLost(peer) => replica.peer_unreachable(now, peer),
            Input::Handshake(step) => self.take_handshake(step),
            Input::Refused(by, refusal) => replica.refused(now, by, &refusal),
            Input::Persisted(write) => {
                self.writing.take_if(|under_way| *under_way == write);
                replica.persisted(now, write);
            }
            Input::Space(space) => {
                log::space(replica.space(), space, &self.counters.events);
                replica.disk_space(now, space);
            }
            Input::Fetched { low, entries } => replica.fetched(now, low, &entries),
            Input::Done(Done::Applied { effects, view }) => replica.applied(now, effects, view),
            Input::Done(Done::Answered { key, answer }) => replica.answered(now, key, answer),
            Input::Answered(answers) => {
                for (key, answer) in answers {
                    replica.answered(now, key, answer);
                }
            }
            Input::Done(Done::Frozen { meta, snapshot }) => {
                self.store(StoreJob::Take { meta, snapshot });
            }
            Input::SnapshotTaken(file) => replica.snapshot_taken(now, file),
            Input::SnapshotRead { to, index, offset, data } => {
                replica.snapshot_read(now, to, index, offset, data);
            }
            Input::SnapshotWritten { index, up_to } => {
                replica.snapshot_written(now, index, up_to);
            }
            Input::SnapshotVerified { index, sound } => {
                replica.snapshot_verified(now, index, sound);
            }
            Input::Failed(ended) => return Err(ended),
        }
        Ok(())
    }

    fn take_from_client(&mut self, input: ClientInput) {
        let now = self.clock.now();
        match input {
            ClientInput::Connected(id, mailbox) => {
                self.connections.insert(id, mailbox);
                self.replica.connected(now, id);
            }
            ClientInput::Messages(id, messages) => {
                for message in messages {
                    match message {
                        ClientMessage::ClientRequest { request_id, .. } => {
                            self.counters.commands.add();
                            self.latency.asked(id, request_id, now.monotonic);
                        }
                        ClientMessage::Query { .. } => self.counters.queries.add(),
                        _ => {}
                    }
                    self.replica.client_message(now, id, message);
                }
            }
            ClientInput::Disconnected(id) => {
                self.latency.forget(id);
                if self.connections.remove(&id).is_some() {
                    self.replica.disconnected(now, id);
                }
            }
        }
    }

    fn take_control(&mut self, control: Control) {
        let now = self.clock.now();
        match control {
            Control::HandOver(to, begun) => {
                self.replica.hand_over(now, to);
                self.begun.push(begun);
            }
            Control::Change(change, reply) => {
                // A caller that has gone can look at the configuration later.
                let _ = reply.send(self.replica.change_membership(now, change));
            }
            Control::Settings(settings, reply) => {
                let _ = reply.send(self.replica.change_settings(now, settings));
            }
            Control::Snapshot(begun) => {
                self.replica.take_snapshot(now);
                let _ = begun.send(());
            }
            Control::AcceptClock(done) => {
                self.replica.accept_clock_jump();
                let _ = done.send(());
            }
            Control::Backup(reply) => self.store(StoreJob::Newest(reply)),
            Control::Report(reply) => {
                let _ = reply.send(Box::new(self.report()));
            }
            Control::Stop => {
                self.stopping = true;
                self.replica.shut_down(now);
            }
        }
    }

    fn report(&self) -> Report {
        let replica = &self.replica;
        Report {
            id: self.peers.own(),
            status: status_of(replica, &self.status.borrow()),
            settings: replica.view().settings.clone(),
            peers: replica.peers(),
            space: replica.space(),
            out_of_space: replica.is_out_of_space(),
            held_back: replica.held_back(),
            log_memory: replica.log_memory(),
            snapshot: replica.newest_snapshot().cloned(),
            connections: self.connections.len(),
            events: self.counters.events.read(),
            refusals: self.counters.refusals.read(),
            stopped_by: self.stopped_by.clone(),
            stopping: self.stopping,
            secret_problems: self.secrets.problems(),
            certificates: self.secrets.validities(),
            at: SystemTime::now(),
        }
    }

    /// Judges a step of a handshake. A connection that was closed meanwhile needs no answer.
    fn take_handshake(&mut self, step: Handshake) {
        let now = self.clock.now();
        let (replica, introduction) = (&mut self.replica, &self.introduction);
        match step {
            Handshake::Dial { peer, kind, reply } => {
                let _ = reply.send(replica.dial(introduction, peer, kind));
            }
            Handshake::Accept { hello, reply } => {
                let _ = reply.send(replica.accept(now, introduction, &hello));
            }
            Handshake::Confirm { dialing, welcome, reply } => {
                let _ = reply.send(replica.confirm(now, introduction, &dialing, &welcome));
            }
            Handshake::Complete { accepting, confirm, reply } => {
                let completed = replica.complete(now, accepting, &confirm);
                let completed = completed
                    .map(|peer| (peer.id, self.peers.met(&peer, self.replica.configuration())));
                let _ = reply.send(completed);
            }
        }
    }

    /// Carries out everything that the replica wants done.
    fn carry_out(&mut self) -> Result<(), Ended> {
        // Members to which something was not sent, and clients that do not read.
        let (mut unreachable, mut overfull) = (BTreeSet::new(), Vec::new());
        loop {
            while let Some(output) = self.replica.poll_output() {
                match output {
                    Output::Send { to, message } => {
                        if self.peers.send(to, message) == Sent::Dropped {
                            unreachable.insert(to);
                        }
                    }
                    Output::Client { connection, message } => {
                        if self.tell(connection, message) == Push::Overfull {
                            overfull.push(connection);
                        }
                    }
                    Output::Close(connection) => {
                        self.latency.forget(connection);
                        if let Some(mailbox) = self.connections.remove(&connection) {
                            mailbox.close(Close::Flush);
                        }
                    }
                    Output::Stop(reason) => return Err(self.ended(reason)),
                    other => self.pass_on(other),
                }
            }
            if overfull.is_empty() && unreachable.is_empty() {
                break;
            }
            let now = self.clock.now();
            for connection in overfull.drain(..) {
                self.latency.forget(connection);
                // Its session goes on, and the client resumes it.
                if let Some(mailbox) = self.connections.remove(&connection) {
                    self.counters.clients_slow.add();
                    mailbox.close(Close::Drop);
                    self.replica.disconnected(now, connection);
                }
            }
            for peer in std::mem::take(&mut unreachable) {
                self.replica.peer_unreachable(now, peer);
            }
        }
        match self.no_entropy.load(Ordering::Acquire) {
            true => Err(Ended::Entropy),
            false => Ok(()),
        }
    }

    fn tell(&mut self, connection: ConnectionId, message: ServerMessage) -> Push {
        match self.connections.get(&connection) {
            Some(mailbox) => {
                match &message {
                    ServerMessage::ClientResponse { request_id, .. } => {
                        self.counters.answers.add();
                        if let Some(asked) = self.latency.answered(connection, *request_id) {
                            let took = self.clock.now().monotonic.saturating_sub(asked);
                            self.counters.command_times.add(took);
                        }
                    }
                    // It has no time to tell, and another command can be measured.
                    ServerMessage::RequestError { request_id, .. } => {
                        self.latency.answered(connection, *request_id);
                    }
                    _ => {}
                }
                mailbox.push(message)
            }
            None => Push::Queued,
        }
    }

    /// Gives work to the threads.
    fn pass_on(&mut self, output: Output) {
        match output {
            Output::Write(write) => {
                self.writing = Some(write.number);
                self.store(StoreJob::Write(write));
            }
            Output::Job(job) => self.apply(job),
            Output::Fetch { low, high } => self.store(StoreJob::Fetch { low, high }),
            Output::ReadSnapshot { to, index, offset, length } => {
                self.store(StoreJob::Read { to, index, offset, length });
            }
            Output::BeginSnapshot(file) => self.store(StoreJob::Begin(file)),
            Output::WriteSnapshot { index, offset, data } => {
                self.store(StoreJob::Chunk { index, offset, data });
            }
            Output::VerifySnapshot(file) => self.store(StoreJob::Verify(file)),
            Output::Send { .. } | Output::Client { .. } | Output::Close(_) | Output::Stop(_) => {}
        }
    }

    /// A thread that has ended has reported why, and the report is on its way.
    fn store(&self, job: StoreJob) {
        let _ = self.workers.store.send(job);
    }

    fn apply(&self, job: Job) {
        let _ = self.workers.machine.send(job);
    }

    fn ended(&self, reason: StopReason) -> Ended {
        self.connections.values().for_each(|mailbox| mailbox.close(Close::Drop));
        Ended::Replica(reason)
    }

    /// Shows what has changed.
    fn publish(&mut self) {
        let replica = &self.replica;
        let mut moved = false;
        let (leadership, events) = (&mut self.leadership, &self.counters.events);
        self.status.send_if_modified(|status| {
            moved = *status.configuration != *replica.configuration();
            let new = status_of(replica, status);
            let changed = moved || new != *status;
            if moved {
                log::membership(&status.configuration, &new.configuration, events);
            }
            if changed {
                leadership.note(&new, events);
                *status = new;
            }
            changed
        });
        if moved {
            self.peers.configure(replica.configuration());
        }
    }
}

/// What a driver waits for.
#[derive(Debug)]
enum Next {
    Control(Option<Control>),
    Input(Input),
    Client(ClientInput),
    Time,
}

/// Waits for what comes next. Orders come first, and one at a time: under a load that never ends, a stop and the question of a
/// probe are not starved, and starve no one, because each turn takes the other inputs as well.
async fn next(
    control: &mut mpsc::Receiver<Control>,
    inputs: &mut mpsc::Receiver<Input>,
    clients: &mut mpsc::Receiver<ClientInput>,
    timer: Pin<&mut Sleep>,
) -> Next {
    tokio::select! {
        biased;
        control = control.recv() => Next::Control(control),
        Some(input) = inputs.recv() => Next::Input(input),
        Some(input) = clients.recv() => Next::Client(input),
        () = timer => Next::Time,
    }
}

/// Returns the replica's status. The configuration is shared with the last one, as long as it is the same.
pub(crate) fn status_of(replica: &Replica, last: &Status) -> Status {
    let configuration = match *last.configuration == *replica.configuration() {
        true => last.configuration.clone(),
        false => Arc::new(replica.configuration().clone()),
    };
    let view = replica.view();
    Status {
        role: replica.role(),
        term: replica.term(),
        leader: replica.leader(),
        serving: replica.is_serving(),
        handing_over: replica.is_handing_over(),
        last_index: replica.last_index(),
        committed: replica.committed(),
        applied: view.applied,
        applies: last.applies,
        sessions: view.sessions.len(),
        history: view.history,
        configuration,
        ended: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn order_of_the_owner_waits_behind_no_load() {
        let (orders, mut control) = mpsc::channel(16);
        let (inputs_of, mut inputs) = mpsc::channel(16);
        let (clients_of, mut clients) = mpsc::channel(16);
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        for id in 0..16 {
            let lost = Input::PeerLost(zraft_replica::RaftId::new(2).expect("not 0"));
            inputs_of.try_send(lost).expect("there is room");
            let gone = ClientInput::Disconnected(ConnectionId(id));
            clients_of.try_send(gone).expect("there is room");
        }
        for _ in 0..16 {
            orders.try_send(Control::Stop).expect("there is room");
            let found = next(&mut control, &mut inputs, &mut clients, timer.as_mut()).await;
            assert!(matches!(found, Next::Control(Some(Control::Stop))), "{found:?}");
        }
        let found = next(&mut control, &mut inputs, &mut clients, timer.as_mut()).await;
        assert!(matches!(found, Next::Input(_)), "members come before clients: {found:?}");
    }
}
