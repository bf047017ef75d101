//! The integration scenarios of the original design, on the embedded cluster: full lifecycle, reconnection, session
//! expiry and performance. The table in `scenario_table.rs` names its unit scenarios.

use std::time::Duration;

use crate::support::cluster::{client_of, cluster, executed, log_cluster, settings, start};
use crate::support::{disconnected, next_event, reaches, within};
use futures_util::future::join_all;
use zraft_client::{Event, OnSessionExpired, StateName};
use zraft_protocol::ClientMessage;
use zraft_test_server::{AppendLog, Echo, MessageClass, TestCluster};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// Full lifecycle

#[tokio::test]
async fn full_lifecycle_construct_connect_submit_disconnect() {
    let cluster = log_cluster(1).await;
    let client = settings(&cluster).build().unwrap();
    assert_eq!(*client.state().borrow(), StateName::Disconnected);
    within(client.connect()).await.unwrap();
    assert_eq!(*client.state().borrow(), StateName::Connected);
    assert_eq!(cluster.sessions().len(), 1);

    let position = within(client.submit_command("first")).await.unwrap();
    assert_eq!(position.as_ref(), 0_u64.to_be_bytes());
    let length = within(client.submit_query("how long?")).await.unwrap();
    assert_eq!(length.as_ref(), 1_u64.to_be_bytes());

    within(client.disconnect()).await;
    assert_eq!(*client.state().borrow(), StateName::Disconnected);
    assert_eq!((client.session_id(), client.member_id()), (None, None));
    within(cluster.wait_for(|engine| engine.sessions().count() == 0)).await;
    assert_eq!(executed(&cluster), [b"first"]);
}

#[tokio::test]
async fn each_request_gets_its_own_answer() {
    let cluster = cluster(1, Echo).await;
    let (client, _) = client_of(settings(&cluster)).await;
    let commands = (0..100).map(|n| format!("command {n}"));
    let answers = join_all(commands.clone().map(|c| client.submit_command(c).into_future()));
    for (answer, command) in within(answers).await.into_iter().zip(commands) {
        assert_eq!(answer.unwrap(), command);
    }
    let answer = within(client.submit_query("a question")).await.unwrap();
    assert_eq!(answer, "a question");
}

