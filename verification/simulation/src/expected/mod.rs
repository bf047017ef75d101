//! What must occur in the runs, and what of it may be rare. Each fault of a system is expected besides.

mod live;

use crate::{coverage::Key, world::system::SystemKind};

/// Returns what must occur.
pub(crate) fn expected(system: SystemKind) -> &'static [Key] {
    match system {
        SystemKind::Live => live::EXPECTED,
        SystemKind::Replicated => &[],
    }
}

/// Returns what may occur in under 1 % of the runs, with its count in the report.
pub(crate) fn rare(system: SystemKind) -> &'static [Key] {
    match system {
        SystemKind::Live => live::RARE,
        SystemKind::Replicated => &[],
    }
}
