//! A bare ZMTP echo: CLIENT and SERVER of this project's ZMTP, and nothing above them.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream};
use zraft_zmtp::{Config, Connection, Event};

use crate::{MESSAGE, Sample, runtime, serve, thread_cpu};

/// Heartbeats play no part in a round.
const NOW: zraft_zmtp::Instant = zraft_zmtp::Instant::ZERO;

pub(crate) async fn read(stream: &mut TcpStream, connection: &mut Connection) -> bool {
    let buffer = connection.recv_buffer();
    buffer.reserve(16 << 10);
    let read = stream.read_buf(buffer).await.unwrap_or(0);
    connection.handle_received(NOW);
    read > 0
}

pub(crate) async fn write(stream: &mut TcpStream, connection: &mut Connection) -> bool {
    let tx = connection.tx();
    while tx.has_remaining() {
        if stream.write_buf(tx).await.is_err() {
            return false;
        }
    }
    true
}

async fn server(mut stream: TcpStream) {
    let mut connection = Connection::new(Config::server(), NOW);
    loop {
        while let Some(event) = connection.poll_event(NOW) {
            if let Event::Message(message) = event {
                connection.send_shared(message).unwrap();
            }
        }
        if !write(&mut stream, &mut connection).await || !read(&mut stream, &mut connection).await {
            return;
        }
    }
}

pub(crate) fn round(in_flight: usize, time: Duration) -> Sample {
    let address = serve(server);
    runtime().block_on(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Connection::new(Config::client(), NOW);
        while !connection.is_ready() {
            write(&mut stream, &mut connection).await;
            read(&mut stream, &mut connection).await;
            while connection.poll_event(NOW).is_some() {}
        }
        let message = Bytes::from(vec![7; MESSAGE]);
        for _ in 0..in_flight {
            connection.send(&message).unwrap();
        }
        let mut count = 0;
        let (started, cpu) = (Instant::now(), thread_cpu());
        while started.elapsed() < time {
            write(&mut stream, &mut connection).await;
            read(&mut stream, &mut connection).await;
            while let Some(event) = connection.poll_event(NOW) {
                if let Event::Message(_) = event {
                    count += 1;
                    connection.send(&message).unwrap();
                }
            }
        }
        Sample::new(count, started.elapsed(), thread_cpu() - cpu)
    })
}
