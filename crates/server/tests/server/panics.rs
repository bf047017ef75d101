use zraft_protocol::ServerMessage;
use zraft_server::{Ended, LocalCluster, Role};
use zraft_session::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    SnapshotInput,
};

use crate::support::{RawClient, command, within};

/// Panics at a command that says so.
pub(crate) struct Fragile;

impl Application for Fragile {
    fn apply(&mut self, _: &mut Context<'_>, command: Command<'_>) -> Result<Payload, Rejected> {
        assert_ne!(&command.payload()[..], b"panic", "the command says so");
        Ok(command.payload().clone())
    }

    fn query(&self, _: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        Ok(query.clone())
    }

    fn snapshot(&self) -> AppSnapshot {
        AppSnapshot::new(|_| Ok(()))
    }

    fn restore(_: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Ok(Self)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_second_panic_at_an_entry_the_member_starts_without_its_application() {
    let mut cluster = LocalCluster::start(1, || Fragile).await.expect("starts");
    within(cluster.leader()).await.expect("a leader");
    let mut raw = RawClient::connect(cluster.member(1).expect("it runs").client_address()).await;
    raw.session().await;
    raw.send(&command(1, "harmless")).await;
    assert!(matches!(raw.next().await, Some(ServerMessage::ClientResponse { .. })));
    raw.send(&command(2, "panic")).await;
    let mut entries = Vec::new();
    for _ in 0..2 {
        let ended = within(cluster.member(1).expect("it was started").ended()).await;
        let Ended::Application { index, panic } = &*ended else { panic!("{ended}") };
        assert!(panic.contains("the command says so"), "{panic}");
        entries.push(*index);
        within(cluster.kill(1)).await.expect("it was started");
        within(cluster.reopen(1)).await.expect("its files are sound");
    }
    assert!(entries[0].is_some() && entries[0] == entries[1], "{entries:?}");
    let status = cluster.member(1).expect("it runs").status();
    assert!(!status.applies);
    assert_eq!((status.role, status.ended), (Role::Follower, None));
    let report = within(cluster.member(1).expect("it runs").report()).await.expect("it runs");
    let panic = report.stopped_by.expect("it has panicked twice");
    assert_eq!((Some(panic.index), panic.count), (entries[0], 2));
    assert!(panic.trace.contains("the command says so"), "{}", panic.trace);
    assert!(panic.trace.contains("panics::Fragile"), "the frame that panicked: {}", panic.trace);
    cluster.stop().await;
}
