//! The typed client against the embedded cluster.

use std::{
    future::{Future, IntoFuture},
    time::Duration,
};

use zraft_client::{
    AckServerRequests, ClientBuilder, Error as ClientError, LivenessQuery, OnSessionExpired,
    RaftClient, TypedClient,
};
use zraft_kv::{DecodeError, Error, KvClient, ValueError, Watch};
use zraft_protocol::Payload;
use zraft_test_server::{KillLoss, KvStore, TestCluster};

fn within<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let future = tokio::time::timeout(Duration::from_secs(20), future.into_future());
    async { future.await.expect("the operation must finish within 20 s") }
}

async fn cluster(members: usize) -> TestCluster {
    let builder = TestCluster::builder().members(members).app(KvStore::new());
    // A notification made while its session had no connection arrives only by redelivery, by default after 10 s.
    builder.redelivery_interval(Duration::from_millis(100)).start().await.unwrap()
}

async fn store_of(cluster: &TestCluster, settings: ClientBuilder) -> KvClient {
    let members = cluster.endpoints().into_iter();
    let settings = members.fold(settings.capability("app", "test"), |settings, (id, endpoint)| {
        settings.member(id.as_str(), endpoint)
    });
    let client = settings.build().unwrap();
    within(client.connect()).await.unwrap();
    KvClient::new(client)
}

async fn store(cluster: &TestCluster) -> KvClient {
    store_of(cluster, RaftClient::builder()).await
}

/// Returns the id and the text of the next change.
async fn change(watch: &mut Watch) -> (u64, String) {
    let change = within(watch.next()).await.unwrap().unwrap();
    let notification = change.notification;
    (change.request_id.get(), format!("{}={}", notification.key, notification.value))
}

#[tokio::test]
async fn get_returns_the_value_that_was_set() {
    let cluster = cluster(1).await;
    let store = store(&cluster).await.timeout(Duration::from_secs(5));
    assert_eq!(within(store.get("ключ")).await.unwrap(), None);
    within(store.set("ключ", "значение 🌍")).await.unwrap();
    assert_eq!(within(store.get("ключ")).await.unwrap().unwrap().as_str(), "значение 🌍");
    let largest = "v".repeat(1024 * 1024);
    within(store.set("k".repeat(256), largest.clone())).await.unwrap();
    assert_eq!(within(store.get("k".repeat(256))).await.unwrap().unwrap().as_str(), largest);
}

#[tokio::test]
async fn an_idle_watch_leaves_a_leader_that_was_cut_off_and_misses_nothing() {
    let cluster = cluster(3).await;
    let key = zraft_kv::Query::Get { key: zraft_kv::Key::new("any").unwrap() };
    let query = LivenessQuery::new(key.encode()).every(Duration::from_millis(50));
    let settings = RaftClient::builder().resend_interval(Duration::from_millis(100));
    let watching = store_of(&cluster, settings.liveness_query(query)).await;
    let mut watch = within(watching.watch("colour")).await.unwrap();
    let cut_off = watching.client().member_id().unwrap();
    cluster.set_stale_leader(cut_off.as_str(), true).unwrap();
    let others = cluster.endpoints().into_iter().filter(|(id, _)| *id != cut_off);
    let settings = others.fold(RaftClient::builder().capability("app", "test"), |all, (id, at)| {
        all.member(id.as_str(), at)
    });
    let setting = KvClient::new(settings.build().unwrap());
    within(setting.client().connect()).await.unwrap();
    within(setting.set("colour", "green")).await.unwrap();
    assert_eq!(change(&mut watch).await.1, "colour=green");
    assert_ne!(watching.client().member_id().unwrap(), cut_off);
}

#[tokio::test]
async fn a_store_client_gives_its_client_a_liveness_query_unless_it_has_one() {
    let settings = || RaftClient::builder().member("a", "tcp://127.0.0.1:1").capability("k", "v");
    let plain = KvClient::new(settings().build().unwrap());
    let payload = plain.client().liveness_query().unwrap().payload().clone();
    assert!(matches!(zraft_kv::Query::decode(&payload), Ok(zraft_kv::Query::Get { .. })));
    let own = LivenessQuery::new("own");
    let given = KvClient::new(settings().liveness_query(own.clone()).build().unwrap());
    assert_eq!(given.client().liveness_query(), Some(own));
    let typed = settings().build().unwrap();
    let typed = TypedClient::<zraft_kv::StoreCodec>::new(typed);
    assert_eq!(*typed.client().liveness_query().unwrap().payload(), payload);
    plain.client().set_liveness_query(None).unwrap();
    assert_eq!(plain.client().liveness_query(), None);
}

#[tokio::test]
async fn keys_and_values_outside_the_limits_are_not_sent() {
    let cluster = cluster(1).await;
    let store = store(&cluster).await;
    let empty = |error| matches!(error, Error::Value(ValueError::Empty { .. }));
    let too_long = |error| matches!(error, Error::Value(ValueError::TooLong { .. }));
    assert!(empty(store.set("", "v").await.unwrap_err()));
    assert!(empty(store.set("k", "").await.unwrap_err()));
    assert!(empty(store.get("").await.unwrap_err()));
    assert!(empty(store.watch("").await.unwrap_err()));
    assert!(too_long(store.set("k", "v".repeat(1024 * 1024 + 1)).await.unwrap_err()));
    assert!(too_long(store.get("k".repeat(257)).await.unwrap_err()));
    assert_eq!(store.client().stats().sent, 0);
}

