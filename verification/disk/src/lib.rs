//! A simulated disk: a folder in memory whose unsynced changes a crash may keep, lose, tear or reorder.
//!
//! Everything follows from a seed. [`SimulatedDisk`] implements [`Disk`](zraft_store::Disk), so the real store runs on it. A test plans
//! faults with [`Faults`], lets the store run into them, then calls [`SimulatedDisk::crash`] and opens the store again on
//! what is left.
//!
//! The model of a crash: each write since the last successful sync of its file is kept, lost, or torn at 512-byte sectors,
//! each by itself, so later writes may survive earlier ones. Changes of names survive in order, up to some point, because
//! file systems journal them. A failed sync loses a random part of the writes permanently, and the next sync succeeds all
//! the same, as Linux does. Reads see the lost writes until the machine restarts or the cache is dropped, by
//! [`SimulatedDisk::drop_clean_blocks`] or by [`reread`](zraft_store::DiskFile::reread).

mod content;
mod disk;

pub use disk::{Faults, SimulatedDisk, Usage};
