//! The load and its measurement, which all contenders of the benchmarks share.

pub mod load;
