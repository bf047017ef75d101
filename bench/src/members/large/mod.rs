//! A large state in real time: its snapshot, its transfer to a new member, and the restore, while the leader serves.
//!
//! Each member has threads as a server has: one for the replica, one for the log, one for the state machine, one for
//! snapshot files. The members exchange encoded frames through channels. The state is a key-value store with values of 1 KiB.

mod client;
mod member;
mod memory;
mod prepare;
mod threads;

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::{Value, json};
use zraft_session::StateHash;

use client::Client;
use member::{Mark, Member};
pub use memory::Memory;
pub use prepare::prepare;

/// Measures snapshot, transfer and restore of a large state, in real time
///
/// Needs about four times the size of the state on the disk, and as much memory. Prints one line of JSON.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// MiB of keys and values.
    #[arg(long, default_value_t = 1024)]
    pub mib: u64,
    /// The folder for the members' directories. It is removed at the end.
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// Only write the leader's directory.
    #[arg(long, hide = true)]
    pub prepare: bool,
}

/// Commands by which a quiet time is measured, to compare the others with it.
const QUIET: usize = 2000;

/// Runs the measurement and prints it.
///
/// # Errors
/// If a member fails, or does not get so far within ten minutes.
pub fn run(arguments: &Arguments) -> io::Result<()> {
    let folder = arguments.folder.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("zraft-large-{}", std::process::id()))
    });
    if arguments.prepare {
        return prepare::prepare(&folder, arguments.mib).map(|_| ());
    }
    std::fs::create_dir_all(&folder)?;
    // In another process, so that its memory does not count.
    let prepared = std::process::Command::new(std::env::current_exe()?)
        .args(["large", "--prepare", "--mib", &arguments.mib.to_string(), "--folder"])
        .arg(&folder)
        .status()?;
    let measured = if prepared.success() {
        measure(&folder)
    } else {
        Err(io::Error::other("the leader's directory could not be written"))
    };
    let removed = std::fs::remove_dir_all(&folder);
    let figures = measured?.json(arguments.mib);
    removed?;
    io::Write::write_fmt(&mut io::stdout(), format_args!("{figures}\n"))
}

/// What was measured.
#[derive(Debug)]
pub struct Outcome {
    /// The memory and the time that each step took.
    pub steps: Vec<Step>,
    /// The hashes of both members' states at the same index.
    pub hashes: [StateHash; 2],
    /// Commands that were answered.
    pub answered: usize,
}

/// A part of the measurement.
#[derive(Debug)]
pub struct Step {
    /// What was done.
    pub name: &'static str,
    /// The time that it took.
    pub took: Duration,
    /// The longest time between two answers that the client got in this time, or none if no client was there.
    pub pause: Option<Duration>,
    /// Memory before and after, and the most in between, where the system tells.
    pub memory: Option<[Memory; 2]>,
}

/// Measures with the directories that `prepare` has written.
///
/// # Errors
/// If a member fails.
pub fn measure(folder: &std::path::Path) -> io::Result<Outcome> {
    let origin = Instant::now();
    let mut steps = Vec::new();
    let mut memory = Memory::read();
    let mut begin = origin;
    let mut step = |name, client: Option<&Client>| {
        let (now, after) = (Instant::now(), Memory::read());
        steps.push(Step {
            name,
            took: now - begin,
            pause: client.and_then(|client| client.longest_gap(begin, now)),
            memory: memory.zip(after).map(|(before, after)| [before, after]),
        });
        Memory::forget_peak();
        (begin, memory) = (now, Memory::read());
    };

    Memory::forget_peak();
    let mut leader = Member::open(1, &folder.join("leader"), origin)?;
    step("start of the leader with a restore", None);
    let mut client = Client::connect(&mut leader)?;
    client.work(QUIET)?;
    step("nothing else", Some(&client));

    let mut learner = Member::join(2, &folder.join("learner"), origin)?;
    leader.meet(&mut learner);
    leader.add(&learner)?;
    client.work_until(|_| leader.saw(Mark::Frozen))?;
    step("until the state is frozen", Some(&client));
    client.work_until(|_| leader.saw(Mark::Taken))?;
    step("snapshot", Some(&client));
    client.work_until(|_| learner.saw(Mark::Received))?;
    step("transfer", Some(&client));
    client.work_until(|_| learner.saw(Mark::Verified))?;
    step("check of the file", Some(&client));
    client.work_until(|_| learner.saw(Mark::Restored))?;
    step("restore", Some(&client));
    client.work_until(|_| leader.votes(learner.id()))?;
    step("until the new member votes", Some(&client));
    client.work(QUIET)?;
    step("nothing else, two members", Some(&client));

    let answered = client.answered();
    // The client's last command, or an entry of the leader's own, may come between the two hashes.
    let hashes = loop {
        let index = leader.settle()?;
        let hashes = [leader.hash(index)?, learner.hash(index)?];
        if leader.settle()? == index {
            break hashes;
        }
    };
    leader.end()?;
    learner.end()?;
    Ok(Outcome { steps, hashes, answered })
}

impl Outcome {
    fn json(&self, mib: u64) -> Value {
        let steps = self.steps.iter().map(|step| {
            let mut row = json!({ "step": step.name, "seconds": step.took.as_secs_f64() });
            if let Some(pause) = step.pause {
                row["longestPauseMillis"] = json!(pause.as_secs_f64() * 1e3);
            }
            if let Some([before, after]) = step.memory {
                row["mibBefore"] = json!(before.now >> 20);
                row["mibAfter"] = json!(after.now >> 20);
                row["mibPeak"] = json!(after.peak >> 20);
            }
            row
        });
        json!({
            "stateMiB": mib,
            "answered": self.answered,
            "equal": self.hashes[0] == self.hashes[1],
            "steps": steps.collect::<Vec<_>>(),
        })
    }
}
