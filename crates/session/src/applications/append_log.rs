use bytes::{BufMut, BytesMut};
use rpds::VectorSync;

use super::{DEFAULT_LIMIT, FULL, UNDECODABLE};
use crate::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    SnapshotInput, detached,
};

/// A log to which every command appends its payload.
///
/// The answer to a command is the position that it got, counted from 0, as 8 bytes big-endian. A test that gives each
/// command a different payload proves with it that every command ran exactly once: it reads the log back.
///
/// | query | answer |
/// | --- | --- |
/// | empty | u64 length of the log |
/// | u64 position, u32 count | u64 length of the log, then from that position on up to `count` items, each with a u32 length before it |
///
/// An answer holds at most 1 MiB of items, but at least one if there is one. Any other query is rejected. A command is
/// rejected when the log would hold more bytes than its limit, each item counted with 64 bytes more than its payload.
#[derive(Clone, Debug)]
pub struct AppendLog {
    items: VectorSync<Payload>,
    bytes: u64,
    limit: u64,
}

/// About the bytes that an item takes besides its payload.
const ITEM_OVERHEAD: u64 = 64;
/// The most bytes of items in one answer, so that a query of a long log does not occupy the connection for long.
const MAX_ANSWER: usize = 1 << 20;

impl Default for AppendLog {
    fn default() -> Self {
        Self::new()
    }
}

impl AppendLog {
    /// Returns an empty log that holds at most 1 GiB.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }

    /// Returns an empty log that holds at most this many bytes. It must be the same on all members.
    #[must_use]
    pub fn with_limit(bytes: u64) -> Self {
        Self { items: VectorSync::new_sync(), bytes: 0, limit: bytes }
    }

    /// Returns the number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns true if nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the items in order.
    pub fn iter(&self) -> impl Iterator<Item = &Payload> {
        self.items.iter()
    }

    fn append(&mut self, payload: &Payload) -> Result<u64, Rejected> {
        let bytes = self.bytes + payload.len() as u64 + ITEM_OVERHEAD;
        if bytes > self.limit {
            return Err(Rejected::without_answer().because(FULL));
        }
        self.bytes = bytes;
        let position = self.items.len() as u64;
        self.items.push_back_mut(detached(payload));
        Ok(position)
    }
}

impl Application for AppendLog {
    fn apply(
        &mut self,
        _context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        let position = self.append(command.payload())?;
        payload(BytesMut::from(&position.to_be_bytes()[..]))
    }

    fn query(&self, _context: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        let mut answer = BytesMut::from(&(self.items.len() as u64).to_be_bytes()[..]);
        if query.is_empty() {
            return payload(answer);
        }
        let Some((from, count)) = query.split_first_chunk::<8>() else {
            return Err(Rejected::without_answer().because(UNDECODABLE));
        };
        let Ok(count) = <[u8; 4]>::try_from(count) else {
            return Err(Rejected::without_answer().because(UNDECODABLE));
        };
        let from = usize::try_from(u64::from_be_bytes(*from)).unwrap_or(usize::MAX);
        let until = from.saturating_add(u32::from_be_bytes(count) as usize).min(self.items.len());
        for position in from..until {
            let Some(item) = self.items.get(position) else { break };
            if position > from && answer.len() + item.len() > MAX_ANSWER {
                break;
            }
            answer.put_u32(item.len() as u32);
            answer.put_slice(item);
        }
        payload(answer)
    }

    fn snapshot(&self) -> AppSnapshot {
        let log = self.clone();
        AppSnapshot::new(move |output| {
            output.write_u64(log.limit)?;
            output.write_u64(log.items.len() as u64)?;
            log.items.iter().try_for_each(|item| output.write_bytes(item))
        })
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        let mut log = Self::with_limit(input.read_u64()?);
        for _ in 0..input.read_u64()? {
            log.append(&input.read_payload()?)
                .map_err(|_| RestoreError::invalid("the log is longer than its limit"))?;
        }
        Ok(log)
    }
}

fn payload(bytes: BytesMut) -> Result<Payload, Rejected> {
    Payload::new(bytes).map_err(|_| Rejected::without_answer().because(FULL))
}
