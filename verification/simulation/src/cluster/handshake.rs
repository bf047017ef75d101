//! How members connect: the handshake of the replica, over the links between their places.

use std::time::Duration;

use bytes::Bytes;
use zraft_replica::{Accepting, ConnectionKind, Dialing, HandshakeError, RaftId, Refusal};

use super::{Cluster, What};
use crate::world::trace::say;

/// A handshake that is under way.
#[derive(Debug)]
pub(super) struct Shaking {
    /// Place and life of the two processes. The handshake ends with either.
    dialer: (usize, u64),
    acceptor: (usize, u64),
    kind: ConnectionKind,
    /// The message that arrives next.
    bytes: Bytes,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Hello(Dialing),
    Welcome(Dialing, Option<Accepting>),
    Confirm(Accepting, RaftId),
}

impl Cluster {
    /// Plans an attempt of two members to connect, unless one is planned or under way.
    pub(super) fn plan_connect(&mut self, a: usize, b: usize, after: Duration) {
        if self.connecting.insert((a.min(b), a.max(b))) {
            self.queue.push(self.now + after, What::Connect(a, b));
        }
    }

    /// The attempt is over. Another one follows if it failed.
    fn end_connect(&mut self, a: usize, b: usize, again: bool) {
        self.connecting.remove(&(a.min(b), a.max(b)));
        if again {
            self.plan_connect(a, b, self.plan.reconnect);
        }
    }

    /// Two members try to connect. A start tries again where one of them does not run.
    pub(super) fn try_to_connect(&mut self, a: usize, b: usize) {
        let Some(kind) = self.peers.missing(a, b) else {
            return self.end_connect(a, b, false);
        };
        if !self.is_running(a) || !self.is_running(b) {
            return self.end_connect(a, b, false);
        }
        let swap = self.rng.percent(50);
        let (first, second) = if swap { (b, a) } else { (a, b) };
        let dialled = self.known_at(first, second).map(|id| (first, second, id));
        let dialled =
            dialled.or_else(|| self.known_at(second, first).map(|id| (second, first, id)));
        let Some((from, to, peer)) = dialled.filter(|(from, ..)| !self.members[*from].frozen)
        else {
            return self.end_connect(a, b, true);
        };
        let Some(process) = &self.members[from].process else { return };
        let (dialing, bytes) = process.replica.dial(&process.introduction, peer, kind);
        self.pass_on(Shaking {
            dialer: (from, self.members[from].life),
            acceptor: (to, self.members[to].life),
            kind,
            bytes,
            step: Step::Hello(dialing),
        });
    }

    /// Returns the id of the member that another one expects at a place, if it knows one there.
    fn known_at(&self, place: usize, there: usize) -> Option<RaftId> {
        let process = self.members[place].process.as_ref()?;
        let address = self.info(there).address;
        let members = &process.replica.configuration().members;
        // A member that replaces another one at its address has the higher id.
        let at_address = members.iter().filter(|(_, info)| info.address == address);
        at_address.map(|(id, _)| *id).max()
    }

    /// The next message of a handshake is on its way.
    fn pass_on(&mut self, shaking: Shaking) {
        let ends = (shaking.dialer.0, shaking.acceptor.0);
        let (from, to) = match shaking.step {
            Step::Hello(_) | Step::Confirm(..) => ends,
            Step::Welcome(..) => (ends.1, ends.0),
        };
        self.trace.bytes(&shaking.bytes);
        let at = self.now + self.peers.delay(from, to);
        self.queue.push(at, What::Shake(Box::new(shaking)));
    }

