//! What is around the state machine: the connections, the sockets and the observer.

use bytes::Buf;
use zraft_core::{Action, Completion, ConnId, Event, Instant, Machine, TxBuffer};
use zraft_protocol::{MemberId, Nonce, Timestamp};
use zraft_rig::{Host, Input};

use super::observer::Observer;

/// A connection, as the one who carries its bytes sees it.
pub(super) struct Wire {
    pub(super) conn: ConnId,
    member: MemberId,
    pub(super) open: bool,
    /// Nothing of it concerns the machine any more.
    pub(super) over: bool,
    shut: bool,
    /// Bytes that its socket did not take wait in the machine.
    backlog: bool,
}

/// What is around the state machine.
pub(super) struct Around {
    pub(super) wires: Vec<Wire>,
    pub(super) observer: Observer,
    /// The sockets take this many more bytes; all of them when they do not stall.
    pub(super) socket_takes: Option<usize>,
    /// Which of several connections the script speaks on, counted from the oldest.
    pub(super) focus: usize,
}

impl Around {
    /// Returns one of the connections that the machine wants, if it wants one.
    pub(super) fn wire(&mut self) -> Option<&mut Wire> {
        let live = self.wires.iter().filter(|wire| !wire.over).count();
        let nth = self.focus.checked_rem(live)?;
        self.wires.iter_mut().filter(|wire| !wire.over).nth(nth)
    }

    /// The nonce that the connection in focus waits for.
    pub(super) fn nonce(&mut self) -> Option<Nonce> {
        let conn = self.wire()?.conn;
        self.observer.nonce(conn)
    }

    /// Returns true if the connection in focus asked to continue its session, and `None` if it asked for nothing yet.
    pub(super) fn continues(&mut self) -> Option<bool> {
        let conn = self.wire()?.conn;
        self.observer.continues(conn)
    }
}

impl Host for Around {
    fn act(&mut self, now: Instant, action: Action) {
        match action {
            Action::Open { conn, member, .. } => {
                let mut live = self.wires.iter().filter(|wire| !wire.over);
                assert!(live.all(|wire| wire.member != member), "one connection to each member");
                assert!(self.wires.last().is_none_or(|wire| wire.conn < conn), "numbered upwards");
                let (open, over, shut, backlog) = (false, false, false, false);
                self.wires.push(Wire { conn, member, open, over, shut, backlog });
                self.observer.opened(conn, now);
            }
            Action::ShutdownWrite { conn } => {
                if let Some(wire) = self.wires.iter_mut().find(|wire| wire.conn == conn) {
                    assert!(!wire.shut, "a write half is shut once");
                    wire.shut = true;
                }
            }
            Action::Close { conn } => {
                if let Some(wire) = self.wires.iter_mut().find(|wire| wire.conn == conn) {
                    wire.over = true;
                }
            }
        }
    }

    /// Inputs come from the script.
    fn input(&mut self, _: Instant, _: &Machine) -> Option<Input> {
        None
    }

    fn sockets(&self) -> Vec<ConnId> {
        let live = self.wires.iter().filter(|wire| wire.open && !wire.over);
        live.map(|wire| wire.conn).collect()
    }

    fn wall(&self, now: Instant) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + (now.as_nanos() / 1_000_000) as i64)
    }

    /// The socket takes what it takes of what waits to be written.
    fn write(&mut self, now: Instant, conn: ConnId, tx: &mut TxBuffer) -> usize {
        let wire = self.wires.iter_mut().find(|wire| wire.conn == conn).expect("it was opened");
        let count = tx.remaining().min(self.socket_takes.unwrap_or(usize::MAX));
        if count == 0 {
            wire.backlog |= tx.has_remaining();
            return 0;
        }
        assert!(!wire.shut, "nothing follows the end of the stream");
        let mut bytes = vec![0; count];
        tx.copy_to_slice(&mut bytes);
        // What is left will have been encoded at an earlier moment.
        let fresh = !std::mem::replace(&mut wire.backlog, tx.has_remaining());
        if let Some(room) = &mut self.socket_takes {
            *room -= count;
        }
        self.observer.wrote(conn, now, &bytes, fresh);
        count
    }

    fn event(&mut self, _: Instant, machine: &Machine, event: Event) {
        if let Event::Connected { member_id, .. } = &event {
            let live = |wire: &&Wire| !wire.over && wire.member == *member_id;
            let conn = self.wires.iter().rfind(live).expect("the session has a connection").conn;
            let others = self.wires.iter_mut().filter(|wire| wire.conn != conn);
            // Every backlog is looked at, so that each counts once.
            let cut = others.fold(false, |cut, wire| cut | std::mem::take(&mut wire.backlog));
            self.observer.stands(conn, cut);
        }
        self.observer.event(&event, machine.session_id());
    }

    fn completion(&mut self, _: Instant, _: &Machine, completion: Completion) {
        self.observer.completed(completion);
    }
}
