//! Directories that earlier versions wrote still open, with everything in them.
//!
//! A new format gets another folder beside `v1`; `ZRAFT_WRITE_GOLDEN=v2 cargo test -p zraft-store golden` fills it.

use std::{fs, io::Read, path::PathBuf};

use zraft_protocol::MemberId;
use zraft_replica::{RaftId, Write};
use zraft_store::{ClusterId, Folder, Identity, Incarnation, RedbStore, Store};

use crate::support::{Model, Step, append, configuration, entry, meta, new_cluster, run, write};

fn folder(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

fn identity() -> Identity {
    Identity {
        cluster: ClusterId::new(*b"a golden cluster"),
        member: MemberId::new("node-1").unwrap(),
        raft_id: RaftId::new(1).unwrap(),
        incarnation: Incarnation::new(*b"a golden life..."),
    }
}

/// One of everything that the format can hold.
fn script() -> Vec<Step> {
    let change = zraft_replica::LogEntry {
        kind: zraft_replica::EntryKind::Change,
        ..entry(6, 3, "a change")
    };
    vec![
        append(1, 1, 3, vec![entry(2, 1, "a"), entry(3, 1, ""), entry(4, 1, "cut off")]).into(),
        append(2, 3, 5, vec![entry(4, 3, "b"), entry(5, 3, vec![7; 70_000]), change]).into(),
        Step {
            snapshot: Some((meta(4, 3), b"a golden state".to_vec())),
            write: Write {
                record: Some(meta(4, 3)),
                first_index: Some(3),
                configuration: Some(configuration()),
                ..write(3, 3, 6)
            },
        },
    ]
}

#[test]
fn directories_of_every_format_open_with_everything_in_them() {
    if let Ok(version) = std::env::var("ZRAFT_WRITE_GOLDEN") {
        let disk = Folder::create(folder(&version)).unwrap();
        identity().create(&disk).unwrap();
        let mut store = RedbStore::create(disk, &new_cluster()).unwrap();
        assert_eq!(run(&mut store, &script()).0, script().len());
    }
    let mut model = Model::new(&new_cluster());
    for step in script() {
        model.write(&step.write);
    }
    for version in ["v1"] {
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(folder(version)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let disk = Folder::open(copy.path()).unwrap();
        assert_eq!(Identity::read(&disk).unwrap(), identity(), "{version}");
        let mut store = RedbStore::open(disk).unwrap();
        assert_eq!(store.boot().unwrap(), model.boot(), "{version}");
        assert_eq!(store.entries(4, 7, usize::MAX).unwrap().len(), 3, "{version}");
        assert_eq!(store.configuration().unwrap(), configuration(), "{version}");
        let mut source = store.newest_snapshot().unwrap().unwrap();
        let mut body = String::new();
        source.read_to_string(&mut body).unwrap();
        source.verify().unwrap();
        assert_eq!(body, "a golden state", "{version}");
    }
}
