//! The bytes of one file: what is durable, and what was written since.

use std::io;

/// A disk writes whole sectors: a torn write keeps some of its sectors.
const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// One file's bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    /// What a read sees.
    current: Vec<u8>,
    /// What no crash can take away.
    durable: Vec<u8>,
    /// The changes from `durable` to `current`, in order.
    unsynced: Vec<Change>,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.current.len()
    }

    pub(crate) fn read(&self, offset: usize, out: &mut [u8]) -> io::Result<()> {
        let bytes = offset.checked_add(out.len()).and_then(|end| self.current.get(offset..end));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.current, offset, bytes);
        self.unsynced.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        self.current.resize(len, 0);
        self.unsynced.push(Change::SetLen(len));
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// Drops a random part of the unsynced changes permanently, although reads still see all of them.
    pub(crate) fn fail_sync(&mut self, rng: &mut fastrand::Rng) {
        for change in std::mem::take(&mut self.unsynced) {
            keep_some(&mut self.durable, change, rng);
        }
    }

    /// What is left after a crash.
    pub(crate) fn crash(&mut self, rng: &mut fastrand::Rng) {
        // Lengths change in order, since the file system journals them; writes survive each by itself.
        self.fail_sync(rng);
        self.current.clone_from(&self.durable);
    }

    /// Turns a bit over: a medium that rots.
    pub(crate) fn flip(&mut self, offset: usize, bit: u8) {
        for bytes in [&mut self.current, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }
}

fn put(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

fn apply(to: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => put(to, *offset, bytes),
        Change::SetLen(len) => to.resize(*len, 0),
    }
}

fn keep_some(to: &mut Vec<u8>, change: Change, rng: &mut fastrand::Rng) {
    let Change::Write { offset, bytes } = change else {
        // A length that was not synced may be lost. A later write beyond the end makes the file longer again.
        if rng.bool() {
            apply(to, &change);
        }
        return;
    };
    match rng.u8(0..3) {
        0 => {}
        1 => put(to, offset, &bytes),
        _ => {
            let mut at = 0;
            while at < bytes.len() {
                let end = ((offset + at) / SECTOR + 1) * SECTOR - offset;
                let end = end.min(bytes.len());
                if rng.bool() {
                    put(to, offset + at, &bytes[at..end]);
                }
                at = end;
            }
        }
    }
}
