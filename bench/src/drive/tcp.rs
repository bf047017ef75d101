//! The TCP reference: sends and counts as many bytes as the frames of the other contenders have.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Instant,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    net::TcpStream,
};

use zraft_bench::load::Sample;

use super::Arguments;
use crate::servers::READ;

/// The most bytes that one write offers.
const WRITE: u64 = 256 << 10;

pub(crate) async fn drive(arguments: &Arguments) -> io::Result<Sample> {
    let mut load = arguments.load();
    let stream = TcpStream::connect(arguments.address()).await?;
    stream.set_nodelay(true)?;
    // A ZMTP header has two bytes for a short frame and nine for a long one.
    let message = arguments.message();
    let frame = (message + if message < 256 { 2 } else { 9 }) as u64;
    let mut raw = Raw {
        stream,
        bytes: vec![7; WRITE as usize],
        to_write: 0,
        received: 0,
        buffer: BytesMut::with_capacity(READ),
    };
    load.start();
    loop {
        let now = Instant::now();
        if load.is_over(now) {
            break;
        }
        raw.to_write += load.due(now) * frame;
        if load.is_closed() {
            poll_fn(|context| raw.carry(context)).await?;
        } else {
            tokio::task::yield_now().await;
            let done = poll_fn(|context| Poll::Ready(raw.carry(context))).await;
            if let Poll::Ready(Err(error)) = done {
                return Err(error);
            }
        }
        let count = raw.received / frame;
        raw.received %= frame;
        load.answered(Instant::now(), count);
    }
    Ok(load.sample())
}

struct Raw {
    stream: TcpStream,
    bytes: Vec<u8>,
    to_write: u64,
    received: u64,
    buffer: BytesMut,
}

impl Raw {
    /// Writes and reads without blocking. Ready once it has read anything.
    fn carry(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.to_write > 0 {
            let piece = &self.bytes[..self.to_write.min(WRITE) as usize];
            match Pin::new(&mut self.stream).poll_write(context, piece) {
                Poll::Ready(written) => self.to_write -= written? as u64,
                Poll::Pending => break,
            }
        }
        self.buffer.clear();
        let Poll::Ready(read) = pin!(self.stream.read_buf(&mut self.buffer)).poll(context) else {
            return Poll::Pending;
        };
        let read = read?;
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.received += read as u64;
        Poll::Ready(Ok(()))
    }
}
