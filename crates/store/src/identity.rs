//! Whose data a directory holds.
//!
//! The file is text, so that a person can read it, and ends in a checksum:
//!
//! ```text
//! zraft member 1
//! cluster 00112233445566778899aabbccddeeff
//! member node-1
//! raft-id 1
//! incarnation ffeeddccbbaa99887766554433221100
//! check 0123456789abcdef
//! ```

use twox_hash::XxHash3_64;
use zraft_protocol::MemberId;
use zraft_replica::{ClusterId, Incarnation, RaftId};

use crate::{Disk, StoreError};

const FILE: &str = "identity";
const PARTIAL: &str = "identity.partial";
const VERSION: u32 = 1;
/// Longer than any identity; a longer file is none.
const MAX_LEN: u64 = 4096;

/// Whose data a directory holds. It never changes while the directory exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster that the member belongs to.
    pub cluster: ClusterId,
    /// The member's name, as clients know it.
    pub member: MemberId,
    /// The member's number in the Raft group.
    pub raft_id: RaftId,
    /// The life of this directory.
    pub incarnation: Incarnation,
}

impl Identity {
    /// Writes the identity of a new member. The file is complete and durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the directory has an identity already; an error of the file system.
    pub fn create(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        let error = || StoreError::io(FILE);
        if disk.list().map_err(error())?.iter().any(|name| name == FILE) {
            return Err(StoreError::Exists { folder: disk.name() });
        }
        let file = disk.create(PARTIAL).map_err(error())?;
        file.write_at(0, self.to_text().as_bytes()).map_err(error())?;
        file.sync().map_err(error())?;
        disk.rename(PARTIAL, FILE).map_err(error())?;
        disk.sync().map_err(error())
    }

    /// Reads the identity of a directory.
    ///
    /// # Errors
    /// [`StoreError::Empty`] if it has none, [`StoreError::Damaged`] or [`StoreError::Version`] if the file cannot be
    /// used, or an error of the file system.
    pub fn read(disk: &dyn Disk) -> Result<Self, StoreError> {
        let file = match disk.open(FILE) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::Empty { folder: disk.name() });
            }
            other => other.map_err(StoreError::io(FILE))?,
        };
        let len = file.len().map_err(StoreError::io(FILE))?;
        if len > MAX_LEN {
            return Err(StoreError::damaged(FILE, format!("{len} bytes")));
        }
        let mut bytes = vec![0; len as usize];
        file.read_at(0, &mut bytes).map_err(StoreError::io(FILE))?;
        Self::from_text(&bytes)
    }

    fn to_text(&self) -> String {
        let Self { cluster, member, raft_id, incarnation } = self;
        let text = format!(
            "zraft member {VERSION}\ncluster {cluster}\nmember {member}\nraft-id {raft_id}\nincarnation {incarnation}\n"
        );
        format!("{text}check {:016x}\n", XxHash3_64::oneshot(text.as_bytes()))
    }

    fn from_text(bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |what: &str| StoreError::damaged(FILE, what);
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let version = text.strip_prefix("zraft member ").and_then(|rest| rest.lines().next());
        let version = version.ok_or_else(|| damaged("its first line is unknown"))?;
        if version != VERSION.to_string() {
            let found = version.parse().map_err(|_| damaged("its version is not a number"))?;
            return Err(StoreError::Version { file: FILE.to_owned(), found, known: VERSION });
        }
        let at = text.rfind("check ").ok_or_else(|| damaged("its checksum is missing"))?;
        let (body, check) = text.split_at(at);
        if check != format!("check {:016x}\n", XxHash3_64::oneshot(body.as_bytes())) {
            return Err(damaged("its checksum is wrong"));
        }
        let field = |name: &str| {
            let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.ok_or_else(|| damaged("a line is missing"))
        };
        let invalid = || damaged("a value is invalid");
        Ok(Self {
            cluster: hex(field("cluster")?).map(ClusterId::new).ok_or_else(invalid)?,
            member: MemberId::new(field("member")?).map_err(|_| invalid())?,
            raft_id: field("raft-id")?.parse().ok().and_then(RaftId::new).ok_or_else(invalid)?,
            incarnation: hex(field("incarnation")?).map(Incarnation::new).ok_or_else(invalid)?,
        })
    }
}

fn hex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
