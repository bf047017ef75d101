//! A backup: the file of the newest snapshot, sent in pieces while the member serves.
//!
//! The file ends with its own hash, so its receiver knows whether it is complete and sound.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
};

use bytes::Bytes;
use hyper::{
    StatusCode,
    body::{Body, Frame, SizeHint},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};
use zraft_store::SnapshotSource;

use super::{ANSWER_TIME, AdminPort, deadline::Deadline, routes::Problem};

/// Bytes that are read at once. One piece waits for the connection while the next one is read.
const PIECE: usize = 256 << 10;

/// The file on its way to the connection.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// Bytes that were not taken yet.
    left: u64,
    deadline: Deadline,
}

/// Opens the newest snapshot, and begins to read it.
pub(super) async fn begin(port: &AdminPort, deadline: Deadline) -> Result<Pieces, Problem> {
    let busy = |_| {
        let text = "another backup is being read from this member: try again once it is done";
        Problem::new(StatusCode::CONFLICT, "busy", text)
    };
    let turn = port.backups.clone().try_acquire_owned().map_err(busy)?;
    let failed = |code, text: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, text);
    let newest = match timeout(ANSWER_TIME, port.handle.newest_snapshot()).await {
        Ok(Some(newest)) => newest.map_err(|error| failed("disk", error.to_string()))?,
        Ok(None) => return Err(failed("stuck", "the member has ended".to_owned())),
        Err(_) => {
            let text = "the disk of the member does not answer: try another member";
            return Err(failed("disk", text.to_owned()));
        }
    };
    let Some(source) = newest else {
        let text = "the member has no snapshot: ask for one with POST /v1/snapshot";
        return Err(Problem::new(StatusCode::CONFLICT, "no_snapshot", text));
    };
    let (index, bytes) = (source.meta().index, source.file_len());
    let line = format!("an operator takes a backup of {bytes} bytes at entry {index}");
    tracing::info!(index, bytes, "{line}");
    port.handle.counters.events.add(line);
    let (sender, pieces) = mpsc::channel(1);
    // Not a thread of the runtime: a runtime waits for those when it is dropped, and a disk that hangs must not keep the
    // process.
    let read = move || read(&source, &sender, turn);
    let thread = thread::Builder::new().name("zraft backup".to_owned()).spawn(read);
    thread.map_err(|error| failed("system", format!("the system has no thread: {error}")))?;
    Ok(Pieces { pieces, left: bytes, deadline })
}

/// Reads the file until its end, or until no one takes it any more. Another backup can begin then.
fn read(
    source: &SnapshotSource,
    sender: &mpsc::Sender<io::Result<Bytes>>,
    turn: OwnedSemaphorePermit,
) {
    let mut offset = 0;
    while offset < source.file_len() {
        let piece = source.piece(offset, PIECE).map_err(io::Error::other);
        let (read, is_sound) = piece.as_ref().map_or((0, false), |piece| (piece.len(), true));
        offset += read as u64;
        if sender.blocking_send(piece).is_err() || !is_sound {
            break;
        }
    }
    drop(turn);
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = ready!(self.pieces.poll_recv(context));
        if let Some(Ok(piece)) = &piece {
            // The connection has room, so its peer reads.
            self.left = self.left.saturating_sub(piece.len() as u64);
            self.deadline.postpone();
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
