//! The policies that the states ask. Each answers one question, knows nothing of the others, and decides nothing else.

pub(crate) mod liveness;
pub(crate) mod members;
pub(crate) mod quarantine;
