//! The task that accepts a member's connections.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;

use super::connection::Task;
use super::shared::Shared;
use super::stream::Stream;
use crate::engine::MemberIndex;

/// How long to wait after the system would not accept, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

pub(crate) async fn accept(shared: Arc<Shared>, member: MemberIndex, alive: mpsc::Sender<()>) {
    let Some(wake) = shared.look().ports.get(member.get()).map(|port| port.wake.clone()) else {
        return;
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = wake.notified() => None,
            accepted = next(&shared, member) => Some(accepted),
        };
        if shared.look().stopping {
            return;
        }
        match accepted {
            None => {}
            Some(Ok(stream)) => {
                // A connection that is not admitted is closed by being dropped.
                if let Some((number, wake)) = shared.admit(member, stream.peer_address()) {
                    let task = Task::new(shared.clone(), number, wake, stream);
                    tokio::spawn(task.run(alive.clone()));
                }
            }
            Some(Err(_)) => {
                shared.look().stats.accept_errors += 1;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The next connection. The listener stays behind the lock, so that closing it is done when the
/// switch returns.
async fn next(shared: &Shared, member: MemberIndex) -> io::Result<Stream> {
    poll_fn(|cx| {
        let inner = shared.look();
        match inner.ports.get(member.get()) {
            Some(port) if !port.held => match &port.listener {
                Some(listener) => listener.poll_accept(cx),
                None => Poll::Pending,
            },
            _ => Poll::Pending,
        }
    })
    .await
}
