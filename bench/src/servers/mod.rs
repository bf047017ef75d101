//! The servers of the client and the references. Each has its own process.

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

/// The room that one read gets in bytes: no contender reads less than the client, which reads up to 128 KiB.
pub(crate) const READ: usize = 128 << 10;

/// The time of all ZMTP connections. It stands still, because the servers send no heartbeats.
pub(crate) const NOW: Instant = Instant::ZERO;

/// Serves connections on loopback until the standard input ends. Prints the endpoint as one line of JSON.
fn serve<F>(one: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(&format!("tcp://{}", listener.local_addr()?))?;
        let accept = async {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                // A connection that fails does not affect the others.
                tokio::task::spawn_local(one(stream));
            }
        };
        tokio::select! {
            failed = accept => failed,
            () = end_of_input() => Ok(()),
        }
    })
}

fn announce(endpoint: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", json!({ "endpoint": endpoint, "pid": std::process::id() }))?;
    stdout.flush()
}

/// Waits until the standard input is closed, which the process that started this one does when it ends.
async fn end_of_input() {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 256];
        while io::stdin().lock().read(&mut ignored).is_ok_and(|read| read > 0) {}
        let _ = tell.send(());
    });
    let _ = told.await;
}

/// Waits for bytes and reads them. Returns false at the end of the stream.
async fn read(stream: &mut TcpStream, connection: &mut Connection) -> io::Result<bool> {
    // Reserve the buffer only once bytes have arrived, so that an idle connection holds none.
    stream.ready(Interest::READABLE).await?;
    let buffer = connection.recv_buffer();
    buffer.reserve(READ);
    let read = stream.read_buf(buffer).await?;
    connection.handle_received(NOW);
    Ok(read > 0)
}

/// Writes all queued bytes.
async fn write(stream: &mut TcpStream, connection: &mut Connection) -> io::Result<()> {
    let tx = connection.tx();
    while tx.has_remaining() {
        stream.write_buf(tx).await?;
    }
    Ok(())
}