#[tokio::test]
async fn connected_and_disconnected_events_are_emitted() {
    let cluster = log_cluster(1).await;
    let (client, mut events) = client_of(settings(&cluster)).await;
    let connected = next_event(&mut events, |event| match event {
        Event::Connected { session_id, member_id, endpoint, resumed, .. } => {
            Some((session_id.clone(), member_id.clone(), endpoint.clone(), *resumed))
        }
        _ => None,
    })
    .await;
    let (member, endpoint) = cluster.endpoints().pop_first().unwrap();
    assert_eq!(connected, (client.session_id().unwrap(), member, endpoint, false));
    within(client.disconnect()).await;
    next_event(&mut events, |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.name() == "closed"),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn client_connects_again_after_disconnect() {
    let cluster = log_cluster(1).await;
    let (client, _) = client_of(settings(&cluster)).await;
    let first = client.session_id().unwrap();
    within(client.disconnect()).await;
    let error = within(client.submit_command("between")).await.unwrap_err();
    assert_eq!(error.code(), "NOT_CONNECTED");
    within(client.connect()).await.unwrap();
    assert_ne!(client.session_id().unwrap(), first);
    within(client.submit_command("after")).await.unwrap();
    assert_eq!(executed(&cluster), [b"after"]);
}

#[tokio::test]
async fn requests_submitted_while_connecting_are_queued() {
    let cluster = log_cluster(1).await;
    let client = settings(&cluster).build().unwrap();
    let connect = client.connect();
    let answers: Vec<_> =
        (0..10).map(|n| client.try_submit_command(n.to_string()).unwrap()).collect();
    within(connect).await.unwrap();
    for (position, answer) in answers.into_iter().enumerate() {
        assert_eq!(within(answer).await.unwrap().as_ref(), (position as u64).to_be_bytes());
    }
}

#[tokio::test]
async fn disconnect_waits_for_pending_requests() {
    let slow = TestCluster::builder().app(AppendLog::new()).commit_delay(ms(50));
    let cluster = start(slow).await;
    let (client, _) = client_of(settings(&cluster).max_in_flight(2)).await;
    let answers: Vec<_> =
        (0..10).map(|n| client.try_submit_command(n.to_string()).unwrap()).collect();
    let disconnect = client.disconnect();
    for answer in answers {
        within(answer).await.unwrap();
    }
    within(disconnect).await;
    within(cluster.wait_for(|engine| engine.sessions().count() == 0)).await;
    assert_eq!(cluster.executed().0, 10);
}

#[tokio::test]
async fn disconnect_ends_at_its_deadline_and_says_what_may_have_run() {
    let cluster = log_cluster(1).await;
    let (client, _) = client_of(settings(&cluster).max_in_flight(1)).await;
    cluster.drop_messages(MessageClass::Answers, None);
    let sent = client.try_submit_command("sent").unwrap();
    within(cluster.journal_reached(1)).await;
    let queued = client.try_submit_command("queued").unwrap();
    within(client.disconnect_within(ms(200))).await;
    let (sent, queued) = (within(sent).await.unwrap_err(), within(queued).await.unwrap_err());
    assert_eq!((sent.code(), sent.maybe_executed()), ("CLOSED", true));
    assert_eq!((queued.code(), queued.maybe_executed()), ("CLOSED", false));
    assert_eq!(executed(&cluster), [b"sent"]);
}

// Reconnection

#[tokio::test]
async fn network_disconnect_leads_to_automatic_reconnection() {
    let cluster = log_cluster(1).await;
    let (client, mut events) = client_of(settings(&cluster)).await;
    within(cluster.cut_connections(None)).await.unwrap();
    assert_eq!(disconnected(&mut events).await, "connectionLost");
    next_event(&mut events, |e| matches!(e, Event::Reconnecting { .. }).then_some(())).await;
    let resumed = |e: &Event| matches!(e, Event::Connected { resumed: true, .. }).then_some(());
    next_event(&mut events, resumed).await;
    within(client.submit_command("after")).await.unwrap();
    assert_eq!(client.stats().reconnects, 1);
}

#[tokio::test]
async fn session_resumption_by_continue_session() {
    let cluster = log_cluster(1).await;
    let (client, events) = client_of(settings(&cluster)).await;
    let mut events = events.with_messages();
    let session = client.session_id().unwrap();
    within(cluster.cut_connections(None)).await.unwrap();
    let named = next_event(&mut events, |event| match event {
        Event::MessageSent { message: ClientMessage::ContinueSession { session_id, .. } } => {
            Some(session_id.clone())
        }
        _ => None,
    });
    assert_eq!(named.await, session);
    reaches(&client, StateName::Connected).await;
    assert_eq!(client.session_id(), Some(session));
    assert_eq!(cluster.sessions().len(), 1);
}

#[tokio::test]
async fn pending_requests_are_preserved_and_resent() {
    let cluster = log_cluster(1).await;
    let (client, _) = client_of(settings(&cluster)).await;
    cluster.drop_messages(MessageClass::Answers, None);
    let commands: Vec<_> =
        (0..20).map(|n| client.try_submit_command(n.to_string()).unwrap()).collect();
    let query = client.try_submit_query("how long?").unwrap();
    within(cluster.journal_reached(20)).await;
    within(cluster.cut_connections(None)).await.unwrap();
    cluster.deliver_all();
    for (position, answer) in commands.into_iter().enumerate() {
        assert_eq!(within(answer).await.unwrap().as_ref(), (position as u64).to_be_bytes());
    }
    assert_eq!(within(query).await.unwrap().as_ref(), 20_u64.to_be_bytes());
    assert_eq!(cluster.executed().0, 20, "each ran once, though each was sent twice");
    assert!(client.stats().resent >= 20, "{:?}", client.stats());
}

#[tokio::test]
async fn commands_that_never_arrived_are_resent() {
    let cluster = log_cluster(1).await;
    let (client, _) = client_of(settings(&cluster)).await;
    let kind = zraft_protocol::ClientMessageKind::ClientRequest;
    cluster.drop_messages(MessageClass::FromClient(kind), Some(5));
    let commands: Vec<_> =
        (0..10).map(|n| client.try_submit_command(n.to_string()).unwrap()).collect();
    for answer in commands {
        within(answer).await.unwrap();
    }
    let mut seen = executed(&cluster);
    seen.sort();
    assert_eq!(seen, (0..10).map(|n| n.to_string().into_bytes()).collect::<Vec<_>>());
}

// Session expiry

#[tokio::test]
async fn session_expired_rejection_is_handled() {
    let cluster = log_cluster(1).await;
    let short = settings(&cluster).session_timeout(ms(900)).keep_alive_interval(ms(300));
    let (client, mut events) = client_of(short).await;
    let session = client.session_id().unwrap();
    // The session ends while the client has no connection, so that a rejection tells the client.
    let kind = zraft_protocol::ServerMessageKind::SessionClosed;
    cluster.drop_messages(MessageClass::ToClient(kind), None);
    cluster.expire_session(&session).unwrap();
    within(cluster.wait_for(|engine| engine.sessions().count() == 0)).await;
    within(cluster.cut_connections(None)).await.unwrap();
    let expired = next_event(&mut events, |event| match event {
        Event::SessionExpired { session_id, .. } => Some(session_id.clone()),
        _ => None,
    });
    assert_eq!(expired.await, session);
    reaches(&client, StateName::Disconnected).await;
    let error = within(client.submit_command("after")).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_executed()), ("SESSION_EXPIRED", false));
    cluster.deliver_all();
    within(client.connect()).await.unwrap();
    within(client.submit_command("in a new session")).await.unwrap();
}

