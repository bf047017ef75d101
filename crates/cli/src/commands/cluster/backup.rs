//! `zraft cluster backup`: the state of the cluster in one file.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;
use zraft_cli::cluster::{Answer, Failure};
use zraft_server::{Backup, check_backup};

use super::{Place, has_snapshot};
use crate::{commands::json::Json, exit::Exit};

/// Write the state of the cluster to a file, while the cluster serves
///
/// Asks one member for a snapshot of what it has applied, receives the file, and checks its hash. By default this is the follower
/// that is furthest, which spares the leader. Only the owner of the file may read it: it holds all data and all session
/// ids. zraft cluster restore makes a new cluster from it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// File for the backup, which must not exist
    file: PathBuf,
    /// Member to ask
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { file, member, json, place } = arguments;
    let partial = Partial::create(file)?;
    let cluster = place.cluster()?;
    let answers = cluster.ask_all().await;
    let Some((admin, name)) = choose(&answers, member.as_deref()) else {
        return Err(Failure::NoAnswer(match member {
            Some(member) => {
                format!("{member} does not answer: give the address of its admin port with --admin")
            }
            None => match answers.iter().find_map(|answer| answer.status.as_ref().err()) {
                Some(error) => format!("no member answers: {error}"),
                None => "no member answers".to_owned(),
            },
        }));
    };
    let other = |error: &dyn std::fmt::Display| Failure::Other(format!("{name}: {error}"));
    let asked = admin.post("/v1/snapshot", &json!({})).await.map_err(|error| other(&error))?;
    let applied = asked["applied"].as_u64();
    has_snapshot(&cluster, &admin, &name, applied).await?;
    admin.backup(&partial.file).await.map_err(|error| other(&error))?;
    let Backup { index, term, bytes, .. } = partial.complete(applied)?;
    let place = file.display();
    let object = json!({ "member": name, "index": index, "term": term, "bytes": bytes, "file": place.to_string() });
    let text =
        format!("backed up {name} at entry {index} of term {term}: {bytes} bytes in {place}");
    json.print(&object, &text);
    Ok(Exit::Success)
}

/// Returns the member to ask, with its name: the one that is wanted, or the follower that has applied most, or the leader.
fn choose(answers: &[Answer], wanted: Option<&str>) -> Option<(zraft_cli::admin::Admin, String)> {
    let known = answers.iter().filter_map(|answer| {
        let status = answer.status.as_ref().ok()?;
        let name = status["member"].as_str()?.to_owned();
        let rank = (status["serving"] != true, status["log"]["applied"].as_u64());
        Some((rank, answer.admin.clone(), name))
    });
    let fits = known.filter(|(.., name)| wanted.is_none_or(|wanted| wanted == name));
    fits.max_by_key(|(rank, ..)| *rank).map(|(_, admin, name)| (admin, name))
}

/// A file that is removed unless it becomes complete.
struct Partial<'f> {
    path: PathBuf,
    wanted: &'f Path,
    file: File,
}

impl<'f> Partial<'f> {
    /// Makes the file, which only its owner may read.
    fn create(wanted: &'f Path) -> Result<Self, Failure> {
        if wanted.symlink_metadata().is_ok() {
            return Err(Failure::Input(format!(
                "{} exists: choose another file for the backup",
                wanted.display()
            )));
        }
        let mut path = wanted.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| {
            let again = match error.kind() {
                io::ErrorKind::AlreadyExists => "; delete it if no other backup is running",
                _ => "",
            };
            Failure::Input(format!("{}: {error}{again}", path.display()))
        })?;
        Ok(Self { path, wanted, file })
    }

    /// Checks the hash, makes the file durable, and gives it its name.
    fn complete(&self, applied: Option<u64>) -> Result<Backup, Failure> {
        let failed = |error: io::Error| Failure::Other(format!("{}: {error}", self.path.display()));
        self.file.sync_all().map_err(failed)?;
        let backup = check_backup(&self.path).map_err(|error| Failure::Other(error.to_string()))?;
        if Some(backup.index) < applied {
            return Err(Failure::Other(format!(
                "the backup ends at entry {}, before what was applied: try again",
                backup.index
            )));
        }
        fs::rename(&self.path, self.wanted).map_err(failed)?;
        #[cfg(unix)]
        {
            let parent = self.wanted.parent().filter(|parent| *parent != Path::new(""));
            let folder = File::open(parent.unwrap_or(Path::new(".")));
            folder.and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(backup)
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        // It has another name once it is complete.
        let _ = fs::remove_file(&self.path);
    }
}
