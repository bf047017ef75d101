//! The load and its measurement, which all contenders of the benchmarks share; and the members of a replicated server, whose
//! costs are counted without sockets.

pub mod load;
pub mod members;
