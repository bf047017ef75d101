//! The `zraft` command line.

fn main() {}
