//! A new cluster with the state of an old one: from a backup, and from the data of one member.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zraft_protocol::{MemberId, ServerMessage};
use zraft_server::{
    AdminConfig, BackupState, CreateError, LocalCluster, MemberConfig, NewMember, RecoverError,
    Server, StartError, StoreError, check_backup, force_new, random_cluster_id,
};
use zraft_session::applications::{AppendLog, KvStore};

use crate::{
    http::{TOKEN, bearer, download, post, request, status},
    support::{RawClient, append, builder, client, command, nonce, patient, read_log, within},
};

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
    assert_eq!((forced.recovered.sessions, forced.old_member.as_str()), (2, "node-2"));
    assert_ne!(forced.cluster, forced.old_cluster);

    let server = serve(&to.directory).await;
    assert_eq!(server.member().identity().cluster, forced.cluster);
    let status = server.member().status();
    assert!(
        status.term > forced.recovered.last_term && status.last_index > forced.recovered.last_index
    );
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
        matches!(refused, RecoverError::Open(StartError::Store(StoreError::InUse { .. }))),
        "{refused}"
    );
    assert!(!to.directory.exists(), "nothing was made");
    within(cluster.kill(1)).await.expect("it runs");
    let into_itself = NewMember { directory: running.clone(), ..to.clone() };
    let refused = force_new(&running, &into_itself, AppendLog::new()).expect_err("it is not empty");
    assert!(
        matches!(refused, RecoverError::Create(CreateError::Store(StoreError::Exists { .. }))),
        "{refused}"
    );
    let nothing = force_new(&folder.path().join("nothing"), &to, AppendLog::new());
    assert!(matches!(
        nothing,
        Err(RecoverError::Open(StartError::Store(StoreError::Empty { .. })))
    ));
    cluster.stop().await;
}

/// A cluster of one member with an admin port.
async fn with_admin_port(folder: &Path) -> (LocalCluster<AppendLog>, SocketAddr) {
    let token_file = folder.join("admin.token");
    fs::write(&token_file, TOKEN).expect("it is written");
    let configure = move |config: &mut MemberConfig| {
        patient(config);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        config.admin = Some(AdminConfig { address, token_file: token_file.clone() });
    };
    let cluster = LocalCluster::start_with(1, AppendLog::new, configure).await.expect("starts");
    within(cluster.leader()).await.expect("a leader");
    let admin = cluster.member(1).expect("it runs").admin_address().expect("it has one");
    (cluster, admin)
}

