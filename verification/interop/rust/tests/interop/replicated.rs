//! Tests the replicated server against CLIENTs that others wrote. Their sockets reconnect and do not report it, as those of ZIO Raft's
//! own clients do.

use std::time::Duration;

use zraft_interop::{Library, within};
use zraft_protocol::{ClientMessage, CloseReason, MemberId, ServerMessage, SessionCloseReason};
use zraft_server::LocalCluster;
use zraft_session::{
    Application,
    applications::{AppendLog, Echo, KvStore},
};

use crate::message_client::MessageClient;

/// Starts one member, which leads.
async fn one<A: Application>(application: fn() -> A) -> LocalCluster<A> {
    let cluster = LocalCluster::start(1, application).await.unwrap();
    within(cluster.leader()).await.unwrap();
    cluster
}

async fn connect<A: Application>(
    library: Library,
    cluster: &LocalCluster<A>,
    member: u64,
    arguments: &[&str],
) -> MessageClient {
    MessageClient::new(library, &cluster.endpoints()[&name(member)], arguments).await
}

fn name(member: u64) -> MemberId {
    MemberId::new(format!("node-{member}")).unwrap()
}

/// Kills the only member, and starts it again on its files.
async fn restart<A: Application>(cluster: &mut LocalCluster<A>) {
    within(cluster.kill(1)).await.unwrap();
    within(cluster.reopen(1)).await.unwrap();
}

/// Returns the length of the log.
async fn length(client: &mut MessageClient) -> u64 {
    u64::from_be_bytes(client.query(&[]).await[..].try_into().unwrap())
}

#[tokio::test]
async fn commands_queries_and_keep_alives_are_answered_until_the_session_is_closed() {
    for library in Library::ready() {
        let cluster = one(AppendLog::new).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        client.create().await;
        for id in 1..=3 {
            client.command(id, b"entry").await;
            assert_eq!(client.answer(id).await[..], (id - 1).to_be_bytes());
        }
        assert_eq!(length(&mut client).await, 3);
        client.keep_alive().await;
        client.send(&ClientMessage::CloseSession { reason: CloseReason::ClientShutdown }).await;
        within(cluster.wait(1, |status| status.sessions == 0)).await.unwrap();
        cluster.stop().await;
    }
}

#[tokio::test]
async fn command_that_is_resent_after_a_kill_runs_once_and_gets_the_same_answer() {
    for library in Library::ready() {
        let mut cluster = one(AppendLog::new).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        let session_id = client.create().await;
        client.command(1, b"once").await;
        let answer = client.answer(1).await;
        restart(&mut cluster).await;
        client.resume(&session_id).await;
        client.command(1, b"once").await;
        assert_eq!(client.answer(1).await, answer, "the answer of the first copy");
        assert_eq!(length(&mut client).await, 1);
        cluster.stop().await;
    }
}

#[tokio::test]
async fn command_after_an_unseen_reconnect_is_answered_with_session_closed() {
    for library in Library::ready() {
        let mut cluster = one(AppendLog::new).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        client.create().await;
        restart(&mut cluster).await;
        within(cluster.leader()).await.unwrap();
        // The socket has a new connection, and the client knows nothing of it. A message can be lost with the old one.
        let answer = within(async {
            loop {
                client.command(1, b"unbound").await;
                let patience = Duration::from_secs(1);
                if let Ok(answer) = tokio::time::timeout(patience, client.receive()).await {
                    return answer;
                }
            }
        });
        let closed = ServerMessage::SessionClosed {
            reason: SessionCloseReason::NotLeaderAnymore,
            leader_id: Some(name(1)),
        };
        assert_eq!(answer.await, closed);
        cluster.stop().await;
    }
}

#[tokio::test]
async fn follower_rejects_a_session_and_names_the_leader() {
    for library in Library::ready() {
        let cluster = LocalCluster::start(3, AppendLog::new).await.unwrap();
        let leader = within(cluster.leader()).await.unwrap();
        let follower = if leader == 3 { 2 } else { 3 };
        let mut client = connect(library, &cluster, follower, &[]).await;
        client.assert_rejected_in_favour_of(name(leader)).await;
        cluster.stop().await;
    }
}

#[tokio::test]
async fn payload_of_a_mebibyte_arrives_unchanged_in_both_directions() {
    for library in Library::ready() {
        let cluster = one(|| Echo).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        client.create().await;
        client.assert_echo_of_a_mebibyte().await;
        cluster.stop().await;
    }
}

#[tokio::test]
async fn notification_without_acknowledgement_is_sent_again_after_a_kill() {
    for library in Library::ready() {
        let mut cluster = one(KvStore::new).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        let session_id = client.create().await;
        let request_id = client.watch_and_set().await;
        // It is in the log: the member that starts again sends it again.
        restart(&mut cluster).await;
        client.resume(&session_id).await;
        match client.receive().await {
            ServerMessage::ServerRequest { request_id: again, .. } => assert_eq!(again, request_id),
            other => panic!("{other:?}"),
        }
        client.send(&ClientMessage::ServerRequestAck { request_id }).await;
        cluster.stop().await;
    }
}

#[tokio::test]
async fn undecodable_message_closes_only_its_connection() {
    for library in Library::ready() {
        let cluster = one(AppendLog::new).await;
        let mut other = connect(library, &cluster, 1, &[]).await;
        other.create().await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        let session_id = client.create().await;
        client.send_undecodable().await;
        // The socket reconnects without being asked.
        client.resume(&session_id).await;
        assert_eq!(cluster.member(1).unwrap().figures().clients_undecodable, 1);
        other.command(1, b"goes on").await;
        other.answer(1).await;
        cluster.stop().await;
    }
}

#[tokio::test]
async fn dealer_is_refused_and_a_client_beside_it_is_served() {
    for library in Library::ready() {
        let cluster = one(AppendLog::new).await;
        let _dealer = connect(library, &cluster, 1, &["type=DEALER"]).await;
        let mut client = connect(library, &cluster, 1, &[]).await;
        client.create().await;
        let report = within(cluster.member(1).unwrap().report()).await.unwrap();
        assert_eq!(report.connections, 1, "only the CLIENT completed a handshake");
        cluster.stop().await;
    }
}
