//! What must occur in the runs, and what of it may be rare.

use crate::coverage::Key;

/// Everything that is to occur, whether it does or not.
pub(crate) const EXPECTED: &[Key] = &[];

/// What may occur in under 1 % of the runs.
pub(crate) const RARE: &[Key] = &[];
