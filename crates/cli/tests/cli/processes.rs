//! Three members as three processes: hand-over, kill, and the commands of the README.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{net::TcpSocket, sync::watch, task::JoinSet};
use zraft_client::{Bytes, DisconnectReason, Event, RaftClient, Tls};

use crate::support::{PATIENCE, Running, run, stderr, stdout};

/// Keeps a port from other processes without listening on it. Returns the address.
///
/// Only Linux lets a member listen beside the reservation; elsewhere the port is free until the member takes it.
pub(crate) fn reserve() -> (Option<TcpSocket>, String) {
    reserve_at("127.0.0.1:0")
}

fn reserve_at(address: &str) -> (Option<TcpSocket>, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (cfg!(target_os = "linux").then_some(socket), address)
}

/// A cluster of three processes that a test can signal, kill and start again.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    pub(crate) endpoints: String,
    members: Vec<Option<Running>>,
    variables: Vec<(&'static str, &'static str)>,
    _ports: Vec<Option<TcpSocket>>,
}

/// Lets a busy machine cause no election.
pub(crate) const PATIENT: [(&str, &str); 3] = [
    ("ZRAFT_RAFT_HEARTBEAT_MILLIS", "100"),
    ("ZRAFT_RAFT_ELECTION_MIN_MILLIS", "2000"),
    ("ZRAFT_RAFT_ELECTION_MAX_MILLIS", "3000"),
];

impl Cluster {
    pub(crate) fn start(variables: &[(&'static str, &'static str)]) -> Self {
        Self::start_with(variables, &["--application", "append-log"])
    }

    /// Starts a cluster that `zraft init` has made with these options.
    pub(crate) fn start_with(variables: &[(&'static str, &'static str)], options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap().to_owned();
        let init = run(&[&["init", "--dir", &dir, "--base-port", "0"], options].concat());
        assert!(init.status.success(), "{}", stderr(&init));
        let endpoints = endpoints(&stdout(&init));
        let ports = (1..=3).flat_map(|member| {
            let file = folder.path().join(format!("node-{member}/node.toml"));
            let text = fs::read_to_string(file).unwrap();
            let addresses = text.lines().filter_map(|line| line.strip_prefix("address = "));
            addresses.map(|at| reserve_at(at.trim_matches('"')).0).collect::<Vec<_>>()
        });
        let ports = ports.collect();
        // The folder is deleted with the test, so a disk that fills up loses nothing that matters.
        let variables = [variables, &[("ZRAFT_STORAGE_RESERVE_BYTES", "1048576")]].concat();
        let mut cluster =
            Self { folder, endpoints, members: vec![None, None, None], variables, _ports: ports };
        for member in 0..3 {
            cluster.open(member);
        }
        cluster
    }

    pub(crate) fn open(&mut self, member: usize) {
        let directory = self.folder.path().join(format!("node-{}", member + 1));
        let arguments = ["server", directory.to_str().unwrap()];
        let mut running = Running::start_in(&arguments, &self.variables);
        let Some(line) = running.next_line() else { panic!("{}", running.end().1) };
        assert!(line.starts_with(&format!("member node-{} of", member + 1)), "{line}");
        self.members[member] = Some(running);
    }

    pub(crate) fn member(&mut self, member: usize) -> &mut Running {
        self.members[member].as_mut().unwrap()
    }

    /// Takes a member out, to end it.
    pub(crate) fn take(&mut self, member: usize) -> Running {
        self.members[member].take().unwrap()
    }

    /// Waits until a member says who leads, and returns the leader.
    pub(crate) fn leader_at(&mut self, member: usize) -> usize {
        loop {
            let line = self.member(member).complaint();
            if line.starts_with("zraft: leads ") {
                return member;
            }
            if let Some(line) = line.strip_prefix("zraft: follows node-") {
                return line[..1].parse::<usize>().unwrap() - 1;
            }
        }
    }

    /// Returns the token of clients, which a cluster with TLS has.
    pub(crate) fn token(&self) -> String {
        let token = fs::read_to_string(self.folder.path().join("client.token")).unwrap();
        token.trim_end().to_owned()
    }

    pub(crate) async fn client(&self) -> RaftClient {
        let mut builder =
            RaftClient::builder().capability("kind", "test").request_timeout(PATIENCE);
        for member in self.endpoints.split(',') {
            let (id, endpoint) = member.split_once('=').unwrap();
            builder = builder.member(id, endpoint);
        }
        if self.endpoints.contains("tls://") {
            let [ca, certificate, key] = ["client-ca.pem", "client.pem", "client.key"]
                .map(|file| self.folder.path().join(file));
            builder = builder.tls(Tls::new().ca_file(ca).certificate_files(certificate, key));
            builder = builder.capability("token", self.token());
        }
        let client = builder.build().unwrap();
        client.connect().await.unwrap();
        client
    }
}

fn endpoints(printed: &str) -> String {
    printed.lines().find_map(|line| line.strip_prefix("endpoints: ")).unwrap().to_owned()
}

/// Callers that append to the log, and what they were answered.
struct Load {
    callers: JoinSet<Vec<(Bytes, u64)>>,
    answered: watch::Receiver<u64>,
    count: u64,
}

