//! A client that sends commands without a break and notes when they are answered.

use std::{
    io,
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use zraft_protocol::{
    Capabilities, ClientMessage, Nonce, RequestId, ServerMessage, SplitMix64, Timestamp,
};

use super::{
    member::{Event, Member, gone},
    prepare::set,
};

/// Commands in flight.
const WINDOW: u64 = 4;
/// A step that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(600);
/// The keys that commands change, at most. They are spread over the whole state.
const CHANGED: u64 = 1 << 14;

#[derive(Debug)]
pub(super) struct Client {
    leader: std::sync::mpsc::Sender<Event>,
    answers: Receiver<ServerMessage>,
    sent: u64,
    times: Vec<Instant>,
    random: SplitMix64,
}

impl Client {
    pub(super) fn connect(leader: &mut Member) -> io::Result<Self> {
        let (leader, answers) = leader.connect();
        let capabilities = Capabilities::new([("kind".to_owned(), "bench".to_owned())]);
        let capabilities = capabilities.map_err(io::Error::other)?;
        let nonce = Nonce::new(1).map_err(io::Error::other)?;
        let create = ClientMessage::CreateSession { capabilities, nonce };
        leader.send(Event::Client(create)).map_err(gone)?;
        match answers.recv_timeout(PATIENCE).map_err(io::Error::other)? {
            ServerMessage::SessionCreated { .. } => {}
            message => return Err(io::Error::other(format!("no session: {message:?}"))),
        }
        Ok(Self { leader, answers, sent: 0, times: Vec::new(), random: SplitMix64::new(1) })
    }

    /// Sends this many commands and waits for their answers.
    pub(super) fn work(&mut self, commands: usize) -> io::Result<()> {
        let end = self.times.len() + commands;
        self.work_until(|client| client.times.len() >= end)
    }

    /// Sends commands until something is so.
    pub(super) fn work_until(&mut self, is: impl Fn(&Self) -> bool) -> io::Result<()> {
        let begin = Instant::now();
        while !is(self) {
            while self.sent - (self.times.len() as u64) < WINDOW {
                self.submit()?;
            }
            match self.answers.recv_timeout(PATIENCE).map_err(io::Error::other)? {
                ServerMessage::ClientResponse { .. } => self.times.push(Instant::now()),
                message => return Err(io::Error::other(format!("no answer: {message:?}"))),
            }
            if begin.elapsed() > PATIENCE {
                return Err(io::Error::other("a step takes more than ten minutes"));
            }
        }
        Ok(())
    }

    fn submit(&mut self) -> io::Result<()> {
        self.sent += 1;
        let request = |id: u64| RequestId::new(id).map_err(io::Error::other);
        // Answers come in order.
        let command = ClientMessage::ClientRequest {
            request_id: request(self.sent)?,
            lowest_pending_request_id: request(self.times.len() as u64 + 1)?,
            payload: set(self.random.below(CHANGED), self.sent)?,
            created_at: Timestamp::from_millis(1),
        };
        self.leader.send(Event::Client(command)).map_err(gone)
    }

    pub(super) fn answered(&self) -> usize {
        self.times.len()
    }

    /// The longest time between two answers of which the second, or neither, came from `begin` to `end`.
    pub(super) fn longest_gap(&self, begin: Instant, end: Instant) -> Option<Duration> {
        let from = self.times.partition_point(|at| *at < begin).saturating_sub(1);
        let within = self.times[from..].iter().copied().filter(|at| *at <= end);
        let times: Vec<_> = within.chain([end]).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max()
    }
}
