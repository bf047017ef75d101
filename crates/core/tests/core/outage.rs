//! Bounds of the policies together: the attempts in an outage of all members, the time to find a new leader, and the time
//! to leave a frozen member.

use std::{collections::BTreeMap, time::Duration};

use crate::common::{World, command_ids, millis, seconds, three};
use zraft_core::{ConnEnd, DisconnectReason, Event, OpenFailure};
use zraft_protocol::RejectionReason;

/// How many seeds each bound is tested with.
const SEEDS: u64 = 300;

/// How members fail during an outage.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// Nothing listens on the port.
    Refused,
    /// Connections are accepted and closed at once, as by a proxy without a server.
    Closed,
    /// The name does not resolve.
    Unknown,
    /// Attempts are refused and closed, in turn.
    Either,
}

const OUTAGES: [Outage; 4] = [Outage::Refused, Outage::Closed, Outage::Unknown, Outage::Either];

/// Counts the attempts at each member in the next ten seconds.
fn attempts(world: &mut World, outage: Outage) -> BTreeMap<String, u64> {
    let end = world.now + seconds(10);
    let mut attempts = BTreeMap::new();
    loop {
        world.pump();
        while let Some((conn, member)) = world.opening() {
            let count: &mut u64 = attempts.entry(member.clone()).or_default();
            *count += 1;
            let closed = match outage {
                Outage::Refused | Outage::Unknown => false,
                Outage::Closed => true,
                Outage::Either => count.is_multiple_of(2),
            };
            if closed {
                world.accept(&member);
                world.machine.handle_ended(world.now, conn, ConnEnd::Reset);
            } else if matches!(outage, Outage::Unknown) {
                world.machine.handle_open_failed(world.now, conn, OpenFailure::UnknownHost);
            } else {
                world.machine.handle_open_failed(world.now, conn, OpenFailure::Refused);
            }
            world.peer(conn).closed = true;
            world.pump();
        }
        let Some(next) = world.machine.poll_timeout().filter(|next| *next < end) else { break };
        let pause = next - world.now;
        world.advance(pause.max(millis(1)));
    }
    attempts
}

fn costs_ten_attempts_at_most(attempts: &BTreeMap<String, u64>, what: &str) {
    assert_eq!(attempts.len(), 3, "{what}: everybody is asked");
    for (member, count) in attempts {
        // The client does not stop asking either.
        assert!((6..=10).contains(count), "{what}: {count} attempts at {member}");
    }
}

#[test]
fn a_full_outage_costs_ten_attempts_at_each_member_at_most_in_its_first_ten_seconds() {
    for seed in 0..SEEDS {
        for outage in OUTAGES {
            let mut world = World::seeded(three(), seed);
            world.connect();
            let conn = world.accept("node-1");
            world.create(conn);
            // An answered KeepAlive resets the backoff, so the pauses begin small.
            world.answer_keep_alive(conn);
            world.hang_up(conn);
            costs_ten_attempts_at_most(
                &attempts(&mut world, outage),
                &format!("{seed} {outage:?}"),
            );
        }
    }
}

#[test]
fn a_client_that_starts_in_an_outage_makes_no_more_attempts() {
    for seed in 0..SEEDS {
        for outage in OUTAGES {
            let mut world = World::seeded(three(), seed);
            world.machine.connect(world.now, None);
            costs_ten_attempts_at_most(
                &attempts(&mut world, outage),
                &format!("{seed} {outage:?}"),
            );
        }
    }
}

/// Kills the leader, node-1, with a command in flight. The others elect `leader` for this long; from then on the other
/// names it as the leader. Returns how long after the election the leader gets the command.
fn found_after(election: Duration, leader: &str, seed: u64) -> Duration {
    let mut world = World::seeded(three(), seed);
    world.connect();
    let conn = world.accept("node-1");
    world.create(conn);
    world.answer_keep_alive(conn);
    world.command("in flight");
    let elected = world.now + election;
    world.reset(conn);
    loop {
        world.pump();
        while let Some((_, member)) = world.opening() {
            if member == "node-1" {
                world.refuse(&member);
                continue;
            }
            let conn = world.accept(&member);
            let leads = world.now >= elected;
            if leads && member == leader {
                world.resume(conn);
                assert_eq!(command_ids(&world.all_received(conn)), [1]);
                return world.now - elected;
            }
            let nonce = world.continue_nonce(conn);
            world.reject(conn, nonce, RejectionReason::NotLeader, leads.then_some(leader));
        }
        let next = world.machine.poll_timeout().expect("it tries again");
        let pause = next - world.now;
        world.advance(pause);
    }
}

#[test]
fn after_a_kill_the_new_leader_has_the_commands_within_300_ms_in_elections_of_up_to_10_s() {
    for seed in 0..SEEDS {
        // Elections of every length, each with both leaders.
        let election =
            millis(50) + seconds(10).saturating_sub(millis(60)) * seed as u32 / SEEDS as u32;
        for leader in ["node-2", "node-3"] {
            let found = found_after(election, leader, seed);
            assert!(found <= millis(300), "{found:?} after an election of {election:?}, {seed}");
        }
    }
}

/// Freezes the member this long after a heartbeat, with or without a request in flight. Returns how long the client takes
/// to leave it, at default settings.
fn frozen(after: u64, at_work: bool) -> Duration {
    let mut world = World::new(three());
    world.connect();
    let conn = world.accept("node-1");
    world.create(conn);
    world.answer_keep_alive(conn);
    world.advance(seconds(5) + millis(after));
    if at_work {
        world.command("in flight");
    }
    world.peer(conn).frozen = true;
    world.events.clear();
    world.advance_until(seconds(60), |world| {
        world.events.iter().any(|event| matches!(event, Event::Disconnected { reason, .. }
            if matches!(reason, DisconnectReason::HeartbeatTimeout | DisconnectReason::KeepAliveTimeout)))
    })
}

#[test]
fn a_frozen_member_is_left_within_eleven_seconds_at_default_settings() {
    for after in (0..1000).step_by(25) {
        for at_work in [false, true] {
            let known = frozen(after, at_work);
            assert!(known <= seconds(11), "{known:?}, {after} ms after a heartbeat, {at_work}");
        }
    }
}
