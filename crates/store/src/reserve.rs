//! Space that is kept for bad times: a file that takes space and holds nothing.
//!
//! A disk fills up while a member runs, often by the files of others. A full disk ends the process, and a member that
//! cannot write cannot make room either: compaction writes a snapshot before it may delete the log. So the store takes the
//! space for a snapshot in advance. When the rest of the disk is used up, it gives that space back, and the member writes
//! little else than the snapshot until there is enough space again.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use zraft_replica::Space;

use crate::{Disk, DiskFile, StoreError};

const FILE: &str = "reserve";

/// How much space a store keeps in reserve: one and a half times the newest snapshot, because the next one may be longer,
/// and a base for the log meanwhile.
///
/// A quarter of the base must be free besides. It is what the member may write between two looks at the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    /// The base in bytes.
    pub base: u64,
}

impl Default for Reserve {
    /// 64 MiB, which is the log's growth between two snapshots by default.
    fn default() -> Self {
        Self { base: 64 << 20 }
    }
}

impl Reserve {
    fn size(self, snapshot: u64) -> u64 {
        self.base.saturating_add(snapshot).saturating_add(snapshot / 2)
    }

    fn margin(self) -> u64 {
        self.base / 4
    }
}

/// Takes the reserve and gives it back. The store has it, and so has everything that writes a snapshot: a snapshot is
/// long, so its writer looks at the disk before each block.
#[derive(Debug, Clone)]
pub(crate) struct Keeper(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// A failure here must not end the store by itself: a disk that has no room for the reserve is what it is for.
    disk: Arc<dyn Disk>,
    reserve: Reserve,
    file: Option<Arc<dyn DiskFile>>,
    held: u64,
    /// The length of the newest snapshot.
    snapshot: u64,
    space: Space,
}

impl Keeper {
    /// Gives back what an earlier process had taken.
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        match disk.remove(FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(FILE)(error));
            }
            _ => {}
        }
        let state = State {
            disk,
            reserve: Reserve::default(),
            file: None,
            held: 0,
            snapshot: 0,
            space: Space::Ample,
        };
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_reserve(&self, reserve: Reserve) {
        self.with(|state| state.reserve = reserve);
    }

    /// Takes note of the length of the newest snapshot.
    pub(crate) fn set_snapshot(&self, len: u64) {
        self.with(|state| state.snapshot = len);
    }

    /// Looks how much space the disk has, and takes the reserve or gives it back.
    pub(crate) fn look(&self) -> Result<Space, StoreError> {
        self.with(State::look)
    }

    /// Gives the reserve back if the next block of a snapshot needs it. Does nothing if it was never taken.
    pub(crate) fn before_block(&self) -> Result<(), StoreError> {
        self.with(|state| match state.held {
            0 => Ok(()),
            _ => state.look().map(drop),
        })
    }
}

impl State {
    fn look(&mut self) -> Result<Space, StoreError> {
        let (size, margin) = (self.reserve.size(self.snapshot), self.reserve.margin());
        let free = self.disk.free().map_err(StoreError::io(FILE))?;
        let available = free.saturating_add(self.held);
        // Twice the margin to return: a disk at the limit would switch to and fro with every write.
        let margins = match self.space {
            Space::Ample => 1,
            Space::Low => 2,
        };
        let enough = available >= size.saturating_add(margin.saturating_mul(margins));
        self.space = match enough && self.hold(size)? {
            true => Space::Ample,
            false => {
                self.give_back()?;
                Space::Low
            }
        };
        Ok(self.space)
    }

    /// Takes this much space. Returns false if the disk does not have it.
    fn hold(&mut self, size: u64) -> Result<bool, StoreError> {
        if self.held == size {
            return Ok(true);
        }
        let file = match &self.file {
            Some(file) => Ok(file.clone()),
            None => self.disk.create(FILE),
        };
        let taken = file.and_then(|file| {
            self.file = Some(file.clone());
            file.allocate(size)
        });
        match taken {
            Ok(()) => {
                self.held = size;
                Ok(true)
            }
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(false),
            Err(error) => Err(StoreError::io(FILE)(error)),
        }
    }

    fn give_back(&mut self) -> Result<(), StoreError> {
        self.held = 0;
        self.file.as_ref().map_or(Ok(()), |file| file.set_len(0)).map_err(StoreError::io(FILE))
    }
}
