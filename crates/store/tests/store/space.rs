//! A disk that fills up under a member: the store warns in time, the member writes little, makes its log shorter, and
//! goes on when there is space again.

use std::{collections::BTreeMap, time::Duration};

use zraft_protocol::{
    Capabilities, ClientMessage, Nonce, Payload, RequestId, ServerMessage, Timestamp,
};
use zraft_replica::{
    Boot, Config, Configuration, ConnectionId, Done, Limits, Machine, Now, Output, RaftId, Replica,
    Space, Timing, Write,
};
use zraft_session::{CheckedSettings, StateMachine, Time, applications::AppendLog};
use zraft_simulated_disk::{Faults, SimulatedDisk};
use zraft_store::{Disk, Folder, RedbStore, Reserve, Store, StoreError};

use crate::support::{append, configuration, entry, meta, new_cluster, take_snapshot, write};

const MIB: u64 = 1 << 20;
/// Small, so that a test needs little memory. A quarter of it is far more than one write.
const RESERVE: Reserve = Reserve { base: 8 * MIB };

fn reserve_of(disk: &SimulatedDisk) -> u64 {
    disk.bytes("reserve").map_or(0, |bytes| bytes.len() as u64)
}

fn capacity(disk: &SimulatedDisk, bytes: u64) {
    disk.plan(Faults { capacity: Some(bytes), ..Faults::default() });
}

fn store(disk: &SimulatedDisk) -> RedbStore {
    let store = RedbStore::create(disk.clone(), &new_cluster()).unwrap();
    store.set_reserve(RESERVE);
    store
}

#[test]
fn a_store_reports_low_space_before_a_write_fails() {
    let disk = SimulatedDisk::new(1);
    let mut store = store(&disk);
    capacity(&disk, 40 * MIB);
    assert_eq!(store.space().unwrap(), Space::Ample);
    assert_eq!(reserve_of(&disk), 8 * MIB);
    let mut number = 0;
    while store.space().unwrap() == Space::Ample {
        number += 1;
        let next = append(number, 1, number, vec![entry(1 + number, 1, vec![1; 300_000])]);
        store.write(&next).unwrap();
    }
    assert!(number > 20, "only {number} writes");
    assert_eq!(reserve_of(&disk), 0, "its space is free for compaction");
    // The member goes on: a snapshot of everything, and the log before it is deleted.
    let body = vec![2; 6 * MIB as usize];
    take_snapshot(&store, &meta(number, 1), &body).unwrap();
    let first_index = Some(number + 1);
    let record =
        Write { record: Some(meta(number, 1)), first_index, ..write(number + 1, 1, number) };
    store.write(&record).unwrap();
    assert_eq!(store.space().unwrap(), Space::Low);
    drop(store);
    assert_eq!(RedbStore::open(disk).unwrap().boot().unwrap().first_index, number + 1);
}

#[test]
fn a_snapshot_is_written_into_the_reserve_without_another_look() {
    for received in [false, true] {
        let disk = SimulatedDisk::new(1);
        let mut store = store(&disk);
        store.write(&append(1, 1, 2, vec![entry(2, 1, "a")])).unwrap();
        let log = disk.bytes("log.redb").unwrap().len() as u64;
        capacity(&disk, log + 8 * MIB + 3 * MIB);
        assert_eq!(store.space().unwrap(), Space::Ample);
        let body = vec![7; 6 * MIB as usize];
        if received {
            let (from, other) = (SimulatedDisk::new(2), meta(9, 1));
            let mut sender = RedbStore::create(from.clone(), &new_cluster()).unwrap();
            let entries = (2..10).map(|index| entry(index, 1, "a")).collect();
            sender.write(&append(1, 1, 9, entries)).unwrap();
            take_snapshot(&sender, &other, &body).unwrap();
            sender.write(&Write { record: Some(other), ..write(2, 1, 9) }).unwrap();
            let source = sender.newest_snapshot().unwrap().unwrap();
            let mut incoming = store.receive_snapshot(9, 1, source.file_len()).unwrap();
            while incoming.received() < source.file_len() {
                let piece = source.piece(incoming.received(), 1 << 20).unwrap();
                assert!(incoming.append(incoming.received(), &piece).unwrap());
            }
            incoming.finish().unwrap();
        } else {
            take_snapshot(&store, &meta(2, 1), &body).unwrap();
        }
        assert_eq!(store.space().unwrap(), Space::Low);
        assert_eq!(reserve_of(&disk), 0);
    }
}

#[test]
fn the_reserve_follows_the_newest_snapshot() {
    let disk = SimulatedDisk::new(1);
    let mut store = store(&disk);
    capacity(&disk, 100 * MIB);
    assert_eq!(store.space().unwrap(), Space::Ample);
    let body = vec![7; 4 * MIB as usize];
    store.write(&append(1, 1, 2, vec![entry(2, 1, "a"), entry(3, 1, "b")])).unwrap();
    take_snapshot(&store, &meta(2, 1), &body).unwrap();
    store.write(&Write { record: Some(meta(2, 1)), ..write(2, 1, 2) }).unwrap();
    assert_eq!(store.space().unwrap(), Space::Ample);
    let file = disk.bytes("snapshot-0000000000000001-0000000000000002").unwrap().len() as u64;
    assert_eq!(reserve_of(&disk), 8 * MIB + file + file / 2);
}

