//! New lists of members, which applications give their clients now and then. They are drawn apart from everything else, so a run
//! without them is the same as before there were any.

use std::time::Duration;

use zraft_core::MemberList;

use crate::{
    random::Rng,
    world::{
        calendar::What,
        plan::{member_endpoint, member_name},
        sim::Sim,
        trace::say,
    },
};

/// In this many of 100 runs a client gets new lists.
const OFTEN: u64 = 30;

impl Sim {
    /// Enters the moments of new lists in the calendar.
    pub(crate) fn schedule_lists(&mut self) {
        if !self.lists.percent(OFTEN) {
            return;
        }
        let millis = self.plan.duration.as_millis() as u64;
        for _ in 0..self.lists.range(1, 8) {
            let client = self.lists.index(self.clients.len());
            let at = self.now + self.lists.millis(0, millis);
            self.queue.push(at, What::Members(client, true));
        }
    }

    /// The application gives its client a new list, and the configured one again after a while.
    pub(crate) fn new_list(&mut self, client: usize, drawn: bool) {
        let state = &self.clients[client];
        if self.healing.is_some() {
            return;
        }
        if state.paused || self.now < state.blocked_until {
            // Its process or its thread stands still: try again later.
            self.queue.push(self.now + Duration::from_millis(200), What::Members(client, drawn));
            return;
        }
        if !drawn {
            let configured = self.clients[client].configured.clone();
            return self.members_are(client, &configured);
        }
        let list = draw(&mut self.lists, self.members, self.system.leader());
        let whole = list.len() == self.members;
        self.give_list(client, &list);
        if !whole {
            let at = self.now + self.lists.millis(200, 6_000);
            self.queue.push(at, What::Members(client, false));
        }
    }

    /// The client gets a list of all members.
    pub(crate) fn whole_list(&mut self, client: usize) {
        let list: Vec<usize> = (0..self.members).collect();
        self.members_are(client, &list);
    }

    /// The client gets this list, unless it has it.
    fn members_are(&mut self, client: usize, list: &[usize]) {
        if !self.clients[client].judge.was_given(list) {
            self.give_list(client, list);
        }
    }

    fn give_list(&mut self, client: usize, list: &[usize]) {
        let named = list.iter().map(|&m| (member_name(m), member_endpoint(m)));
        let members = match MemberList::new(named) {
            Ok(members) => members,
            Err(error) => return self.violated("a list of members is taken", error.to_string()),
        };
        let name = self.rigs[client].machine.state();
        self.coverage.cell("update_members", name);
        say!(self.trace, self.now, "client {client}: its members are {list:?}");
        self.trace.fact(self.now, 11, list.len() as u64);
        self.clients[client].judge.new_list(self.now, list);
        self.rigs[client].machine.update_members(self.now, members);
        self.drain(client);
        self.dirty[client] = true;
    }
}

/// Draws a list: most often one member is missing, the leader above all.
fn draw(rng: &mut Rng, members: usize, leader: Option<usize>) -> Vec<usize> {
    let mut list: Vec<usize> = (0..members).collect();
    match rng.below(8) {
        0..4 if members > 1 => {
            let missing = match leader {
                Some(leader) if leader < members && rng.percent(60) => leader,
                _ => rng.index(members),
            };
            list.remove(missing);
        }
        4 | 5 => {
            // One member, which may be the leader.
            let only = rng.index(members);
            list =
                vec![leader.filter(|leader| *leader < members && rng.percent(50)).unwrap_or(only)];
        }
        _ => {}
    }
    for place in (1..list.len()).rev() {
        let other = rng.index(place + 1);
        if rng.percent(50) {
            list.swap(place, other);
        }
    }
    list
}
