//! Tokens of clients.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use zraft_client::{Error, RaftClient, RejectionReason};
use zraft_server::{Alarm, LocalCluster, MemberConfig, Reload};
use zraft_session::{Application, applications::Echo};

use crate::support::{builder, within};

const OLD: &str = "0123456789abcdef";
const NEW: &str = "fedcba9876543210";

/// Gives a member this token, and lets it look at the file only when the test says so.
fn secure(config: &mut MemberConfig, token: &str) {
    let file = path(&config.directory);
    fs::write(&file, token).expect("it can be written");
    config.client_tokens = Some(file);
    config.certificate_check = Duration::from_secs(86_400);
}

fn path(directory: &Path) -> PathBuf {
    directory.join("client.token")
}

fn client<A: Application>(cluster: &LocalCluster<A>, token: Option<&str>) -> RaftClient {
    let builder = builder(cluster.endpoints());
    let builder = match token {
        Some(token) => builder.capability("token", token),
        None => builder,
    };
    builder.build().expect("the settings are valid")
}

async fn assert_refused<A: Application>(cluster: &LocalCluster<A>, token: Option<&str>) {
    let refused = within(client(cluster, token).connect()).await.expect_err("it is refused");
    let Error::SessionRejected { reason, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(reason, RejectionReason::InvalidCapabilities);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_client_with_a_valid_token_gets_a_session_and_no_member_stores_the_token() {
    let configure = |config: &mut MemberConfig| secure(config, OLD);
    let cluster = LocalCluster::start_with(3, || Echo, configure).await.expect("it starts");
    within(cluster.caught_up()).await.expect("all run");
    for wrong in [None, Some("x"), Some("0123456789abcde"), Some(NEW)] {
        assert_refused(&cluster, wrong).await;
    }
    let known = client(&cluster, Some(OLD));
    within(known.connect()).await.expect("it has the token");
    assert_eq!(within(known.submit_command("x")).await.expect("it has a session"), "x");
    assert_eq!(files_with(&cluster, OLD), Vec::<PathBuf>::new());
    // What the log keeps of a client is found in this way.
    assert!(!files_with(&cluster, "kind").is_empty());
    cluster.stop().await;
}

/// Returns the files of all members, other than the token file, that hold this text.
fn files_with<A: Application>(cluster: &LocalCluster<A>, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for number in cluster.numbers() {
        let directory = cluster.directory(number).expect("it exists");
        for entry in fs::read_dir(&directory).expect("readable") {
            let file = entry.expect("readable").path();
            if file == path(&directory) || file.is_dir() {
                continue;
            }
            let bytes = fs::read(&file).expect("readable");
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(file);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_exchanged_while_sessions_go_on() {
    let configure = |config: &mut MemberConfig| secure(config, OLD);
    let cluster = LocalCluster::start_with(1, || Echo, configure).await.expect("it starts");
    within(cluster.caught_up()).await.expect("it runs");
    let member = cluster.member(1).expect("it runs");
    let file = path(&cluster.directory(1).expect("it exists"));
    let old = client(&cluster, Some(OLD));
    within(old.connect()).await.expect("it has the token");

    fs::write(&file, format!("{OLD}\n{NEW}\n")).expect("it can be written");
    assert_eq!(within(member.reload_client_tokens()).await.expect("valid"), Reload::Changed);
    for valid in [OLD, NEW] {
        within(client(&cluster, Some(valid)).connect()).await.expect("both are valid");
    }
    fs::write(&file, NEW).expect("it can be written");
    assert_eq!(within(member.reload_client_tokens()).await.expect("valid"), Reload::Changed);
    assert_refused(&cluster, Some(OLD)).await;
    assert_eq!(within(old.submit_command("y")).await.expect("its session goes on"), "y");

    fs::write(&file, "short").expect("it can be written");
    assert!(within(member.reload_client_tokens()).await.is_err());
    within(client(&cluster, Some(NEW)).connect()).await.expect("the tokens stay");
    let report = within(member.report()).await.expect("it runs");
    assert_eq!(Alarm::raised(&report).collect::<Vec<_>>(), [Alarm::SecretsUnusable]);
    assert!(report.secret_problems[0].contains("client.token must hold one or two tokens"));
    assert_eq!(member.figures().clients_unauthorised, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_tokens_are_taken_without_being_asked() {
    let often = |config: &mut MemberConfig| {
        secure(config, OLD);
        config.certificate_check = Duration::from_millis(20);
    };
    let cluster = LocalCluster::start_with(1, || Echo, often).await.expect("it starts");
    within(cluster.caught_up()).await.expect("it runs");
    assert_refused(&cluster, Some(NEW)).await;
    fs::write(path(&cluster.directory(1).expect("it exists")), NEW).expect("it can be written");
    let known = async { while client(&cluster, Some(NEW)).connect().await.is_err() {} };
    within(known).await;
    assert_refused(&cluster, Some(OLD)).await;
    cluster.stop().await;
}
