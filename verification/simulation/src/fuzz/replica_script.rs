//! One member by a script: peers, clients, times, and a disk and a state machine that are as slow as the script says.

mod member;
mod messages;

use std::time::Duration;

use zraft_protocol::SplitMix64;
use zraft_replica::{ConnectionId, MembershipChange, RaftId};

use super::{codec::client_message, script::Script};
use member::Member;

/// At most this many steps, so that an input takes no more than some milliseconds.
const STEPS: usize = 400;

/// A script of inputs in an order that the calling contract allows. No peer is trusted: their messages are any that the
/// codec takes.
pub fn replica_script(input: &[u8]) {
    let mut script = Script::new(input);
    let options = script.byte();
    let voters = if options & 1 == 0 { 3 } else { 1 };
    let mut member = Member::new(voters, options & 2 != 0, SplitMix64::new(options.into()));
    for _ in 0..STEPS {
        if script.is_over() || member.has_stopped() {
            break;
        }
        step(&mut script, &mut member);
        member.look();
    }
    // Whatever was left over is done: nothing may wait without end for the disk or the state machine.
    member.finish();
}

fn peer(number: u8) -> RaftId {
    RaftId::new(2 + u64::from(number % 3)).unwrap()
}

fn step(script: &mut Script<'_>, member: &mut Member) {
    match script.byte() % 24 {
        0..=6 => {
            let from = peer(script.byte());
            let message = messages::message(script, member.replica().term());
            member.peer_message(from, message);
        }
        7 => {
            // Bytes as they are. Most are refused.
            let length = usize::from(script.byte());
            let bytes = script.take(length).to_vec();
            member.peer_bytes(peer(0), bytes.into());
        }
        8 => member.connect(),
        9 => member.disconnect(ConnectionId(u64::from(script.byte()) % 8)),
        10 | 11 => {
            let connection = ConnectionId(u64::from(script.byte()) % 8);
            let message = client_message(script);
            member.client_message(connection, message);
        }
        12 => member.create(ConnectionId(u64::from(script.byte()) % 8)),
        13 => {
            let (connection, id) = (script.byte() % 8, script.byte());
            member.command(ConnectionId(connection.into()), 1 + u64::from(id % 16));
        }
        14 => member.pass(Duration::from_millis(u64::from(script.byte()))),
        15 => member.pass(Duration::from_millis(u64::from(script.u16()))),
        16 | 17 => member.time_out(),
        18 => member.write_done(),
        19 => member.job_done(),
        20 => member.snapshot_step(script.byte() & 1 == 0),
        21 => {
            let choice = script.byte();
            member.operate(match choice % 4 {
                0 => Operation::HandOver(peer(choice >> 2)),
                1 => Operation::ShutDown,
                2 => Operation::Change(MembershipChange::Remove(peer(choice >> 2))),
                _ => Operation::Unreachable(peer(choice >> 2)),
            });
        }
        22 => {
            for _ in 0..8 {
                member.write_done();
                if member.has_stopped() {
                    break;
                }
                member.job_done();
                if member.has_stopped() {
                    break;
                }
            }
        }
        _ => member.restart(),
    }
}

enum Operation {
    HandOver(RaftId),
    ShutDown,
    Change(MembershipChange),
    Unreachable(RaftId),
}
