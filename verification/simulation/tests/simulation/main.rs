//! Tests of the simulation, the planted bugs and the fuzz functions, linked as one binary.

mod corpora;
mod persistence;
mod plants;
mod properties;
mod replicated;
mod scenarios;
