//! `zraft cluster check`: whether all members have the same history.

use clap::Args;
use serde_json::{Value, json};
use zraft_cli::{
    admin::AskError,
    check::{Divergence, History, Outcome, compare, missing},
    cluster::{Cluster, Failure},
};

use super::Place;
use crate::exit::{Exit, complain, print};

/// Compare the members, and show on which entry they disagreed
///
/// Each member keeps a hash of everything that its entries have led to: answers, server requests, and the ends of sessions. The command
/// compares these hashes at the last entry that all members have, while the cluster serves. Members that differ have executed an entry
/// differently, most likely because the application is not deterministic: it read a clock, drew a random number, or depends on the order
/// of a hash map.
///
/// The exit status is 0 if all members have the same history, 1 if two differ, and 2 if a member does not answer or was not asked.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let cluster = arguments.place.cluster()?;
    let (outcome, lacking) = compared(&cluster).await?;
    match arguments.json {
        true => print(&as_json(&outcome, &lacking).to_string()),
        false => print(&as_text(&outcome)),
    }
    lacking.iter().for_each(|problem| complain(problem));
    Ok(match (outcome.divergences.is_empty(), lacking.is_empty()) {
        (false, _) => Exit::Different,
        (true, false) => Exit::Connection,
        (true, true) => Exit::Success,
    })
}

/// Compares the members until they differ or all of them have answered, or until the time is over. Returns the comparison, and a
/// sentence about each member that was not compared.
async fn compared(cluster: &Cluster) -> Result<(Outcome, Vec<String>), Failure> {
    loop {
        let answers = cluster.histories().await;
        if answers.iter().all(Result::is_err) {
            // The same search gives the reason and the remedy.
            cluster.leader().await?;
        }
        let (histories, mut lacking) = read(answers);
        if let Some(other) = histories.iter().find(|other| other.cluster != histories[0].cluster) {
            let text =
                format!("{} and {} are of different clusters", histories[0].member, other.member);
            return Err(Failure::Input(text));
        }
        let silent = !lacking.is_empty();
        if !silent {
            lacking.extend(missing(&histories).into_iter().map(|member| {
                format!("{member} was not asked: give the address of its admin port with --admin")
            }));
        }
        let outcome = compare(&histories);
        let last = match &outcome {
            Some(outcome) => !silent || !outcome.divergences.is_empty(),
            None => false,
        };
        if last || !cluster.pause().await {
            let nothing = || {
                let all = "the members remember no entry in common";
                Failure::NoAnswer(format!(
                    "{all}: try again after the cluster has executed commands"
                ))
            };
            return Ok((outcome.ok_or_else(nothing)?, lacking));
        }
    }
}

/// Returns the histories, and a sentence about each member that gives none.
fn read(answers: Vec<Result<Value, AskError>>) -> (Vec<History>, Vec<String>) {
    let (mut histories, mut lacking) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer.map(|answer| History::read(&answer)) {
            Ok(Some(history)) => histories.push(history),
            Ok(None) => lacking.push("a member gives something else than its history".to_owned()),
            Err(error) => lacking.push(error.to_string()),
        }
    }
    (histories, lacking)
}

fn as_json(outcome: &Outcome, lacking: &[String]) -> Value {
    let divergences = outcome.divergences.iter().map(|divergence| {
        json!({
            "member": divergence.member,
            "same": divergence.same,
            "differs": divergence.differs,
            "exact": divergence.exact,
        })
    });
    json!({
        "equal": outcome.divergences.is_empty() && lacking.is_empty(),
        "index": outcome.index,
        "agreeing": outcome.agreeing,
        "divergences": divergences.collect::<Vec<_>>(),
        "lacking": lacking,
    })
}

fn as_text(outcome: &Outcome) -> String {
    let Outcome { index, agreeing, divergences } = outcome;
    let agree = agreeing.join(", ");
    let first = match (agreeing.len(), divergences.is_empty()) {
        (1, true) => format!("{agree} was compared with no other member, at entry {index}"),
        (1, false) => return sentences(divergences, &agree).join("\n"),
        _ => format!("the same history up to entry {index}: {agree}"),
    };
    [vec![first], sentences(divergences, &agree)].concat().join("\n")
}

fn sentences(divergences: &[Divergence], agree: &str) -> Vec<String> {
    let sentence = |divergence: &Divergence| {
        let Divergence { member, same, differs, exact } = divergence;
        let place = match same {
            Some(_) if *exact => format!("{differs}"),
            Some(same) => format!("one of {} to {differs}", same + 1),
            None => format!("{differs} or an earlier one"),
        };
        format!("{member} differs from {agree}: the first entry with another effect is {place}")
    };
    divergences.iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(agreeing: &[&str], divergences: &[(Option<u64>, bool)]) -> Outcome {
        let divergence = |(same, exact): &(Option<u64>, bool)| Divergence {
            member: "b".to_owned(),
            same: *same,
            differs: 44,
            exact: *exact,
        };
        Outcome {
            index: 90,
            agreeing: agreeing.iter().map(|name| (*name).to_owned()).collect(),
            divergences: divergences.iter().map(divergence).collect(),
        }
    }

    #[test]
    fn text_says_who_agrees_and_which_entry_diverged() {
        assert_eq!(as_text(&outcome(&["a", "c"], &[])), "the same history up to entry 90: a, c");
        assert_eq!(
            as_text(&outcome(&["a", "c"], &[(Some(43), true)])),
            "the same history up to entry 90: a, c\nb differs from a, c: the first entry with another effect is 44"
        );
        assert_eq!(
            as_text(&outcome(&["a"], &[(Some(30), false), (None, false)])),
            "b differs from a: the first entry with another effect is one of 31 to 44\n\
             b differs from a: the first entry with another effect is 44 or an earlier one"
        );
    }

    #[test]
    fn comparison_without_a_member_is_not_reported_as_equal() {
        let json = as_json(&outcome(&["a", "c"], &[]), &["b was not asked".to_owned()]);
        assert_eq!(
            (&json["equal"], &json["lacking"][0]),
            (&json!(false), &json!("b was not asked"))
        );
    }
}
