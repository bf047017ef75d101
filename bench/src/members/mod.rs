//! Members of a replicated server without sockets, to count and to time what they do.
//!
//! | file | what it measures |
//! | --- | --- |
//! | `lone.rs` | the work of one command on one member: its allocations and instructions |
//! | `cluster.rs`, `clients.rs` | nothing by themselves: members with real stores on simulated disks, and real clients, in virtual time |
//! | `load.rs` | log entries and fsyncs per command |
//! | `recovery.rs` | how long clients wait after a failure, in virtual time |
//! | `large/` | a state of 1 GiB: snapshot, transfer and restore, in real time |
//! | `opening.rs` | how long a log opens whose process was killed |

pub mod clients;
pub mod cluster;
pub mod large;
pub mod load;
pub mod lone;
pub mod opening;
pub mod recovery;
