//! Compares what the members of a cluster remember of their histories.
//!
//! A member's history has a hash after each entry. It covers every effect since the first entry, so members that disagree on one entry
//! have other hashes from that entry on, and the last entry that all of them remember decides.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What a member remembers of its history, as its admin port tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The member's name.
    pub member: String,
    /// The cluster that it belongs to.
    pub cluster: String,
    /// The names of all members, as this one knows them.
    pub members: Vec<String>,
    /// The hashes after some entries, by index.
    points: BTreeMap<u64, String>,
    /// The last entries before this one are remembered in part, and all from this one on.
    complete_from: u64,
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The last entry that all members remember, at which they were compared.
    pub index: u64,
    /// The members that agree: most of all members. Of groups that are as large, it is that of the first member.
    pub agreeing: Vec<String>,
    /// How each other member differs from these.
    pub divergences: Vec<Divergence>,
}

/// Where a member differs from those that agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The member's name.
    pub member: String,
    /// The last entry after which its history is known to be the same; none if the members remember no such entry.
    pub same: Option<u64>,
    /// The first entry after which its history is known to differ.
    pub differs: u64,
    /// True if no entry between the two was applied, so that `differs` is the one on which the members disagreed.
    pub exact: bool,
}

impl History {
    /// Reads the answer of an admin port. Returns none if it is not one.
    #[must_use]
    pub fn read(answer: &Value) -> Option<Self> {
        let text = |field: &str| answer[field].as_str().map(str::to_owned);
        let points = |field: &str| {
            let points = answer[field].as_array()?.iter().map(|point| {
                let (index, hash) = point.as_str()?.split_once(' ')?;
                Some((index.parse::<u64>().ok()?, hash.to_owned()))
            });
            points.collect::<Option<BTreeMap<_, _>>>()
        };
        let members = answer["members"].as_array()?.iter().filter_map(Value::as_str);
        let (recent, mut all) = (points("recent")?, points("sparse")?);
        let complete_from = *recent.keys().next()?;
        all.extend(recent);
        Some(Self {
            member: text("member")?,
            cluster: text("cluster")?,
            members: members.map(str::to_owned).collect(),
            points: all,
            complete_from,
        })
    }

    /// Returns true if this member applied no entry between these two.
    fn are_neighbours(&self, first: u64, second: u64) -> bool {
        first >= self.complete_from && self.points.range(first + 1..second).next().is_none()
    }

    /// Returns where this member begins to differ from another one, with whom it does not agree at the end.
    fn divergence(&self, other: &Self, end: u64) -> Divergence {
        let common = self.points.range(..=end).rev().filter_map(|(index, hash)| {
            let others = other.points.get(index)?;
            Some((*index, hash == others))
        });
        let (mut same, mut differs) = (None, end);
        for (index, is_same) in common {
            if is_same {
                same = Some(index);
                break;
            }
            differs = index;
        }
        let exact = same.is_some_and(|same| {
            self.are_neighbours(same, differs) && other.are_neighbours(same, differs)
        });
        Divergence { member: self.member.clone(), same, differs, exact }
    }
}

/// Compares the members. Returns none if they remember no entry in common.
#[must_use]
pub fn compare(histories: &[History]) -> Option<Outcome> {
    let (first, others) = histories.split_first()?;
    let all_know = |index: &&u64| others.iter().all(|other| other.points.contains_key(index));
    let index = *first.points.keys().rev().find(all_know)?;
    let hash = |history: &History| history.points.get(&index).cloned();
    let group = |one: &History| histories.iter().filter(|other| hash(other) == hash(one)).count();
    // Of members that are equal here, the last one counts.
    let leading = histories.iter().rev().max_by_key(|history| group(history))?;
    let (agreeing, differing): (Vec<_>, Vec<_>) =
        histories.iter().partition(|history| hash(history) == hash(leading));
    let divergences = differing.iter().filter_map(|history| {
        // They agree, but one may remember more than another.
        let seen = agreeing.iter().map(|other| history.divergence(other, index));
        seen.min_by_key(|seen| (!seen.exact, seen.differs - seen.same.unwrap_or(0)))
    });
    Some(Outcome {
        index,
        agreeing: agreeing.iter().map(|history| history.member.clone()).collect(),
        divergences: divergences.collect(),
    })
}

