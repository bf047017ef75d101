use std::time::Duration;

use super::world::{MS, World, command, id, info};
use crate::{Configuration, Output, PeerMessage, SnapshotMeta, SnapshotProgress};
use zraft_protocol::SplitMix64;

/// Members that take a snapshot after 100 KB of log, and a leader with a session.
fn small(count: u64) -> World {
    let mut world = World::new(count);
    world.limits.snapshot_after = 100_000;
    for number in 1..=count {
        world.restart(number);
    }
    world
}

fn fill(world: &mut World, leader: u64, kilobytes: u64) {
    let (connection, _) = world.session(leader);
    let text = "x".repeat(10_000);
    for number in 1..=kilobytes / 10 {
        world.send(connection, command(number, number, &text));
        world.answer(connection, number);
    }
}

/// A leader whose log has gone past a member that is cut off, and that member.
fn left_behind() -> (World, u64, u64) {
    let mut world = small(3);
    let leader = world.settle();
    let behind = world.others(leader)[0];
    world.run(100 * MS);
    world.isolate(behind);
    fill(&mut world, leader, 3_000);
    (world, leader, behind)
}

fn catch_up(world: &mut World, leader: u64, behind: u64) {
    world.until("it has caught up", |world| {
        let applied = world.replica(leader).view().applied;
        world.replica(behind).view().applied == applied
    });
    let (history, lines) = (world.replica(leader).view().history, world.lines(leader));
    assert_eq!(world.replica(behind).view().history, history);
    assert_eq!(world.lines(behind), lines);
}

#[test]
fn snapshots_bound_the_log_and_a_member_starts_from_the_newest() {
    let mut world = small(3);
    let leader = world.settle();
    fill(&mut world, leader, 1_000);
    world.run(100 * MS);
    let boot = world.member(leader).disk.boot();
    let kept = world.replica(leader).last_index() - boot.first_index;
    assert!(kept < 40, "{kept} entries of 10 KB are kept");
    assert!(boot.snapshot.index > boot.first_index, "the log after the snapshot before it stays");
    let lines = world.lines(leader);
    for number in 1..=3 {
        world.restart(number);
    }
    let leader = world.settle();
    assert_eq!(world.lines(leader), lines);
}

#[test]
fn a_member_below_the_log_gets_a_snapshot_in_chunks() {
    let (mut world, leader, behind) = left_behind();
    world.heal();
    catch_up(&mut world, leader, behind);
    assert!(world.chunks.len() >= 3, "{:?}", world.chunks);
    assert!(world.chunks.is_sorted_by(|a, b| a < b), "each part is read once");
    // It starts from what it got.
    world.restart(behind);
    catch_up(&mut world, leader, behind);
}

#[test]
fn an_interrupted_transfer_goes_on_where_it_stopped() {
    let (mut world, leader, behind) = left_behind();
    world.heal();
    world.until("the transfer has begun", |world| world.chunks.len() == 2);
    world.isolate(behind);
    world.run(Duration::from_millis(2_500));
    world.heal();
    catch_up(&mut world, leader, behind);
    let first = world.chunks.iter().filter(|offset| **offset == 0).count();
    assert_eq!(first, 1, "{:?}", world.chunks);
}

#[test]
fn a_damaged_file_is_refused_and_sent_again() {
    let (mut world, leader, behind) = left_behind();
    world.damage = true;
    world.heal();
    catch_up(&mut world, leader, behind);
    let first = world.chunks.iter().filter(|offset| **offset == 0).count();
    assert_eq!(first, 2, "{:?}", world.chunks);
    assert_eq!(world.member(behind).stopped, None);
}

#[test]
fn a_transfer_survives_a_restart_of_its_receiver() {
    let (mut world, leader, behind) = left_behind();
    world.heal();
    world.until("the transfer has begun", |world| world.chunks.len() == 2);
    world.restart(behind);
    catch_up(&mut world, leader, behind);
}

#[test]
fn a_member_that_fell_behind_the_log_a_little_needs_no_snapshot() {
    let mut world = small(3);
    let leader = world.settle();
    let behind = world.others(leader)[0];
    world.run(100 * MS);
    fill(&mut world, leader, 250);
    world.isolate(behind);
    fill(&mut world, leader, 50);
    world.heal();
    catch_up(&mut world, leader, behind);
    assert!(world.chunks.is_empty());
}

#[test]
fn a_transfer_keeps_to_its_rate() {
    let (mut world, leader, behind) = left_behind();
    world.limits.snapshot_rate = 1 << 20;
    world.restart(leader);
    world.heal();
    world.settle();
    let begin = world.now;
    catch_up(&mut world, leader, behind);
    // 3 MB at 1 MiB a second, of which the first chunk goes at once.
    let took = world.now - begin;
    assert!(took > Duration::from_millis(1_800), "{took:?}");
}

#[test]
fn snapshot_messages_that_no_sound_member_sends_change_nothing() {
    let members = || (1..=3).map(|number| (id(number), info(number)));
    let strangers = Configuration::of_voters([(id(7), info(7))]);
    let mut voterless = Configuration::of_voters(members());
    voterless.learners = std::mem::take(&mut voterless.voters);
    let configurations = [Configuration::of_voters(members()), strangers, voterless];
    let mut random = SplitMix64::new(1);
    let mut world = World::new(3);
    world.settle();
    for _ in 0..2_000 {
        let to = 1 + random.below(3);
        let from = id(1 + (to + random.below(2)) % 3);
        let now = world.clock();
        let term = world.replica(to).term() + random.below(2);
        let index = [0, 1, 5, 1 << 61][random.below(4) as usize];
        let offset = [0, 1, 1 << 61][random.below(3) as usize];
        let message = match random.below(5) {
            0 => PeerMessage::SnapshotOffer {
                term,
                snapshot: SnapshotMeta {
                    index,
                    term: random.below(3),
                    configuration: configurations[random.below(3) as usize].clone(),
                },
                bytes: offset,
                hash: [0; 16],
            },
            1 => PeerMessage::SnapshotChunk { term, index, offset, data: "x".into() },
            2 => {
                let progress = SnapshotProgress::Have(offset);
                PeerMessage::SnapshotStatus { term, index, progress }
            }
            3 => {
                let progress = SnapshotProgress::Complete;
                PeerMessage::SnapshotStatus { term, index, progress }
            }
            _ => {
                let level = random.below(3) as u32;
                PeerMessage::Level { term, feature_level: level, application_level: level }
            }
        };
        let member = world.member(to);
        member.replica.peer_message(now, from, &message);
        // A file that was begun by such an offer is never complete.
        while let Some(output) = member.replica.poll_output() {
            if let Output::WriteSnapshot { index, offset, data } = output {
                let up_to = offset + data.len() as u64;
                member.replica.snapshot_written(now, index, up_to);
            } else if let Output::VerifySnapshot(file) = output {
                member.replica.snapshot_verified(now, file.meta.index, false);
            } else if let Output::Write(write) = output {
                member.disk.commit(&write);
                member.replica.persisted(now, write.number);
            }
        }
        assert_eq!(member.stopped, None);
    }
    let leader = world.settle();
    let (connection, _) = world.session(leader);
    world.command(connection, 1, "a");
    assert_eq!(world.answer(connection, 1), "1");
}
