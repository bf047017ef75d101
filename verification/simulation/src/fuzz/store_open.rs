//! A member's directory whose files were changed: it opens with what was written, or is refused.

use std::{io, sync::OnceLock};

use bytes::Bytes;
use zraft_protocol::MemberId;
use zraft_replica::{
    Boot, Configuration, EntryKind, HardState, LogEntry, MemberInfo, RaftId, SnapshotMeta, Write,
};
use zraft_simulated_disk::SimulatedDisk;
use zraft_store::{Disk, RedbStore, Store, StoreError};

use super::script::Script;

const LOG: &str = "log.redb";
/// redb's header, with the two places that name the newest commits. Damage there can bring back the commit before.
const HEADER: usize = 4096;

/// A directory after a few writes, and what it was after each of them.
struct Written {
    disk: SimulatedDisk,
    boots: Vec<Boot>,
    snapshot: String,
}

/// Damage by a script: bytes overwritten, files cut, extended, removed or exchanged. Then the store is opened.
pub fn store_open(input: &[u8]) {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    let written = WRITTEN.get_or_init(write);
    let disk = written.disk.copy(1);
    let mut script = Script::new(input);
    let mut header = false;
    for _ in 0..8 {
        if script.is_over() {
            break;
        }
        header |= damage(&mut script, &disk, &written.snapshot).unwrap();
    }
    let mut store = match RedbStore::open(disk.clone()) {
        Ok(store) => store,
        Err(
            StoreError::Damaged { .. }
            | StoreError::Version { .. }
            | StoreError::Io { .. }
            | StoreError::Empty { .. },
        ) => return,
        Err(error) => panic!("a damaged directory is refused as {error:?}"),
    };
    let boot = store.boot().unwrap();
    let newest = written.boots.last().unwrap();
    if header {
        assert!(written.boots.contains(&boot), "a start finds some write whole: {boot:?}");
    } else {
        assert_eq!(&boot, newest, "damage loses nothing silently");
    }
    let _ = store.configuration();
    let _ = store.entries(boot.first_index, u64::MAX >> 1, 1 << 20);
    if let Ok(Some(mut source)) = store.newest_snapshot()
        && source.verify().is_ok()
    {
        let mut body = Vec::new();
        io::Read::read_to_end(&mut source, &mut body).unwrap();
        assert_eq!(body, STATE, "a snapshot that is verified is the one that was written");
    }
    // What is open goes on, or says why not.
    let last = boot.entries.last().map_or(boot.snapshot.index, |entry| entry.index);
    let next = append(1, 9, boot.hard_state.commit, vec![entry(last + 1, 9, Bytes::new())]);
    if store.write(&next).is_ok() {
        drop(store);
        let mut again = RedbStore::open(disk).unwrap();
        assert_eq!(again.boot().unwrap().hard_state, next.hard_state);
    }
}

/// Does one thing to a file. Returns true if it changed the log's header or its length.
fn damage(script: &mut Script<'_>, disk: &SimulatedDisk, snapshot: &str) -> io::Result<bool> {
    let kind = script.byte();
    let name = if kind & 1 == 0 { LOG } else { snapshot };
    let Ok(file) = disk.open(name) else { return Ok(false) };
    let length = file.len()?;
    let is_log = name == LOG;
    // Positions are scaled to the file, so that an input of few bytes reaches all of it.
    let at = u64::from(script.u16()) * length / (1 << 16) + u64::from(script.byte());
    match (kind >> 1) % 6 {
        0..=2 => {
            let count = usize::from(script.byte()) % 32;
            let bytes = script.take(count);
            if at + bytes.len() as u64 <= length {
                file.write_at(at, bytes)?;
                return Ok(is_log && (at as usize) < HEADER && !bytes.is_empty());
            }
        }
        3 => {
            file.set_len(at)?;
            return Ok(is_log);
        }
        4 => disk.flip(name, at, kind >> 5),
        _ => {
            disk.remove(name)?;
            if kind & 0x40 != 0 {
                disk.create(name)?.write_at(0, script.take(64))?;
            }
        }
    }
    Ok(is_log && (at as usize) < HEADER)
}

const STATE: &[u8] =
    b"the state of the application, some hundred bytes of it, as a snapshot has it";

fn entry(index: u64, term: u64, data: Bytes) -> LogEntry {
    LogEntry { index, term, kind: EntryKind::Normal, data: data.into() }
}

fn append(number: u64, term: u64, commit: u64, entries: Vec<LogEntry>) -> Write {
    Write {
        number,
        install: None,
        record: None,
        first_index: None,
        entries,
        hard_state: HardState { term, vote: RaftId::new(1), commit },
        configuration: None,
    }
}

fn write() -> Written {
    let info = MemberInfo {
        name: MemberId::new("node-1").unwrap(),
        address: "127.0.0.1:7101".to_owned(),
        feature_level: 1,
    };
    let configuration = Configuration::of_voters([(RaftId::new(1).unwrap(), info)]);
    let first = Boot::of_new_cluster(configuration.clone());
    let disk = SimulatedDisk::new(7);
    let meta = SnapshotMeta { index: 4, term: 2, configuration: configuration.clone() };
    let data = |byte: u8, length: usize| Bytes::from(vec![byte; length]);
    let writes = [
        append(1, 1, 1, vec![entry(2, 1, data(1, 40)), entry(3, 1, data(2, 40))]),
        append(2, 2, 3, vec![entry(4, 2, data(3, 9000)), entry(5, 2, Bytes::new())]),
        Write { record: Some(meta.clone()), ..append(3, 2, 5, Vec::new()) },
        Write { first_index: Some(3), ..append(4, 3, 5, vec![entry(6, 3, data(4, 70_000))]) },
        Write { configuration: Some(configuration), ..append(5, 4, 6, Vec::new()) },
    ];
    let mut store = RedbStore::create(disk.clone(), &first).unwrap();
    let mut boots = vec![first];
    for write in &writes {
        if write.record.is_some() {
            let mut file = store.write_snapshot(&meta).unwrap();
            io::Write::write_all(&mut file, STATE).unwrap();
            file.finish().unwrap();
        }
        store.write(write).unwrap();
        boots.push(RedbStore::open(disk.copy(1)).unwrap().boot().unwrap());
    }
    drop(store);
    let snapshot = disk.list().unwrap().into_iter().find(|name| name.starts_with("snapshot"));
    Written { disk, boots, snapshot: snapshot.unwrap() }
}
