//! The task that accepts a member's connections.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;

use super::connection::ConnectionTask;
use super::shared::Shared;
use super::stream::Stream;
use crate::engine::MemberIndex;

/// The pause after the system refused to accept, such as for want of file descriptors: short beside a client's
/// timeouts, long enough not to occupy a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts connections until the cluster stops. `alive` is dropped when the task ends.
pub(crate) async fn accept(shared: Arc<Shared>, member: MemberIndex, alive: mpsc::Sender<()>) {
    let Some(wake) = shared.lock().ports.get(member.get()).map(|port| port.wake.clone()) else {
        return;
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = wake.notified() => None,
            accepted = next(&shared, member) => Some(accepted),
        };
        if shared.lock().stopping {
            return;
        }
        match accepted {
            None => {}
            Some(Ok(stream)) => {
                // Dropping a connection that is not admitted closes it.
                if let Some((number, wake)) = shared.admit(member, stream.peer_address()) {
                    let task = ConnectionTask::new(shared.clone(), number, wake, stream);
                    tokio::spawn(task.run(alive.clone()));
                }
            }
            Some(Err(_)) => {
                shared.lock().stats.accept_errors += 1;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits for the next connection. The listener stays behind the lock, so that the port is closed when the switch that
/// closes it returns.
async fn next(shared: &Shared, member: MemberIndex) -> io::Result<Stream> {
    poll_fn(|cx| {
        let state = shared.lock();
        state.ports.get(member.get()).map_or(Poll::Pending, |port| port.poll_accept(cx))
    })
    .await
}
