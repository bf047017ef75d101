//! The order of a session's commands. The log has them in the order in which they came on one connection: a client that loses
//! nothing may rely on that.

use std::collections::{BTreeMap, BTreeSet};

use zraft_replica::ConnectionId;

/// The commands of a session that a leader has read.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// The leader, as place and term, and the connection that the commands come on.
    from: Option<(usize, u64, ConnectionId)>,
    /// The commands that first came on this connection, and in which order.
    present: BTreeMap<u64, usize>,
    /// The commands that this leader read on an earlier connection. It may have dropped them with that, or not.
    earlier: BTreeSet<u64>,
}

impl Arrivals {
    /// A leader reads a command. Returns true if no copy has come to it before.
    pub(super) fn read(
        &mut self,
        member: usize,
        term: u64,
        connection: ConnectionId,
        request: u64,
    ) -> bool {
        let from = Some((member, term, connection));
        if self.from != from {
            let same = self.from.is_some_and(|(place, at, _)| (place, at) == (member, term));
            let before = std::mem::take(&mut self.present);
            if same {
                self.earlier.extend(before.into_keys());
            } else {
                self.earlier.clear();
            }
            self.from = from;
        }
        if self.earlier.contains(&request) || self.present.contains_key(&request) {
            return false;
        }
        self.present.insert(request, self.present.len());
        true
    }

    /// Returns a command that came before this one, has a lower id, and is not in the log before the entry of this term.
    /// Commands below `lowest` need no entry any more, and those that are `done` have one.
    pub(super) fn overtaken(
        &self,
        term: u64,
        request: u64,
        lowest: u64,
        done: impl Fn(u64) -> bool,
    ) -> Option<u64> {
        let (_, at, _) = self.from?;
        let place = self.present.get(&request).filter(|_| at == term)?;
        let mut below = self.present.range(lowest.min(request)..request);
        below.find(|(id, came)| *came < place && !done(**id)).map(|(id, _)| *id)
    }
}
