//! `Server`: one member as a program runs it.

use std::{net::SocketAddr, path::Path};

use tokio::sync::oneshot;
use zraft_client::RaftClient;
use zraft_server::{CreateError, Ended, Server, ServerBuilder, StartError, StoreError};
use zraft_session::applications::AppendLog;

use crate::{
    panics::Fragile,
    support::{append, within},
};

const ANYWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn builder(directory: &Path) -> ServerBuilder<AppendLog> {
    let builder = Server::builder().application(AppendLog::new()).directory(directory);
    builder.client_address(ANYWHERE).peer_address(ANYWHERE)
}

async fn client(address: SocketAddr) -> RaftClient {
    let builder = RaftClient::builder().capability("kind", "test");
    let client = builder.member("node-1", format!("tcp://{address}")).build().expect("valid");
    within(client.connect()).await.expect("it serves");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn server_runs_until_its_shutdown_and_comes_back_with_its_data() {
    let folder = tempfile::tempdir().expect("a folder");
    for (create, position) in [(true, 0), (false, 1)] {
        let server = within(builder(folder.path()).create(create).start()).await.expect("starts");
        let address = server.member().client_address();
        assert_eq!(server.member().identity().member.as_str(), "node-1");
        let (shut_down, wait) = oneshot::channel();
        let run = tokio::spawn(server.run_until(wait));
        let client = client(address).await;
        assert_eq!(append(&client, "an item").await, position);
        client.disconnect().await;
        shut_down.send("enough").expect("it runs");
        let ended = within(run).await.expect("it does not panic");
        assert_eq!(ended, Ok(Ok("enough")));
    }
}

#[tokio::test]
async fn server_that_ends_by_itself_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let builder = builder(folder.path()).application(Fragile).create(true);
    let server = within(builder.start()).await.expect("starts");
    let address = server.member().client_address();
    let run = tokio::spawn(server.run_until(std::future::pending::<()>()));
    let client = client(address).await;
    // Its answer never comes.
    let command = tokio::spawn(async move { client.submit_command("panic").await });
    let ended = within(run).await.expect("it does not panic").expect_err("the application panics");
    assert!(matches!(*ended, Ended::Application { .. }), "{ended}");
    command.abort();
}

#[tokio::test]
async fn server_is_made_only_where_there_is_none_and_started_only_where_there_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = within(builder(folder.path()).start()).await.expect_err("no member");
    assert!(matches!(missing, StartError::Store(StoreError::Empty { .. })), "{missing}");
    within(builder(folder.path()).create(true).start()).await.expect("starts").stop().await;
    let exists = within(builder(folder.path()).create(true).start()).await.expect_err("a member");
    assert!(
        matches!(exists, StartError::Create(CreateError::Store(StoreError::Exists { .. }))),
        "{exists}"
    );
    let nowhere = Server::builder().application(AppendLog::new()).start();
    assert!(matches!(within(nowhere).await.expect_err("nowhere"), StartError::NoDirectory));
}
