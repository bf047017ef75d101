//! The task that calls the engine when its next timeout is due.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::shared::Shared;

/// Runs the engine's timeouts until the cluster stops. `_alive` is dropped when the task ends.
pub(crate) async fn run(shared: Arc<Shared>, _alive: mpsc::Sender<()>) {
    let timer = tokio::time::sleep_until(tokio::time::Instant::now());
    tokio::pin!(timer);
    loop {
        let next = {
            let mut state = shared.lock();
            if state.stopping {
                return;
            }
            state.timer_at = state.engine.poll_timeout();
            state.timer_at
        };
        if let Some(next) = next {
            timer.as_mut().reset(shared.deadline(next));
        }
        tokio::select! {
            biased;
            () = shared.timer.notified() => {}
            () = timer.as_mut(), if next.is_some() => {
                shared.update(|state, now| state.engine.handle_timeout(now));
            }
        }
    }
}
