//! The servers that the client and the references are measured against, each in a process of its own.

pub(crate) mod echo;
pub(crate) mod embedded;
pub(crate) mod peer;

use std::{
    future::Future,
    io::{self, Read, Write},
};

use bytes::Buf;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{TcpListener, TcpStream},
};
use zraft_zmtp::{Connection, Instant};

/// How much one read takes.
pub(crate) const READ: usize = 128 << 10;

/// Heartbeats play no part: the servers send none, and the clock stands still.
pub(crate) const NOW: Instant = Instant::ZERO;

/// Serves connections on loopback until the standard input ends. One line of JSON tells where.
fn serve<F>(one: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        tell(&format!("tcp://{}", listener.local_addr()?))?;
        let accept = async {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                // A connection that fails ends alone.
                tokio::task::spawn_local(one(stream));
            }
        };
        tokio::select! {
            failed = accept => failed,
            () = end_of_input() => Ok(()),
        }
    })
}

fn tell(endpoint: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", json!({ "endpoint": endpoint, "pid": std::process::id() }))?;
    stdout.flush()
}

/// Waits until the standard input is closed: whoever started this process is gone, or done.
async fn end_of_input() {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 256];
        while io::stdin().lock().read(&mut ignored).is_ok_and(|read| read > 0) {}
        let _ = tell.send(());
    });
    let _ = told.await;
}

/// Reads once what can be read. False: the stream has ended.
async fn read(stream: &mut TcpStream, connection: &mut Connection) -> io::Result<bool> {
    // An idle connection holds no buffer.
    stream.ready(Interest::READABLE).await?;
    let buffer = connection.recv_buffer();
    buffer.reserve(READ);
    let read = stream.read_buf(buffer).await?;
    connection.handle_received(NOW);
    Ok(read > 0)
}

/// Writes all.
async fn write(stream: &mut TcpStream, connection: &mut Connection) -> io::Result<()> {
    let tx = connection.tx();
    while tx.has_remaining() {
        stream.write_buf(tx).await?;
    }
    Ok(())
}
