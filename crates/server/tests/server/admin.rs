//! The admin port, at members of a cluster.

mod access;
mod answers;
mod changes;

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use zraft_server::{AdminConfig, LocalCluster, MemberConfig};
use zraft_session::applications::AppendLog;

use crate::{
    http::{TOKEN, status},
    support::{patient, within},
};

/// A cluster with admin ports, whose members read their token from one file.
struct Cluster {
    members: LocalCluster<AppendLog>,
    token_file: PathBuf,
    _folder: TempDir,
}

impl Cluster {
    async fn start(count: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let token_file = folder.path().join("admin.token");
        fs::write(&token_file, TOKEN).expect("it is written");
        let file = token_file.clone();
        let configure = move |config: &mut MemberConfig| {
            patient(config);
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            config.admin = Some(AdminConfig { address, token_file: file.clone() });
        };
        let members = LocalCluster::start_with(count, AppendLog::new, configure).await;
        let members = members.expect("starts");
        within(members.leader()).await.expect("a leader");
        Self { members, token_file, _folder: folder }
    }

    fn admin(&self, number: u64) -> SocketAddr {
        let member = self.members.member(number).expect("it runs");
        member.admin_address().expect("it has an admin port")
    }

    async fn leader(&self) -> (u64, SocketAddr) {
        let leader = within(self.members.leader()).await.expect("a leader");
        (leader, self.admin(leader))
    }

    fn others(&self, number: u64) -> Vec<u64> {
        self.members.numbers().filter(|other| *other != number).collect()
    }

    /// Asks a member again and again until its status is as wanted.
    async fn until(&self, number: u64, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let address = self.admin(number);
        within(async {
            loop {
                let status = status(address).await;
                if wanted(&status) {
                    return status;
                }
            }
        })
        .await
    }
}

fn alarms(status: &Value) -> Vec<&str> {
    let alarms = status["alarms"].as_array().expect("a list");
    alarms.iter().filter_map(|alarm| alarm["code"].as_str()).collect()
}
