//! Searches a larger state space than the tests: `cargo run --release -p zraft-model -- cluster commands=2 crashes=1`.
//!
//! The first word is `cluster` or `disks`. The others say how often a step may occur: `commands`, `queries`, `crashes`,
//! `hand_overs`, `duplicates`, `delays`, `timeouts`. A search of some million states takes minutes and gigabytes.
//!
//! The search goes depth first, which holds fewer states in memory. With the word `breadth` it goes breadth first, as in the
//! tests: the longest way that it prints is then the shortest one to the farthest state.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use stateright::{Checker, Expectation, Model};
use zraft_model::{Budget, Course};

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let (order, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|word| word == "breadth");
    let course = match course(words.into_iter()) {
        Ok(course) => course,
        Err(why) => {
            writeln!(out, "{why}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let begun = Instant::now();
    let passed = match order.is_empty() {
        true => report(&mut out, &course.checker().spawn_dfs().join(), begun)?,
        false => report(&mut out, &course.checker().spawn_bfs().join(), begun)?,
    };
    Ok(ExitCode::from(u8::from(!passed)))
}

/// Prints what a search found. Returns true if every rule holds and everything that must be reached was.
fn report(
    out: &mut impl Write,
    checker: &impl Checker<Course>,
    begun: Instant,
) -> io::Result<bool> {
    writeln!(
        out,
        "{} states, {} steps, at most {} in a row, {} states of members, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        checker.model().member_states(),
        begun.elapsed().as_secs_f64(),
    )?;
    let found = checker.discoveries();
    let mut failed = false;
    for property in checker.model().properties() {
        let path = found.get(property.name);
        let wanted = !matches!(property.expectation, Expectation::Always);
        if path.is_some() == wanted {
            continue;
        }
        failed = true;
        match path {
            Some(path) => {
                writeln!(out, "broken: {}", property.name)?;
                for step in path.clone().into_actions() {
                    writeln!(out, "  {step:?}")?;
                }
                writeln!(out, "  {:?}", checker.model().broken(path.last_state()))?;
            }
            None => writeln!(out, "not reached: {}", property.name)?,
        }
    }
    Ok(!failed)
}

fn course(mut words: impl Iterator<Item = String>) -> Result<Course, String> {
    let kind = words.next().unwrap_or_default();
    let mut budget = Budget::default();
    for word in words {
        let (name, count) = word.split_once('=').ok_or(format!("{word} is not NAME=COUNT"))?;
        let place = match name {
            "commands" => &mut budget.commands,
            "queries" => &mut budget.queries,
            "crashes" => &mut budget.crashes,
            "hand_overs" => &mut budget.hand_overs,
            "duplicates" => &mut budget.duplicates,
            "delays" => &mut budget.delays,
            "timeouts" => &mut budget.timeouts,
            _ => return Err(format!("{name} is not a step of the model")),
        };
        *place = count.parse().map_err(|error| format!("{word}: {error}"))?;
    }
    match kind.as_str() {
        "cluster" => Ok(Course::of_cluster(budget, None)),
        "disks" => Ok(Course::of_disks(budget, None)),
        _ => Err("the first word must be cluster or disks".to_owned()),
    }
}
