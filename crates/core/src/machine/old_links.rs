//! What planted bugs keep that the machine does not: closed connections, the tracker of a session that is gone. Without the
//! feature `museum` it is nothing.

use zraft_protocol::ServerMessage;

use super::Machine;
use crate::{
    Instant,
    link::{ConnId, Link},
    museum::{self, Plant},
    tables::server_requests::ServerRequests,
};

#[derive(Debug, Default)]
pub(super) struct Museum {
    #[cfg(feature = "museum")]
    links: Vec<Link>,
    #[cfg(feature = "museum")]
    tracker: Option<ServerRequests>,
}

#[cfg(feature = "museum")]
impl Museum {
    pub(super) fn keep_link(&mut self, link: Link) {
        if museum::is(Plant::LateAnswerOfOldSession) || museum::is(Plant::SupersededBelieved) {
            self.links.push(link);
        }
    }

    pub(super) fn old(&mut self, conn: ConnId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == conn)
    }

    pub(super) fn is_old(&self, conn: ConnId) -> bool {
        self.links.iter().any(|link| link.id == conn)
    }

    pub(super) fn keep_tracker(&mut self, tracker: ServerRequests) {
        self.tracker = Some(tracker).filter(|_| museum::is(Plant::TrackerKeptInNewSession));
    }

    pub(super) fn tracker(&mut self) -> Option<ServerRequests> {
        self.tracker.take()
    }
}

#[cfg(not(feature = "museum"))]
#[allow(clippy::unused_self, clippy::needless_pass_by_ref_mut)]
impl Museum {
    #[inline(always)]
    pub(super) fn keep_link(&mut self, _link: Link) {}

    #[inline(always)]
    pub(super) fn old(&mut self, _conn: ConnId) -> Option<&mut Link> {
        None
    }

    #[inline(always)]
    pub(super) fn is_old(&self, _conn: ConnId) -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn keep_tracker(&mut self, _tracker: ServerRequests) {}

    #[inline(always)]
    pub(super) fn tracker(&mut self) -> Option<ServerRequests> {
        None
    }
}

impl Machine {
    /// The plants that believe a connection that was closed.
    pub(super) fn received_on_old(&mut self, now: Instant, conn: ConnId) {
        if let Some(link) = self.museum.old(conn) {
            link.zmtp.handle_received(now);
        }
        loop {
            let event = self.museum.old(conn).and_then(|link| link.zmtp.poll_event(now));
            let Some(event) = event else { return };
            let zraft_zmtp::Event::Message(frame) = event else { continue };
            let answer =
                matches!(ServerMessage::decode(&frame), Ok(ServerMessage::ClientResponse { .. }));
            if answer || museum::is(Plant::SupersededBelieved) {
                self.message(now, &frame);
            }
        }
    }
}
