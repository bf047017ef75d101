//! The task that gives the engine the time it asks for.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::shared::Shared;

pub(crate) async fn run(shared: Arc<Shared>, _alive: mpsc::Sender<()>) {
    let timer = tokio::time::sleep_until(tokio::time::Instant::now());
    tokio::pin!(timer);
    loop {
        let next = {
            let mut inner = shared.look();
            if inner.stopping {
                return;
            }
            inner.timer_at = inner.engine.poll_timeout();
            inner.timer_at
        };
        if let Some(next) = next {
            timer.as_mut().reset(shared.deadline(next));
        }
        tokio::select! {
            biased;
            () = shared.timer.notified() => {}
            () = timer.as_mut(), if next.is_some() => {
                shared.act(|inner, now| inner.engine.handle_timeout(now));
            }
        }
    }
}
