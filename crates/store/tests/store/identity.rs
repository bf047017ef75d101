//! Whose data a directory holds.

use zraft_protocol::MemberId;
use zraft_replica::RaftId;
use zraft_simulated_disk::{Faults, SimulatedDisk};
use zraft_store::{ClusterId, Disk, Folder, Identity, Incarnation, StoreError};

fn identity() -> Identity {
    Identity {
        cluster: ClusterId::new(*b"a cluster's id.."),
        member: MemberId::new("node-1").unwrap(),
        raft_id: RaftId::new(7).unwrap(),
        incarnation: Incarnation::new(*b"an incarnation.."),
    }
}

#[test]
fn an_identity_is_written_once_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::open(folder.path()).unwrap();
    assert!(matches!(Identity::read(&disk), Err(StoreError::Empty { .. })));
    identity().create(&disk).unwrap();
    assert_eq!(Identity::read(&disk).unwrap(), identity());
    assert!(matches!(identity().create(&disk), Err(StoreError::Exists { .. })));
}

#[test]
fn the_identity_file_has_the_documented_text() {
    let disk = SimulatedDisk::new(1);
    identity().create(&disk).unwrap();
    let text = String::from_utf8(disk.bytes("identity").unwrap()).unwrap();
    assert_eq!(
        text,
        "zraft member 1\ncluster 6120636c757374657227732069642e2e\nmember node-1\nraft-id 7\n\
         incarnation 616e20696e6361726e6174696f6e2e2e\ncheck 770824815d43bf97\n"
    );
}

#[test]
fn a_crash_leaves_the_whole_identity_or_none() {
    for at in 0..6 {
        for seed in 0..20 {
            let disk = SimulatedDisk::new(seed);
            disk.plan(Faults { crash_at: Some(at), ..Faults::default() });
            let created = identity().create(&disk).is_ok();
            disk.crash();
            match Identity::read(&disk) {
                Ok(found) => assert_eq!(found, identity()),
                Err(StoreError::Empty { .. }) => assert!(!created),
                Err(error) => panic!("crash at {at}: {error}"),
            }
        }
    }
}

#[test]
fn any_changed_byte_is_noticed() {
    let disk = SimulatedDisk::new(1);
    identity().create(&disk).unwrap();
    let len = disk.bytes("identity").unwrap().len() as u64;
    for offset in 0..len {
        let copy = disk.copy(1);
        copy.flip("identity", offset, 0);
        let error = Identity::read(&copy).unwrap_err();
        let named = matches!(error, StoreError::Damaged { .. } | StoreError::Version { .. });
        assert!(named, "byte {offset}: {error}");
    }
    let file = disk.open("identity").unwrap();
    file.write_at(0, b"zraft member 9").unwrap();
    assert!(matches!(Identity::read(&disk), Err(StoreError::Version { found: 9, .. })));
}
