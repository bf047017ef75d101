//! `zraft cluster check`: members that have one history, and members that do not.

use std::{
    fs,
    net::SocketAddr,
    process::Output,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use zraft_client::RaftClient;
use zraft_server::{AdminConfig, LocalCluster, MemberConfig, Timing};
use zraft_session::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    SnapshotInput,
};

use crate::support::{PATIENCE, run, stderr, stdout};

/// Answers every command with its payload. An application that is not deterministic answers the command `clock` by itself.
struct Clock {
    is_deterministic: bool,
}

impl Application for Clock {
    fn apply(&mut self, _: &mut Context<'_>, command: Command<'_>) -> Result<Payload, Rejected> {
        match &command.payload()[..] {
            b"clock" if !self.is_deterministic => Ok(Payload::new("late").unwrap()),
            _ => Ok(command.payload().clone()),
        }
    }

    fn query(&self, _: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        Ok(query.clone())
    }

    fn snapshot(&self) -> AppSnapshot {
        AppSnapshot::new(|_| Ok(()))
    }

    fn restore(_: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        Ok(Self { is_deterministic: true })
    }
}

struct Cluster {
    members: LocalCluster<Clock>,
    client: RaftClient,
    folder: TempDir,
}

impl Cluster {
    /// Starts three members. The application of this one is not deterministic.
    async fn start(odd: Option<u64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        fs::write(&token_file, "0123456789abcdef").unwrap();
        let configure = move |config: &mut MemberConfig| {
            // Lets a busy machine cause no election.
            config.timing = Timing {
                heartbeat: Duration::from_millis(100),
                election_min: Duration::from_secs(2),
                election_max: Duration::from_secs(3),
            };
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            config.admin = Some(AdminConfig { address, token_file: token_file.clone() });
        };
        let started = AtomicU64::new(0);
        let application = move || {
            let number = started.fetch_add(1, Ordering::Relaxed) + 1;
            Clock { is_deterministic: odd != Some(number) }
        };
        let members = LocalCluster::start_with(3, application, configure).await.unwrap();
        members.leader().await.unwrap();
        let mut builder =
            RaftClient::builder().capability("kind", "test").request_timeout(PATIENCE);
        for (member, endpoint) in members.endpoints() {
            builder = builder.member(member.as_str(), endpoint);
        }
        let client = builder.build().unwrap();
        client.connect().await.unwrap();
        Self { members, client, folder }
    }

    fn admin(&self, numbers: &[u64]) -> String {
        let address = |number: &u64| {
            self.members.member(*number).unwrap().admin_address().unwrap().to_string()
        };
        numbers.iter().map(address).collect::<Vec<_>>().join(",")
    }

    /// Runs `zraft cluster check` on the members with these admin ports.
    async fn check(&self, admin: &str, more: &[&str]) -> Output {
        let folder = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let (nowhere, token) = (folder("nowhere"), folder("token"));
        let words =
            ["cluster", "check", "--dir", &nowhere, "--admin", admin, "--token-file", &token];
        let words: Vec<_> = words.iter().chain(more).map(|word| (*word).to_owned()).collect();
        let check = move || run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(check).await.unwrap()
    }

    async fn stop(self) {
        self.client.disconnect().await;
        self.members.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_have_the_same_history_while_commands_run() {
    let cluster = Cluster::start(None).await;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = cluster.client.clone();
            tokio::spawn(async move {
                loop {
                    client.submit_command("clock").await.unwrap();
                }
            })
        })
        .collect();
    let admin = cluster.admin(&[1, 2, 3]);
    let mut before = 0;
    for _ in 0..5 {
        // All members have an entry then that none had when they were compared before.
        cluster.client.submit_command("clock").await.unwrap();
        cluster.members.caught_up().await.unwrap();
        let output = cluster.check(&admin, &["--json"]).await;
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(report["equal"], true);
        assert_eq!(report["agreeing"], serde_json::json!(["node-1", "node-2", "node-3"]));
        let index = report["index"].as_u64().unwrap();
        assert!(index > before, "the comparison follows the commands: {index} after {before}");
        before = index;
    }
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    let output = cluster.check(&admin, &[]).await;
    let text = stdout(&output);
    assert!(text.starts_with("the same history up to entry ") && text.contains("node-1, node-2"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn member_whose_application_is_not_deterministic_is_named_with_the_entry() {
    let cluster = Cluster::start(Some(2)).await;
    for _ in 0..20 {
        cluster.client.submit_command("same").await.unwrap();
    }
    let admin = cluster.admin(&[1, 2, 3]);
    let output = cluster.check(&admin, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));

    cluster.members.caught_up().await.unwrap();
    let before = cluster.members.member(1).unwrap().status().applied;
    cluster.client.submit_command("clock").await.unwrap();
    cluster.members.caught_up().await.unwrap();
    let after = cluster.members.member(1).unwrap().status().applied;
    for _ in 0..20 {
        cluster.client.submit_command("same").await.unwrap();
    }
    cluster.members.caught_up().await.unwrap();

    let output = cluster.check(&admin, &["--json"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["equal"], false);
    assert_eq!(report["agreeing"], serde_json::json!(["node-1", "node-3"]));
    let seen = &report["divergences"][0];
    assert_eq!((&seen["member"], &seen["exact"]), (&"node-2".into(), &true.into()), "{report}");
    // An acknowledgement can be an entry too.
    let entry = seen["differs"].as_u64().unwrap();
    assert!((before + 1..=after).contains(&entry), "{report}: {before} to {after}");

    let text = cluster.check(&admin, &[]).await;
    let expected = format!(
        "node-2 differs from node-1, node-3: the first entry with another effect is {entry}\n"
    );
    assert!(stdout(&text).ends_with(&expected), "{}", stdout(&text));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn member_that_begins_again_at_its_snapshot_is_compared_from_there_on() {
    let mut cluster = Cluster::start(None).await;
    for _ in 0..20 {
        cluster.client.submit_command("same").await.unwrap();
    }
    let leader = cluster.members.caught_up().await.unwrap();
    let follower = leader % 3 + 1;
    let member = cluster.members.member(follower).unwrap();
    member.take_snapshot().await;
    let snapshot = loop {
        if let Some(snapshot) = member.report().await.unwrap().snapshot {
            break snapshot.meta.index;
        }
    };
    cluster.client.submit_command("same").await.unwrap();
    cluster.members.kill(follower).await.unwrap();
    cluster.members.reopen(follower).await.unwrap();
    cluster.members.caught_up().await.unwrap();
    let output = cluster.check(&cluster.admin(&[1, 2, 3]), &["--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(report["index"].as_u64() > Some(snapshot), "{report}: the snapshot is at {snapshot}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn comparison_without_one_of_the_members_has_another_exit_status() {
    let mut cluster = Cluster::start(None).await;
    let output = cluster.check(&cluster.admin(&[1, 2]), &[]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(stdout(&output).starts_with("the same history up to entry "), "{}", stdout(&output));
    assert!(stderr(&output).contains("node-3 was not asked"), "{}", stderr(&output));

    let admin = cluster.admin(&[1, 2, 3]);
    cluster.members.kill(3).await.unwrap();
    let output = cluster.check(&admin, &["--timeout", "1"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(stdout(&output).starts_with("the same history up to entry "), "{}", stdout(&output));
    assert!(stderr(&output).contains("no answer: 127.0.0.1:"), "{}", stderr(&output));
    cluster.stop().await;
}
