//! The folder, its faults, and what a crash leaves of it.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use zraft_store::{Disk, DiskFile, DiskLock};

use crate::content::Content;

/// Faults to come. All counts are of operations that change something: writes, changes of lengths and names, syncs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// From this operation on, counted from 0, everything fails: the process is dead.
    pub crash_at: Option<u64>,
    /// This sync, counted from 0, fails once.
    pub failing_sync: Option<u64>,
    /// This write, counted from 0, fails once.
    pub failing_write: Option<u64>,
    /// No more bytes than these fit on the disk. Files take space in blocks of 4 KiB, and holes take none.
    pub capacity: Option<u64>,
}

/// How often a disk was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Operations that change something.
    pub changes: u64,
    /// Writes to files.
    pub writes: u64,
    /// Bytes in those writes.
    pub bytes: u64,
    /// Syncs of files and of the folder.
    pub syncs: u64,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(String, u64),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug)]
struct State {
    contents: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    next: u64,
    faults: Faults,
    usage: Usage,
    locked: bool,
    /// Counts restarts: a file that was opened before a crash is dead.
    life: u64,
    rng: fastrand::Rng,
}

/// A folder in memory. Clones are the same folder.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

fn dead() -> io::Error {
    io::Error::other("the simulated process crashed")
}

impl SimulatedDisk {
    /// An empty folder. `seed` decides what crashes and failed syncs leave.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            contents: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            next: 0,
            faults: Faults::default(),
            usage: Usage::default(),
            locked: false,
            life: 0,
            rng: fastrand::Rng::with_seed(seed),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans faults, counted from the first operation of this disk on.
    pub fn plan(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Returns how often the disk was used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.state().usage
    }

    /// Returns the bytes of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// The process dies now: unsynced changes are kept, lost or torn, open files are dead, and no fault is planned any
    /// more.
    pub fn crash(&self) {
        let mut guard = self.state();
        let State { contents, names, durable_names, unsynced_names, rng, .. } = &mut *guard;
        for content in contents.values_mut() {
            content.crash(rng);
        }
        let kept = rng.usize(0..=unsynced_names.len());
        for change in unsynced_names.drain(..).take(kept) {
            rename(durable_names, change);
        }
        names.clone_from(durable_names);
        contents.retain(|id, _| names.values().any(|named| named == id));
        guard.faults = Faults::default();
        guard.locked = false;
        guard.life += 1;
    }

    /// The system needs memory and drops from its cache what it takes for written. After a failed sync, that includes what
    /// never reached the disk.
    pub fn drop_clean_blocks(&self) {
        for content in self.state().contents.values_mut() {
            content.drop_clean_blocks();
        }
    }

    /// Returns a copy of everything, as a person who copies the folder gets it.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        let state = self.state();
        let copy = Self::new(seed);
        {
            let mut to = copy.state();
            to.contents.clone_from(&state.contents);
            to.names.clone_from(&state.names);
            to.next = state.next;
            for content in to.contents.values_mut() {
                content.settle();
            }
            to.durable_names = to.names.clone();
        }
        copy
    }

    /// Turns one bit of a file over permanently. Does nothing past the file's end.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        let mut guard = self.state();
        let id = guard.names.get(name).copied();
        if let Some(content) = id.and_then(|id| guard.contents.get_mut(&id)) {
            content.flip(offset as usize, bit);
        }
    }

    /// Returns the bytes of a file, or none if there is no such file.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let content = state.contents.get(state.names.get(name)?)?;
        let mut bytes = vec![0; content.len()];
        content.read(0, &mut bytes).ok()?;
        Some(bytes)
    }
}