#[test]
fn space_returns_only_with_room_to_spare() {
    let disk = SimulatedDisk::new(1);
    let mut store = store(&disk);
    let log = disk.bytes("log.redb").unwrap().len() as u64;
    let enough = log + 8 * MIB + 2 * MIB;
    for (bytes, space) in [
        (enough + MIB, Space::Ample),
        (enough - MIB, Space::Low),
        // What was too much for the warning is not enough to end it: else each write would switch it.
        (enough + MIB, Space::Low),
        (enough + 3 * MIB, Space::Ample),
        (enough + MIB, Space::Ample),
    ] {
        capacity(&disk, bytes);
        assert_eq!(store.space().unwrap(), space, "{bytes} bytes");
        let held = if space == Space::Ample { 8 * MIB } else { 0 };
        assert_eq!(reserve_of(&disk), held);
    }
}

#[test]
fn a_start_gives_the_reserve_back_before_it_opens_the_log() {
    let disk = SimulatedDisk::new(1);
    let mut first = store(&disk);
    capacity(&disk, 40 * MIB);
    assert_eq!(first.space().unwrap(), Space::Ample);
    drop(first);
    disk.sync().unwrap();
    assert_eq!(reserve_of(&disk), 8 * MIB);
    // Not one byte is free.
    let taken = 40 * MIB - disk.free().unwrap();
    capacity(&disk, taken);
    let mut store = RedbStore::open(disk.clone()).unwrap();
    store.set_reserve(RESERVE);
    assert_eq!(reserve_of(&disk), 0);
    store.write(&append(1, 1, 2, vec![entry(2, 1, "there is room")])).unwrap();
    assert_eq!(store.space().unwrap(), Space::Low);
}

#[test]
fn a_full_disk_ends_a_store_that_was_not_asked_for_its_space() {
    let disk = SimulatedDisk::new(1);
    let mut store = store(&disk);
    let taken = { u64::MAX - disk.free().unwrap() };
    assert_eq!(taken, 0, "no capacity is planned");
    capacity(&disk, disk.bytes("log.redb").unwrap().len() as u64 + MIB);
    let mut number = 0;
    let error = loop {
        number += 1;
        let next = append(number, 1, 1, vec![entry(1 + number, 1, vec![1; 300_000])]);
        if let Err(error) = store.write(&next) {
            break error;
        }
        assert!(number < 100, "the disk is never full");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(matches!(store.space(), Err(StoreError::Ended)), "it is not retried");
}

#[test]
fn a_failing_disk_ends_the_store_at_the_look() {
    let disk = SimulatedDisk::new(1);
    let mut store = store(&disk);
    disk.plan(Faults { crash_at: Some(disk.usage().changes), ..Faults::default() });
    assert!(matches!(store.space(), Err(StoreError::Io { .. })));
    assert!(matches!(store.write(&write(1, 1, 1)), Err(StoreError::Ended)));
}

#[test]
fn a_real_folder_takes_the_reserve_and_gives_it_back_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("member");
    let disk = Folder::create(&path).unwrap();
    assert!(disk.free().unwrap() > 0);
    let mut store = RedbStore::create(disk.clone(), &new_cluster()).unwrap();
    store.set_reserve(Reserve { base: MIB });
    assert_eq!(store.space().unwrap(), Space::Ample);
    let reserve = std::fs::metadata(path.join("reserve")).unwrap();
    assert_eq!(reserve.len(), MIB);
    #[cfg(target_os = "linux")]
    assert!(std::os::unix::fs::MetadataExt::blocks(&reserve) * 512 >= MIB, "it takes space");
    drop(store);
    RedbStore::open(disk).unwrap();
    assert!(!path.join("reserve").exists());
}

/// A cluster of one member, on a store, with one client.
struct Member {
    disk: SimulatedDisk,
    store: RedbStore,
    replica: Replica,
    machine: Machine<AppendLog>,
    now: Now,
    answers: BTreeMap<u64, u64>,
    keep_alives: u64,
}

const CLIENT: ConnectionId = ConnectionId(1);

