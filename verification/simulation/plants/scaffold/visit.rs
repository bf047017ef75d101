//! Runs the simulation and the corpora of the fuzz targets `machine` and `replica_script` on the planted copy. `zraft-simulation museum` makes the copy, builds
//! this program and calls it.

use std::{env, fs, io, panic::catch_unwind, path::Path, process::ExitCode};

use museum::{BUGS, plant};
use zraft_simulation::{SystemKind, Visit, fuzz, replay, visit};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passed = match arguments.as_slice() {
        ["replay", seed, name] => {
            let Some(bug) = BUGS.iter().position(|bug| bug.name == *name) else {
                eprintln!(
                    "no bug is called {name}; their names are those of verification/simulation/plants"
                );
                return ExitCode::FAILURE;
            };
            plant(Some(bug));
            let system =
                if BUGS[bug].by_cluster { SystemKind::Replicated } else { SystemKind::Live };
            replay(system, number(seed))
        }
        ["museum", corpora, seeds, jobs, only] => {
            if wanted(only, |_| true).is_empty() {
                eprintln!("no bug has {only} in its name or description");
                return ExitCode::FAILURE;
            }
            let seen = |system, bugs: Vec<usize>| {
                let bugs: Vec<(usize, &str, u64)> =
                    bugs.iter().map(|&bug| (bug, BUGS[bug].name, BUGS[bug].from)).collect();
                let request =
                    Visit { system, bugs: &bugs, seeds: number(seeds), jobs: number(jobs) };
                bugs.is_empty() || visit(&request, plant)
            };
            let of_client = seen(SystemKind::Live, wanted(only, |bug| bug.by_simulation));
            let of_member = seen(SystemKind::Replicated, wanted(only, |bug| bug.by_cluster));
            let broke = breaks_a_rule(Path::new(corpora), only).expect("the corpora can be read");
            of_client && of_member && broke
        }
        _ => panic!("called by zraft-simulation only"),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

fn wanted(only: &str, by: impl Fn(&museum::Bug) -> bool) -> Vec<usize> {
    let named = |bug: &museum::Bug| bug.name.contains(only) || bug.title.contains(only);
    (0..BUGS.len()).filter(|&bug| named(&BUGS[bug]) && by(&BUGS[bug])).collect()
}

/// The fuzz targets that planted bugs must break: the client's machine, and one member.
const TARGETS: [(&str, fn(&[u8])); 2] =
    [("machine", fuzz::machine), ("replica_script", fuzz::replica_script)];

/// With each of these bugs planted, some input of a corpus breaks a rule of its fuzz target; with none, no input does.
fn breaks_a_rule(corpora: &Path, only: &str) -> io::Result<bool> {
    let mut inputs = Vec::new();
    for (target, body) in TARGETS {
        for file in fs::read_dir(corpora.join(target))? {
            inputs.push((body, fs::read(file?.path())?));
        }
    }
    let breaks = |bug| {
        plant(bug);
        let broke = inputs.iter().any(|(body, input)| catch_unwind(|| body(input)).is_err());
        plant(None);
        broke
    };
    if breaks(None) {
        println!("corpus: an input breaks a rule with no bug planted");
        return Ok(false);
    }
    let bugs = wanted(only, |bug| bug.by_corpus);
    let missed: Vec<_> = bugs.iter().filter(|bug| !breaks(Some(**bug))).collect();
    for bug in &missed {
        println!("{:<30} NOT FOUND by the corpus of a fuzz target", BUGS[**bug].name);
    }
    println!("corpus: {} of {} bugs found", bugs.len() - missed.len(), bugs.len());
    Ok(missed.is_empty())
}
