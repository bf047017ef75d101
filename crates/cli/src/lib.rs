//! The functions of the program `zraft`, without its arguments and its printing.
//!
//! This library serves the program and this project's tests. Its interface can change at any time.

pub mod admin;
pub mod bench;
pub mod capture;
pub mod certificates;
pub mod check;
pub mod cluster;
pub mod demo;
pub mod incidents;
pub mod inspect;
pub mod latency;
pub mod lines;
pub mod messages;
pub mod narrator;
pub mod patience;
pub mod payload;
pub mod pem;
pub mod probe;
pub mod processes;
pub mod reach;
pub mod settings;
pub mod time;
