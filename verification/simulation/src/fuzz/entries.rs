//! What the log and the snapshots of the session state machine hold.

use bytes::Bytes;
use twox_hash::{XxHash3_64, XxHash3_128};
use zraft_session::{
    Application, Entry, Operation, StateMachine,
    applications::{AppendLog, Bank, KvStore},
    verify_snapshot,
};

use super::script::Script;

/// Bytes as an entry of the log, as a snapshot's file, or as the body of a snapshot whose checksums are right.
pub fn entries(input: &[u8]) {
    let mut script = Script::new(input);
    let mode = script.byte();
    let bytes = script.take(usize::MAX);
    match mode % 8 {
        0 | 1 => entry(&Bytes::copy_from_slice(bytes)),
        2 => snapshot::<KvStore>(bytes),
        3 => snapshot::<KvStore>(&sealed(bytes)),
        4 => snapshot::<AppendLog>(&sealed(bytes)),
        5 => snapshot::<Bank>(&sealed(bytes)),
        // A log: entries with their lengths before them.
        _ => log(Script::new(bytes)),
    }
}

/// The body of the snapshot of what a log leads to. For the seeds.
pub(super) fn body_of_a_snapshot(bytes: &[u8]) -> Vec<u8> {
    let written = write(&apply(Script::new(bytes)));
    // Magic and version, then the length and checksum of the only chunk.
    let length = u32::from_be_bytes(written[10..14].try_into().unwrap());
    written[22..22 + length as usize].to_vec()
}

fn entry(bytes: &Bytes) {
    let Ok(entry) = Entry::decode(bytes) else { return };
    assert_eq!(entry.encode(), bytes, "an entry has one encoding");
    assert_eq!(entry.encoded_len(), bytes.len());
    for end in (0..bytes.len()).filter(|at| *at < 64 || *at + 32 >= bytes.len()) {
        assert!(Entry::decode(&bytes.slice(..end)).is_err(), "the first {end} bytes decode");
    }
}

fn snapshot<A: Application>(bytes: &[u8]) {
    let verified = verify_snapshot(bytes);
    let Ok(mut machine) = StateMachine::<A>::restore(bytes) else { return };
    assert!(verified.is_ok(), "a snapshot that is restored is verified");
    let written = write(&machine);
    let restored = StateMachine::<A>::restore(&written[..]).unwrap();
    assert_eq!(write(&restored), written, "a state has one snapshot");
    assert_eq!(restored.history_hash(), machine.history_hash());
    // The state goes on.
    let next = Entry { time: machine.time(), operation: Operation::Tick };
    let mut effects = Vec::new();
    if let Some(index) = machine.applied().checked_add(1) {
        machine.apply(index, &next, &mut effects).unwrap();
    }
}

fn write<A: Application>(machine: &StateMachine<A>) -> Vec<u8> {
    let mut bytes = Vec::new();
    machine.snapshot().write_to(&mut bytes).unwrap();
    bytes
}

/// Reads a log: entries with their lengths before them. What is not an entry is left out.
fn read(mut script: Script<'_>) -> Vec<(u64, Entry)> {
    let mut log = Vec::new();
    for index in 1..=64 {
        if script.is_over() {
            break;
        }
        let length = usize::from(script.byte());
        let bytes = Bytes::copy_from_slice(script.take(length));
        log.extend(Entry::decode(&bytes).ok().map(|entry| (index, entry)));
    }
    log
}

fn apply(script: Script<'_>) -> StateMachine<KvStore> {
    let mut machine = StateMachine::new(KvStore::default());
    for (index, entry) in read(script) {
        // An application level that it does not know is refused, and nothing changes.
        let _ = machine.apply(index, &entry, &mut Vec::new());
    }
    machine
}

/// Applies a log to two copies, one of which is frozen and restored after each entry.
fn log(script: Script<'_>) {
    let mut one = StateMachine::new(KvStore::default());
    let mut other = StateMachine::new(KvStore::default());
    for (index, entry) in read(script) {
        let (mut effects, mut others) = (Vec::new(), Vec::new());
        let applied = one.apply(index, &entry, &mut effects);
        assert_eq!(applied, other.apply(index, &entry, &mut others));
        assert_eq!(effects, others, "a restored state acts like the one that it was taken from");
        other = StateMachine::restore(&write(&other)[..]).unwrap();
        assert_eq!(one.history_hash(), other.history_hash());
    }
    assert_eq!(one.state_hash().unwrap(), other.state_hash().unwrap());
}

/// A snapshot with this body, of one chunk. Its checksums are right, as in a file that another version has written.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"ZRAFTSNP\0\x01".to_vec();
    if !body.is_empty() {
        bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&XxHash3_64::oneshot_with_seed(0, body).to_be_bytes());
        bytes.extend_from_slice(body);
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(body.len() as u64).to_be_bytes());
    bytes.extend_from_slice(&XxHash3_128::oneshot(body).to_be_bytes());
    bytes
}
