//! Clients of server processes beside silent and dead members, with one member configured, and after a restart that lost their sessions.

use std::{collections::BTreeMap, future::Future, net::SocketAddr, time::Duration};

use rustix::process::Signal;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use zraft_client::{Event, Events, RaftClient};

use crate::{
    processes::{Cluster, PATIENT},
    support::{PATIENCE, Running},
};

/// Longer than any of these tests may take: a client that waited for the silent member would not come to an end.
const NO_END: Duration = Duration::from_secs(600);

async fn within<T>(job: impl Future<Output = T>) -> T {
    timeout(PATIENCE, job).await.expect("it ends")
}

async fn until(events: &mut Events, is: impl Fn(&Event) -> bool) {
    within(async { while !is(&events.next().await.expect("the client lives")) {} }).await;
}

/// Carries connections to a member. When the task is aborted, they end, and the port refuses new ones.
fn relay(listener: TcpListener, to: SocketAddr) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            connections.spawn(async move {
                if let Ok(mut server) = TcpStream::connect(to).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_connects_and_resumes_beside_a_frozen_and_a_refusing_member() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0);
    let frozen = (leader + 1) % 3;
    let endpoints = cluster.endpoints.clone();
    let member = |place: usize| endpoints.split(',').nth(place).unwrap().split_once('=').unwrap();
    cluster.member(frozen).send(Signal::STOP);
    // The third process goes on, because the leader needs a majority.
    let refusing = TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = listener.local_addr().unwrap();
    let of_leader = member(leader).1.trim_start_matches("tcp://").parse().unwrap();
    let carried = relay(listener, of_leader);
    let client = RaftClient::builder()
        .member(member(frozen).0, member(frozen).1)
        .member("refusing", format!("tcp://{}", refusing.local_addr().unwrap()))
        .member(member(leader).0, format!("tcp://{door}"))
        .capability("kind", "test")
        .connection_timeout(NO_END)
        .session_timeout(NO_END * 3)
        .build()
        .unwrap();
    within(client.connect()).await.unwrap();
    let mut events = client.events();
    carried.abort();
    let asks_the_frozen = |event: &Event| match event {
        Event::ConnectionAttempt { member_id, .. } => member_id.as_str() == member(frozen).0,
        _ => false,
    };
    until(&mut events, asks_the_frozen).await;
    let _carried = relay(TcpListener::bind(door).await.unwrap(), of_leader);
    until(&mut events, |event| matches!(event, Event::Connected { resumed: true, .. })).await;
    within(async { client.submit_command("item").await }).await.unwrap();
    client.disconnect_within(Duration::ZERO).await;
}

/// Returns the endpoints of all members.
fn members(cluster: &Cluster) -> BTreeMap<String, String> {
    let members = cluster.endpoints.split(',').map(|member| member.split_once('=').unwrap());
    members.map(|(name, endpoint)| (name.to_owned(), endpoint.to_owned())).collect()
}

/// Appends to the log, kills the leader and appends again, in the same session.
async fn survives_the_leader(client: &RaftClient, cluster: &mut Cluster, leader: usize) {
    let append = async |item: &'static str| {
        let answer = within(async { client.submit_command(item).await }).await.unwrap();
        u64::from_be_bytes(*answer.first_chunk().unwrap())
    };
    let session = client.session_id();
    assert_eq!(append("one").await, 0);
    let killed = name(leader);
    assert_eq!(client.member_id().unwrap().as_str(), killed);
    drop(cluster.take(leader));
    assert_eq!(append("two").await, 1);
    assert_ne!(client.member_id().unwrap().as_str(), killed);
    assert_eq!(client.session_id(), session);
}

fn name(member: usize) -> String {
    format!("node-{}", member + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_is_given_the_leader_alone_learns_the_others_and_goes_on_when_it_is_killed() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0);
    let client = RaftClient::builder()
        .member(name(leader), &members(&cluster)[&name(leader)])
        .discover_members(true)
        .request_timeout(PATIENCE)
        .capability("kind", "test")
        .build()
        .unwrap();
    within(client.connect()).await.unwrap();
    // The application does not see the answer, so only the count shows it.
    while client.stats().answered == 0 {
        within(client.ping()).await.unwrap();
    }
    survives_the_leader(&client, &mut cluster, leader).await;
    client.disconnect_within(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resolver_finds_the_leader_that_a_follower_names_and_the_session_survives_its_kill() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0);
    let (directory, follower) = (members(&cluster), name((leader + 1) % 3));
    let client = RaftClient::builder()
        .member(&follower, &directory[&follower])
        .member_resolver(move |leader| {
            let found = directory.get(leader.as_str()).cloned();
            async move { found }
        })
        .request_timeout(PATIENCE)
        .capability("kind", "test")
        .build()
        .unwrap();
    within(client.connect()).await.unwrap();
    survives_the_leader(&client, &mut cluster, leader).await;
    client.disconnect_within(Duration::ZERO).await;
}

#[tokio::test]
async fn session_that_a_restarted_dev_server_lost_ends_after_a_doubt_with_its_commands_unknown() {
    // Longer than the client and the kill need, so that the command is in flight when the server dies.
    let (server, port) = crate::dev::dev(&["--commit-delay", "1000"]);
    let client = RaftClient::builder()
        .member("node-1", format!("tcp://127.0.0.1:{port}"))
        .capability("kind", "test")
        .build()
        .unwrap();
    within(client.connect()).await.unwrap();
    let mut events = client.events();
    let command = tokio::spawn({
        let client = client.clone();
        async move { client.submit_command("lost").await }
    });
    while client.stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    drop(server);
    let mut server = Running::start(&["dev", "--port", &port.to_string()]);
    assert!(server.line().starts_with("endpoints: "));
    until(&mut events, |event| matches!(event, Event::SessionDoubted { .. })).await;
    until(&mut events, |event| matches!(event, Event::SessionExpired { .. })).await;
    let error = within(command).await.unwrap().unwrap_err();
    assert!(error.maybe_executed(), "{error}");
    within(client.connect()).await.unwrap();
    client.disconnect().await;
}
