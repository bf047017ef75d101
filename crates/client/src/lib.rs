//! An async client for ZIO Raft clusters.