    /// A message of a handshake arrives.
    pub(super) fn shake(&mut self, shaking: Shaking) {
        let Shaking { dialer, acceptor, kind, bytes, step } = shaking;
        let (a, b) = (dialer.0, acceptor.0);
        let live = [dialer, acceptor].iter().all(|(place, life)| {
            let member = &self.members[*place];
            member.life == *life && member.process.is_some() && !member.frozen
        });
        if !live || self.peers.is_blocked(a, b) {
            return self.end_connect(a, b, true);
        }
        let next = match step {
            Step::Hello(dialing) => match self.accept(b, &bytes) {
                Ok((accepting, welcome)) => (Step::Welcome(dialing, Some(accepting)), welcome),
                Err(error) => {
                    self.count_refusal(&error, b, a);
                    match error.reply() {
                        Some(reply) => (Step::Welcome(dialing, None), reply),
                        None => return self.end_connect(a, b, true),
                    }
                }
            },
            Step::Welcome(dialing, accepting) => {
                let answer = self.confirm(a, &dialing, &bytes);
                match (answer, accepting) {
                    (Ok((peer, confirm)), Some(accepting)) => {
                        (Step::Confirm(accepting, peer), confirm)
                    }
                    (Err(error), accepting) => {
                        self.count_refusal(&error, a, b);
                        match accepting.zip(error.reply()) {
                            // The acceptor learns the reason, whatever it had answered.
                            Some((accepting, reply)) => {
                                let peer = accepting.peer().id;
                                (Step::Confirm(accepting, peer), reply)
                            }
                            None => return self.end_connect(a, b, true),
                        }
                    }
                    (Ok(_), None) => {
                        self.violated("a refused member is not welcomed", String::new());
                        return;
                    }
                }
            }
            Step::Confirm(accepting, acceptor) => {
                let dialer = accepting.peer().id;
                match self.complete(b, accepting, &bytes) {
                    Ok(()) => {
                        self.trace.fact(self.now, 25, (a * 16 + b) as u64);
                        self.peers.connect(self.now, (a, dialer), (b, acceptor), kind);
                        if self.members[a].copied || self.members[b].copied {
                            self.coverage.count("copied directory", "connected");
                        }
                        self.judge.acquainted(a, b);
                        // The other connection follows.
                        self.end_connect(a, b, false);
                        self.plan_connect(a, b, Duration::ZERO);
                    }
                    Err(error) => {
                        self.count_refusal(&error, b, a);
                        if let HandshakeError::Refuses(refusal) = error {
                            if refusal == Refusal::Removed {
                                self.judge.called_removed(self.now, a, b);
                            }
                            self.with(a, |replica, now| replica.refused(now, acceptor, &refusal));
                        }
                        self.end_connect(a, b, true);
                    }
                }
                return;
            }
        };
        let (step, bytes) = next;
        self.pass_on(Shaking { dialer, acceptor, kind, bytes, step });
    }

    fn accept(
        &mut self,
        place: usize,
        hello: &Bytes,
    ) -> Result<(Accepting, Bytes), HandshakeError> {
        let mut answer = Err(HandshakeError::Refused(Refusal::UnknownMember));
        if let Some(introduction) = self.introduction(place) {
            self.with(place, |replica, now| answer = replica.accept(now, &introduction, hello));
        }
        answer
    }

    fn confirm(
        &mut self,
        place: usize,
        dialing: &Dialing,
        welcome: &Bytes,
    ) -> Result<(RaftId, Bytes), HandshakeError> {
        let mut answer = Err(HandshakeError::Refused(Refusal::UnknownMember));
        if let Some(introduction) = self.introduction(place) {
            self.with(place, |replica, now| {
                let confirmed = replica.confirm(now, &introduction, dialing, welcome);
                answer = confirmed.map(|(peer, confirm)| (peer.id, confirm));
            });
        }
        answer
    }

    fn complete(
        &mut self,
        place: usize,
        accepting: Accepting,
        confirm: &Bytes,
    ) -> Result<(), HandshakeError> {
        let mut answer = Err(HandshakeError::Refused(Refusal::UnknownMember));
        self.with(place, |replica, now| {
            answer = replica.complete(now, accepting, confirm).map(drop);
        });
        answer
    }

    fn introduction(&self, place: usize) -> Option<zraft_replica::Introduction> {
        self.members[place].process.as_ref().map(|process| process.introduction.clone())
    }

    /// Counts a refusal that was found at a place, in a handshake with another one.
    fn count_refusal(&mut self, error: &HandshakeError, place: usize, other: usize) {
        say!(self.trace, self.now, "          a handshake fails: {error}");
        let (HandshakeError::Refuses(refusal) | HandshakeError::Refused(refusal)) = error else {
            return self.violated("members understand each other", error.to_string());
        };
        let name = match refusal {
            Refusal::OtherCluster { .. } => "other cluster",
            Refusal::OtherMember { .. } => "other member",
            Refusal::Version { .. } => "version",
            Refusal::SameIncarnation { .. } => "same incarnation",
            Refusal::OtherIncarnation { .. } => "other incarnation",
            Refusal::UnknownMember => "unknown member",
            Refusal::Removed => "removed",
            Refusal::FeatureLevel { .. } => "feature level",
            Refusal::RolledBack { .. } => "rolled back",
            _ => "another",
        };
        self.coverage.count("handshake refused", name);
        if let HandshakeError::Refused(Refusal::Removed) = error {
            self.judge.called_removed(self.now, place, other);
        }
        if self.members[place].copied || self.members[other].copied {
            self.coverage.count("copied directory", "refused");
        }
        if let Refusal::RolledBack { .. } = refusal {
            // A member also finds out by itself that it lacks what another one remembers.
            match error {
                HandshakeError::Refuses(_) => self.judge.refused(other, place),
                _ => self.judge.refused(place, other),
            }
        }
    }
}
