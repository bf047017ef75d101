//! Disks that fail or lose what was not synced, and clocks that are set: libraries that are preloaded into a member.
//!
//! Disks fail by libfiu 1.x, in Debian the package `fiu-utils`. They lose writes, and clocks are set, by this project's own library, whose
//! source is `layer/layer.c`. Both work with programs that are linked dynamically against glibc, as usual builds are on Linux.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use fastrand::Rng;
use tokio::process::Command;
use zraft_cli::processes::Processes;

use super::{Cluster, ProcessFault};
use crate::{
    failure::Failure,
    journal::{Fate, lose_power},
};

/// The exit status of a member whose disk has failed.
const FAILED: i32 = 3;
/// A member notices at its next write, which is an acknowledgement at the latest.
const PATIENCE: Duration = Duration::from_secs(60);
/// The variable that names the pipes by which a process is told what shall fail.
const PIPES: &str = "FIU_CTRL_FIFO";
/// The variables of the own library.
const LOG: &str = "LAYER_FILE";
const JOURNAL: &str = "LAYER_JOURNAL";
const CLOCK: &str = "LAYER_CLOCK";
const LIES: &str = "LAYER_LIES";

/// The libraries between members and their system.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// libfiu's folder.
    fiu: Option<PathBuf>,
    /// The library made of `layer.c`.
    own: Option<PathBuf>,
    /// Disks say that they have synced, and have not.
    lies: bool,
}

impl Layer {
    /// Returns libfiu in this folder, `/usr/lib/fiu` on Debian, and the library that `layer/build` has made.
    ///
    /// # Errors
    /// [`Failure::Io`] if one of them is not there.
    pub fn find(fiu: Option<&Path>, own: Option<&Path>) -> Result<Self, Failure> {
        let absolute = |path: &Path| std::path::absolute(path);
        let layer = Self {
            fiu: fiu.map(absolute).transpose()?,
            own: own.map(absolute).transpose()?,
            lies: false,
        };
        for library in layer.libraries() {
            if !library.is_file() {
                let remedy = if layer.own.as_ref() == Some(&library) {
                    "run verification/chaos/layer/build"
                } else {
                    "install libfiu, in Debian the package fiu-utils"
                };
                let text = format!("{} is missing: {remedy}", library.display());
                return Err(Failure::Io(io::Error::new(io::ErrorKind::NotFound, text)));
            }
        }
        Ok(layer)
    }

    /// Makes disks say that they have synced when they have not, so that a loss of power loses what was answered.
    #[must_use]
    pub fn with_lies(self, lies: bool) -> Self {
        Self { lies, ..self }
    }

    /// Returns true if disks can fail.
    pub(super) fn fails_disks(&self) -> bool {
        self.fiu.is_some()
    }

    /// Returns true if disks can lose writes, and clocks can be set.
    pub(super) fn loses_power(&self) -> bool {
        self.own.is_some()
    }

    /// Returns the libraries in the order in which a call passes them.
    fn libraries(&self) -> Vec<PathBuf> {
        let of_fiu = ["fiu_run_preload.so", "fiu_posix_preload.so"];
        let fiu = self.fiu.iter().flat_map(|folder| of_fiu.map(|name| folder.join(name)));
        fiu.chain(self.own.clone()).collect()
    }

    pub(super) fn prepare(&self, processes: &mut Processes) -> Result<(), Failure> {
        let libraries: Vec<String> =
            self.libraries().iter().map(|library| library.display().to_string()).collect();
        if libraries.is_empty() {
            return Ok(());
        }
        let pipes = processes.folder().join("fiu").display().to_string();
        let names: Vec<String> = processes.places().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            processes.add_variable(&name, "LD_PRELOAD", &libraries.join(" "));
            processes.add_variable(&name, PIPES, &pipes);
            if self.loses_power() {
                let files = Files::of(processes, &name)?;
                fs::write(&files.clock, 0i64.to_ne_bytes())?;
                if self.lies {
                    processes.add_variable(&name, LIES, "1");
                }
                for (variable, file) in
                    [(LOG, &files.log), (JOURNAL, &files.journal), (CLOCK, &files.clock)]
                {
                    processes.add_variable(&name, variable, &file.display().to_string());
                }
            }
        }
        Ok(())
    }
}

/// The files by which the library and this program talk about a member.
struct Files {
    log: PathBuf,
    journal: PathBuf,
    clock: PathBuf,
}

impl Files {
    fn of(processes: &Processes, member: &str) -> Result<Self, Failure> {
        // The library compares with the path that the system knows.
        let folder = processes.folder().canonicalize()?;
        Ok(Self {
            log: folder.join(member).join("log.redb"),
            journal: folder.join(format!("{member}.journal")),
            clock: folder.join(format!("{member}.clock")),
        })
    }
}

impl Cluster {
    /// Kills members at the same time, and takes back writes that they have not synced: all, or some, or parts of them.
    pub(super) fn lose_power(&self, members: &[&str], rng: &mut Rng) -> Result<(), Failure> {
        members.iter().for_each(|member| self.processes.kill(member));
        for member in members {
            let files = Files::of(&self.processes, member)?;
            // A disk that lies keeps no later write than a lost one: its file could not be opened, which every run notices.
            let fate = || if self.layer.lies { Fate::Lost } else { Fate::draw(rng) };
            let lost = lose_power(&files.log, &files.journal, fate)?;
            self.lost_writes.fetch_add(lost as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns how many writes were not synced when members lost power. Some of them were kept.
    #[must_use]
    pub fn lost_writes(&self) -> u64 {
        self.lost_writes.load(Ordering::Relaxed)
    }

    /// Sets a member's wall clock to this many milliseconds ahead of the system's.
    pub(super) fn set_clock(&self, member: &str, millis: i64) -> Result<(), Failure> {
        let files = Files::of(&self.processes, member)?;
        // In one write into the file that the member has mapped.
        let mut file = File::options().write(true).open(&files.clock)?;
        Ok(file.write_all(&(millis * 1_000_000).to_ne_bytes())?)
    }

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