/// Returns the members that others know and that are not among these.
#[must_use]
pub fn missing(histories: &[History]) -> Vec<String> {
    let known: BTreeSet<_> = histories.iter().flat_map(|history| &history.members).collect();
    let asked: BTreeSet<_> = histories.iter().map(|history| &history.member).collect();
    known.difference(&asked).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the history of a member that applied the entries 1 to `last`, remembers all from `from` on and every tenth before, and
    /// whose effects differ from `odd` on.
    fn history(member: &str, from: u64, last: u64, odd: u64) -> History {
        let point = |index: u64| format!("{index} {index:08x}{:08x}", u64::from(index >= odd));
        let sparse = (1..=last).filter(|index| index % 10 == 0).map(point);
        let answer = json!({
            "member": member,
            "cluster": "c",
            "members": ["a", "b", "c"],
            "recent": (from..=last).map(point).collect::<Vec<_>>(),
            "sparse": sparse.collect::<Vec<_>>(),
        });
        History::read(&answer).unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn members_with_one_history_agree_at_the_last_entry_that_all_have() {
        let all = [history("a", 30, 60, 99), history("b", 1, 57, 99), history("c", 40, 59, 99)];
        let outcome = compare(&all).unwrap();
        assert_eq!(outcome.index, 57);
        assert_eq!((outcome.agreeing, outcome.divergences), (names(&["a", "b", "c"]), vec![]));
    }

    #[test]
    fn entry_that_diverged_is_named_if_both_members_remember_it_and_the_one_before() {
        let all = [history("a", 30, 60, 99), history("b", 30, 58, 44), history("c", 30, 59, 99)];
        let outcome = compare(&all).unwrap();
        assert_eq!((outcome.index, outcome.agreeing), (58, names(&["a", "c"])));
        let expected =
            Divergence { member: "b".to_owned(), same: Some(43), differs: 44, exact: true };
        assert_eq!(outcome.divergences, [expected]);
    }

    #[test]
    fn entry_that_one_member_does_not_remember_lies_between_two_that_both_do() {
        let all = [history("a", 50, 60, 99), history("b", 30, 60, 44)];
        let seen = &compare(&all).unwrap().divergences[0];
        assert_eq!((seen.same, seen.differs, seen.exact), (Some(40), 50, false));
        // The first that is remembered in full has no neighbour before it.
        let all = [history("a", 44, 60, 99), history("b", 43, 60, 44)];
        let seen = &compare(&all).unwrap().divergences[0];
        assert_eq!((seen.same, seen.differs, seen.exact), (Some(40), 44, false));
    }

    #[test]
    fn member_that_never_agreed_has_no_entry_before() {
        let all = [history("a", 30, 60, 99), history("b", 30, 60, 1)];
        let seen = &compare(&all).unwrap().divergences[0];
        assert_eq!((seen.same, seen.differs, seen.exact), (None, 10, false));
    }

    #[test]
    fn member_that_remembers_most_says_where_another_one_diverged() {
        let all = [history("a", 55, 60, 99), history("b", 30, 60, 44), history("c", 30, 60, 99)];
        let seen = &compare(&all).unwrap().divergences[0];
        assert_eq!((seen.member.as_str(), seen.differs, seen.exact), ("b", 44, true));
    }

    #[test]
    fn difference_that_a_snapshot_has_ended_does_not_count() {
        let mut healed = history("b", 30, 60, 99);
        for (index, hash) in &mut healed.points {
            if (20..50).contains(index) {
                *hash = "other".to_owned();
            }
        }
        let outcome = compare(&[history("a", 30, 60, 99), healed]).unwrap();
        assert_eq!(outcome.divergences, []);
    }

    #[test]
    fn members_that_remember_nothing_in_common_are_not_compared() {
        assert_eq!(compare(&[history("a", 1, 9, 99), history("b", 11, 19, 99)]), None);
        assert_eq!(compare(&[]), None);
    }

    #[test]
    fn members_that_were_not_asked_are_missing() {
        assert_eq!(missing(&[history("a", 1, 9, 99), history("c", 1, 9, 99)]), ["b"]);
    }

    #[test]
    fn answer_that_is_not_a_history_is_refused() {
        for answer in [
            json!({}),
            json!({ "member": "a", "cluster": "c", "members": [], "recent": [], "sparse": [] }),
            json!({ "member": "a", "cluster": "c", "members": [], "recent": ["1"], "sparse": [] }),
            json!({ "member": "a", "cluster": "c", "members": [], "recent": ["x 1"], "sparse": [] }),
        ] {
            assert_eq!(History::read(&answer), None, "{answer}");
        }
    }
}
