//! The session state machine of a ZIO Raft client, without I/O, clock or runtime.
