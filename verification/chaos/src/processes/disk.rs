//! Disks that fail: a preloaded library makes system calls of a member fail when it is told to.
//!
//! The library is libfiu 1.x, in Debian the package `fiu-utils`. It works with programs that are linked dynamically against glibc, as
//! usual builds are on Linux.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;
use zraft_cli::processes::Processes;

use super::{Cluster, ProcessFault};
use crate::failure::Failure;

/// The exit status of a member whose disk has failed.
const FAILED: i32 = 3;
/// A member notices at its next write, which is an acknowledgement at the latest.
const PATIENCE: Duration = Duration::from_secs(60);
/// The variable that names the pipes by which a process is told what shall fail.
const PIPES: &str = "FIU_CTRL_FIFO";

/// The library that makes disks fail.
#[derive(Clone, Debug)]
pub struct Layer {
    folder: PathBuf,
}

impl Layer {
    /// Returns the library in this folder, `/usr/lib/fiu` on Debian.
    ///
    /// # Errors
    /// [`Failure::Io`] if it is not there.
    pub fn find(folder: &Path) -> Result<Self, Failure> {
        let layer = Self { folder: folder.to_owned() };
        for library in layer.libraries() {
            if !Path::new(&library).is_file() {
                let text = format!(
                    "{library} is missing: install libfiu, in Debian the package fiu-utils"
                );
                return Err(Failure::Io(io::Error::new(io::ErrorKind::NotFound, text)));
            }
        }
        Ok(layer)
    }

    fn libraries(&self) -> [String; 2] {
        ["fiu_run_preload.so", "fiu_posix_preload.so"]
            .map(|name| self.folder.join(name).display().to_string())
    }

    pub(super) fn prepare(&self, processes: &mut Processes) {
        let pipes = processes.folder().join("fiu").display().to_string();
        let names: Vec<String> = processes.places().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            processes.add_variable(&name, "LD_PRELOAD", &self.libraries().join(" "));
            processes.add_variable(&name, PIPES, &pipes);
        }
    }
}

impl Cluster {
    /// Makes a system call of a member fail until the member ends by itself, as it has to.
    pub(super) async fn fail_disk(&self, member: &str, fault: ProcessFault) -> Result<(), Failure> {
        let (call, error) = match fault {
            ProcessFault::FailedSync => ("posix/io/sync/fdatasync", "5"),
            ProcessFault::FullDisk => ("posix/io/rw/pwrite", "28"),
            _ => ("posix/io/rw/pwrite", "5"),
        };
        let lost = || Failure::Member(format!("{member} does not run"));
        let process = self.processes.process_id(member).ok_or_else(lost)?;
        let ending = self.processes.expect_end(member, FAILED).map_err(Failure::Member)?;
        let told = Command::new("fiu-ctrl")
            .arg("-f")
            .arg(self.processes.folder().join("fiu"))
            .arg("-c")
            .arg(format!("enable name={call},failinfo={error}"))
            .arg(process.to_string())
            .output();
        let told = told.await?;
        if !told.status.success() {
            let problem = String::from_utf8_lossy(&told.stderr);
            return Err(Failure::Member(format!("fiu-ctrl fails: {}", problem.trim_end())));
        }
        ending.wait(PATIENCE).await.map_err(Failure::Member)
    }
}
