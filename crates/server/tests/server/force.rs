//! A new cluster from the data of one member.

use std::{net::SocketAddr, path::Path};

use bytes::Bytes;
use zraft_protocol::{MemberId, ServerMessage};
use zraft_server::{
    CreateError, ForceError, LocalCluster, NewMember, Server, StartError, StoreError, force_new,
};
use zraft_session::applications::AppendLog;

use crate::support::{RawClient, append, builder, client, command, nonce, read_log, within};

fn member(folder: &Path) -> NewMember {
    NewMember {
        name: MemberId::new("node-1").expect("short"),
        directory: folder.join("new"),
        peer_address: "127.0.0.1:7002".to_owned(),
    }
}

async fn serve(directory: &Path) -> Server {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = Server::builder().application(AppendLog::new()).directory(directory);
    let server = builder.client_address(anywhere).peer_address(anywhere).start();
    let server = within(server).await.expect("starts");
    within(server.member().wait_for(|status| status.serving)).await.expect("it leads");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_that_is_left_becomes_a_cluster_with_its_data_and_sessions() {
    let mut cluster = LocalCluster::start(3, AppendLog::new).await.expect("starts");
    let first = client(&cluster).await;
    let items: Vec<_> = (0..20).map(|number| Bytes::from(format!("item {number}"))).collect();
    for item in &items {
        append(&first, item.clone()).await;
    }
    let leader = within(cluster.leader()).await.expect("a leader");
    let address = cluster.member(leader).expect("it runs").client_address();
    let mut raw = RawClient::connect(address).await;
    let session = raw.session().await;
    raw.send(&command(1, "of the session")).await;
    let Some(ServerMessage::ClientResponse { .. }) = raw.next().await else { panic!("answered") };
    within(cluster.caught_up()).await.expect("all run");
    for number in 1..=3 {
        within(cluster.kill(number)).await.expect("it runs");
    }

    let left = cluster.directory(2).expect("it exists");
    let folder = tempfile::tempdir().expect("a folder");
    let to = member(folder.path());
    let forced = force_new(&left, &to, AppendLog::new()).expect("its files are sound");
    assert_eq!((forced.sessions, forced.old_member.as_str()), (2, "node-2"));
    assert_ne!(forced.cluster, forced.old_cluster);

    let server = serve(&to.directory).await;
    assert_eq!(server.member().identity().cluster, forced.cluster);
    let status = server.member().status();
    assert!(status.term > forced.last_term && status.last_index > forced.last_index);
    let address = server.member().client_address();
    let mut raw = RawClient::connect(address).await;
    let resumed = raw.resume(&session).await;
    assert_eq!(resumed, Some(ServerMessage::SessionContinued { nonce: nonce() }));
    // A copy of the command is answered from the cache and does not run again.
    raw.send(&command(1, "of the session")).await;
    let Some(ServerMessage::ClientResponse { .. }) = raw.next().await else { panic!("answered") };
    let endpoint = format!("tcp://{address}");
    let second = builder([(to.name.clone(), endpoint)].into()).build().expect("valid");
    within(second.connect()).await.expect("it serves");
    let expected: Vec<_> = items.into_iter().chain([Bytes::from("of the session")]).collect();
    assert_eq!(read_log(&second).await, expected);
    second.disconnect().await;
    server.stop().await;

    // The old directory is as it was.
    within(cluster.reopen(2)).await.expect("its files are sound");
    within(cluster.reopen(3)).await.expect("its files are sound");
    within(cluster.leader()).await.expect("a majority");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_is_forced_only_from_a_member_that_does_not_run_into_an_empty_folder() {
    let mut cluster = LocalCluster::start(1, AppendLog::new).await.expect("starts");
    within(cluster.leader()).await.expect("a leader");
    let running = cluster.directory(1).expect("it exists");
    let folder = tempfile::tempdir().expect("a folder");
    let to = member(folder.path());
    let refused = force_new(&running, &to, AppendLog::new()).expect_err("it runs");
    assert!(
        matches!(refused, ForceError::Open(StartError::Store(StoreError::InUse { .. }))),
        "{refused}"
    );
    assert!(!to.directory.exists(), "nothing was made");
    within(cluster.kill(1)).await.expect("it runs");
    let into_itself = NewMember { directory: running.clone(), ..to.clone() };
    let refused = force_new(&running, &into_itself, AppendLog::new()).expect_err("it is not empty");
    assert!(
        matches!(refused, ForceError::Create(CreateError::Store(StoreError::Exists { .. }))),
        "{refused}"
    );
    let nothing = force_new(&folder.path().join("nothing"), &to, AppendLog::new());
    assert!(matches!(nothing, Err(ForceError::Open(StartError::Store(StoreError::Empty { .. })))));
    cluster.stop().await;
}
