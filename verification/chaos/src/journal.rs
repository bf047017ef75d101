//! The writes of a member that it has not synced, as `layer/layer.c` notes them, and what a loss of power leaves of them.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use fastrand::Rng;

/// The numbers at the beginning of a record.
const HEAD: usize = 5 * 8;
/// A disk writes a sector whole or not at all.
const SECTOR: usize = 512;

/// A change of the file that was not synced: a write, or another length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    offset: u64,
    old: Vec<u8>,
    new: Vec<u8>,
    length_before: u64,
    length_after: u64,
}

/// What becomes of a change when the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The disk has it.
    Kept,
    /// The disk does not have it.
    Lost,
    /// The disk has this many of its sectors.
    Torn(usize),
}

impl Fate {
    /// Draws a fate. Writes that were not synced may be lost in any order.
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.u8(0..4) {
            0 => Self::Kept,
            1 => Self::Torn(rng.usize(0..16)),
            _ => Self::Lost,
        }
    }
}

/// Reads a journal. A record that the end of the process has cut off is of a change that did not happen.
#[must_use]
pub fn read(mut journal: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    while let Some((head, rest)) = journal.split_at_checked(HEAD) {
        let mut numbers = head.chunks_exact(8).map(|bytes| {
            let bytes: [u8; 8] = bytes.try_into().unwrap_or_default();
            u64::from_ne_bytes(bytes)
        });
        let mut number = || numbers.next().unwrap_or_default();
        let (offset, old, new) = (number(), number() as usize, number() as usize);
        let (length_before, length_after) = (number(), number());
        let Some((old, rest)) = rest.split_at_checked(old) else { break };
        let Some((new, rest)) = rest.split_at_checked(new) else { break };
        journal = rest;
        let (old, new) = (old.to_vec(), new.to_vec());
        changes.push(Change { offset, old, new, length_before, length_after });
    }
    changes
}

/// Gives the file the content that it has after a loss of power.
///
/// # Errors
/// [`io::Error`] if the file cannot be changed.
pub fn lose(file: &mut File, changes: &[Change], mut fate: impl FnMut() -> Fate) -> io::Result<()> {
    for change in changes.iter().rev() {
        write(file, change.offset, &change.old)?;
        file.set_len(change.length_before)?;
    }
    for change in changes {
        let kept = match fate() {
            Fate::Lost => continue,
            Fate::Kept => change.new.len(),
            Fate::Torn(sectors) => change.new.len().min(sectors * SECTOR),
        };
        if change.new.is_empty() {
            file.set_len(change.length_after)?;
        }
        write(file, change.offset, &change.new[..kept])?;
    }
    Ok(())
}

fn write(file: &mut File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

/// Takes writes back that the journal beside the file has. Returns how many changes were not synced.
///
/// # Errors
/// [`io::Error`] if the file or the journal cannot be read or changed.
pub fn lose_power(file: &Path, journal: &Path, fate: impl FnMut() -> Fate) -> io::Result<usize> {
    let mut bytes = Vec::new();
    File::open(journal)?.read_to_end(&mut bytes)?;
    let changes = read(&bytes);
    let mut file = File::options().write(true).open(file)?;
    lose(&mut file, &changes, fate)?;
    Ok(changes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: u64, old: &[u8], new: &[u8], before: u64, after: u64) -> Vec<u8> {
        let numbers = [offset, old.len() as u64, new.len() as u64, before, after];
        let head = numbers.iter().flat_map(|number| number.to_ne_bytes());
        head.chain(old.iter().copied()).chain(new.iter().copied()).collect()
    }

    /// A file that held `abcdef`, and then: `X` at 1, five more bytes, `YZ` at 5, and a length of 7.
    fn journal() -> Vec<u8> {
        [
            record(1, b"b", b"X", 6, 6),
            record(11, b"", b"", 6, 11),
            record(5, b"f\0", b"YZ", 11, 11),
            record(7, b"\0\0\0\0", b"", 11, 7),
        ]
        .concat()
    }

    fn after(fates: &[Fate]) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"aXcdeYZ").unwrap();
        let mut fates = fates.iter();
        lose(&mut file, &read(&journal()), || *fates.next().unwrap()).unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn lost_changes_leave_what_was_synced_and_kept_ones_leave_what_was_written() {
        assert_eq!(after(&[Fate::Lost; 4]), b"abcdef");
        assert_eq!(after(&[Fate::Kept; 4]), b"aXcdeYZ");
    }

    #[test]
    fn any_of_the_changes_can_be_lost() {
        assert_eq!(after(&[Fate::Lost, Fate::Kept, Fate::Kept, Fate::Lost]), b"abcdeYZ\0\0\0\0");
        assert_eq!(after(&[Fate::Kept, Fate::Lost, Fate::Lost, Fate::Lost]), b"aXcdef");
        let torn = Fate::Torn(0);
        assert_eq!(after(&[Fate::Kept, Fate::Kept, torn, Fate::Kept]), b"aXcdef\0");
    }

    #[test]
    fn record_that_was_cut_off_is_of_a_change_that_did_not_happen() {
        let whole = journal();
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).len() < 4);
        }
        assert_eq!(read(&whole).len(), 4);
    }
}