fn rename(names: &mut BTreeMap<String, u64>, change: NameChange) {
    match change {
        NameChange::Link(name, id) => {
            names.insert(name, id);
        }
        NameChange::Rename(from, to) => {
            if let Some(id) = names.remove(&from) {
                names.insert(to, id);
            }
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
    }
}

impl State {
    /// Counts one change, and fails if the process is dead by then.
    fn change(&mut self) -> io::Result<()> {
        let at = self.usage.changes;
        self.usage.changes += 1;
        if self.faults.crash_at.is_some_and(|crash| at >= crash) { Err(dead()) } else { Ok(()) }
    }

    fn alive(&self) -> io::Result<()> {
        let gone = self.faults.crash_at.is_some_and(|crash| self.usage.changes > crash);
        if gone { Err(dead()) } else { Ok(()) }
    }

    /// Counts one sync, and tells whether it fails.
    fn sync_fails(&mut self) -> bool {
        let at = self.usage.syncs;
        self.usage.syncs += 1;
        self.faults.failing_sync == Some(at)
    }

    /// The bytes that files take. A removed file takes none.
    fn used(&self) -> u64 {
        let named = self.names.values().filter_map(|id| self.contents.get(id));
        named.map(Content::space).sum()
    }

    fn free(&self) -> u64 {
        self.faults.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    fn room_for(&self, more: u64) -> io::Result<()> {
        match more > 0 && more > self.free() {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn name_change(&mut self, change: NameChange) {
        rename(&mut self.names, change.clone());
        self.unsynced_names.push(change);
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.alive()?;
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), id, life: state.life }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.change()?;
        let id = state.next;
        state.next += 1;
        state.contents.insert(id, Content::default());
        state.name_change(NameChange::Link(name.to_owned(), id));
        Ok(Arc::new(SimulatedFile { disk: self.clone(), id, life: state.life }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.name_change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.name_change(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        if state.sync_fails() {
            return Err(io::Error::other("the simulated disk fails this sync"));
        }
        state.durable_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state();
        state.alive()?;
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimulatedLock { disk: self.clone(), life: state.life }))
    }

    fn name(&self) -> String {
        "simulated".to_owned()
    }

    fn free(&self) -> io::Result<u64> {
        let state = self.state();
        state.alive()?;
        Ok(state.free())
    }
}

#[derive(Debug)]
struct SimulatedLock {
    disk: SimulatedDisk,
    life: u64,
}

impl DiskLock for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locked = false;
        }
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    id: u64,
    life: u64,
}

impl SimulatedFile {
    fn with<T>(
        &self,
        changes: bool,
        act: impl FnOnce(&mut State, u64) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.life != self.life {
            return Err(dead());
        }
        let alive = if changes { state.change() } else { state.alive() };
        alive?;
        act(&mut state, self.id)
    }
}

fn content(state: &mut State, id: u64) -> io::Result<&mut Content> {
    state.contents.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl DiskFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        self.with(false, |state, id| Ok(content(state, id)?.len() as u64))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(false, |state, id| content(state, id)?.read(offset as usize, out))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(true, |state, id| {
            let at = state.usage.writes;
            state.usage.writes += 1;
            state.usage.bytes += bytes.len() as u64;
            if state.faults.failing_write == Some(at) {
                return Err(io::Error::other("the simulated disk fails this write"));
            }
            let more = content(state, id)?.more_space(offset as usize, bytes.len());
            state.room_for(more)?;
            content(state, id)?.write(offset as usize, bytes);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(true, |state, id| {
            content(state, id)?.set_len(len as usize);
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(true, |state, id| {
            let more = content(state, id)?.more_space(0, len as usize);
            state.room_for(more)?;
            content(state, id)?.allocate(len as usize);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(true, |state, id| {
            let fails = state.sync_fails();
            let mut rng = state.rng.fork();
            let content = content(state, id)?;
            if fails {
                content.fail_sync(&mut rng);
                return Err(io::Error::other("the simulated disk fails this sync"));
            }
            content.sync();
            Ok(())
        })
    }

    fn reread(&self) -> io::Result<()> {
        self.sync()?;
        self.with(false, |state, id| {
            content(state, id)?.drop_clean_blocks();
            Ok(())
        })
    }
}