#[tokio::test]
async fn set_without_connect_fails_with_not_connected() {
    let client =
        RaftClient::builder().member("node-1", "tcp://127.0.0.1:1").capability("app", "test");
    let store = KvClient::new(client.build().unwrap());
    let error = within(store.set("k", "v")).await.unwrap_err();
    assert!(matches!(error, Error::Client(ClientError::NotConnected)), "{error}");
    assert!(!error.maybe_executed());
}

#[tokio::test]
async fn watch_returns_the_current_value_and_then_every_value_set() {
    let cluster = cluster(1).await;
    let store = store(&cluster).await;
    within(store.set("a", "1")).await.unwrap();
    let mut watch = within(store.watch("a")).await.unwrap();
    assert_eq!(change(&mut watch).await, (1, "a=1".to_owned()));
    within(watch.add("b")).await.unwrap();
    for (key, value) in [("b", "2"), ("a", "3"), ("c", "4"), ("b", "5")] {
        within(store.set(key, value)).await.unwrap();
    }
    assert_eq!(change(&mut watch).await, (2, "b=2".to_owned()));
    assert_eq!(change(&mut watch).await, (3, "a=3".to_owned()));
    assert_eq!(change(&mut watch).await, (4, "b=5".to_owned()));
    let keys: Vec<_> = watch.keys().map(ToString::to_string).collect();
    assert_eq!(keys, ["a", "b"]);
}

#[tokio::test]
async fn second_watch_is_rejected_while_the_first_exists() {
    let cluster = cluster(1).await;
    let store = store(&cluster).await;
    let watch = within(store.watch("a")).await.unwrap();
    let error = within(store.watch("b")).await.unwrap_err();
    assert!(matches!(error, Error::Client(ClientError::Validation(_))), "{error}");
    drop(watch);
    assert!(within(store.watch("b")).await.is_ok());
}

#[tokio::test]
async fn watch_survives_leader_changes() {
    let cluster = cluster(3).await;
    let (watcher, setter) = (store(&cluster).await, store(&cluster).await);
    let mut watch = within(watcher.watch("k")).await.unwrap();
    for round in 1..=3_u64 {
        within(setter.set("k", round.to_string())).await.unwrap();
        assert_eq!(change(&mut watch).await, (round, format!("k={round}")));
        let leader = within(cluster.leader_elected()).await;
        within(cluster.kill(leader.as_str(), KillLoss::Uncommitted)).await.unwrap();
        within(cluster.leader_elected()).await;
        within(cluster.restart(leader.as_str())).await.unwrap();
    }
}

#[tokio::test]
async fn watch_is_renewed_in_a_new_session() {
    let cluster = cluster(1).await;
    let settings = RaftClient::builder().on_session_expired(OnSessionExpired::NewSession);
    let (watcher, setter) = (store_of(&cluster, settings).await, store(&cluster).await);
    let mut watch = within(watcher.watch("a")).await.unwrap();
    within(watch.add("b")).await.unwrap();
    within(setter.set("b", "1")).await.unwrap();
    assert_eq!(change(&mut watch).await, (1, "b=1".to_owned()));
    cluster.expire_session(&watcher.client().session_id().unwrap()).unwrap();
    // The first server request of the new session carries the current value again.
    assert_eq!(change(&mut watch).await, (1, "b=1".to_owned()));
    within(setter.set("a", "2")).await.unwrap();
    assert_eq!(change(&mut watch).await, (2, "a=2".to_owned()));
}

#[tokio::test]
async fn watch_reports_the_end_of_its_session_and_continues_after_connect() {
    let cluster = cluster(1).await;
    let (watcher, setter) = (store(&cluster).await, store(&cluster).await);
    let mut watch = within(watcher.watch("k")).await.unwrap();
    cluster.expire_session(&watcher.client().session_id().unwrap()).unwrap();
    let error = within(watch.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NotWatching), "{error}");
    within(setter.set("k", "v")).await.unwrap();
    within(watcher.client().connect()).await.unwrap();
    assert_eq!(change(&mut watch).await, (1, "k=v".to_owned()));
}

#[tokio::test]
async fn server_request_that_is_not_a_notification_is_an_error_and_the_watch_continues() {
    let cluster = cluster(1).await;
    let store = store(&cluster).await;
    let mut watch = within(store.watch("k")).await.unwrap();
    let session = store.client().session_id().unwrap();
    cluster.push_server_request(&session, &Payload::new("?").unwrap()).unwrap();
    within(store.set("k", "v")).await.unwrap();
    let error = within(watch.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Decode(DecodeError::UnknownTag(b'?'))), "{error}");
    assert_eq!(change(&mut watch).await, (2, "k=v".to_owned()));
}

#[tokio::test]
async fn change_counts_as_handled_when_the_next_one_is_polled() {
    let cluster = cluster(1).await;
    let settings = RaftClient::builder().ack_server_requests(AckServerRequests::Handled);
    let store = store_of(&cluster, settings).await;
    let mut watch = within(store.watch("k")).await.unwrap();
    for value in ["1", "2"] {
        within(store.set("k", value)).await.unwrap();
    }
    assert_eq!(change(&mut watch).await, (1, "k=1".to_owned()));
    drop(watch);
    // The change was not handled, so the next consumer gets it again.
    let mut watch = within(store.watch("other")).await.unwrap();
    assert_eq!(change(&mut watch).await, (1, "k=1".to_owned()));
    assert_eq!(change(&mut watch).await, (2, "k=2".to_owned()));
}

#[tokio::test]
async fn watch_of_a_disconnected_client_reports_it() {
    let cluster = cluster(1).await;
    let store = store(&cluster).await;
    let mut watch = within(store.watch("k")).await.unwrap();
    within(store.client().disconnect()).await;
    let error = within(watch.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NotWatching), "{error}");
}