#[tokio::test]
async fn all_pending_requests_fail_on_session_expiry() {
    let cluster = log_cluster(1).await;
    let (client, _) = client_of(settings(&cluster).max_in_flight(2)).await;
    cluster.drop_messages(MessageClass::Answers, None);
    let commands: Vec<_> =
        (0..5).map(|n| client.try_submit_command(n.to_string()).unwrap()).collect();
    let query = client.try_submit_query("?").unwrap();
    within(cluster.journal_reached(2)).await;
    cluster.expire_session(&client.session_id().unwrap()).unwrap();
    let mut maybe_executed = Vec::new();
    for answer in commands {
        let error = within(answer).await.unwrap_err();
        assert_eq!(error.code(), "SESSION_EXPIRED");
        maybe_executed.push(error.maybe_executed());
    }
    assert_eq!(maybe_executed, [true, true, false, false, false]);
    let error = within(query).await.unwrap_err();
    assert_eq!((error.code(), error.maybe_executed()), ("SESSION_EXPIRED", false));
    reaches(&client, StateName::Disconnected).await;
}

#[tokio::test]
async fn session_expired_event_is_emitted() {
    let cluster = log_cluster(1).await;
    let (client, mut events) = client_of(settings(&cluster)).await;
    let session = client.session_id().unwrap();
    cluster.expire_session(&session).unwrap();
    let expired = next_event(&mut events, |event| match event {
        Event::SessionExpired { session_id, .. } => Some(session_id.clone()),
        _ => None,
    });
    assert_eq!(expired.await, session);
}

#[tokio::test]
async fn queued_requests_continue_in_a_new_session_if_configured() {
    let cluster = log_cluster(1).await;
    let lasting = settings(&cluster).on_session_expired(OnSessionExpired::NewSession);
    let (client, mut events) = client_of(lasting.max_in_flight(1)).await;
    let old = client.session_id().unwrap();
    cluster.drop_messages(MessageClass::Answers, None);
    let sent = client.try_submit_command("sent").unwrap();
    within(cluster.journal_reached(1)).await;
    let queued = client.try_submit_command("queued").unwrap();
    cluster.expire_session(&old).unwrap();
    assert!(within(sent).await.unwrap_err().maybe_executed());
    cluster.deliver_all();
    within(queued).await.unwrap();
    let renewed = |event: &Event| match event {
        Event::Connected { session_id, resumed: false, .. } if *session_id != old => Some(()),
        _ => None,
    };
    next_event(&mut events, renewed).await;
    assert_eq!(executed(&cluster), [b"sent".as_slice(), b"queued"]);
}

// Request management

#[tokio::test]
async fn request_ids_are_sequential_without_gaps() {
    let cluster = log_cluster(1).await;
    let (client, _) = client_of(settings(&cluster)).await;
    for n in 0..3 {
        let answers = (0..10).map(|m| client.submit_command(format!("{n}.{m}")).into_future());
        for answer in within(join_all(answers)).await {
            answer.unwrap();
        }
    }
    let ids: Vec<_> = cluster.journal().iter().map(|e| e.request_id.get()).collect();
    assert_eq!(ids, (1..=30).collect::<Vec<_>>());
}

// Performance. The benchmarks measure time; this test checks that every answer arrives.

#[tokio::test]
async fn ten_thousand_requests_are_answered_once_each() {
    let cluster = log_cluster(1).await;
    let (client, _) = client_of(settings(&cluster)).await;
    let count = 10_000_u64;
    let answers = (0..count).map(|n| client.submit_command(n.to_be_bytes().to_vec()).into_future());
    for (position, answer) in within(join_all(answers)).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap().as_ref(), (position as u64).to_be_bytes());
    }
    assert_eq!(cluster.executed().0, count);
    assert_eq!(client.stats().answered, count);
}
