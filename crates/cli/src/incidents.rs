//! Prints the incidents of an embedded cluster as lines of text.

use zraft_test_server::Incidents;

/// Calls `line` with the text of each incident until the cluster stops, and with a note if incidents were dropped.
pub async fn follow(mut incidents: Incidents, mut line: impl FnMut(&str)) {
    let mut dropped = 0;
    while let Some(incident) = incidents.next().await {
        let more = incidents.dropped() - dropped;
        if more > 0 {
            dropped += more;
            line(&format!("{more} incidents were dropped because they came too fast"));
        }
        line(&incident.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use zraft_client::RaftClient;
    use zraft_test_server::{KvStore, TestCluster};

    #[tokio::test]
    async fn each_incident_is_one_line() {
        let cluster = TestCluster::builder().members(3).app(KvStore::default());
        let cluster = cluster.start().await.unwrap();
        let incidents = cluster.incidents();
        let members = cluster.endpoints().into_iter();
        let client = members
            .fold(RaftClient::builder().capability("protocol", "kvstore"), |all, (id, address)| {
                all.member(id.as_str(), address)
            })
            .build()
            .unwrap();
        client.connect().await.unwrap();
        // The client gives the command up after members have closed several connections because of it.
        client.submit_command("not of the store").await.unwrap_err();
        cluster.move_leadership("node-3").await.unwrap();
        let session = cluster.sessions()[0].id.clone();
        cluster.expire_session(&session).unwrap();
        cluster.wait_for(|engine| engine.sessions().count() == 0).await;
        cluster.shutdown().await;
        let mut lines = Vec::new();
        follow(incidents, |line| lines.push(line.to_owned())).await;
        let refused = lines[0].split_once(" from 127.0.0.1:").unwrap();
        assert_eq!(refused.0, "node-1 closed a connection");
        let why = "(session 1): command 1 was refused: the application cannot decode this payload";
        assert!(refused.1.ends_with(why), "{lines:?}");
        assert_eq!(
            lines[lines.len() - 3..],
            ["node-1 does not lead any more", "node-3 leads now", "session 1 expired"]
        );
    }

    #[tokio::test]
    async fn dropped_incidents_are_counted() {
        let cluster = TestCluster::builder().members(3).start().await.unwrap();
        cluster.set_election_pause(Duration::ZERO);
        let incidents = cluster.incidents();
        for _ in 0..150 {
            cluster.step_down(None).unwrap();
            cluster.leader_elected().await;
        }
        cluster.shutdown().await;
        let mut lines = Vec::new();
        follow(incidents, |line| lines.push(line.to_owned())).await;
        assert_eq!(lines[0], "44 incidents were dropped because they came too fast");
        assert_eq!(lines.len(), 1 + 256);
    }
}
