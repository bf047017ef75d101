//! `zraft cluster force-new`: the last resort after the loss of a majority.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use zraft_cli::cluster::{Failure, Found};
use zraft_server::{
    Forced, NewMember, RaftId, RecoverError, Recovered, ServerConfig, StartError, StoreError,
    TokenFile, force_new,
};
use zraft_session::applications::{AppendLog, KvStore};

use super::secrets::{Needs, Secrets, remark};
use crate::{
    commands::{applications::Application, init::quoted, json::Json},
    exit::{Exit, complain},
};

/// Make a new cluster from the folder of one member, after a majority was lost for ever
///
/// This is the last resort, for a cluster that has lost a majority of its voters with their disks. It can lose commands that
/// were answered, and it can run commands that failed. If enough members can come back, start them instead.
///
/// Reads the state and the log in FROM, whose member must not run, and writes them to TO as a new cluster with one member. FROM
/// stays as it is. Of several members that are left, take the one for which this command reports the highest term, and
/// then the highest entry. Clients continue their sessions at the new cluster's address. Add further members by
/// zraft cluster add. Members of the old cluster that come back are refused.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder of the member that is left
    from: PathBuf,
    /// Folder of the new cluster's member; missing or empty
    to: PathBuf,
    /// Confirm that answered commands may be lost
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    json: Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { from, to, accept_loss, secrets, json } = arguments;
    if !accept_loss {
        return Err(Failure::Input(
            "answered commands can be lost, and failed ones can run: start the other members if they can come back, or confirm with --accept-loss"
                .to_owned(),
        ));
    }
    let input = |error: &dyn std::fmt::Display| Failure::Input(error.to_string());
    let mut config = ServerConfig::default();
    config.read_directory(from).map_err(|error| input(&error))?;
    let application =
        Application::named(config.application.as_deref()).map_err(|error| input(&error))?;
    let Some(name) = config.name.clone() else {
        return Err(Failure::Input(format!(
            "{} names no member: set name in its {}",
            from.display(),
            ServerConfig::FILE
        )));
    };
    let old = Found { directory: from.clone(), config: config.clone() };
    // The new cluster has a new id, which the certificate of the old one does not name.
    let needs = secrets.needs(&mut config, Some(&old.config), false)?;
    let peer_address = config.peer_address.to_string();
    let member = NewMember { name, directory: to.clone(), peer_address };
    complain(&format!(
        "warning: making a new cluster from {}: answered commands can be lost, and failed ones can run",
        from.display()
    ));
    let forced = match application {
        Application::KvStore => force_new(from, &member, KvStore::new()),
        Application::AppendLog => force_new(from, &member, AppendLog::new()),
    };
    let forced = forced.map_err(failure)?;
    let missing = configure(&mut config, &forced, &old, to, &needs)?;
    let Forced { old_cluster, old_member, cluster, recovered, .. } = &forced;
    let Recovered { last_index, last_term, sessions, .. } = recovered;
    let text = [
        Some(format!(
            "made cluster {cluster} from {old_member} of cluster {old_cluster}, up to entry {last_index} of term {last_term}, with {sessions} sessions"
        )),
        Some(format!("run its only member, {}: zraft server {}", member.name, quoted(to))),
        remark(to, &missing),
        Some(format!(
            "delete the folders of the old cluster, {} included, once the data is right",
            from.display()
        )),
    ];
    let text: Vec<_> = text.into_iter().flatten().collect();
    let object = json!({
        "cluster": cluster.to_string(),
        "member": member.name.to_string(),
        "directory": to.display().to_string(),
        "oldCluster": old_cluster.to_string(),
        "oldMember": old_member.to_string(),
        "index": last_index,
        "term": last_term,
        "sessions": sessions,
        "missing": missing,
    });
    json.print(&object, &text.join("\n"));
    Ok(Exit::Success)
}

/// Writes the configuration, the tokens and the certificates into the new folder. Returns what the operator must add to it.
fn configure(
    config: &mut ServerConfig,
    forced: &Forced,
    old: &Found,
    to: &Path,
    needs: &Needs,
) -> Result<Vec<String>, Failure> {
    let from = &old.directory;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Other(format!(
            "the cluster was made, and its configuration was not: {error}; copy {} from the old folder, and change its cluster to {}",
            ServerConfig::FILE,
            forced.cluster
        ))
    };
    config.set("cluster", &forced.cluster.to_string()).map_err(|error| failed(&error))?;
    config.create_in(to).map_err(|error| failed(&error))?;
    if config.admin_address.is_some() && config.admin_token_file.is_none() {
        let new = TokenFile::new(config.token_file(to));
        match TokenFile::new(config.token_file(from)).read() {
            // While the token is changed, both are valid.
            Ok(tokens) => new.create_all(&tokens),
            Err(_) => new.create_if_missing(),
        }
        .map_err(|error| failed(&error))?;
    }
    let id = RaftId::new(1).ok_or_else(|| failed(&"it has no number"))?;
    needs.make(to, (forced.cluster, id), Some(old)).map_err(|error| failed(&error))
}

fn failure(error: RecoverError) -> Failure {
    let text = error.to_string();
    match error {
        RecoverError::Create(_)
        | RecoverError::Open(StartError::Store(
            StoreError::Empty { .. } | StoreError::InUse { .. },
        )) => Failure::Input(text),
        _ => Failure::Other(text),
    }
}
