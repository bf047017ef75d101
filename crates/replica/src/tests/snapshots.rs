use std::time::Duration;

use bytes::Bytes;

use super::world::{MS, World, command, id, info};
use crate::{
    Configuration, Output, PeerMessage, RaftId, SnapshotFile, SnapshotMeta, SnapshotProgress,
};
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

/// A leader whose log has gone past a member that is cut off, and that member. The snapshot is sent in three chunks.
fn left_behind() -> (World, u64, u64) {
    left_behind_by(3_000)
}

fn left_behind_by(kilobytes: u64) -> (World, u64, u64) {
    let mut world = small(3);
    let leader = world.settle();
    let behind = world.others(leader)[0];
    world.run(100 * MS);
    world.isolate(behind);
    fill(&mut world, leader, kilobytes);
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

/// A snapshot that a member gets while the test stands in for its leaders and its disk.
struct Transfer {
    world: World,
    receiver: u64,
    leader: u64,
    file: SnapshotFile,
    data: Bytes,
}

impl Transfer {
    fn new() -> Self {
        let (mut world, leader, receiver) = left_behind_by(300);
        let (_, (file, data)) = world.member(leader).files.last_key_value().expect("it took one");
        let (file, data) = (file.clone(), Bytes::from(data.clone()));
        let mut transfer = Self { world, receiver, leader, file, data };
        transfer.outputs();
        transfer
    }

    /// A snapshot of another leader, which has more of the log.
    fn newer(&self) -> SnapshotFile {
        let mut newer = self.file.clone();
        newer.meta.index += 1;
        newer
    }

    /// Returns what the receiver wants done with files, and its answers to the leaders.
    fn outputs(&mut self) -> Vec<Output> {
        let replica = self.world.replica(self.receiver);
        let outputs = std::iter::from_fn(|| replica.poll_output());
        outputs
            .filter(|output| match output {
                Output::Send { message, .. } => {
                    matches!(message, PeerMessage::SnapshotStatus { .. })
                }
                Output::BeginSnapshot(_)
                | Output::WriteSnapshot { .. }
                | Output::VerifySnapshot(_) => true,
                _ => false,
            })
            .collect()
    }

    fn receives(&mut self, from: u64, message: &PeerMessage) -> Vec<Output> {
        let now = self.world.clock();
        self.world.replica(self.receiver).peer_message(now, id(from), message);
        self.outputs()
    }

    fn offer(&mut self, from: u64, file: &SnapshotFile) -> Vec<Output> {
        let term = self.world.replica(self.receiver).term();
        let SnapshotFile { meta, bytes, hash } = file.clone();
        self.receives(from, &PeerMessage::SnapshotOffer { term, snapshot: meta, bytes, hash })
    }

    fn chunk(&mut self, from: u64, index: u64, offset: u64, data: Bytes) -> Vec<Output> {
        let term = self.world.replica(self.receiver).term();
        self.receives(from, &PeerMessage::SnapshotChunk { term, index, offset, data })
    }

    /// The leader sends the file from here on, and the receiver begins to write that.
    fn send(&mut self, from: usize, to: usize) {
        let data = self.data.slice(from..to);
        let outputs = self.chunk(self.leader, self.file.meta.index, from as u64, data);
        assert!(
            matches!(&outputs[..], [Output::WriteSnapshot { offset, .. }] if *offset == from as u64),
            "{outputs:?}"
        );
    }

    fn written(&mut self, up_to: usize) -> Vec<Output> {
        let (now, index) = (self.world.clock(), self.file.meta.index);
        self.world.replica(self.receiver).snapshot_written(now, index, up_to as u64);
        self.outputs()
    }
}

fn begins(outputs: &[Output], file: &SnapshotFile) -> bool {
    matches!(outputs, [Output::BeginSnapshot(begun), _] if **begun == *file)
}

#[test]
fn a_new_leaders_file_is_begun_only_after_the_write_under_way() {
    let mut transfer = Transfer::new();
    let (leader, file, newer) = (transfer.leader, transfer.file.clone(), transfer.newer());
    let other = 6 - leader - transfer.receiver;
    assert!(begins(&transfer.offer(leader, &file), &file));
    transfer.send(0, 1_000);
    assert!(matches!(&transfer.written(1_000)[..], [Output::Send { .. }]));
    transfer.send(1_000, 2_000);
    // If it began here, the answer to the write would count as written what the next file does not have.
    let outputs = transfer.offer(other, &newer);
    assert!(outputs.is_empty(), "{outputs:?}");
    transfer.written(2_000);
    assert!(begins(&transfer.offer(other, &newer), &newer));
    assert!(begins(&transfer.offer(leader, &file), &file), "its first file was deleted");
}

#[test]
fn a_new_leaders_file_is_begun_only_after_the_verification_under_way() {
    let mut transfer = Transfer::new();
    let (leader, file, newer) = (transfer.leader, transfer.file.clone(), transfer.newer());
    let other = 6 - leader - transfer.receiver;
    assert!(begins(&transfer.offer(leader, &file), &file));
    let (all, index) = (transfer.data.len(), file.meta.index);
    transfer.send(0, all);
    assert!(matches!(&transfer.written(all)[..], [Output::VerifySnapshot(_), _]));
    let outputs = transfer.offer(other, &newer);
    assert!(outputs.is_empty(), "{outputs:?}");
    let now = transfer.world.clock();
    transfer.world.replica(transfer.receiver).snapshot_verified(now, index, true);
    assert_eq!(transfer.world.replica(transfer.receiver).committed(), index, "it is used");
    transfer.outputs();
    assert!(begins(&transfer.offer(other, &newer), &newer));
}

#[test]
fn an_offer_of_a_snapshot_that_cannot_exist_is_refused() {
    let mut transfer = Transfer::new();
    let (leader, receiver) = (transfer.leader, id(transfer.receiver));
    let changes: [fn(&mut SnapshotFile, RaftId); 5] = [
        |file, _| file.bytes = 0,
        |file, _| file.meta.index = 0,
        |file, _| file.meta.term = 0,
        |file, _| {
            let configuration = &mut file.meta.configuration;
            configuration.learners = std::mem::take(&mut configuration.voters);
        },
        |file, receiver| {
            file.meta.configuration.voters.remove(&receiver);
            file.meta.configuration.members.remove(&receiver);
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut file = transfer.file.clone();
        change(&mut file, receiver);
        let outputs = transfer.offer(leader, &file);
        let refused = SnapshotProgress::Failed;
        assert!(
            matches!(
                &outputs[..],
                [Output::Send { message: PeerMessage::SnapshotStatus { progress, .. }, .. }]
                    if *progress == refused
            ),
            "offer {number}: {outputs:?}"
        );
    }
    let file = transfer.file.clone();
    assert!(begins(&transfer.offer(leader, &file), &file));
}

#[test]
fn a_chunk_that_does_not_continue_the_file_is_ignored() {
    let mut transfer = Transfer::new();
    let (leader, file, data) = (transfer.leader, transfer.file.clone(), transfer.data.clone());
    let (other, index) = (6 - leader - transfer.receiver, file.meta.index);
    assert!(begins(&transfer.offer(leader, &file), &file));
    let part = data.slice(..1_000);
    let too_long = Bytes::from([&data[..], b"x"].concat());
    let ignored = [
        (other, index, 0, part.clone()),
        (leader, index + 1, 0, part.clone()),
        (leader, index, 1, part.clone()),
        (leader, index, 0, Bytes::new()),
        (leader, index, 0, too_long),
    ];
    for (from, index, offset, data) in ignored {
        let outputs = transfer.chunk(from, index, offset, data);
        assert!(outputs.is_empty(), "{outputs:?}");
    }
    transfer.send(0, 1_000);
    let copy = transfer.chunk(leader, index, 0, part);
    assert!(copy.is_empty(), "the first one is being written: {copy:?}");
}

#[test]
fn snapshot_messages_of_an_earlier_term_are_ignored_and_those_of_a_later_one_are_not() {
    let mut transfer = Transfer::new();
    let (leader, file, newer) = (transfer.leader, transfer.file.clone(), transfer.newer());
    let other = 6 - leader - transfer.receiver;
    let term = transfer.world.replica(transfer.receiver).term();
    let offer = |term, file: &SnapshotFile| {
        let SnapshotFile { meta, bytes, hash } = file.clone();
        PeerMessage::SnapshotOffer { term, snapshot: meta, bytes, hash }
    };
    let early = transfer.receives(other, &offer(term - 1, &newer));
    assert!(early.is_empty(), "{early:?}");
    assert!(begins(&transfer.offer(leader, &file), &file));
    let (index, data) = (file.meta.index, transfer.data.slice(..1_000));
    let chunk = PeerMessage::SnapshotChunk { term: term - 1, index, offset: 0, data };
    let early = transfer.receives(leader, &chunk);
    assert!(early.is_empty(), "{early:?}");
    assert!(begins(&transfer.receives(other, &offer(term + 1, &newer)), &newer));
}

#[test]
fn a_member_that_hears_of_a_term_by_an_offer_alone_votes_in_no_earlier_one() {
    let mut transfer = Transfer::new();
    let (receiver, leader) = (transfer.receiver, transfer.leader);
    let term = transfer.world.replica(receiver).term() + 3;
    transfer.file.meta.term = term;
    let SnapshotFile { meta, bytes, hash } = transfer.file.clone();
    let index = meta.index;
    let offer = PeerMessage::SnapshotOffer { term, snapshot: meta, bytes, hash };
    assert!(begins(&transfer.receives(leader, &offer), &transfer.file.clone()));
    let all = transfer.data.len();
    let data = transfer.data.clone();
    transfer.receives(leader, &PeerMessage::SnapshotChunk { term, index, offset: 0, data });
    transfer.written(all);
    let now = transfer.world.clock();
    let replica = transfer.world.replica(receiver);
    replica.snapshot_verified(now, index, true);
    assert_eq!((replica.committed(), replica.term()), (index, term));
    let outputs = std::iter::from_fn(|| replica.poll_output());
    let written = outputs.filter_map(|output| match output {
        Output::Write(write) => Some(write.hard_state.term),
        _ => None,
    });
    // With a lower one, its store would count as damaged at the next start.
    assert_eq!(written.collect::<Vec<_>>(), [term]);
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

#[test]
fn a_snapshot_that_is_asked_for_holds_what_was_applied_and_is_not_taken_twice() {
    let mut world = World::new(1);
    let leader = world.settle();
    fill(&mut world, leader, 10);
    world.run(100 * MS);
    assert_eq!(world.replica(leader).newest_snapshot(), None, "the log is short");
    let applied = world.replica(leader).view().applied;
    let ask = |world: &mut World| {
        let now = world.clock();
        world.replica(leader).take_snapshot(now);
        world.collect(leader);
    };
    ask(&mut world);
    world.until("the snapshot is complete", |world| {
        let newest = world.replica(leader).newest_snapshot();
        newest.is_some_and(|file| file.meta.index == applied)
    });
    let newest = world.replica(leader).newest_snapshot().cloned();
    ask(&mut world);
    world.run(100 * MS);
    assert_eq!(world.replica(leader).newest_snapshot().cloned(), newest, "nothing was applied");
}
