//! `zraft cluster restore`: a new cluster from a backup.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use zraft_cli::cluster::Failure;
use zraft_server::{BackupState, RecoverError, Recovered};
use zraft_session::applications::{AppendLog, KvStore};

use crate::{
    commands::{
        applications::Application,
        init::{Refused, Shape, make},
    },
    exit::Exit,
};

/// Make the data directories of a new cluster on this machine, with the state in a backup
///
/// Does what zraft init does, and gives each member the state in FILE, which zraft cluster backup has written. The file is checked
/// by its hash first. The new cluster has a new id: members of the old one are refused. Clients continue their
/// sessions at the new endpoints. Commands that were answered after the backup are not in it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The backup
    #[arg(value_name = "FILE")]
    backup: PathBuf,
    #[command(flatten)]
    shape: Shape,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { backup, shape } = arguments;
    let restored = match shape.application {
        Application::KvStore => restore::<KvStore>(backup, shape),
        Application::AppendLog => restore::<AppendLog>(backup, shape),
    };
    match restored {
        Ok(()) => Ok(Exit::Success),
        Err(Refused(Exit::BadInput, problem)) => Err(Failure::Input(problem)),
        Err(Refused(_, problem)) => Err(Failure::Other(problem)),
    }
}

fn restore<A: zraft_session::Application>(backup: &Path, shape: &Shape) -> Result<(), Refused> {
    // Before a folder is made.
    let state = BackupState::<A>::read(backup).map_err(refused)?;
    make(shape, |cluster, members| {
        let recovered = state.create_cluster(cluster, members).map_err(refused)?;
        let Recovered { last_index, last_term, sessions, .. } = recovered;
        let text = format!(
            "restored the state at entry {last_index} of term {last_term}, with {sessions} sessions"
        );
        let object = json!({ "index": last_index, "term": last_term, "sessions": sessions });
        Ok(Some((text, object)))
    })
}

fn refused(error: RecoverError) -> Refused {
    match error {
        RecoverError::Create(_)
        | RecoverError::Damaged { .. }
        | RecoverError::Read { .. }
        | RecoverError::Restore { .. } => Refused::input(error),
        _ => Refused::failure(error),
    }
}
