use zraft_protocol::{ClientMessage, RejectionReason, ServerMessage};
use zraft_server::{LocalCluster, MemberConfig};
use zraft_session::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    Settings, SnapshotInput, applications::Echo,
};

use crate::support::{RawClient, command, nonce, patient, request, within};

/// Sends every command back to its session as a server request.
struct Notifier;

impl Application for Notifier {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        let payload = command.payload().clone();
        context.push(command.session(), payload.clone()).map_err(|_| Rejected::default())?;
        Ok(payload)
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

async fn connect<A: Application>(cluster: &LocalCluster<A>, number: u64) -> RawClient {
    RawClient::connect(cluster.member(number).expect("it runs").client_address()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_a_sign_of_life_expires() {
    let short = |config: &mut MemberConfig| {
        let settings = Settings { session_timeout_millis: 1000, ..Settings::default() };
        config.settings = settings.check().expect("in range");
        patient(config);
    };
    let cluster = LocalCluster::start_with(3, || Echo, short).await.expect("starts");
    let leader = within(cluster.leader()).await.expect("a leader");
    let mut raw = connect(&cluster, leader).await;
    let session = raw.session().await;
    drop(raw);
    for number in 1..=3 {
        within(cluster.wait(number, |status| status.sessions == 1)).await.expect("it runs");
    }
    for number in 1..=3 {
        within(cluster.wait(number, |status| status.sessions == 0)).await.expect("it runs");
    }
    let leader = within(cluster.leader()).await.expect("a leader");
    let answer = connect(&cluster, leader).await.resume(&session).await;
    let Some(ServerMessage::SessionRejected { reason, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(reason, RejectionReason::SessionExpired);
    cluster.stop().await;
}

fn is_push(message: Option<ServerMessage>) -> bool {
    matches!(message, Some(ServerMessage::ServerRequest { request_id, .. }) if request_id == request(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unacknowledged_server_request_comes_again_on_the_next_connection_and_leader() {
    let mut cluster = LocalCluster::start_with(3, || Notifier, patient).await.expect("starts");
    let leader = within(cluster.leader()).await.expect("a leader");
    let mut raw = connect(&cluster, leader).await;
    let session = raw.session().await;
    raw.send(&command(1, "news")).await;
    assert!(matches!(raw.next().await, Some(ServerMessage::ClientResponse { .. })));
    assert!(is_push(raw.next().await), "the answer goes first");
    drop(raw);

    let continued = Some(ServerMessage::SessionContinued { nonce: nonce() });
    let mut raw = connect(&cluster, leader).await;
    assert_eq!(raw.resume(&session).await, continued);
    assert!(is_push(raw.next().await), "it was not acknowledged");
    within(cluster.kill(leader)).await.expect("it runs");

    let next = within(cluster.leader()).await.expect("a leader");
    let mut raw = connect(&cluster, next).await;
    assert_eq!(raw.resume(&session).await, continued);
    assert!(is_push(raw.next().await), "the next leader has it as well");
    raw.send(&ClientMessage::ServerRequestAck { request_id: request(1) }).await;
    raw.send(&command(2, "more")).await;
    assert!(matches!(raw.next().await, Some(ServerMessage::ClientResponse { .. })));
    let second = raw.next().await;
    assert!(
        matches!(second, Some(ServerMessage::ServerRequest { request_id, .. }) if request_id == request(2)),
        "{second:?}"
    );
    cluster.stop().await;
}
