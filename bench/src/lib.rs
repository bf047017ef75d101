//! What the contenders of the benchmarks share: the load, and how it is measured.

pub mod load;
