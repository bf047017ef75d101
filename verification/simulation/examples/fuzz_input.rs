//! Runs one fuzz input: `cargo run -p zraft-simulation --example fuzz_input -- TARGET FILE`. A broken rule ends it with a panic that
//! names the rule.
#![allow(clippy::print_stderr)]

use std::{env, fs, process::ExitCode};

use zraft_simulation::fuzz::TARGETS;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, file] = &arguments[..] else {
        eprintln!("fuzz_input: give a target and a file with its input");
        return ExitCode::from(2);
    };
    let Some((_, body)) = TARGETS.iter().find(|(name, _)| name == target) else {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("fuzz_input: no target is named {target}; the targets are {}", names.join(", "));
        return ExitCode::from(2);
    };
    match fs::read(file) {
        Ok(input) => {
            body(&input);
            eprintln!("{target}: {} bytes break no rule", input.len());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("fuzz_input: {file}: {error}");
            ExitCode::FAILURE
        }
    }
}
