//! The servers of the references, which send back what they receive.

use std::io;

use bytes::BytesMut;
use clap::ValueEnum;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zraft_zmtp::{Config, Connection, Event};

use super::{NOW, READ, read, serve, write};

/// Runs an echo server until its standard input ends
///
/// Prints one line of JSON with its endpoint.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What the server sends back.
    #[arg(long, value_enum)]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Messages, through a ZMTP SERVER of this project.
    Zmtp,
    /// Bytes, through a TCP stream.
    Tcp,
}

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    match arguments.kind {
        Kind::Zmtp => serve(zmtp),
        Kind::Tcp => serve(tcp),
    }
}

async fn zmtp(mut stream: TcpStream) -> io::Result<()> {
    let mut connection = Connection::new(Config::server(), NOW);
    loop {
        while let Some(event) = connection.poll_event(NOW) {
            match event {
                // A message arrives only after the handshake, so sending cannot fail.
                Event::Message(message) => drop(connection.send_shared(message)),
                Event::Failed(error) => return Err(io::Error::other(error)),
                _ => {}
            }
        }
        write(&mut stream, &mut connection).await?;
        if !read(&mut stream, &mut connection).await? {
            return Ok(());
        }
    }
}

async fn tcp(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ);
    while stream.read_buf(&mut buffer).await? > 0 {
        stream.write_all(&buffer).await?;
        buffer.clear();
        buffer.reserve(READ);
    }
    Ok(())
}
