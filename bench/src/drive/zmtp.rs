//! The ZMTP reference: a CLIENT of this project without sessions and requests.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    net::TcpStream,
};
use zraft_zmtp::{Config, Connection, Event};

use zraft_bench::load::Sample;

use super::Arguments;
use crate::servers::{NOW, READ};

/// The most pieces that one write offers.
const SLICES: usize = 64;

pub(crate) async fn drive(arguments: &Arguments) -> io::Result<Sample> {
    let mut load = arguments.load();
    let stream = TcpStream::connect(arguments.address()).await?;
    stream.set_nodelay(true)?;
    let connection = Connection::new(Config::client(), NOW);
    let mut bare = Bare { stream, connection };
    while !bare.connection.is_ready() {
        poll_fn(|context| bare.carry(context)).await?;
        while bare.connection.poll_event(NOW).is_some() {}
    }
    let message = Bytes::from(vec![7; arguments.message()]);
    load.start();
    loop {
        let now = Instant::now();
        if load.is_over(now) {
            break;
        }
        for _ in 0..load.due(now) {
            bare.connection.send_shared(message.clone()).map_err(io::Error::other)?;
        }
        if load.is_closed() {
            poll_fn(|context| bare.carry(context)).await?;
        } else {
            tokio::task::yield_now().await;
            let done = poll_fn(|context| Poll::Ready(bare.carry(context))).await;
            if let Poll::Ready(Err(error)) = done {
                return Err(error);
            }
        }
        let mut count = 0;
        while let Some(event) = bare.connection.poll_event(NOW) {
            match event {
                Event::Message(_) => count += 1,
                Event::Failed(error) => return Err(io::Error::other(error)),
                _ => {}
            }
        }
        load.answered(Instant::now(), count);
    }
    Ok(load.sample())
}

struct Bare {
    stream: TcpStream,
    connection: Connection,
}

impl Bare {
    /// Writes and reads without blocking. Ready once it has read anything.
    fn carry(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let tx = self.connection.tx();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = tx.chunks_vectored(&mut slices);
            if count == 0 {
                break;
            }
            match Pin::new(&mut self.stream).poll_write_vectored(context, &slices[..count]) {
                Poll::Ready(written) => tx.advance(written?),
                Poll::Pending => break,
            }
        }
        let buffer = self.connection.recv_buffer();
        buffer.reserve(READ);
        let Poll::Ready(read) = pin!(self.stream.read_buf(buffer)).poll(context) else {
            return Poll::Pending;
        };
        if read? == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.connection.handle_received(NOW);
        Poll::Ready(Ok(()))
    }
}
