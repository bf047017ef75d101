//! A raw TCP echo of messages of a fixed length: what the operating system and the runtime cost.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{MESSAGE, Sample, runtime, serve, thread_cpu};

/// A message and the two bytes of a ZMTP frame's header.
const FRAME: usize = MESSAGE + 2;

async fn server(mut stream: TcpStream) {
    let mut buffer = BytesMut::with_capacity(1 << 17);
    while stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        if stream.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
    }
}

pub(crate) fn round(in_flight: usize, time: Duration) -> Sample {
    let address = serve(server);
    runtime().block_on(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let messages = vec![7; in_flight * FRAME];
        stream.write_all(&messages).await.unwrap();
        let mut buffer = BytesMut::with_capacity(1 << 17);
        let mut count = 0;
        let (started, cpu) = (Instant::now(), thread_cpu());
        while started.elapsed() < time {
            stream.read_buf(&mut buffer).await.unwrap();
            let whole = buffer.len() / FRAME;
            let rest = buffer.split_off(whole * FRAME);
            // As many again go out as came back.
            stream.write_all(&buffer).await.unwrap();
            buffer.clear();
            buffer.unsplit(rest);
            if buffer.capacity() < FRAME {
                buffer.reserve(1 << 17);
            }
            count += whole as u64;
        }
        Sample::new(count, started.elapsed(), thread_cpu() - cpu)
    })
}
