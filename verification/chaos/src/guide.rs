//! The cluster that the programs of the README and the user guide connect to when they run as documentation tests.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{OnceLock, mpsc},
    thread,
};

use zraft_protocol::MemberId;
use zraft_test_server::TestCluster;

/// Returns the endpoint of member `number` of a cluster like that of `zraft dev --members 3`, on free ports.
///
/// The first call starts the cluster on its own thread; it runs until the process ends. Member 1 leads at first.
///
/// # Panics
/// If the cluster cannot be started, or has no such member.
pub fn endpoint(number: usize) -> String {
    static ENDPOINTS: OnceLock<BTreeMap<MemberId, String>> = OnceLock::new();
    let endpoints = ENDPOINTS.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || serve(&sender));
        receiver.recv().expect("the cluster starts")
    });
    endpoints.values().nth(number - 1).expect("a member of three").clone()
}

fn serve(started: &mpsc::Sender<BTreeMap<MemberId, String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let cluster = TestCluster::builder().members(3).start().await.expect("free ports");
        cluster.leader_elected().await;
        started.send(cluster.endpoints()).expect("the caller waits");
        pending::<()>().await;
    });
}
