//! Tests of the repository itself, without compiling it: its words, its dependencies, and the picture of its crates.
//!
//! Each module reads files and returns what it finds wrong, one line each. `tests/repository.rs` runs them on this repository;
//! `./verify quick` runs those tests.

pub mod dependencies;
mod licences;
pub mod links;
pub mod metadata;
pub mod picture;
pub mod tree;
pub mod words;
