//! The directory of a member that has a large state in a snapshot.

use std::{io, path::Path, time::SystemTime};

use zraft_protocol::MemberId;
use zraft_replica::{
    Boot, Configuration, HardState, MemberInfo, RaftId, SnapshotFile, SnapshotMeta, Write,
};
use zraft_session::{
    Capabilities, Entry, Operation, Payload, RequestId, SessionId, StateMachine, Time,
    applications::KvStore,
};
use zraft_store::{Folder, RedbStore, Store};

/// Bytes of a value.
const VALUE: usize = 1 << 10;
/// The store removes keys without watchers after 5 minutes of replicated time. Replicated time that is ahead of the clock by
/// this much goes at half its speed, so the measurement has 10 minutes.
const AHEAD_MILLIS: u64 = 3_600_000;

/// Returns the wall clock.
pub(super) fn wall() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(since.as_millis() as u64)
}

/// Returns the command that sets the `number`th key. `round` makes a different value.
pub(super) fn set(number: u64, round: u64) -> io::Result<Payload> {
    let key = format!("key-{number:012}").try_into().map_err(io::Error::other)?;
    let value = format!("{round:0>VALUE$}").try_into().map_err(io::Error::other)?;
    Payload::new(zraft_kv::Command::Set { key, value }.encode()).map_err(io::Error::other)
}

pub(super) fn info(number: u64) -> io::Result<MemberInfo> {
    let name = MemberId::new(format!("node-{number}")).map_err(io::Error::other)?;
    Ok(MemberInfo { name, address: String::new(), feature_level: 1 })
}

pub(super) fn id(number: u64) -> io::Result<RaftId> {
    RaftId::new(number).ok_or_else(|| io::Error::other("0 is not the id of a member"))
}

/// Returns the number of keys of a state of this many MiB.
pub(super) fn keys(mib: u64) -> u64 {
    (mib << 20) / VALUE as u64
}

fn request(number: u64) -> io::Result<RequestId> {
    RequestId::new(number).map_err(io::Error::other)
}

/// Writes the directory of the only member of a cluster, whose snapshot has this much state.
///
/// # Errors
/// If the disk fails.
pub fn prepare(folder: &Path, mib: u64) -> io::Result<SnapshotFile> {
    let keys = keys(mib);
    // Twice what the keys and values take with their overhead.
    let limit = (mib << 20) * 4;
    let mut state = StateMachine::new(KvStore::with_limit(limit));
    let time = Time::from_millis(wall().as_millis() + AHEAD_MILLIS);
    let session = SessionId::new("prepared").map_err(io::Error::other)?;
    let mut effects = Vec::new();
    let mut apply = |operation| {
        let index = state.applied().max(Boot::FIRST_SNAPSHOT) + 1;
        effects.clear();
        let entry = Entry { time, operation };
        state.apply(index, &entry, &mut effects).map_err(io::Error::other)
    };
    let capabilities = Capabilities::none();
    apply(Operation::CreateSession { session: session.clone(), capabilities })?;
    for number in 1..=keys {
        let request_id = request(number)?;
        apply(Operation::Command {
            session: session.clone(),
            request_id,
            lowest_pending: request_id,
            payload: set(number - 1, 0)?,
        })?;
    }
    let index = state.applied();
    let configuration = Configuration::of_voters([(id(1)?, info(1)?)]);
    let meta = SnapshotMeta { index, term: 1, configuration: configuration.clone() };
    let disk = Folder::create(folder.join("leader"))?;
    let boot = Boot::of_new_cluster(configuration);
    let mut store = RedbStore::create(disk, &boot).map_err(io::Error::other)?;
    store.boot().map_err(io::Error::other)?;
    let mut writer = store.write_snapshot(&meta).map_err(io::Error::other)?;
    state.snapshot().write_to(&mut writer)?;
    let file = writer.finish().map_err(io::Error::other)?;
    let write = Write {
        number: 1,
        install: Some(meta),
        record: None,
        first_index: None,
        entries: Vec::new(),
        hard_state: HardState { term: 1, vote: None, commit: index },
        configuration: None,
    };
    store.write(&write).map_err(io::Error::other)?;
    Ok(file)
}
