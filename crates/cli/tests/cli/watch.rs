//! `zraft watch` while leaders and sessions are lost.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use crate::support::{PATIENCE, Running, run};
use zraft_protocol::ClientMessageKind;
use zraft_test_server::{KillLoss, KvStore, MessageClass, TestCluster};

struct Setting {
    cluster: TestCluster,
    endpoints: String,
}

impl Setting {
    async fn new(members: usize) -> Self {
        let builder = TestCluster::builder().members(members).app(KvStore::default());
        let cluster = builder.start().await.unwrap();
        let members = cluster.endpoints();
        let members: Vec<_> =
            members.iter().map(|(id, address)| format!("{id}={address}")).collect();
        Self { cluster, endpoints: members.join(",") }
    }

    fn set(&self, value: &str) {
        let output = run(&["set", "-e", &self.endpoints, "key", value]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    /// Starts a watch that has printed the first value.
    fn watch(&self) -> Running {
        self.set("first");
        let mut watch = Running::start(&["watch", "-e", &self.endpoints, "key"]);
        assert_eq!(watch.line(), "watching key - press Ctrl+C to stop");
        ends(&mut watch, "seq=1 key=key value=first");
        watch
    }

    async fn sessions_are(&self, count: usize) {
        let there = self.cluster.wait_for(|engine| engine.sessions().count() == count);
        tokio::time::timeout(PATIENCE, there).await.unwrap();
    }
}

fn ends(watch: &mut Running, expected: &str) {
    let line = watch.line();
    assert!(line.ends_with(expected), "{line:?} instead of {expected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_survives_the_loss_of_the_leader_in_its_session() {
    let setting = Setting::new(3).await;
    let mut watch = setting.watch();
    let leader = setting.cluster.leader_elected().await;
    setting.cluster.kill(leader.as_str(), KillLoss::Unanswered).await.unwrap();
    let next = setting.cluster.leader_elected().await;
    setting.set("second");
    ends(&mut watch, "seq=2 key=key value=second");
    let lost = watch.complaint();
    assert!(lost.starts_with(&format!("zraft: lost the connection to {leader}: ")), "{lost}");
    let mut again = watch.complaint();
    while again.starts_with("zraft: still reconnecting") {
        again = watch.complaint();
    }
    assert_eq!(again, format!("zraft: connected to {next} again, in the same session"));
    setting.cluster.cut_connections(None).await.unwrap();
    setting.set("third");
    ends(&mut watch, "seq=3 key=key value=third");
}

/// Takes up to 16 s: the watch asks every 10 s, and leaves a member that does not answer within 6 s.
#[tokio::test(flavor = "multi_thread")]
async fn idle_watch_leaves_a_leader_that_is_cut_off_and_answers_keep_alives() {
    let setting = Setting::new(3).await;
    let mut watch = setting.watch();
    let cut_off = setting.cluster.leader_elected().await;
    setting.cluster.set_stale_leader(cut_off.as_str(), true).unwrap();
    let of_others = |member: &&str| !member.starts_with(&format!("{cut_off}="));
    let others: Vec<_> = setting.endpoints.split(',').filter(of_others).collect();
    let output = run(&["set", "-e", &others.join(","), "key", "second"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    ends(&mut watch, "seq=2 key=key value=second");
    let lost = watch.complaint();
    assert!(lost.starts_with(&format!("zraft: lost the connection to {cut_off}: ")), "{lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_starts_again_when_its_session_has_expired() {
    let setting = Setting::new(1).await;
    let mut watch = setting.watch();
    setting.sessions_are(1).await;
    for (present, value) in [("first", "second"), ("second", "third")] {
        let session = setting.cluster.sessions()[0].id.clone();
        setting.cluster.expire_session(&session).unwrap();
        // The new session prints the current value again and counts from 1.
        ends(&mut watch, &format!("seq=1 key=key value={present}"));
        assert_eq!(watch.complaint(), "zraft: the session expired");
        assert_eq!(watch.complaint(), "zraft: opening a new session");
        let line = watch.complaint();
        assert!(line.starts_with("zraft: connected to node-1 in a new session"), "{line}");
        setting.set(value);
        ends(&mut watch, &format!("seq=2 key=key value={value}"));
        setting.sessions_are(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_closes_the_session_of_a_watch_and_exits_130() {
    let setting = Setting::new(1).await;
    let watch = setting.watch();
    setting.sessions_are(1).await;
    assert_eq!(watch.interrupt(), Some(130));
    setting.sessions_are(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_watch_closes_its_session() {
    let setting = Setting::new(1).await;
    let watch = setting.watch();
    setting.sessions_are(1).await;
    assert_eq!(watch.terminate(), Some(143));
    setting.sessions_are(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_leave_no_session_behind() {
    let setting = Setting::new(3).await;
    setting.set("value");
    assert_eq!(run(&["get", "-e", &setting.endpoints, "key"]).status.code(), Some(0));
    assert_eq!(run(&["ping", "-e", &setting.endpoints]).status.code(), Some(0));
    setting.sessions_are(0).await;
}

/// A program that reads the first lines only, such as `head`, closes the pipe.
#[tokio::test(flavor = "multi_thread")]
async fn watch_whose_lines_no_one_reads_closes_its_session() {
    let setting = Setting::new(1).await;
    setting.set("first");
    let program = env!("CARGO_BIN_EXE_zraft");
    let script = format!("'{program}' watch -e '{}' key | head -n 2", setting.endpoints);
    let mut watch = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    // It notices at the first line that it writes after the end of `head`.
    while watch.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "the watch goes on");
        setting.set("next");
    }
    setting.sessions_are(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn command_without_an_answer_exits_2() {
    let setting = Setting::new(1).await;
    // The cluster opens sessions and drops queries.
    setting.cluster.drop_messages(MessageClass::FromClient(ClientMessageKind::Query), None);
    let output = run(&["get", "-e", &setting.endpoints, "--timeout", "1", "key"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(crate::support::stderr(&output).contains("was not answered in time"), "{output:?}");
}
