//! A stop ends in time, whatever the member's threads are doing.

use std::{
    io,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
};

use tokio::sync::mpsc as channel;
use zraft_server::{Ended, LocalCluster, MemberConfig};
use zraft_session::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    SnapshotInput,
};

use crate::support::{client, within};

/// Writes its snapshots only once the test lets it.
#[derive(Clone)]
struct Slow {
    begun: channel::UnboundedSender<()>,
    released: Arc<Mutex<Receiver<()>>>,
}

impl Slow {
    fn new() -> (Self, channel::UnboundedReceiver<()>, Sender<()>) {
        let (begun, begins) = channel::unbounded_channel();
        let (release, released) = mpsc::channel();
        (Self { begun, released: Arc::new(Mutex::new(released)) }, begins, release)
    }
}

impl Application for Slow {
    fn apply(&mut self, _: &mut Context<'_>, command: Command<'_>) -> Result<Payload, Rejected> {
        Ok(command.payload().clone())
    }

    fn query(&self, _: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        Ok(query.clone())
    }

    fn snapshot(&self) -> AppSnapshot {
        let slow = self.clone();
        AppSnapshot::new(move |_| {
            let _ = slow.begun.send(());
            let released = slow.released.lock().map_err(|_| io::Error::other("poisoned"))?;
            // The test drops the sender.
            let _ = released.recv();
            Ok(())
        })
    }

    fn restore(_: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Err(RestoreError::invalid("not in this test"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_snapshot_that_is_being_written() {
    let (slow, mut begins, release) = Slow::new();
    let often = |config: &mut MemberConfig| config.limits.snapshot_after = 1;
    let started = LocalCluster::start_with(1, move || slow.clone(), often).await;
    let mut cluster = started.expect("starts");
    let client = client(&cluster).await;
    within(client.submit_command("one")).await.expect("it is answered");
    within(begins.recv()).await.expect("a snapshot is being written");
    let ended = within(cluster.stop_member(1)).await.expect("it runs");
    assert!(matches!(*ended, Ended::Stopped), "{ended}");
    drop(release);
    cluster.stop().await;
}
