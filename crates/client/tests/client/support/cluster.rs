//! Starts clusters and clients of them. `verification/suites` puts replicated members in the place of the embedded cluster.

use zraft_client::{ClientBuilder, Events, RaftClient};
use zraft_test_server::{AppendLog, Application, ClusterBuilder, TestCluster};

use super::{builder, within};

/// Starts a cluster whose application appends commands to a log.
pub(crate) async fn log_cluster(members: usize) -> TestCluster {
    cluster(members, AppendLog::new()).await
}

pub(crate) async fn cluster(members: usize, app: impl Application + Clone + Sync) -> TestCluster {
    start(TestCluster::builder().members(members).app(app)).await
}

pub(crate) async fn start(settings: ClusterBuilder) -> TestCluster {
    let cluster = settings.start().await.unwrap();
    within(cluster.leader_elected()).await;
    cluster
}

/// Returns the settings of a client of all members.
pub(crate) fn settings(cluster: &TestCluster) -> ClientBuilder {
    members(builder(), cluster)
}

/// Adds all members.
pub(crate) fn members(settings: ClientBuilder, cluster: &TestCluster) -> ClientBuilder {
    cluster
        .endpoints()
        .into_iter()
        .fold(settings, |settings, (id, endpoint)| settings.member(id.as_str(), endpoint))
}

/// Returns a connected client and its events since before it connected.
pub(crate) async fn client_of(settings: ClientBuilder) -> (RaftClient, Events) {
    let client = settings.build().unwrap();
    let events = client.events();
    within(client.connect()).await.unwrap();
    (client, events)
}

/// Returns the payloads that the cluster executed, in order.
pub(crate) fn executed(cluster: &TestCluster) -> Vec<Vec<u8>> {
    cluster.journal().iter().map(|execution| execution.payload.to_vec()).collect()
}