impl Load {
    fn start(client: &RaftClient, count: u64) -> Self {
        let (sender, answered) = watch::channel(0);
        let next = Arc::new(AtomicU64::new(0));
        let mut callers = JoinSet::new();
        for _ in 0..16 {
            let (client, next, sender) = (client.clone(), next.clone(), sender.clone());
            callers.spawn(async move {
                let mut done = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return done;
                    }
                    let item = Bytes::from(format!("item {number}"));
                    let answer = client.submit_command(item.clone()).await.unwrap();
                    done.push((item, u64::from_be_bytes(answer[..].try_into().unwrap())));
                    sender.send_modify(|answered| *answered += 1);
                }
            });
        }
        Self { callers, answered, count }
    }

    /// Waits until this many commands are answered.
    async fn until(&mut self, count: u64) {
        let reached = self.answered.wait_for(|answered| *answered >= count);
        tokio::time::timeout(PATIENCE, reached).await.expect("commands are answered").unwrap();
    }

    /// Waits for the callers, and checks that the log holds each item once, at the position in its answer.
    async fn judge(mut self, client: &RaftClient) {
        let mut expected = vec![None; self.count as usize];
        while let Some(done) = self.callers.join_next().await {
            for (item, position) in done.unwrap() {
                assert_eq!(expected[position as usize].replace(item), None, "two at one position");
            }
        }
        let expected: Vec<_> = expected.into_iter().flatten().collect();
        assert_eq!(expected.len() as u64, self.count);
        // All of it fits into one answer.
        let query = [&0_u64.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat();
        let answer = client.submit_query(query).await.unwrap();
        let (length, mut rest) = answer.split_at(8);
        assert_eq!(length, self.count.to_be_bytes());
        let mut log = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (item, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            log.push(Bytes::copy_from_slice(item));
            rest = after;
        }
        assert_eq!(log, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_gets_sigterm_hands_over_and_no_command_is_lost_or_doubled() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0);
    let client = cluster.client().await;
    let mut events = client.events();
    let mut load = Load::start(&client, 600);
    load.until(150).await;
    let stopping = cluster.take(leader);
    let (status, reports) =
        tokio::task::spawn_blocking(move || stopping.terminated()).await.unwrap();
    assert_eq!(status, Some(143), "{reports}");
    assert!(reports.contains("zraft: hands leadership over"), "{reports}");
    load.until(450).await;
    cluster.open(leader);
    load.judge(&client).await;
    client.disconnect().await;
    let mut reasons = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::Disconnected { reason, .. } = event {
            reasons.push(reason);
            if reason == DisconnectReason::Closed {
                break;
            }
        }
    }
    // The client was told, and did not have to notice a lost connection.
    assert_eq!(reasons.first(), Some(&DisconnectReason::NotLeader), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_is_killed_loses_and_doubles_no_command() {
    kill_the_leader(Cluster::start(&[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_is_killed_in_a_cluster_with_tls_loses_and_doubles_no_command() {
    let options = ["--application", "append-log", "--tls"];
    kill_the_leader(Cluster::start_with(&[], &options)).await;
}

async fn kill_the_leader(mut cluster: Cluster) {
    let leader = cluster.leader_at(0);
    let client = cluster.client().await;
    let mut load = Load::start(&client, 600);
    load.until(150).await;
    let killed = cluster.take(leader);
    killed.send(Signal::KILL);
    let (status, _) = tokio::task::spawn_blocking(move || killed.end()).await.unwrap();
    assert_eq!(status, None, "it was killed");
    load.until(350).await;
    cluster.open(leader);
    load.judge(&client).await;
    client.disconnect().await;
}

#[test]
fn second_signal_ends_a_member_that_cannot_hand_over() {
    let mut cluster = Cluster::start(&PATIENT);
    let leader = cluster.leader_at(0);
    for other in (0..3).filter(|member| *member != leader) {
        cluster.member(other).send(Signal::STOP);
    }
    let leader = cluster.take(leader);
    // Both signals wait for it when it runs again. It handles SIGINT first, and would end with 130 if it waited for a
    // successor.
    for signal in [Signal::STOP, Signal::INT, Signal::TERM, Signal::CONT] {
        leader.send(signal);
    }
    let (status, reports) = leader.end();
    assert_eq!(status, Some(143), "{reports}");
}

#[test]
fn commands_of_the_readme_run_three_members() {
    const PREFIX: &str = "cargo run --release -- ";
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let section = readme.split("\n## Three members").nth(1).expect("the section");
    let block = section.split("```").nth(1).unwrap();
    let commands: Vec<_> = block.lines().filter_map(|line| line.strip_prefix(PREFIX)).collect();
    assert!(commands.len() <= 5, "{commands:?}");

    // In a folder for the test, at free ports.
    let folder = tempfile::tempdir().unwrap();
    let cluster = folder.path().join("cluster");
    let (mut endpoints_now, mut members, mut set) = (String::new(), Vec::new(), false);
    for command in commands {
        let command = command.replace("cluster", cluster.to_str().unwrap());
        let words: Vec<_> = command.split(' ').collect();
        match words[0] {
            "init" => {
                let output = run(&[&words[..], &["--base-port", "0"]].concat());
                assert!(output.status.success(), "{}", stderr(&output));
                endpoints_now = endpoints(&stdout(&output));
            }
            "server" => members.push(Running::start(&words)),
            "set" => {
                let at = words.iter().position(|word| *word == "-e").unwrap() + 1;
                let mut words = words.clone();
                assert_eq!(words[at].split(',').count(), members.len());
                words[at] = &endpoints_now;
                let output = run(&words);
                assert_eq!(stdout(&output), "OK\n", "{}", stderr(&output));
                set = true;
            }
            other => panic!("{other}"),
        }
    }
    assert!(set && members.len() == 3);
    for member in members {
        assert_eq!(member.terminate(), Some(143));
    }
}