impl Member {
    fn new() -> Self {
        let disk = SimulatedDisk::new(1);
        let id = RaftId::new(1).unwrap();
        let mut all = configuration();
        all.voters.retain(|voter| *voter == id);
        all.members.retain(|member, _| *member == id);
        let boot = Boot::of_new_cluster(Configuration::of_voters(all.members));
        let mut store = RedbStore::create(disk.clone(), &boot).unwrap();
        store.set_reserve(RESERVE);
        let boot = store.boot().unwrap();
        let machine = Machine::new(StateMachine::new(AppendLog::new()), boot.snapshot.index);
        let config = Config {
            id,
            timing: Timing::default(),
            seed: 1,
            settings: CheckedSettings::default(),
            feature_level: 1,
            application_level: 0,
            applies: true,
            // As by default, half of the reserve's base is above what the first snapshot can be.
            limits: Limits { snapshot_after: 4 * MIB, ..Limits::default() },
            client_endpoint: None,
        };
        let now = Now { monotonic: Duration::ZERO, wall: Time::from_millis(1_700_000_000_000) };
        let entropy = Box::new(|bytes: &mut [u8]| bytes.fill(7));
        let replica = Replica::new(config, &boot, None, machine.view(), entropy, now).unwrap();
        let (answers, keep_alives) = (BTreeMap::new(), 0);
        let mut member = Self { disk, store, replica, machine, now, answers, keep_alives };
        member.replica.connected(now, CLIENT);
        let capabilities = Capabilities::new([("client".to_owned(), "test".to_owned())]).unwrap();
        let nonce = Nonce::new(1).unwrap();
        member.send(ClientMessage::CreateSession { capabilities, nonce });
        member.run(Duration::from_secs(2));
        assert!(member.replica.is_serving());
        member
    }

    fn send(&mut self, message: ClientMessage) {
        self.replica.client_message(self.now, CLIENT, message);
        self.work();
    }

    fn command(&mut self, number: u64) {
        let id = RequestId::new(number).unwrap();
        self.send(ClientMessage::ClientRequest {
            request_id: id,
            lowest_pending_request_id: id,
            payload: Payload::new(vec![number as u8; 100_000]).unwrap(),
            created_at: Timestamp::from_millis(0),
        });
    }

    fn look(&mut self) {
        let space = self.store.space().unwrap();
        self.replica.disk_space(self.now, space);
    }

    /// Does everything that the replica wants done, at once.
    fn work(&mut self) {
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Write(write) => {
                    self.store.write(&write).unwrap();
                    self.replica.persisted(self.now, write.number);
                    self.look();
                }
                Output::Job(job) => match self.machine.run(job).unwrap() {
                    Done::Applied { effects, view } => {
                        self.replica.applied(self.now, effects, view);
                    }
                    Done::Answered { key, answer } => self.replica.answered(self.now, key, answer),
                    Done::Frozen { meta, snapshot } => {
                        let mut file = self.store.write_snapshot(&meta).unwrap();
                        snapshot.write_to(&mut file).unwrap();
                        let file = file.finish().unwrap();
                        self.replica.snapshot_taken(self.now, file);
                    }
                },
                Output::Client { message, .. } => match message {
                    ServerMessage::ClientResponse { request_id, result } => {
                        let position = <[u8; 8]>::try_from(&result[..]).unwrap();
                        self.answers.insert(request_id.get(), u64::from_be_bytes(position));
                    }
                    ServerMessage::KeepAliveResponse { .. } => self.keep_alives += 1,
                    ServerMessage::SessionCreated { .. } => {}
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now.monotonic + duration;
        while self.replica.poll_timeout() <= end {
            self.now.monotonic = self.now.monotonic.max(self.replica.poll_timeout());
            self.replica.handle_timeout(self.now);
            self.work();
        }
        self.now.monotonic = end;
        self.look();
        self.work();
    }
}

#[test]
fn a_member_on_a_disk_that_fills_up_holds_commands_back_and_loses_nothing() {
    let mut member = Member::new();
    capacity(&member.disk, 80 * MIB);
    let mut sent = 0;
    while member.replica.space() == Space::Ample {
        sent += 1;
        member.command(sent);
        assert!(sent < 1000, "the disk never fills up");
    }
    assert!(sent > 100, "only {sent} commands");
    // The snapshot was taken and the log deleted in the space of the reserve.
    assert!(member.store.newest_snapshot().unwrap().is_some());
    let answered = member.answers.len() as u64;
    for number in sent + 1..=sent + 20 {
        member.command(number);
    }
    for number in 1..=20 {
        member.send(ClientMessage::KeepAlive { timestamp: Timestamp::from_millis(number) });
        member.run(Duration::from_secs(10));
    }
    assert!(member.replica.is_out_of_space());
    assert_eq!(member.answers.len() as u64, answered, "no command runs");
    assert_eq!(member.keep_alives, 20, "the session lives");

    // An operator makes the volume larger.
    capacity(&member.disk, 200 * MIB);
    member.run(Duration::from_secs(1));
    assert!(!member.replica.is_out_of_space());
    assert_eq!(member.answers.len() as u64, sent + 20);
    assert!(member.answers.iter().all(|(number, position)| number - 1 == *position));

    // All of it is durable.
    let (disk, len) = (member.disk.clone(), member.machine.state().application().len());
    drop(member);
    let mut store = RedbStore::open(disk).unwrap();
    let boot = store.boot().unwrap();
    let snapshot = store.newest_snapshot().unwrap().unwrap();
    let mut machine =
        Machine::<AppendLog>::new(StateMachine::restore(snapshot).unwrap(), boot.snapshot.index);
    // The only voter: what is durable is committed.
    let up_to = boot.entries.last().map_or(boot.snapshot.index, |entry| entry.index);
    machine.run(zraft_replica::Job::Apply { entries: boot.entries, up_to }).unwrap();
    assert_eq!(machine.state().application().len(), len);
}