/// Takes a snapshot of what the member has applied, and its file as a backup.
async fn back_up(admin: SocketAddr, folder: &Path) -> PathBuf {
    let answer = post(admin, "/v1/snapshot", &serde_json::json!({})).await;
    let applied = answer.json()["applied"].as_u64();
    within(async { while status(admin).await["snapshot"]["index"].as_u64() < applied {} }).await;
    let (head, bytes) = download(admin, "/v1/backup").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", bytes.len())), "{head}");
    let path = folder.join("backup");
    fs::write(&path, bytes).expect("it is written");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_becomes_a_new_cluster_with_its_data_and_sessions() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, admin) = with_admin_port(folder.path()).await;
    let none = request(admin, "GET /v1/backup", &[&bearer(TOKEN)], "").await;
    assert_eq!((none.status, none.code().as_str()), (409, "no_snapshot"), "the log is short");
    assert_eq!(request(admin, "GET /v1/backup", &[], "").await.status, 401);
    let mut raw = RawClient::connect(cluster.member(1).expect("it runs").client_address()).await;
    let session = raw.session().await;
    // Several pieces of the file.
    let large = Bytes::from(vec![7; 1 << 20]);
    raw.send(&command(1, large.clone())).await;
    let Some(ServerMessage::ClientResponse { .. }) = raw.next().await else { panic!("answered") };
    let path = back_up(admin, folder.path()).await;
    let backup = check_backup(&path).expect("it is sound");
    assert_eq!((&backup.members[..], backup.bytes > 1 << 20), (&["node-1".to_owned()][..], true));
    let history = cluster.member(1).expect("it runs").status().history;
    raw.send(&command(2, "after the backup")).await;
    let Some(ServerMessage::ClientResponse { .. }) = raw.next().await else { panic!("answered") };
    cluster.stop().await;

    let state = BackupState::<AppendLog>::read(&path).expect("it is sound");
    let id = random_cluster_id().expect("random");
    let to = member(folder.path());
    let recovered = state.create_cluster(id, std::slice::from_ref(&to)).expect("it is made");
    assert_eq!((recovered.last_index, recovered.sessions), (backup.index, 1));
    assert_eq!(recovered.history, history);
    let again = state.create_cluster(id, std::slice::from_ref(&to)).expect_err("it exists");
    assert!(matches!(again, RecoverError::Create(_)), "{again}");

    let server = serve(&to.directory).await;
    assert_eq!(server.member().identity().cluster, id);
    let address = server.member().client_address();
    let mut raw = RawClient::connect(address).await;
    let resumed = raw.resume(&session).await;
    assert_eq!(resumed, Some(ServerMessage::SessionContinued { nonce: nonce() }));
    raw.send(&command(1, large.clone())).await;
    let Some(ServerMessage::ClientResponse { .. }) = raw.next().await else { panic!("answered") };
    let second = builder([(to.name.clone(), format!("tcp://{address}"))].into());
    let second = second.build().expect("valid");
    within(second.connect()).await.expect("it serves");
    assert_eq!(read_log(&second).await, [large], "a copy is answered and does not run again");
    second.disconnect().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_that_is_cut_damaged_or_of_another_application_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, admin) = with_admin_port(folder.path()).await;
    let client = client(&cluster).await;
    append(&client, "an item").await;
    let path = back_up(admin, folder.path()).await;
    client.disconnect().await;
    cluster.stop().await;
    let foreign = BackupState::<KvStore>::read(&path).expect_err("another application");
    assert!(matches!(foreign, RecoverError::Restore { .. }), "{foreign}");
    let sound = fs::read(&path).expect("it exists");
    for cut in [0, 1, 27, 28, sound.len() / 2, sound.len() - 1] {
        fs::write(&path, &sound[..cut]).expect("it is written");
        let error = check_backup(&path).expect_err("it is cut");
        assert!(matches!(error, RecoverError::Damaged { .. }), "{cut}: {error}");
    }
    for at in (0..sound.len()).step_by(7) {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).expect("it is written");
        let error = BackupState::<AppendLog>::read(&path).expect_err("it is damaged");
        assert!(matches!(error, RecoverError::Damaged { .. }), "{at}: {error}");
        assert!(error.to_string().contains("take another one"), "{error}");
    }
    let missing = check_backup(&folder.path().join("nothing")).expect_err("it is missing");
    assert!(matches!(missing, RecoverError::Read { .. }), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_backup_is_read_at_a_time_and_one_that_no_one_reads_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, admin) = with_admin_port(folder.path()).await;
    let client = client(&cluster).await;
    // More than the buffers of two sockets.
    for _ in 0..24 {
        append(&client, vec![7; 1 << 20]).await;
    }
    let path = back_up(admin, folder.path()).await;
    let bytes = fs::metadata(&path).expect("it exists").len();
    let token = bearer(TOKEN);
    let ask = format!("GET /v1/backup HTTP/1.1\r\nHost: {admin}\r\n{token}\r\n\r\n");
    // The thread of the backup before may not have ended yet.
    let mut slow = within(async {
        loop {
            let mut stream = TcpStream::connect(admin).await.expect("it listens");
            stream.write_all(ask.as_bytes()).await.expect("it is open");
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).await.expect("an answer");
            if begin == *b"HTTP/1.1 200" {
                break stream;
            }
        }
    })
    .await;
    let busy = async || request(admin, "HEAD /v1/backup", &[&token], "").await.status;
    assert_eq!(busy().await, 409);
    append(&client, "the member goes on").await;
    // It is given up without its receiver.
    within(async { while busy().await == 409 {} }).await;
    let mut received = Vec::new();
    let _ = within(slow.read_to_end(&mut received)).await;
    assert!((received.len() as u64) < bytes, "{} of {bytes}", received.len());
    client.disconnect().await;
    cluster.stop().await;
}
