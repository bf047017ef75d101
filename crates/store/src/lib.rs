//! What a member of a replicated server keeps on disk: its log, its snapshots and its identity.
//!
//! A data directory belongs to one member and holds these files:
//!
//! | file | holds |
//! | --- | --- |
//! | `lock` | nothing; a process locks it, so that two never use the directory at once |
//! | `identity` | the cluster, the member and the incarnation of the directory |
//! | `log.redb` | entries, vote, commit index, configuration, and which snapshots count |
//! | `snapshot-T-I` | the state as of the entry with term T and index I |
//! | `reserve` | space for compaction on a disk that fills up; a start gives it back and takes it again |
//! | `crash` | at which entry the application panicked, and how often |
//! | `*.partial` | a file that is still being written; a start deletes it |
//!
//! [`RedbStore`] does each [`Write`](zraft_replica::Write) of a replica in one transaction with one fsync. When
//! [`Store::write`] has returned, no crash undoes it. Any error of a write ends the store: the process must end, and the
//! next start finds the state as of some write, never a part of one.
//!
//! # Example
//! ```
//! use zraft_replica::Boot;
//! use zraft_store::{Folder, RedbStore, Store};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("member");
//! # let configuration = zraft_replica::Configuration::default();
//! let disk = Folder::create(path)?;
//! let mut store = RedbStore::create(disk, &Boot::of_new_cluster(configuration))?;
//! let boot = store.boot()?;
//! assert_eq!(boot.hard_state.term, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backend;
mod crash;
mod disk;
mod error;
mod identity;
mod log;
mod record;
mod reserve;
mod snapshots;
mod store;

pub use crash::CrashRecord;
pub use disk::{Disk, DiskFile, DiskLock, Folder};
pub use error::StoreError;
pub use identity::Identity;
pub use reserve::Reserve;
pub use snapshots::{SnapshotReceiver, SnapshotSource, SnapshotWriter};
pub use store::{RedbStore, Store};
pub use zraft_replica::{ClusterId, Incarnation};
