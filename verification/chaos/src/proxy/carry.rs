//! The task of one proxied connection.

use std::{future::pending, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest, Ready},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Cut, Direction, Switches,
    pipe::{End, Pipe},
    reset,
};

/// How long both sides may take to close a connection that is cut in order; ample on loopback.
const FIN_TIME: Duration = Duration::from_secs(1);

/// Carries bytes in both directions until both have ended or the connection is cut.
pub(super) async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    number: u64,
    mut switches: watch::Receiver<Switches>,
) {
    // Without the option the connection works too, only slower.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let now = Instant::now();
    let (mut up, mut down) = (Pipe::new(now), Pipe::new(now));
    let (mut up_ended, mut down_ended) = (false, false);
    loop {
        let Switches { links, cut, .. } = switches.borrow_and_update().clone();
        match cut {
            Some((below, Cut::Reset)) if number < below => break,
            Some((below, Cut::Fin)) if number < below => {
                return end_in_order(&mut [client, server]).await;
            }
            _ => {}
        }
        let to_server = links[Direction::ToServer as usize];
        let to_client = links[Direction::ToClient as usize];
        let now = Instant::now();
        up.take(&client, now);
        down.take(&server, now);
        if !up_ended {
            match up.give(&server, to_server, now) {
                Ok(None) => {}
                Ok(Some(End::Fin)) => {
                    up_ended = true;
                    let _ = server.shutdown().await;
                }
                Ok(Some(End::Reset)) | Err(_) => break,
            }
        }
        if !down_ended {
            match down.give(&client, to_client, now) {
                Ok(None) => {}
                Ok(Some(End::Fin)) => {
                    down_ended = true;
                    let _ = client.shutdown().await;
                }
                Ok(Some(End::Reset)) | Err(_) => break,
            }
        }
        if up_ended && down_ended {
            return;
        }
        let due = [
            (!up_ended).then(|| up.due(to_server)).flatten(),
            (!down_ended).then(|| down.due(to_client)).flatten(),
        ];
        let due = due.into_iter().flatten().min();
        tokio::select! {
            changed = switches.changed() => {
                if changed.is_err() {
                    break;
                }
            }
            _ = ready(&client, up.wants(), down.is_blocked()) => {}
            _ = ready(&server, down.wants(), up.is_blocked()) => {}
            () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
        }
    }
    reset(client);
    reset(server);
}

async fn ready(stream: &TcpStream, read: bool, write: bool) -> io::Result<Ready> {
    let interest = match (read, write) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => pending().await,
    };
    stream.ready(interest).await
}

/// Closes all sides in order. Reads the bytes that they still send, because a socket that is closed with unread bytes
/// resets its connection.
pub(super) async fn end_in_order(sides: &mut [TcpStream]) {
    for side in &mut *sides {
        let _ = side.shutdown().await;
    }
    let read_on = async {
        let mut sink = [0; 4096];
        for side in sides {
            while side.read(&mut sink).await.is_ok_and(|read| read > 0) {}
        }
    };
    let _ = timeout(FIN_TIME, read_on).await;
}
