//! The bytes of one file: what is durable, what was written since, and what the system's cache shows.

use std::io;

/// A disk writes whole sectors: a torn write keeps some of its sectors.
const SECTOR: usize = 512;
/// A file takes space in whole blocks, like the files of ext4 and XFS.
const BLOCK: usize = 4096;

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
    /// A sync has failed since the cache was last dropped. `current` may hold bytes that are neither durable nor written by
    /// the next sync, because the system takes them for written.
    stale: bool,
    /// Which blocks take space. A block that was never written is a hole and takes none.
    blocks: Vec<bool>,
    /// How many do.
    taken: usize,
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
        self.take(offset, bytes.len());
        put(&mut self.current, offset, bytes);
        // The system writes whole blocks, with what the cache holds around the change.
        let range = match self.stale {
            true => {
                let all = blocks(offset, bytes.len());
                all.start * BLOCK..(all.end * BLOCK).min(self.current.len())
            }
            false => offset..offset + bytes.len(),
        };
        let bytes = self.current[range.clone()].to_vec();
        self.unsynced.push(Change::Write { offset: range.start, bytes });
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        self.current.resize(len, 0);
        self.unsynced.push(Change::SetLen(len));
        let kept = len.div_ceil(BLOCK).min(self.blocks.len());
        let freed = self.blocks.drain(kept..).filter(|taken| *taken).count();
        self.taken -= freed;
    }

    /// Sets the length, and takes space for all of it.
    pub(crate) fn allocate(&mut self, len: usize) {
        self.set_len(len);
        self.take(0, len);
    }

    /// Returns the bytes of space that the file takes.
    pub(crate) fn space(&self) -> u64 {
        (self.taken * BLOCK) as u64
    }

    /// Returns the bytes of space that this range would take besides.
    pub(crate) fn more_space(&self, offset: usize, len: usize) -> u64 {
        let wanted = blocks(offset, len);
        let has = self.blocks.iter().take(wanted.end).skip(wanted.start).filter(|taken| **taken);
        ((wanted.len() - has.count()) * BLOCK) as u64
    }

    fn take(&mut self, offset: usize, len: usize) {
        let range = blocks(offset, len);
        if self.blocks.len() < range.end {
            self.blocks.resize(range.end, false);
        }
        for taken in &mut self.blocks[range] {
            self.taken += usize::from(!std::mem::replace(taken, true));
        }
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// Drops a random part of the unsynced changes permanently, although reads still see all of them and no later sync writes
    /// them.
    pub(crate) fn fail_sync(&mut self, rng: &mut fastrand::Rng) {
        self.stale = true;
        for change in std::mem::take(&mut self.unsynced) {
            keep_some(&mut self.durable, change, rng);
        }
    }

    /// What is left after a crash.
    pub(crate) fn crash(&mut self, rng: &mut fastrand::Rng) {
        // Lengths change in order, since the file system journals them; writes survive each by itself.
        self.fail_sync(rng);
        self.current.clone_from(&self.durable);
        self.stale = false;
    }

    /// Drops what the system takes for written from its cache. Reads see what is durable, and what the next sync writes.
    pub(crate) fn drop_clean_blocks(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        self.current.clone_from(&self.durable);
        for change in &self.unsynced {
            apply(&mut self.current, change);
        }
    }

    /// Makes what a read sees durable, as in a copy of the file.
    pub(crate) fn settle(&mut self) {
        self.durable.clone_from(&self.current);
        self.unsynced.clear();
        self.stale = false;
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

/// The blocks of a range of bytes.
fn blocks(offset: usize, len: usize) -> std::ops::Range<usize> {
    match len {
        0 => 0..0,
        _ => offset / BLOCK..(offset + len).div_ceil(BLOCK),
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
