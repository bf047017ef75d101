//! What must occur in the runs, and what of it may be rare. Each fault of a system is expected besides.

mod live;
mod replicated;

use crate::{cluster::judge::RULES, coverage::Key, world::system::SystemKind};

/// Returns what must occur.
pub(crate) fn expected(system: SystemKind) -> &'static [Key] {
    match system {
        SystemKind::Live => live::EXPECTED,
        SystemKind::Replicated => replicated::EXPECTED,
    }
}

/// Returns the rules of the judge of members, as they are counted. Each must have had something to judge.
pub(crate) fn rules(system: SystemKind) -> impl Iterator<Item = Key> {
    let rules = match system {
        SystemKind::Live => &[][..],
        SystemKind::Replicated => RULES,
    };
    rules.iter().map(|rule| rule.key())
}

/// Returns true if this may occur in under 1 % of the runs. The report has its count.
pub(crate) fn may_be_rare(system: SystemKind, key: &Key) -> bool {
    match system {
        SystemKind::Live => live::RARE.contains(key),
        SystemKind::Replicated => {
            let of_clients = live::EXPECTED.contains(key) || live::RARE.contains(key);
            replicated::RARE.contains(key) || (of_clients && !replicated::EXPECTED.contains(key))
        }
    }
}
